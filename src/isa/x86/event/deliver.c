/* SPDX-License-Identifier: MIT */
/*
 * Events through the interrupt vector table (real mode) and the IDT (protected and IA-32e mode).
 * Intel SDM vol. 3, 6.10 to 6.14 and 20.1.4, 20.3; INT n in vol. 2.
 *
 * Each way through here first reads and checks everything, then writes the frame, then changes
 * registers, where nothing can fault any more. Task gates alone go beyond this: see task.c.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/event/frame.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/system/task.h"
#include "isa/x86/event/trap.h"

/* ---- real mode, and 8086 programs that handle their own INT n ---- */

static void enter_8086(struct x86_cpu *cpu, uint32_t entry, uint64_t flags, uint32_t ext)
{
	struct x86_seg *cs = &cpu->state.seg[X86_CS], target = *cs;
	struct x86_frame frame;

	if (cpu->v86)
		x86_seg_set_v86(&target, (uint16_t)(entry >> 16));
	else
		x86_seg_set_real(&target, (uint16_t)(entry >> 16), true);
	x86_check_target(cpu, &target, entry & 0xffff, ext);
	x86_frame_on_current(cpu, &frame, 2, false, ext);
	x86_frame_add(&frame, flags);
	x86_frame_add(&frame, cs->selector);
	x86_frame_add(&frame, cpu->state.rip);
	x86_frame_write(cpu, &frame);

	x86_frame_commit(cpu, &frame);
	*cs = target;
	cpu->state.rip = entry & 0xffff;
}

void x86_deliver_real(struct x86_cpu *cpu, const struct x86_event *event)
{
	uint32_t offset = event->vector * 4u, entry;

	if (offset + 3 > cpu->state.idtr.limit)
		x86_raise_idt(cpu, X86_GP, event);
	entry = (uint32_t)x86_load_system(cpu, (uint32_t)(cpu->state.idtr.base + offset), 4);
	enter_8086(cpu, entry, cpu->state.rflags, x86_event_ext(event));
	cpu->state.rflags &= ~(X86_IF | X86_TF | X86_AC | X86_RF);
	x86_update_mode(cpu);
}

void x86_deliver_v86_program(struct x86_cpu *cpu, unsigned vector)
{
	uint64_t flags = cpu->state.rflags, cleared = X86_TF | X86_IF;
	uint32_t entry = (uint32_t)x86_load(cpu, vector * 4, 4);

	if ((flags & X86_IOPL) != X86_IOPL) {
		/* The program sees its virtual interrupt flag as IF. */
		flags = (flags & ~X86_IF) | X86_IOPL | (flags & X86_VIF ? X86_IF : 0);
		cleared = X86_TF | X86_VIF;
	}
	enter_8086(cpu, entry, flags, 0);
	cpu->state.rflags &= ~cleared;
	x86_update_mode(cpu);
}

/* ---- what the IDT's gates have in common ---- */

/* S must be clear, and a program may only call the gates that are meant for it. */
static void check_gate(struct x86_cpu *cpu, const struct x86_event *event,
		       const struct x86_gate *gate, uint64_t low, uint32_t types)
{
	if ((low >> 44 & 1) || !(types >> gate->type & 1))
		x86_raise_idt(cpu, X86_GP, event);
	if (event->kind == X86_EVENT_SOFTWARE && gate->dpl < cpu->cpl)
		x86_raise_idt(cpu, X86_GP, event);
	if (!gate->present)
		x86_raise_idt(cpu, X86_NP, event);
}

/* The handler's code segment, checked; returns the CPL it will run at. */
static unsigned handler_code(struct x86_cpu *cpu, const struct x86_gate *gate, uint32_t ext,
			     struct x86_seg *cs)
{
	const struct x86_report report = { X86_GP, ext };
	struct x86_descriptor desc;
	uint32_t attr;
	unsigned cpl;

	if (x86_selector_null(gate->selector))
		x86_raise_error(cpu, X86_GP, ext);
	x86_descriptor_get(cpu, gate->selector, report, &desc);
	attr = x86_descriptor_attr(&desc);
	cpl = x86_descriptor_dpl(&desc);
	if (!x86_attr_is_code(attr) || cpl > cpu->cpl ||
	    (cpu->long_mode && (attr & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L))
		x86_raise_selector(cpu, X86_GP, gate->selector, ext);
	if (x86_attr_is_conforming(attr))
		cpl = cpu->cpl;
	x86_check_code_finish(cpu, &desc, cpl, ext, cs);
	if (cpu->v86 && cpl)
		x86_raise_selector(cpu, X86_GP, gate->selector, ext);
	return cpl;
}

static void enter_handler(struct x86_cpu *cpu, const struct x86_gate *gate,
			  const struct x86_frame *frame, const struct x86_seg *cs)
{
	uint64_t cleared = X86_TF | X86_NT | X86_VM | X86_RF;

	/* Bit 0 tells a trap gate from an interrupt gate. */
	if (!(gate->type & 1))
		cleared |= X86_IF;
	x86_frame_commit(cpu, frame);
	cpu->state.seg[X86_CS] = *cs;
	cpu->state.rip = gate->offset;
	cpu->state.rflags &= ~cleared;
	x86_update_transfer(cpu);
}

/* ---- protected mode ---- */

static void add_v86_segments(struct x86_cpu *cpu, struct x86_frame *frame)
{
	x86_frame_add(frame, cpu->state.seg[X86_GS].selector);
	x86_frame_add(frame, cpu->state.seg[X86_FS].selector);
	x86_frame_add(frame, cpu->state.seg[X86_DS].selector);
	x86_frame_add(frame, cpu->state.seg[X86_ES].selector);
}

static void leave_v86(struct x86_cpu *cpu)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < sizeof(data); i++)
		cpu->state.seg[data[i]] = (struct x86_seg){ .attr = X86_SEG_UNUSABLE };
}

static void through_gate(struct x86_cpu *cpu, const struct x86_event *event,
			 const struct x86_gate *gate)
{
	unsigned size = gate->type & 8 ? 4 : 2, cpl;
	uint32_t ext = x86_event_ext(event);
	bool v86 = cpu->v86;
	struct x86_frame frame;
	struct x86_seg cs;

	cpl = handler_code(cpu, gate, ext, &cs);
	x86_check_target(cpu, &cs, gate->offset, ext);
	if (cpl < cpu->cpl)
		x86_frame_on_inner(cpu, &frame, size, cpl, ext);
	else
		x86_frame_on_current(cpu, &frame, size, false, ext);
	if (v86)
		add_v86_segments(cpu, &frame);
	if (cpl < cpu->cpl) {
		x86_frame_add(&frame, cpu->state.seg[X86_SS].selector);
		x86_frame_add(&frame, cpu->state.gpr[X86_RSP]);
	}
	x86_frame_add(&frame, x86_event_flags(cpu, event));
	x86_frame_add(&frame, cpu->state.seg[X86_CS].selector);
	x86_frame_add(&frame, cpu->state.rip);
	if (event->has_error)
		x86_frame_add(&frame, event->error);
	x86_frame_write(cpu, &frame);

	if (v86)
		leave_v86(cpu);
	enter_handler(cpu, gate, &frame, &cs);
}

void x86_deliver_protected(struct x86_cpu *cpu, const struct x86_event *event)
{
	const uint32_t types = 1u << X86_TYPE_TASK_GATE | 1u << X86_TYPE_INT_GATE16 |
			       1u << X86_TYPE_TRAP_GATE16 | 1u << X86_TYPE_INT_GATE |
			       1u << X86_TYPE_TRAP_GATE;
	uint32_t offset = event->vector * 8u;
	struct x86_gate gate;
	uint64_t low;

	if (offset + 7 > cpu->state.idtr.limit)
		x86_raise_idt(cpu, X86_GP, event);
	low = x86_load_system(cpu, (uint32_t)(cpu->state.idtr.base + offset), 8);
	x86_gate_parse(low, 0, &gate);
	check_gate(cpu, event, &gate, low, types);
	if (gate.type == X86_TYPE_TASK_GATE)
		x86_task_switch(cpu, gate.selector, X86_TASK_EVENT, event);
	else
		through_gate(cpu, event, &gate);
}

/* ---- IA-32e mode ---- */

static void long_mode_stack(struct x86_cpu *cpu, const struct x86_gate *gate, unsigned cpl,
			    uint32_t ext, struct x86_frame *frame)
{
	unsigned ist = gate->count & 7;

	if (cpl < cpu->cpl) {
		x86_frame_on_inner64(cpu, frame, ist ? ist + 3 : cpl, cpl, ext);
	} else {
		x86_frame_on_current(cpu, frame, 8, true, ext);
		if (ist)
			frame->sp = x86_tss_stack64(cpu, ist + 3, ext);
	}
	frame->sp &= ~15ull;
}

void x86_deliver_long(struct x86_cpu *cpu, const struct x86_event *event)
{
	uint32_t offset = event->vector * 16u, ext = x86_event_ext(event);
	uint64_t low, linear = cpu->state.idtr.base + offset;
	struct x86_frame frame;
	struct x86_gate gate;
	struct x86_seg cs;
	unsigned cpl;

	if (offset + 15 > cpu->state.idtr.limit)
		x86_raise_idt(cpu, X86_GP, event);
	low = x86_load_system(cpu, linear, 8);
	x86_gate_parse(low, x86_load_system(cpu, linear + 8, 8), &gate);
	check_gate(cpu, event, &gate, low, 1u << X86_TYPE_INT_GATE | 1u << X86_TYPE_TRAP_GATE);
	cpl = handler_code(cpu, &gate, ext, &cs);
	x86_check_target(cpu, &cs, gate.offset, ext);
	long_mode_stack(cpu, &gate, cpl, ext, &frame);
	x86_frame_add(&frame, cpu->state.seg[X86_SS].selector);
	x86_frame_add(&frame, cpu->state.gpr[X86_RSP]);
	x86_frame_add(&frame, x86_event_flags(cpu, event));
	x86_frame_add(&frame, cpu->state.seg[X86_CS].selector);
	x86_frame_add(&frame, cpu->state.rip);
	if (event->has_error)
		x86_frame_add(&frame, event->error);
	x86_frame_write(cpu, &frame);
	enter_handler(cpu, &gate, &frame, &cs);
}
