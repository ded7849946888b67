/* SPDX-License-Identifier: MIT */
/*
 * See frame.h. The frame is Linux's for 64-bit programs: struct ucontext, and an XSAVE image in the
 * standard format with a note in its unused bytes, by which the kernel knows it again.
 *
 * A guest program that found the frame may change it while it is read here, so what is checked is
 * read once.
 */
#include "isa/x86/direct/frame.h"

#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#include "host/cell.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"
#include "isa/x86/x86.h"

#define NOTE_OFFSET 464u /* struct _fpx_sw_bytes, to the end of the legacy region */
#define USER_FLAGS (X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT | X86_AC | X86_ID)

struct frame {
	greg_t *regs;
	uint8_t *image;
	uint32_t bytes; /* of image, its note at the end excluded */
};

#define READ_ONCE(place) (*(const volatile __typeof__(place) *)&(place))

/*
 * Where an address of the cell is here, if all of [address, address + bytes) is on its signal
 * stack.
 */
static void *on_stack(const struct cell *cell, uint64_t address, uint64_t bytes, uint64_t align)
{
	uint64_t offset = address - cell->self - offsetof(struct cell_shared, stack);

	if (offset > CELL_STACK_BYTES || bytes > CELL_STACK_BYTES - offset || address % align)
		return NULL;
	return cell->shared->stack + offset;
}

static bool find_frame(const struct cell *cell, struct frame *frame)
{
	/* The kernel's is as long as this, the libc's longer. */
	ucontext_t *context = on_stack(cell, READ_ONCE(cell->shared->context),
				       offsetof(ucontext_t, uc_sigmask), 8);
	const struct _fpx_sw_bytes *note;
	uint64_t image;

	if (!context)
		return false;
	frame->regs = context->uc_mcontext.gregs;
	image = (uintptr_t)READ_ONCE(context->uc_mcontext.fpregs);
	frame->image = on_stack(cell, image, VEC_HEADER_END, 64);
	if (!frame->image)
		return false;
	note = (const struct _fpx_sw_bytes *)(frame->image + NOTE_OFFSET);
	frame->bytes = READ_ONCE(note->xstate_size);
	return note->magic1 == FP_XSTATE_MAGIC1 && frame->bytes >= VEC_HEADER_END &&
	       on_stack(cell, image, frame->bytes, 64);
}

bool direct_frame_flags(const struct cell *cell, uint64_t *flags)
{
	struct frame frame;

	if (!find_frame(cell, &frame))
		return false;
	*flags = (uint64_t)frame.regs[REG_EFL] & USER_FLAGS;
	return true;
}

bool direct_frame_event(const struct cell *cell, struct direct_event *event)
{
	struct frame frame;

	if (!find_frame(cell, &frame))
		return false;
	*event = (struct direct_event){
		.signal = cell->shared->signal, .code = cell->shared->code,
		.call_address = cell->shared->call_address, .rip = (uint64_t)frame.regs[REG_RIP],
		.vector = (uint64_t)frame.regs[REG_TRAPNO],
		.error = (uint64_t)frame.regs[REG_ERR], .address = (uint64_t)frame.regs[REG_CR2],
	};
	return true;
}

/* ---- general-purpose registers ---- */

/* By enum x86_gpr. */
static const uint8_t place[X86_GPRS] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void load_registers(const struct x86_state *state, greg_t *regs)
{
	for (unsigned i = 0; i < X86_GPRS; i++)
		regs[place[i]] = (greg_t)state->gpr[i];
	regs[REG_RIP] = (greg_t)state->rip;
	regs[REG_EFL] = (greg_t)((state->rflags & USER_FLAGS) | X86_IF | X86_F1);
}

static void store_registers(struct x86_state *state, const greg_t *regs)
{
	for (unsigned i = 0; i < X86_GPRS; i++)
		state->gpr[i] = (uint64_t)regs[place[i]];
	state->rip = (uint64_t)regs[REG_RIP];
	state->rflags = (state->rflags & ~USER_FLAGS) | ((uint64_t)regs[REG_EFL] & USER_FLAGS);
}

/* ---- vector state ---- */

static void copy(uint8_t *to, const uint8_t *from, unsigned bytes)
{
	__builtin_memcpy(to, from, bytes);
}

/* Copies the components of bv that both images have; returns them. */
static uint64_t copy_components(const struct hostexec *he, uint8_t *to, const uint8_t *from, uint64_t bv,
				uint32_t limit_bytes)
{
	uint64_t copied = bv & (VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE));

	copy(to, from, NOTE_OFFSET);
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (!(bv & VEC_BIT(i)) || he->offset[i] + he->size[i] > limit_bytes)
			continue;
		copy(to + he->offset[i], from + he->offset[i], he->size[i]);
		copied |= VEC_BIT(i);
	}
	return copied;
}

/* false: no place for rights by protection key, of which there are some to be kept. */
static bool load_vectors(struct x86_cpu *cpu, const struct frame *frame)
{
	const struct hostexec *he = cpu->hostexec;
	struct x86_state *state = &cpu->state;
	uint32_t limit = frame->bytes;
	uint64_t bv;

	if (state->pkru && (!he->offset[VEC_PKRU] || he->offset[VEC_PKRU] + 8 > limit))
		return false;
	if (state->fpu_ip || state->fpu_dp || state->fpu_opcode)
		vec_materialise(cpu, VEC_BIT(VEC_X87));
	bv = copy_components(he, frame->image, state->xsave,
			     vec_get64(state->xsave, VEC_XSTATE_BV) & he->components, limit);
	vec_put16(frame->image, VEC_FOP, state->fpu_opcode);
	vec_put64(frame->image, VEC_FIP, state->fpu_ip);
	vec_put64(frame->image, VEC_FDP, state->fpu_dp);
	vec_put32(frame->image, VEC_MXCSR, vec_get32(frame->image, VEC_MXCSR) & he->mxcsr_mask);
	if (state->pkru) {
		vec_put64(frame->image, he->offset[VEC_PKRU], state->pkru);
		bv |= VEC_BIT(VEC_PKRU);
	}
	vec_put64(frame->image, VEC_XSTATE_BV, bv);
	vec_put64(frame->image, VEC_XCOMP_BV, 0);
	return true;
}

static void store_vectors(struct x86_cpu *cpu, const struct frame *frame)
{
	const struct hostexec *he = cpu->hostexec;
	struct x86_state *state = &cpu->state;
	uint64_t bv = vec_get64(frame->image, VEC_XSTATE_BV) & he->components;

	bv = copy_components(he, state->xsave, frame->image, bv, frame->bytes);
	vec_put64(state->xsave, VEC_XSTATE_BV, bv);
	vec_put64(state->xsave, VEC_XCOMP_BV, 0);
	state->fpu_ip = state->fpu_dp = state->fpu_opcode = 0;
	if (bv & VEC_BIT(VEC_X87)) {
		state->fpu_opcode = (uint16_t)(vec_get32(state->xsave, VEC_FTW) >> 16 & 0x7ff);
		state->fpu_ip = vec_get64(state->xsave, VEC_FIP);
		state->fpu_dp = vec_get64(state->xsave, VEC_FDP);
	}
}

/* ---- segments ---- */

static void load_segments(const struct x86_state *state, struct cell_shared *shared)
{
	shared->ds = state->seg[X86_DS].selector;
	shared->es = state->seg[X86_ES].selector;
	shared->fs = state->seg[X86_FS].selector;
	shared->gs = state->seg[X86_GS].selector;
	shared->fs_base = state->seg[X86_FS].base;
	shared->gs_base = state->seg[X86_GS].base;
}

/*
 * A selector that the guest loaded: the host took it, whose table says the same. Its descriptor may
 * have become another one since, which the guest would not see; so what is raised here has no other
 * chance than to be raised.
 */
static void store_segment(struct x86_cpu *cpu, enum x86_seg_index index, uint16_t selector)
{
	if (cpu->state.seg[index].selector != selector)
		x86_load_segment(cpu, index, selector);
}

/* false: not one that user code can have. */
static bool store_code_segment(struct x86_cpu *cpu, uint16_t selector)
{
	struct x86_seg *cs = &cpu->state.seg[X86_CS];
	struct x86_descriptor desc;

	if (cs->selector == selector)
		return true;
	if ((selector & 3) != 3 || !x86_descriptor_find(cpu, selector, &desc) ||
	    !x86_attr_is_code(x86_descriptor_attr(&desc)) || !x86_descriptor_present(&desc) ||
	    (x86_descriptor_dpl(&desc) != 3 && !x86_attr_is_conforming(x86_descriptor_attr(&desc))))
		return false;
	x86_descriptor_to_seg(&desc, cs);
	cs->selector = selector;
	x86_update_mode(cpu);
	return true;
}

static uint64_t canonical(const struct x86_cpu *cpu, uint64_t base)
{
	return x86_canonical(cpu, base) ? base : 0;
}

/* CS, GS, FS, SS: 16 bits each, of which the middle two may be older than the handler's. */
static bool store_segments(struct x86_cpu *cpu, const struct cell_shared *shared, uint64_t selectors)
{
	struct x86_state *state = &cpu->state;

	if (!store_code_segment(cpu, (uint16_t)selectors))
		return false;
	store_segment(cpu, X86_SS, (uint16_t)(selectors >> 48));
	store_segment(cpu, X86_DS, shared->ds);
	store_segment(cpu, X86_ES, shared->es);
	store_segment(cpu, X86_FS, shared->fs);
	store_segment(cpu, X86_GS, shared->gs);
	state->seg[X86_FS].base = canonical(cpu, READ_ONCE(shared->fs_base));
	state->seg[X86_GS].base = canonical(cpu, READ_ONCE(shared->gs_base));
	return true;
}

/* ---- all ---- */

bool direct_frame_load(struct x86_cpu *cpu, const struct cell *cell)
{
	struct frame frame;

	if (!find_frame(cell, &frame) || !load_vectors(cpu, &frame))
		return false;
	load_registers(&cpu->state, frame.regs);
	load_segments(&cpu->state, cell->shared);
	frame.regs[REG_CSGSFS] = (greg_t)(cpu->state.seg[X86_CS].selector |
					  (uint64_t)cpu->state.seg[X86_SS].selector << 48);
	return true;
}

bool direct_frame_store(struct x86_cpu *cpu, const struct cell *cell)
{
	struct frame frame;
	uint64_t ac = cpu->state.rflags & X86_AC;

	if (!find_frame(cell, &frame))
		return false;
	store_registers(&cpu->state, frame.regs);
	store_vectors(cpu, &frame);
	if ((cpu->state.rflags & X86_AC) != ac)
		x86_update_mmu(cpu);
	return store_segments(cpu, cell->shared, (uint64_t)frame.regs[REG_CSGSFS]);
}
