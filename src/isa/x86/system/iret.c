/* SPDX-License-Identifier: MIT */
/*
 * IRET in every mode. Intel SDM vol. 2, IRET/IRETD/IRETQ; vol. 3, 20.2, 20.3.
 *
 * NMIs are let in again even if the IRET faults (vol. 3, 6.7.1).
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/far.h"
#include "isa/x86/system/task.h"

#define FLAGS_ALWAYS (X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT)
#define FLAGS_WIDE (X86_RF | X86_AC | X86_ID) /* not in the 16-bit image */
#define FLAGS_VIRTUAL (X86_VIF | X86_VIP)

static void load_flags(struct x86_cpu *cpu, uint64_t image, uint64_t changed)
{
	cpu->state.rflags = (cpu->state.rflags & ~changed) | (image & changed) | X86_F1;
}

static void peek_frame(struct x86_cpu *cpu, unsigned size, struct x86_return *ret)
{
	ret->rip = x86_stack_peek(cpu, 0, size);
	ret->cs = (uint16_t)x86_stack_peek(cpu, size, size);
	ret->flags = x86_stack_peek(cpu, 2 * size, size);
	ret->outer = false;
}

/* ---- real and virtual-8086 mode ---- */

/* IOPL 3, or with the virtual interrupt flag in IF's place (vol. 3, 20.3.2, 20.4). */
static void iret_v86(struct x86_cpu *cpu, unsigned size)
{
	uint64_t changed = FLAGS_ALWAYS | (size == 4 ? FLAGS_WIDE : 0);
	bool virtual_if = (cpu->state.rflags & X86_IOPL) != X86_IOPL;
	struct x86_return ret;

	if (virtual_if && (!(cpu->state.cr4 & X86_CR4_VME) || size != 2))
		x86_general_protection(cpu);
	peek_frame(cpu, size, &ret);
	if (virtual_if) {
		if ((ret.flags & X86_TF) ||
		    ((ret.flags & X86_IF) && (cpu->state.rflags & X86_VIP)))
			x86_general_protection(cpu);
		ret.flags |= ret.flags & X86_IF ? X86_VIF : 0;
		changed |= X86_VIF;
	} else {
		changed |= X86_IF;
	}
	x86_enter_8086(cpu, ret.cs, ret.rip);
	x86_stack_adjust(cpu, 3 * size);
	load_flags(cpu, ret.flags, changed);
	x86_update_mode(cpu);
}

static void iret_real(struct x86_cpu *cpu, unsigned size)
{
	uint64_t changed = FLAGS_ALWAYS | X86_IF | X86_IOPL | (size == 4 ? FLAGS_WIDE : 0);
	struct x86_return ret;

	peek_frame(cpu, size, &ret);
	x86_enter_8086(cpu, ret.cs, ret.rip);
	x86_stack_adjust(cpu, 3 * size);
	load_flags(cpu, ret.flags, changed);
	x86_update_mode(cpu);
}

/* ---- protected and IA-32e mode ---- */

/* All of 64-bit mode's frame where the TLB answers for it. */
static bool peek_at_once(struct x86_cpu *cpu, struct x86_return *ret)
{
	const volatile uint64_t *words =
		x86_at_once(cpu, cpu->state.gpr[X86_RSP], 5 * 8, X86_READ, cpu->mmu);

	if (unlikely(!words))
		return false;
	ret->rip = words[0];
	ret->cs = (uint16_t)words[1];
	ret->flags = words[2];
	ret->sp = words[3];
	ret->ss = (uint16_t)words[4];
	ret->outer = true;
	return true;
}

/* A monitor resumes its 8086 program. */
static void return_to_v86(struct x86_cpu *cpu, const struct x86_return *ret)
{
	static const uint8_t order[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };
	uint16_t selector[sizeof(order)];
	uint64_t sp = x86_stack_peek(cpu, 12, 4);

	for (unsigned i = 0; i < sizeof(order); i++)
		selector[i] = (uint16_t)x86_stack_peek(cpu, 16 + 4 * i, 4);
	if (ret->rip > 0xffff)
		x86_general_protection(cpu);

	load_flags(cpu, ret->flags, FLAGS_ALWAYS | FLAGS_WIDE | FLAGS_VIRTUAL | X86_IF |
					    X86_IOPL | X86_VM);
	x86_seg_set_v86(&cpu->state.seg[X86_CS], ret->cs);
	for (unsigned i = 0; i < sizeof(order); i++)
		x86_seg_set_v86(&cpu->state.seg[order[i]], selector[i]);
	cpu->state.rip = ret->rip;
	cpu->state.gpr[X86_RSP] = sp;
	x86_update_mode(cpu);
}

static uint64_t flags_for_privilege(const struct x86_cpu *cpu, unsigned size)
{
	uint64_t changed = FLAGS_ALWAYS | (size > 2 ? FLAGS_WIDE : 0);

	if (cpu->cpl <= (cpu->state.rflags & X86_IOPL) >> 12)
		changed |= X86_IF;
	if (cpu->cpl == 0)
		changed |= X86_IOPL | (size > 2 ? FLAGS_VIRTUAL : 0);
	return changed;
}

/* SS:SP, if the frame has them: in 64-bit mode it always does. */
static void peek_stack(struct x86_cpu *cpu, unsigned size, struct x86_return *ret)
{
	ret->outer = x86_in_64bit(cpu) || (ret->cs & 3) > cpu->cpl;
	if (!ret->outer)
		return;
	ret->sp = x86_stack_peek(cpu, 3 * size, size);
	ret->ss = (uint16_t)x86_stack_peek(cpu, 4 * size, size);
}

static void iret_protected(struct x86_cpu *cpu, unsigned size)
{
	struct x86_return ret;
	uint64_t changed;

	if (!(x86_in_64bit(cpu) && size == 8 && peek_at_once(cpu, &ret))) {
		peek_frame(cpu, size, &ret);
		if ((ret.flags & X86_VM) && size == 4 && !cpu->long_mode && cpu->cpl == 0) {
			return_to_v86(cpu, &ret);
			return;
		}
		peek_stack(cpu, size, &ret);
	}
	x86_return_check(cpu, &ret);
	changed = flags_for_privilege(cpu, size);
	if (!ret.outer)
		x86_stack_adjust(cpu, 3 * size);
	x86_return_commit(cpu, &ret);
	load_flags(cpu, ret.flags, changed);
	x86_update_transfer(cpu);
}

void x86_iret(struct x86_cpu *cpu, const struct insn *insn)
{
	cpu->state.nmi_blocked = false;
	/* Whatever becomes of the IRET, a pending NMI is looked for after it. */
	cpu->block_stop = true;
	if (cpu->v86) {
		iret_v86(cpu, insn->opsize);
	} else if (!cpu->protected_mode) {
		iret_real(cpu, insn->opsize);
	} else if (cpu->state.rflags & X86_NT) {
		if (cpu->long_mode)
			x86_general_protection(cpu);
		x86_task_return(cpu);
	} else {
		iret_protected(cpu, insn->opsize);
	}
}
