/* SPDX-License-Identifier: MIT */
/*
 * PUSH POP PUSHA POPA ENTER LEAVE. Registers change last, so that a fault leaves them as they were.
 * Intel SDM vol. 2; vol. 1, chapter 6.
 */
#include "isa/x86/gp/gp.h"
#include "isa/x86/gp/stack_fast.h"

/* An access at an offset of SS, wrapped to the stack's width. */
static uint64_t stack_linear(struct x86_cpu *cpu, uint64_t sp, unsigned size,
			     enum x86_access access)
{
	return x86_linear(cpu, X86_SS, sp & gp_mask(cpu->stack_size), size, access);
}

static void stack_store(struct x86_cpu *cpu, uint64_t sp, uint64_t value, unsigned size)
{
	x86_store(cpu, stack_linear(cpu, sp, size, X86_WRITE), size, value);
}

static uint64_t stack_load(struct x86_cpu *cpu, uint64_t sp, unsigned size)
{
	return x86_load(cpu, stack_linear(cpu, sp, size, X86_READ), size);
}

static void set_sp(struct x86_cpu *cpu, uint64_t sp)
{
	insn_write_reg(cpu, GP_OFFSET(X86_RSP), cpu->stack_size, sp);
}

/* ---- PUSH, POP ---- */

static void push_r64(struct x86_cpu *cpu, const struct insn *insn)
{
	stack_push64(cpu, gp_get64(cpu, insn->dst));
}

static void push_i64(struct x86_cpu *cpu, const struct insn *insn)
{
	stack_push64(cpu, (uint64_t)insn->imm);
}

static void push_m64(struct x86_cpu *cpu, const struct insn *insn)
{
	stack_push64(cpu, x86_load64(cpu, x86_operand_linear(cpu, insn, 8, X86_READ)));
}

static void push_r(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_push(cpu, insn_read_reg(cpu, insn->dst, insn->opsize), insn->opsize);
}

static void push_i(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_push(cpu, (uint64_t)insn->imm & gp_mask(insn->opsize), insn->opsize);
}

static void push_m(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_push(cpu, gp_read(cpu, insn, insn->dst, insn->opsize), insn->opsize);
}

static void pop_r64(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value = stack_load64(cpu, cpu->state.gpr[X86_RSP]);

	cpu->state.gpr[X86_RSP] += 8;
	gp_set64(cpu, insn->dst, value);
}

static void pop_r(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value = x86_pop(cpu, insn->opsize);

	insn_write_reg(cpu, insn->dst, insn->opsize, value);
}

/* An address that uses RSP sees it after the increment; a fault must not. */
static void pop_m(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value = x86_stack_peek(cpu, 0, insn->opsize);
	uint64_t sp = cpu->state.gpr[X86_RSP], offset, linear;

	x86_stack_adjust(cpu, insn->opsize);
	offset = x86_effective(cpu, insn);
	cpu->state.gpr[X86_RSP] = sp;
	linear = gp_linear_at(cpu, insn, offset, insn->opsize, X86_WRITE);
	x86_store(cpu, linear, insn->opsize, value);
	x86_stack_adjust(cpu, insn->opsize);
}

/* ---- all registers ---- */

static void pusha(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t sp = cpu->state.gpr[X86_RSP];

	for (unsigned i = X86_RAX; i <= X86_RDI; i++) {
		sp -= insn->opsize;
		stack_store(cpu, sp, cpu->state.gpr[i], insn->opsize);
	}
	set_sp(cpu, sp);
}

/* A fault on the way leaves the registers that were popped before it, as processors do. */
static void popa(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t sp = cpu->state.gpr[X86_RSP];

	for (unsigned i = 0; i < 8; i++, sp += insn->opsize) {
		uint64_t value = stack_load(cpu, sp, insn->opsize);

		if (7 - i != X86_RSP)
			insn_write_reg(cpu, GP_OFFSET(7 - i), insn->opsize, value);
	}
	set_sp(cpu, sp);
}

/* ---- frames ---- */

static void enter(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize, level = (unsigned)(insn->imm >> 16) & 31;
	uint64_t sp = cpu->state.gpr[X86_RSP] - size, bp = cpu->state.gpr[X86_RBP], frame = sp;
	uint64_t top;

	stack_store(cpu, sp, bp, size);
	for (unsigned i = 1; i < level; i++) {
		bp -= size;
		sp -= size;
		stack_store(cpu, sp, stack_load(cpu, bp, size), size);
	}
	if (level) {
		sp -= size;
		stack_store(cpu, sp, frame, size);
	}
	sp -= (uint16_t)insn->imm;
	/* The new top of the stack must be writable now. */
	top = stack_linear(cpu, sp, size, X86_WRITE);
	x86_check_alignment(cpu, top, size);
	x86_probe(cpu, top, size, X86_WRITE);
	insn_write_reg(cpu, GP_OFFSET(X86_RBP), size, frame);
	set_sp(cpu, sp);
}

static void leave(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t bp = cpu->state.gpr[X86_RBP];
	uint64_t value = stack_load(cpu, bp, insn->opsize);

	set_sp(cpu, bp + insn->opsize);
	insn_write_reg(cpu, GP_OFFSET(X86_RBP), insn->opsize, value);
}

static void leave64(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t bp = cpu->state.gpr[X86_RBP];
	uint64_t value = stack_load64(cpu, bp);

	(void)insn;
	cpu->state.gpr[X86_RSP] = bp + 8;
	cpu->state.gpr[X86_RBP] = value;
}

/* ---- selection ---- */

static bool is_segment(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static insn_fn *select_push(const struct insn_info *info, const struct insn *insn)
{
	bool wide = insn->opsize == 8;

	if (is_segment(&info->op[0]))
		return NULL;
	if (insn->flags & INSN_MEM)
		return wide ? push_m64 : push_m;
	if (info->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return wide ? push_i64 : push_i;
	return wide ? push_r64 : push_r;
}

static insn_fn *select_pop(const struct insn_info *info, const struct insn *insn)
{
	if (is_segment(&info->op[0]))
		return NULL;
	if (insn->flags & INSN_MEM)
		return pop_m;
	return insn->opsize == 8 ? pop_r64 : pop_r;
}

insn_fn *gp_select_stack(const struct insn_info *info, struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return select_push(info, insn);
	case ZYDIS_MNEMONIC_POP:
		return select_pop(info, insn);
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD:
		insn->opsize = info->z.mnemonic == ZYDIS_MNEMONIC_PUSHA ? 2 : 4;
		return pusha;
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD:
		insn->opsize = info->z.mnemonic == ZYDIS_MNEMONIC_POPA ? 2 : 4;
		return popa;
	case ZYDIS_MNEMONIC_ENTER:
		return enter;
	case ZYDIS_MNEMONIC_LEAVE:
		return insn->opsize == 8 ? leave64 : leave;
	default:
		return NULL;
	}
}
