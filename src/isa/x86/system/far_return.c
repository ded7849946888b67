/* SPDX-License-Identifier: MIT */
/* RETF, and what it shares with IRET. Intel SDM vol. 2, RET; vol. 3, 5.8.6. */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/far.h"
#include "isa/x86/event/frame.h"

static const struct x86_report protection = { X86_GP, 0 };

static void check_return_code(struct x86_cpu *cpu, struct x86_return *ret)
{
	unsigned rpl = ret->cs & 3, dpl;
	struct x86_descriptor desc;
	uint32_t attr;

	if (x86_selector_null(ret->cs))
		x86_general_protection(cpu);
	x86_descriptor_get(cpu, ret->cs, protection, &desc);
	attr = x86_descriptor_attr(&desc);
	dpl = x86_descriptor_dpl(&desc);
	if (!x86_attr_is_code(attr) || rpl < cpu->cpl ||
	    (x86_attr_is_conforming(attr) ? dpl > rpl : dpl != rpl))
		x86_raise_selector(cpu, X86_GP, ret->cs, 0);
	x86_check_code_finish(cpu, &desc, rpl, 0, &ret->code);
}

void x86_return_check(struct x86_cpu *cpu, struct x86_return *ret)
{
	unsigned rpl = ret->cs & 3;

	check_return_code(cpu, ret);
	if (ret->outer) {
		if (x86_selector_null(ret->ss) && x86_is_code64(cpu, &ret->code) && rpl < 3 &&
		    (ret->ss & 3) == rpl)
			x86_seg_set_null_stack(&ret->stack, ret->ss, rpl);
		else
			x86_check_stack(cpu, ret->ss, rpl, protection, &ret->stack);
	}
	x86_check_target(cpu, &ret->code, ret->rip, 0);
}

void x86_return_commit(struct x86_cpu *cpu, const struct x86_return *ret)
{
	unsigned width;

	cpu->state.seg[X86_CS] = ret->code;
	cpu->state.rip = ret->rip;
	if (!ret->outer)
		return;
	width = x86_is_code64(cpu, &ret->code) ? 8 : ret->stack.attr & X86_SEG_DB ? 4 : 2;
	cpu->state.seg[X86_SS] = ret->stack;
	x86_set_stack_pointer(cpu, ret->sp, width);
	x86_invalidate_inner_segments(cpu, ret->cs & 3);
}

void x86_far_return(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize, released = (uint16_t)insn->imm;
	struct x86_return ret;

	ret.rip = x86_stack_peek(cpu, 0, size);
	ret.cs = (uint16_t)x86_stack_peek(cpu, size, size);
	if (!cpu->protected_mode) {
		x86_enter_8086(cpu, ret.cs, ret.rip);
		x86_stack_adjust(cpu, 2 * size + released);
		return;
	}
	ret.outer = (ret.cs & 3) > cpu->cpl;
	if (ret.outer) {
		ret.sp = x86_stack_peek(cpu, 2 * size + released, size);
		ret.ss = (uint16_t)x86_stack_peek(cpu, 3 * size + released, size);
	}
	x86_return_check(cpu, &ret);
	if (!ret.outer)
		x86_stack_adjust(cpu, 2 * size + released);
	x86_return_commit(cpu, &ret);
	x86_update_mode(cpu);
	/* The caller's parameters lie on its own stack too. */
	if (ret.outer)
		x86_stack_adjust(cpu, released);
}
