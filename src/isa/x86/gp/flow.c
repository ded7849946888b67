/* SPDX-License-Identifier: MIT */
/*
 * Near control flow: JMP Jcc CALL RET LOOPcc JCXZ. Intel SDM vol. 2.
 *
 * The target is checked before anything changes: canonical in 64-bit mode, within CS's limit
 * elsewhere, #GP(0) at the branch itself. 64-bit mode ignores the operand-size prefix, as Intel's
 * processors do. Handlers named …64 are for 64-bit mode alone; the others cut RIP to insn->opsize.
 */
#include "isa/x86/gp/cond.h"
#include "isa/x86/gp/gp.h"
#include "isa/x86/gp/stack_fast.h"

static inline bool is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static inline uint64_t target64(struct x86_cpu *cpu, uint64_t target)
{
	if (unlikely(!is_canonical(target)))
		x86_general_protection(cpu);
	return target;
}

static inline uint64_t target_legacy(struct x86_cpu *cpu, const struct insn *insn, uint64_t target)
{
	target &= gp_mask(insn->opsize);
	if (unlikely(target > cpu->state.seg[X86_CS].limit))
		x86_general_protection(cpu);
	return target;
}

static uint64_t target_of(struct x86_cpu *cpu, const struct insn *insn, uint64_t target)
{
	return cpu->mode == X86_MODE_64 ? target64(cpu, target) : target_legacy(cpu, insn, target);
}

/* ---- conditional ---- */

#define JCC(cc, expression)                                                                        \
	static void j##cc##_64(struct x86_cpu *cpu, const struct insn *insn)                       \
	{                                                                                          \
		if (x86_cond_##cc(cpu))                                                            \
			cpu->state.rip = target64(cpu, cpu->state.rip + (uint64_t)insn->imm);      \
	}                                                                                          \
	static void j##cc##_legacy(struct x86_cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		if (x86_cond_##cc(cpu))                                                            \
			cpu->state.rip = target_legacy(cpu, insn,                                  \
						       cpu->state.rip + (uint64_t)insn->imm);      \
	}
X86_CONDITIONS(JCC)

/* LOOP LOOPE LOOPNE: the count register changes only when the branch does not fault. */
static void loop_if(struct x86_cpu *cpu, const struct insn *insn, bool condition)
{
	uint16_t rcx = GP_OFFSET(X86_RCX);
	uint64_t count = (insn_read_reg(cpu, rcx, insn->addrsize) - 1) & gp_mask(insn->addrsize);
	uint64_t rip = cpu->state.rip;

	if (count && condition)
		rip = target_of(cpu, insn, rip + (uint64_t)insn->imm);
	insn_write_reg(cpu, rcx, insn->addrsize, count);
	cpu->state.rip = rip;
}

static void loop(struct x86_cpu *cpu, const struct insn *insn)
{
	loop_if(cpu, insn, true);
}

static void loope(struct x86_cpu *cpu, const struct insn *insn)
{
	loop_if(cpu, insn, x86_cond_z(cpu));
}

static void loopne(struct x86_cpu *cpu, const struct insn *insn)
{
	loop_if(cpu, insn, x86_cond_nz(cpu));
}

static void jcxz(struct x86_cpu *cpu, const struct insn *insn)
{
	if (!insn_read_reg(cpu, GP_OFFSET(X86_RCX), insn->addrsize))
		cpu->state.rip = target_of(cpu, insn, cpu->state.rip + (uint64_t)insn->imm);
}

/* ---- unconditional ---- */

static void jmp_imm64(struct x86_cpu *cpu, const struct insn *insn)
{
	cpu->state.rip = target64(cpu, cpu->state.rip + (uint64_t)insn->imm);
}

static void jmp_imm(struct x86_cpu *cpu, const struct insn *insn)
{
	cpu->state.rip = target_legacy(cpu, insn, cpu->state.rip + (uint64_t)insn->imm);
}

static void jmp_reg64(struct x86_cpu *cpu, const struct insn *insn)
{
	cpu->state.rip = target64(cpu, gp_get64(cpu, insn->dst));
}

static void jmp_mem64(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t linear = x86_operand_linear(cpu, insn, 8, X86_READ);

	cpu->state.rip = target64(cpu, x86_load64(cpu, linear));
}

static void jmp_indirect(struct x86_cpu *cpu, const struct insn *insn)
{
	cpu->state.rip = target_legacy(cpu, insn, gp_read(cpu, insn, insn->dst, insn->opsize));
}

/* ---- CALL, RET ---- */

/* Processors find the target wanting when the return address is already stored. */
static void refuse_call64(struct x86_cpu *cpu)
{
	uint64_t sp = cpu->state.gpr[X86_RSP] - 8;

	x86_store(cpu, x86_linear(cpu, X86_SS, sp, 8, X86_WRITE), 8, cpu->state.rip);
	x86_general_protection(cpu);
}

static inline void call64(struct x86_cpu *cpu, uint64_t target)
{
	if (unlikely(!is_canonical(target)))
		refuse_call64(cpu);
	stack_push64(cpu, cpu->state.rip);
	cpu->state.rip = target;
}

static void call_imm64(struct x86_cpu *cpu, const struct insn *insn)
{
	call64(cpu, cpu->state.rip + (uint64_t)insn->imm);
}

static void call_reg64(struct x86_cpu *cpu, const struct insn *insn)
{
	call64(cpu, gp_get64(cpu, insn->dst));
}

static void call_mem64(struct x86_cpu *cpu, const struct insn *insn)
{
	call64(cpu, x86_load64(cpu, x86_operand_linear(cpu, insn, 8, X86_READ)));
}

static void call_legacy(struct x86_cpu *cpu, const struct insn *insn, uint64_t target)
{
	target = target_legacy(cpu, insn, target);
	x86_push(cpu, cpu->state.rip & gp_mask(insn->opsize), insn->opsize);
	cpu->state.rip = target;
}

static void call_imm(struct x86_cpu *cpu, const struct insn *insn)
{
	call_legacy(cpu, insn, cpu->state.rip + (uint64_t)insn->imm);
}

static void call_indirect(struct x86_cpu *cpu, const struct insn *insn)
{
	call_legacy(cpu, insn, gp_read(cpu, insn, insn->dst, insn->opsize));
}

/* imm: bytes of parameters to drop, 0 for the form without one. */
static void ret64(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t sp = cpu->state.gpr[X86_RSP];

	cpu->state.rip = target64(cpu, stack_load64(cpu, sp));
	cpu->state.gpr[X86_RSP] = sp + 8 + (uint16_t)insn->imm;
}

static void ret_legacy(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t target = x86_stack_peek(cpu, 0, insn->opsize);

	cpu->state.rip = target_legacy(cpu, insn, target);
	x86_stack_adjust(cpu, insn->opsize + (uint16_t)insn->imm);
}

/* ---- selection ---- */

static insn_fn *select_jcc(const struct insn_info *info)
{
#define JCC_ROW(cc, expression) { j##cc##_64, j##cc##_legacy },
	static insn_fn *const table[16][2] = { X86_CONDITIONS(JCC_ROW) };

	return table[info->z.opcode & 15][info->mode != X86_MODE_64];
}

static insn_fn *select_jmp(const struct insn_info *info, const struct insn *insn)
{
	bool wide = info->mode == X86_MODE_64;

	if (info->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return wide ? jmp_imm64 : jmp_imm;
	if (!wide)
		return jmp_indirect;
	return insn->flags & INSN_MEM ? jmp_mem64 : jmp_reg64;
}

static insn_fn *select_call(const struct insn_info *info, const struct insn *insn)
{
	bool wide = info->mode == X86_MODE_64;

	if (info->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return wide ? call_imm64 : call_imm;
	if (!wide)
		return call_indirect;
	return insn->flags & INSN_MEM ? call_mem64 : call_reg64;
}

static insn_fn *select_near(const struct insn_info *info, const struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_JMP: return select_jmp(info, insn);
	case ZYDIS_MNEMONIC_CALL: return select_call(info, insn);
	case ZYDIS_MNEMONIC_RET: return info->mode == X86_MODE_64 ? ret64 : ret_legacy;
	case ZYDIS_MNEMONIC_LOOP: return loop;
	case ZYDIS_MNEMONIC_LOOPE: return loope;
	case ZYDIS_MNEMONIC_LOOPNE: return loopne;
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ: return jcxz;
	case ZYDIS_MNEMONIC_JB: case ZYDIS_MNEMONIC_JBE: case ZYDIS_MNEMONIC_JL:
	case ZYDIS_MNEMONIC_JLE: case ZYDIS_MNEMONIC_JNB: case ZYDIS_MNEMONIC_JNBE:
	case ZYDIS_MNEMONIC_JNL: case ZYDIS_MNEMONIC_JNLE: case ZYDIS_MNEMONIC_JNO:
	case ZYDIS_MNEMONIC_JNP: case ZYDIS_MNEMONIC_JNS: case ZYDIS_MNEMONIC_JNZ:
	case ZYDIS_MNEMONIC_JO: case ZYDIS_MNEMONIC_JP: case ZYDIS_MNEMONIC_JS:
	case ZYDIS_MNEMONIC_JZ:
		return select_jcc(info);
	default: return NULL;
	}
}

insn_fn *x86_select_flow(const struct insn_info *info, struct insn *insn)
{
	insn_fn *fn;

	if (info->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return NULL;
	fn = select_near(info, insn);
	if (!fn)
		return NULL;
	insn->flags |= INSN_ENDS_BLOCK;
	insn->opsize = info->mode == X86_MODE_64 ? 8 : info->z.operand_width / 8;
	return insn->flags & INSN_LOCK ? gp_locked_undefined : fn;
}
