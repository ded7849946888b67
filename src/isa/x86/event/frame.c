/* SPDX-License-Identifier: MIT */
/*
 * Frames of far calls and events: see frame.h.
 *
 * Whose access a push is: on a stack of the level we are at, an explicit access of that level; on
 * the one we switch to, the supervisor's.
 */
#include "isa/x86/event/frame.h"

#include <assert.h>

#include "isa/x86/memory/access.h"
#include "isa/x86/memory/segment.h"

static uint64_t stack_mask(unsigned stack_size)
{
	return stack_size == 8 ? ~0ull : (1ull << stack_size * 8) - 1;
}

void x86_set_stack_pointer(struct x86_cpu *cpu, uint64_t sp, unsigned stack_size)
{
	uint64_t *rsp = &cpu->state.gpr[X86_RSP];

	if (stack_size == 2)
		*rsp = (*rsp & ~0xffffull) | (sp & 0xffff);
	else
		*rsp = sp & stack_mask(stack_size);
}

void x86_frame_on_current(struct x86_cpu *cpu, struct x86_frame *frame, unsigned value_size,
			  bool code64, uint32_t ext)
{
	frame->ss = cpu->state.seg[X86_SS];
	frame->stack_size = code64 ? 8 : cpu->stack_size;
	frame->sp = cpu->state.gpr[X86_RSP] & stack_mask(frame->stack_size);
	frame->value_size = (uint8_t)value_size;
	/* Compatibility mode's own accesses reach the low 4 GiB alone; an IST stack lies anywhere. */
	frame->system = code64 && !x86_in_64bit(cpu) && cpu->cpl < 3;
	frame->ext = ext;
	frame->count = 0;
}

void x86_frame_on_inner(struct x86_cpu *cpu, struct x86_frame *frame, unsigned value_size,
			unsigned dpl, uint32_t ext)
{
	const struct x86_report report = { X86_TS, ext };
	uint16_t selector;
	uint32_t sp;

	x86_tss_stack(cpu, dpl, ext, &selector, &sp);
	x86_check_stack(cpu, selector, dpl, report, &frame->ss);
	frame->stack_size = frame->ss.attr & X86_SEG_DB ? 4 : 2;
	frame->sp = sp & stack_mask(frame->stack_size);
	frame->value_size = (uint8_t)value_size;
	frame->system = true;
	frame->ext = ext;
	frame->count = 0;
}

void x86_frame_on_inner64(struct x86_cpu *cpu, struct x86_frame *frame, unsigned slot,
			  unsigned dpl, uint32_t ext)
{
	frame->sp = x86_tss_stack64(cpu, slot, ext);
	x86_seg_set_null_stack(&frame->ss, (uint16_t)dpl, dpl);
	frame->stack_size = 8;
	frame->value_size = 8;
	frame->system = true;
	frame->ext = ext;
	frame->count = 0;
}

static _Noreturn void raise_no_room(struct x86_cpu *cpu, const struct x86_frame *frame)
{
	if (frame->system && frame->stack_size != 8)
		x86_raise_selector(cpu, X86_SS_FAULT, frame->ss.selector, frame->ext);
	x86_raise_error(cpu, X86_SS_FAULT, frame->ext);
}

static bool has_room(const struct x86_cpu *cpu, const struct x86_frame *frame, uint64_t offset,
		     unsigned len)
{
	const struct x86_seg *ss = &frame->ss;
	uint64_t last = offset + len - 1;

	if (frame->stack_size == 8)
		return x86_canonical(cpu, offset) && x86_canonical(cpu, last);
	if (!(ss->attr & X86_SEG_CODE) && (ss->attr & X86_SEG_EXPAND_DOWN))
		return offset > ss->limit && last <= (ss->attr & X86_SEG_DB ? 0xffffffff : 0xffff);
	return last <= ss->limit;
}

static uint64_t linear_of(const struct x86_frame *frame, uint64_t offset)
{
	return frame->stack_size == 8 ? offset : (uint32_t)(frame->ss.base + offset);
}

static void probe(struct x86_cpu *cpu, const struct x86_frame *frame, uint64_t offset)
{
	if (frame->system)
		x86_probe_system(cpu, linear_of(frame, offset), frame->value_size, X86_WRITE);
	else
		x86_probe(cpu, linear_of(frame, offset), frame->value_size, X86_WRITE);
}

static void check_push(struct x86_cpu *cpu, const struct x86_frame *frame, uint64_t offset)
{
	if (!has_room(cpu, frame, offset, frame->value_size))
		raise_no_room(cpu, frame);
	probe(cpu, frame, offset);
}

static bool in_one_page(uint64_t linear, unsigned len)
{
	return (linear & 0xfff) + len <= 0x1000;
}

static void store(struct x86_cpu *cpu, const struct x86_frame *frame, uint64_t offset,
		  uint64_t value)
{
	uint64_t linear = linear_of(frame, offset);

	value &= stack_mask(frame->value_size);
	if (frame->system)
		x86_store_system(cpu, linear, frame->value_size, value);
	else
		x86_store(cpu, linear, frame->value_size, value);
}

/* All of a 64-bit frame where the TLB answers for it. */
static bool write_at_once(struct x86_cpu *cpu, struct x86_frame *frame)
{
	unsigned mmu = frame->system ? x86_system_mmu(cpu) : cpu->mmu, count = frame->count;
	uint64_t sp = frame->sp - 8 * count;
	volatile uint64_t *words;

	if (frame->stack_size != 8 || frame->value_size != 8)
		return false;
	words = x86_at_once(cpu, sp, 8 * count, X86_WRITE, mmu);
	if (unlikely(!words))
		return false;
	for (unsigned i = 0; i < count; i++)
		words[count - 1 - i] = frame->value[i];
	frame->sp = sp;
	return true;
}

void x86_frame_write(struct x86_cpu *cpu, struct x86_frame *frame)
{
	uint64_t mask = stack_mask(frame->stack_size), sp = frame->sp;
	unsigned total = frame->count * frame->value_size;

	assert(frame->count <= X86_FRAME_MAX);
	if (likely(write_at_once(cpu, frame)))
		return;
	if (likely(sp >= total && in_one_page(linear_of(frame, sp - total), total))) {
		if (!has_room(cpu, frame, sp - total, total))
			raise_no_room(cpu, frame);
		/* One answers for all: the first to be pushed, as CR2 tells. */
		probe(cpu, frame, sp - frame->value_size);
	} else {
		for (unsigned i = 1; i <= frame->count; i++)
			check_push(cpu, frame, (sp - i * frame->value_size) & mask);
	}
	for (unsigned i = 0; i < frame->count; i++) {
		sp = (sp - frame->value_size) & mask;
		store(cpu, frame, sp, frame->value[i]);
	}
	frame->sp = sp;
}

void x86_frame_commit(struct x86_cpu *cpu, const struct x86_frame *frame)
{
	cpu->state.seg[X86_SS] = frame->ss;
	x86_set_stack_pointer(cpu, frame->sp, frame->stack_size);
}
