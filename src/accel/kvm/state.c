/* SPDX-License-Identifier: MIT */
/*
 * The architectural state, to the kernel and back. Linux, Documentation/virt/kvm/api.rst, 4.11 to 4.46;
 * Intel SDM vol. 3, 25.4.1 for segments ("access rights").
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "cpu/isa.h"
#include "mem/mem.h"

#define MSR_APIC_BASE 0x1bu

static int failed(const struct kvm_vcpu *vcpu, const char *what, struct error *err)
{
	return error_set_errno(err, errno, "KVM: CPU %u: %s", vcpu->cpu->index, what);
}

/* ---- segments and tables ---- */

void kvm_segment_from(struct kvm_segment *to, const struct x86_seg *from)
{
	uint32_t attr = from->attr;

	*to = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.type = attr & X86_SEG_TYPE,
		.s = !!(attr & X86_SEG_S),
		.dpl = (attr & X86_SEG_DPL) >> X86_SEG_DPL_SHIFT,
		.present = !!(attr & X86_SEG_P),
		.avl = !!(attr & X86_SEG_AVL),
		.l = !!(attr & X86_SEG_L),
		.db = !!(attr & X86_SEG_DB),
		.g = !!(attr & X86_SEG_G),
		.unusable = !!(attr & X86_SEG_UNUSABLE),
	};
}

void kvm_segment_to(struct x86_seg *to, const struct kvm_segment *from)
{
	bool unusable = from->unusable || !from->present;

	*to = (struct x86_seg){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.attr = from->type | (uint32_t)from->dpl << X86_SEG_DPL_SHIFT |
			(from->s ? X86_SEG_S : 0) | (from->present ? X86_SEG_P : 0) |
			(from->avl ? X86_SEG_AVL : 0) | (from->l ? X86_SEG_L : 0) |
			(from->db ? X86_SEG_DB : 0) | (from->g ? X86_SEG_G : 0) |
			(unusable ? X86_SEG_UNUSABLE : 0),
	};
}

/* In the order of enum x86_seg_index. */
static struct kvm_segment *segment_at(struct kvm_sregs *sregs, unsigned index)
{
	struct kvm_segment *const segments[X86_SEGS] = {
		&sregs->es, &sregs->cs, &sregs->ss, &sregs->ds, &sregs->fs, &sregs->gs,
	};

	return segments[index];
}

static int push_sregs(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	struct kvm_sregs sregs = {
		.gdt = { .base = state->gdtr.base, .limit = state->gdtr.limit },
		.idt = { .base = state->idtr.base, .limit = state->idtr.limit },
		.cr0 = state->cr0, .cr2 = state->cr2, .cr3 = state->cr3, .cr4 = state->cr4,
		.cr8 = intc->cr8_read(intc->opaque), .efer = state->efer,
	};
	uint64_t base = 0;

	for (unsigned i = 0; i < X86_SEGS; i++)
		kvm_segment_from(segment_at(&sregs, i), &state->seg[i]);
	kvm_segment_from(&sregs.ldt, &state->ldtr);
	kvm_segment_from(&sregs.tr, &state->tr);
	if (intc->msr_read(intc->opaque, MSR_APIC_BASE, &base))
		sregs.apic_base = base;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		return failed(vcpu, "it does not take the segment and control registers", err);
	return 0;
}

/* KVM keeps the four entries to itself; they are what memory had when CR3 was loaded. */
static void read_pdptes(const struct kvm_vcpu *vcpu, struct x86_state *state)
{
	if (!(state->cr0 & X86_CR0_PG) || !(state->cr4 & X86_CR4_PAE) ||
	    state->efer & X86_EFER_LMA)
		return;
	mem_read(vcpu->machine->mem, state->cr3 & 0xffffffe0, state->pdpte, sizeof(state->pdpte));
}

static int pull_sregs(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return failed(vcpu, "no segment and control registers", err);
	for (unsigned i = 0; i < X86_SEGS; i++)
		kvm_segment_to(&state->seg[i], segment_at(&sregs, i));
	kvm_segment_to(&state->ldtr, &sregs.ldt);
	kvm_segment_to(&state->tr, &sregs.tr);
	state->gdtr = (struct x86_table){ .base = sregs.gdt.base, .limit = sregs.gdt.limit };
	state->idtr = (struct x86_table){ .base = sregs.idt.base, .limit = sregs.idt.limit };
	state->cr0 = sregs.cr0;
	state->cr2 = sregs.cr2;
	state->cr3 = sregs.cr3;
	state->cr4 = sregs.cr4;
	state->cr8 = sregs.cr8;
	state->efer = sregs.efer;
	read_pdptes(vcpu, state);
	return 0;
}

/* ---- general registers, in the kernel's order ---- */

static const unsigned gpr_offset[X86_GPRS] = {
	[X86_RAX] = offsetof(struct kvm_regs, rax), [X86_RCX] = offsetof(struct kvm_regs, rcx),
	[X86_RDX] = offsetof(struct kvm_regs, rdx), [X86_RBX] = offsetof(struct kvm_regs, rbx),
	[X86_RSP] = offsetof(struct kvm_regs, rsp), [X86_RBP] = offsetof(struct kvm_regs, rbp),
	[X86_RSI] = offsetof(struct kvm_regs, rsi), [X86_RDI] = offsetof(struct kvm_regs, rdi),
	[X86_R8] = offsetof(struct kvm_regs, r8), [X86_R9] = offsetof(struct kvm_regs, r9),
	[X86_R10] = offsetof(struct kvm_regs, r10), [X86_R11] = offsetof(struct kvm_regs, r11),
	[X86_R12] = offsetof(struct kvm_regs, r12), [X86_R13] = offsetof(struct kvm_regs, r13),
	[X86_R14] = offsetof(struct kvm_regs, r14), [X86_R15] = offsetof(struct kvm_regs, r15),
};

static int push_regs(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	struct kvm_regs regs = { .rip = state->rip, .rflags = state->rflags };

	for (unsigned i = 0; i < X86_GPRS; i++)
		memcpy((char *)&regs + gpr_offset[i], &state->gpr[i], sizeof(state->gpr[i]));
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return failed(vcpu, "it does not take the general registers", err);
	/* What the last exit said of interrupts was of another state. */
	vcpu->run->if_flag = !!(state->rflags & X86_IF);
	vcpu->run->ready_for_interrupt_injection = 0;
	return 0;
}

static int pull_regs(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return failed(vcpu, "no general registers", err);
	for (unsigned i = 0; i < X86_GPRS; i++)
		memcpy(&state->gpr[i], (char *)&regs + gpr_offset[i], sizeof(state->gpr[i]));
	state->rip = regs.rip;
	state->rflags = regs.rflags;
	return 0;
}

/* ---- debug registers, XCR0 ---- */

static int push_debug(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	struct kvm_debugregs debug = { .dr6 = state->dr6, .dr7 = state->dr7 };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = state->xcr0 };

	for (unsigned i = 0; i < 4; i++)
		debug.db[i] = state->dr[i];
	if (ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug) < 0)
		return failed(vcpu, "it does not take the debug registers", err);
	/* A processor without XSAVE has none. */
	if (ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs) < 0 && state->xcr0 > 3)
		return failed(vcpu, "it does not take XCR0", err);
	return 0;
}

static int pull_debug(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;

	if (ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug) < 0)
		return failed(vcpu, "no debug registers", err);
	for (unsigned i = 0; i < 4; i++)
		state->dr[i] = debug.db[i];
	state->dr6 = debug.dr6;
	state->dr7 = debug.dr7;
	if (!ioctl(vcpu->fd, KVM_GET_XCRS, &xcrs) && xcrs.nr_xcrs && !xcrs.xcrs[0].xcr)
		state->xcr0 = xcrs.xcrs[0].value;
	return 0;
}

/* ---- events ---- */

void kvm_events_from(struct kvm_vcpu_events *to, const struct x86_state *from)
{
	const struct x86_pending *event = &from->event;

	*to = (struct kvm_vcpu_events){
		.nmi = { .pending = from->nmi_pending, .masked = from->nmi_blocked },
		.interrupt.shadow = (from->shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
				    (from->shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0),
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
	};
	if (event->kind == X86_PENDING_EXTERNAL) {
		to->interrupt.injected = 1;
		to->interrupt.nr = event->vector;
	} else if (event->kind == X86_PENDING_EXCEPTION) {
		to->exception.injected = 1;
		to->exception.nr = event->vector;
		to->exception.has_error_code = event->has_error;
		to->exception.error_code = event->error;
	}
}

/*
 * An event that the kernel has begun to deliver comes again, whoever runs the CPU next. Those that an
 * instruction causes with RIP at it (INT n) are forgotten: it causes them again.
 */
void kvm_events_to(struct x86_state *to, const struct kvm_vcpu_events *from)
{
	to->nmi_pending = from->nmi.pending || from->nmi.injected;
	to->nmi_blocked = from->nmi.masked && !from->nmi.injected;
	to->shadow_sti = from->interrupt.shadow & KVM_X86_SHADOW_INT_STI;
	to->shadow_mov_ss = from->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	to->event = (struct x86_pending){ .kind = X86_PENDING_NONE };
	if (from->interrupt.injected && !from->interrupt.soft)
		to->event = (struct x86_pending){ .kind = X86_PENDING_EXTERNAL,
						.vector = from->interrupt.nr };
	else if (from->exception.injected && from->exception.nr != X86_BP &&
		 from->exception.nr != X86_OF_TRAP)
		to->event = (struct x86_pending){ .kind = X86_PENDING_EXCEPTION,
						.vector = from->exception.nr,
						.has_error = from->exception.has_error_code,
						.error = from->exception.error_code };
}

static int push_activity(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };

	vcpu->halted = state->halted || state->wait_for_sipi;
	if (!vcpu->machine->split)
		return 0;
	if (state->wait_for_sipi)
		mp.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	else if (state->halted)
		mp.mp_state = KVM_MP_STATE_HALTED;
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp) < 0)
		return failed(vcpu, "it does not take the state of activity", err);
	return 0;
}

static int push_events(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	struct kvm_vcpu_events events;

	kvm_events_from(&events, state);
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return failed(vcpu, "it does not take the pending events", err);
	return push_activity(vcpu, state, err);
}

static int pull_events(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;

	if (vcpu->machine->split) {
		/* First of all: it has the kernel carry out INIT and start-up that wait. */
		if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) < 0)
			return failed(vcpu, "no state of activity", err);
		state->halted = mp.mp_state == KVM_MP_STATE_HALTED;
		state->wait_for_sipi = mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
				       mp.mp_state == KVM_MP_STATE_INIT_RECEIVED;
	} else if (!vcpu->halted) {
		state->halted = state->wait_for_sipi = false;
	} else if (!state->wait_for_sipi) {
		state->halted = true;
	}
	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return failed(vcpu, "no pending events", err);
	kvm_events_to(state, &events);
	return 0;
}

/* ---- everything ---- */

int kvm_state_push(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct x86_state *state = vcpu->cpu->isa->state(vcpu->cpu);
	int ret = push_sregs(vcpu, state, err);

	if (!ret)
		ret = push_debug(vcpu, state, err);
	if (!ret)
		ret = kvm_xsave_push(vcpu, state, err);
	if (!ret)
		ret = kvm_msrs_push(vcpu, state, err);
	if (!ret)
		ret = push_regs(vcpu, state, err);
	/* After RFLAGS, whose TF has its own idea of what is pending. */
	return ret ? ret : push_events(vcpu, state, err);
}

int kvm_state_pull(struct kvm_vcpu *vcpu, struct error *err)
{
	struct x86_state *state = vcpu->cpu->isa->state(vcpu->cpu);
	int ret = pull_events(vcpu, state, err);

	if (!ret)
		ret = pull_regs(vcpu, state, err);
	if (!ret)
		ret = pull_sregs(vcpu, state, err);
	if (!ret)
		ret = pull_debug(vcpu, state, err);
	if (!ret)
		ret = kvm_xsave_pull(vcpu, state, err);
	if (!ret)
		ret = kvm_msrs_pull(vcpu, state, err);
	if (!ret)
		vcpu->cpu->isa->state_changed(vcpu->cpu);
	return ret;
}
