/* SPDX-License-Identifier: MIT */
/* Segment registers as operands: MOV, PUSH, POP, LDS and kin. Intel SDM vol. 2, by their names. */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/far.h"
#include "isa/x86/event/frame.h"

static uint16_t read_selector(struct x86_cpu *cpu, const struct insn *insn)
{
	if (insn->flags & INSN_MEM)
		return x86_load16(cpu, x86_operand_linear(cpu, insn, 2, X86_READ));
	return INSN_GPR16(cpu, insn->src);
}

void x86_mov_to_seg(struct x86_cpu *cpu, const struct insn *insn)
{
	enum x86_seg_index seg = insn->modrm_reg;

	x86_load_segment(cpu, seg, read_selector(cpu, insn));
	if (seg == X86_SS)
		cpu->state.shadow_mov_ss = true;
}

/* To memory always 16 bits. */
void x86_mov_from_seg(struct x86_cpu *cpu, const struct insn *insn)
{
	uint16_t selector = cpu->state.seg[insn->modrm_reg].selector;

	if (insn->flags & INSN_MEM)
		x86_store16(cpu, x86_operand_linear(cpu, insn, 2, X86_WRITE), selector);
	else
		insn_write_reg(cpu, insn->dst, insn->opsize, selector);
}

/* With an operand size of 32 bits, today's processors write 16 and leave the upper ones alone. */
void x86_push_seg(struct x86_cpu *cpu, const struct insn *insn)
{
	uint16_t selector = cpu->state.seg[insn->modrm_reg].selector;
	uint64_t sp;

	if (insn->opsize != 4) {
		x86_push(cpu, selector, insn->opsize);
		return;
	}
	sp = cpu->state.gpr[X86_RSP] - 4;
	sp = cpu->stack_size == 2 ? (uint16_t)sp : (uint32_t)sp;
	x86_store16(cpu, x86_linear(cpu, X86_SS, sp, 2, X86_WRITE), selector);
	x86_stack_adjust(cpu, -4);
}

void x86_pop_seg(struct x86_cpu *cpu, const struct insn *insn)
{
	enum x86_seg_index seg = insn->modrm_reg;
	uint8_t stack_size = cpu->stack_size;
	uint64_t sp = cpu->state.gpr[X86_RSP] + insn->opsize;

	x86_load_segment(cpu, seg, (uint16_t)x86_stack_peek(cpu, 0, insn->opsize));
	/* POP SS moves the pointer of the stack it popped from. */
	x86_set_stack_pointer(cpu, sp, stack_size);
	if (seg == X86_SS)
		cpu->state.shadow_mov_ss = true;
}

void x86_load_far_pointer(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t linear = x86_operand_linear(cpu, insn, size + 2, X86_READ);
	uint64_t offset = x86_load(cpu, linear, size);
	uint16_t selector = (uint16_t)x86_load(cpu, linear + size, 2);

	x86_load_segment(cpu, insn->modrm_reg, selector);
	insn_write_reg(cpu, insn->dst, size, offset);
}
