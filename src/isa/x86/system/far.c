/* SPDX-License-Identifier: MIT */
/*
 * Far JMP and CALL in every mode: straight to code, through call gates, to tasks. Intel SDM vol. 3,
 * 5.8 and 8.3; vol. 2, CALL and JMP.
 */
#include "isa/x86/system/far.h"

#include "isa/x86/memory/access.h"
#include "isa/x86/event/frame.h"
#include "isa/x86/system/task.h"

static const struct x86_report protection = { X86_GP, 0 };

struct far_pointer {
	uint64_t offset;
	uint16_t selector;
};

static struct far_pointer far_operand(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize;
	struct far_pointer to;
	uint64_t linear;

	if (!(insn->flags & INSN_MEM)) {
		to.selector = (uint16_t)(insn->imm >> 32);
		to.offset = size == 2 ? (uint16_t)insn->imm : (uint32_t)insn->imm;
		return to;
	}
	linear = x86_operand_linear(cpu, insn, size + 2, X86_READ);
	to.offset = x86_load(cpu, linear, size);
	to.selector = (uint16_t)x86_load(cpu, linear + size, 2);
	return to;
}

static void set_code(struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip)
{
	cpu->state.seg[X86_CS] = *cs;
	cpu->state.rip = rip;
	x86_update_mode(cpu);
}

static void set_8086(const struct x86_cpu *cpu, uint16_t selector, struct x86_seg *cs)
{
	*cs = cpu->state.seg[X86_CS];
	if (cpu->v86)
		x86_seg_set_v86(cs, selector);
	else
		x86_seg_set_real(cs, selector, true);
}

void x86_enter_8086(struct x86_cpu *cpu, uint16_t selector, uint64_t rip)
{
	struct x86_seg cs;

	set_8086(cpu, selector, &cs);
	x86_check_target(cpu, &cs, rip, 0);
	set_code(cpu, &cs, rip);
}

/* ---- straight to a code segment ---- */

static void check_direct(struct x86_cpu *cpu, struct x86_descriptor *desc, struct x86_seg *cs)
{
	unsigned dpl = x86_descriptor_dpl(desc), rpl = desc->selector & 3;
	uint32_t attr = x86_descriptor_attr(desc);
	bool allowed;

	if (x86_attr_is_conforming(attr))
		allowed = dpl <= cpu->cpl;
	else
		allowed = rpl <= cpu->cpl && dpl == cpu->cpl;
	if (!x86_attr_is_code(attr) || !allowed)
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
	x86_check_code_finish(cpu, desc, cpu->cpl, 0, cs);
}

static void push_return(struct x86_cpu *cpu, unsigned size, bool code64)
{
	struct x86_frame frame;

	x86_frame_on_current(cpu, &frame, size, code64, 0);
	x86_frame_add(&frame, cpu->state.seg[X86_CS].selector);
	x86_frame_add(&frame, cpu->state.rip);
	x86_frame_write(cpu, &frame);
	x86_set_stack_pointer(cpu, frame.sp, frame.stack_size);
}

/* ---- call gates ---- */

/* May this code use the gate or task that desc describes? */
static void check_gate_privilege(struct x86_cpu *cpu, const struct x86_descriptor *desc)
{
	unsigned dpl = x86_descriptor_dpl(desc);

	if (dpl < cpu->cpl || dpl < (desc->selector & 3u))
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
}

static void open_gate(struct x86_cpu *cpu, const struct x86_descriptor *desc,
		      struct x86_gate *gate)
{
	check_gate_privilege(cpu, desc);
	if (!x86_descriptor_present(desc))
		x86_raise_selector(cpu, X86_NP, desc->selector, 0);
	x86_gate_parse(desc->low, desc->high, gate);
	if (cpu->long_mode && ((desc->high >> 40) & 0x1f))
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
}

/* The code behind a gate; returns the CPL to run it at. JMP may not change the CPL. */
static unsigned gate_code(struct x86_cpu *cpu, const struct x86_gate *gate, bool call,
			  struct x86_seg *cs)
{
	unsigned dpl, cpl = cpu->cpl;
	struct x86_descriptor desc;
	uint32_t attr;

	if (x86_selector_null(gate->selector))
		x86_general_protection(cpu);
	x86_descriptor_get(cpu, gate->selector, protection, &desc);
	attr = x86_descriptor_attr(&desc);
	dpl = x86_descriptor_dpl(&desc);
	if (!x86_attr_is_code(attr) || dpl > cpl ||
	    (!call && !x86_attr_is_conforming(attr) && dpl != cpl) ||
	    (cpu->long_mode && (attr & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L))
		x86_raise_selector(cpu, X86_GP, gate->selector, 0);
	if (!x86_attr_is_conforming(attr))
		cpl = dpl;
	x86_check_code_finish(cpu, &desc, cpl, 0, cs);
	return cpl;
}

/* Old SS:SP, the gate's number of parameters from the old stack, CS:RIP. */
static void call_inner(struct x86_cpu *cpu, const struct x86_gate *gate, unsigned size,
		       unsigned cpl, const struct x86_seg *cs)
{
	struct x86_frame frame;

	if (cpu->long_mode)
		x86_frame_on_inner64(cpu, &frame, cpl, cpl, 0);
	else
		x86_frame_on_inner(cpu, &frame, size, cpl, 0);
	x86_frame_add(&frame, cpu->state.seg[X86_SS].selector);
	x86_frame_add(&frame, cpu->state.gpr[X86_RSP]);
	for (unsigned i = cpu->long_mode ? 0 : gate->count; i > 0; i--)
		x86_frame_add(&frame, x86_stack_peek(cpu, (i - 1) * size, size));
	x86_frame_add(&frame, cpu->state.seg[X86_CS].selector);
	x86_frame_add(&frame, cpu->state.rip);
	x86_frame_write(cpu, &frame);
	x86_frame_commit(cpu, &frame);
	set_code(cpu, cs, gate->offset);
}

static void through_call_gate(struct x86_cpu *cpu, const struct x86_descriptor *desc, bool call)
{
	unsigned size, cpl;
	struct x86_gate gate;
	struct x86_seg cs;

	open_gate(cpu, desc, &gate);
	size = cpu->long_mode ? 8 : gate.type & 8 ? 4 : 2;
	cpl = gate_code(cpu, &gate, call, &cs);
	x86_check_target(cpu, &cs, gate.offset, 0);
	if (cpl < cpu->cpl) {
		call_inner(cpu, &gate, size, cpl, &cs);
		return;
	}
	if (call)
		push_return(cpu, size, cpu->long_mode);
	set_code(cpu, &cs, gate.offset);
}

/* ---- system descriptors ---- */

static void through_task_gate(struct x86_cpu *cpu, const struct x86_descriptor *desc,
			      enum x86_task_source source)
{
	struct x86_gate gate;

	open_gate(cpu, desc, &gate);
	x86_task_switch(cpu, gate.selector, source, NULL);
}

/* Where only the 64-bit call gate is left, everything else is as good as undefined. */
static bool type_exists(const struct x86_cpu *cpu, unsigned type)
{
	return !cpu->long_mode || type == X86_TYPE_CALL_GATE;
}

static void to_system(struct x86_cpu *cpu, const struct x86_descriptor *desc, bool call)
{
	enum x86_task_source source = call ? X86_TASK_CALL : X86_TASK_JUMP;
	unsigned type = x86_descriptor_type(desc);

	if (!type_exists(cpu, type))
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
	switch (type) {
	case X86_TYPE_CALL_GATE16:
	case X86_TYPE_CALL_GATE:
		through_call_gate(cpu, desc, call);
		break;
	case X86_TYPE_TASK_GATE:
		through_task_gate(cpu, desc, source);
		break;
	case X86_TYPE_TSS16:
	case X86_TYPE_TSS:
		check_gate_privilege(cpu, desc);
		x86_task_switch(cpu, desc->selector, source, NULL);
		break;
	default:
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
	}
}

/* ---- the instructions ---- */

static void far_transfer(struct x86_cpu *cpu, const struct insn *insn, bool call)
{
	struct far_pointer to = far_operand(cpu, insn);
	struct x86_descriptor desc;
	struct x86_seg cs;

	if (!cpu->protected_mode) {
		set_8086(cpu, to.selector, &cs);
	} else {
		if (x86_selector_null(to.selector))
			x86_general_protection(cpu);
		x86_descriptor_get(cpu, to.selector, protection, &desc);
		if (x86_descriptor_is_system(&desc)) {
			to_system(cpu, &desc, call);
			return;
		}
		check_direct(cpu, &desc, &cs);
	}
	x86_check_target(cpu, &cs, to.offset, 0);
	if (call)
		push_return(cpu, insn->opsize, x86_in_64bit(cpu));
	set_code(cpu, &cs, to.offset);
}

void x86_far_jump(struct x86_cpu *cpu, const struct insn *insn)
{
	far_transfer(cpu, insn, false);
}

void x86_far_call(struct x86_cpu *cpu, const struct insn *insn)
{
	far_transfer(cpu, insn, true);
}
