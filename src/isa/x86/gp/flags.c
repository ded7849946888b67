/* SPDX-License-Identifier: MIT */
/*
 * Instructions on flags: CLC STC CMC CLD STD CLI STI CLAC STAC LAHF SAHF SALC SETcc PUSHF POPF,
 * with the rules of IOPL, virtual-8086 mode extensions and protected-mode virtual interrupts.
 * Intel SDM vol. 2; vol. 3, 20.3 and 20.4.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/cond.h"
#include "isa/x86/gp/gp.h"
#include "isa/x86/gp/stack_fast.h"

#define CHANGE_FLAG(name, expression)                                                              \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		(void)insn;                                                                        \
		cpu->state.rflags expression;                                                      \
	}
CHANGE_FLAG(clc, &= ~X86_CF)
CHANGE_FLAG(stc, |= X86_CF)
CHANGE_FLAG(cmc, ^= X86_CF)
CHANGE_FLAG(cld, &= ~X86_DF)
CHANGE_FLAG(std, |= X86_DF)

#define AH (GP_OFFSET(X86_RAX) + 1)
#define AH_FLAGS (X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF)

static void lahf(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	gp_set8(cpu, AH, (uint8_t)((cpu->state.rflags & AH_FLAGS) | X86_F1));
}

static void sahf(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->state.rflags = (cpu->state.rflags & ~AH_FLAGS) | (gp_get8(cpu, AH) & AH_FLAGS);
}

static void salc(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	gp_set8(cpu, GP_OFFSET(X86_RAX), cpu->state.rflags & X86_CF ? 0xff : 0);
}

/* ---- SETcc ---- */

#define SETCC(cc, expression)                                                                      \
	static void set##cc(struct x86_cpu *cpu, const struct insn *insn)                          \
	{                                                                                          \
		if (insn->flags & INSN_MEM)                                                        \
			x86_store8(cpu, x86_operand_linear(cpu, insn, 1, X86_WRITE),               \
				   x86_cond_##cc(cpu));                                            \
		else                                                                               \
			gp_set8(cpu, insn->dst, x86_cond_##cc(cpu));                               \
	}
X86_CONDITIONS(SETCC)

/* ---- the interrupt flag ---- */

static unsigned iopl(const struct x86_cpu *cpu)
{
	return (cpu->state.rflags & X86_IOPL) >> 12;
}

/*
 * Which flag CLI and STI change: IF, or VIF where the mode virtualises it. #GP(0) where neither may
 * be changed.
 */
static uint64_t interrupt_flag(struct x86_cpu *cpu)
{
	uint64_t virtual = cpu->v86 ? X86_CR4_VME : X86_CR4_PVI;

	if (!cpu->protected_mode && !cpu->v86)
		return X86_IF;
	if (iopl(cpu) >= cpu->cpl)
		return X86_IF;
	if (cpu->cpl != 3 || !(cpu->state.cr4 & virtual))
		x86_general_protection(cpu);
	return X86_VIF;
}

static void cli(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->state.rflags &= ~interrupt_flag(cpu);
}

static void sti(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t flag = interrupt_flag(cpu);

	(void)insn;
	if (flag == X86_VIF && (cpu->state.rflags & X86_VIP))
		x86_general_protection(cpu);
	if (flag == X86_IF && !(cpu->state.rflags & X86_IF)) {
		cpu->state.shadow_sti = true;
		cpu->block_stop = true;
	}
	cpu->state.rflags |= flag;
}

/* ---- alignment check ---- */

static void set_ac(struct x86_cpu *cpu, uint64_t ac)
{
	if (cpu->cpl)
		x86_undefined(cpu);
	if ((cpu->state.rflags & X86_AC) == ac)
		return;
	cpu->state.rflags ^= X86_AC;
	x86_update_mmu(cpu);
}

static void clac(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	set_ac(cpu, 0);
}

static void stac(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	set_ac(cpu, X86_AC);
}

/* ---- PUSHF, POPF ---- */

/* Virtual-8086 mode below IOPL 3 with VME: 16-bit PUSHF and POPF see VIF as IF, IOPL as 3. */
static bool uses_virtual_if(struct x86_cpu *cpu, const struct insn *insn)
{
	if (!cpu->v86 || iopl(cpu) == 3)
		return false;
	if (!(cpu->state.cr4 & X86_CR4_VME) || insn->opsize != 2)
		x86_general_protection(cpu);
	return true;
}

static void pushf(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t image = cpu->state.rflags & ~(X86_VM | X86_RF);

	if (uses_virtual_if(cpu, insn)) {
		image = (image & ~X86_IF) | X86_IOPL;
		if (image & X86_VIF)
			image |= X86_IF;
	}
	if (insn->opsize == 8)
		stack_push64(cpu, image);
	else
		x86_push(cpu, image & gp_mask(insn->opsize), insn->opsize);
}

#define POPF_ALWAYS                                                                                \
	(X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT | X86_AC | X86_ID)

/* The flags that POPF may change here and now. */
static uint64_t popf_mask(const struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t mask = POPF_ALWAYS;

	if (cpu->cpl == 0)
		mask |= X86_IOPL;
	if (cpu->cpl <= iopl(cpu))
		mask |= X86_IF;
	return insn->opsize == 2 ? mask & 0xffff : mask;
}

static void popf(struct x86_cpu *cpu, const struct insn *insn)
{
	bool virtual = uses_virtual_if(cpu, insn);
	uint64_t mask = popf_mask(cpu, insn), old = cpu->state.rflags, changed;
	uint64_t image = insn->opsize == 8 ? stack_load64(cpu, cpu->state.gpr[X86_RSP]) :
					     x86_stack_peek(cpu, 0, insn->opsize);

	if (virtual) {
		if ((image & X86_TF) || ((image & X86_IF) && (old & X86_VIP)))
			x86_general_protection(cpu);
		mask = (mask & ~X86_IF) | X86_VIF;
		if (image & X86_IF)
			image |= X86_VIF;
	}
	x86_stack_adjust(cpu, insn->opsize);
	cpu->state.rflags = (old & ~mask & ~X86_RF) | (image & mask);
	changed = old ^ cpu->state.rflags;
	if (changed & (X86_TF | X86_IF))
		cpu->block_stop = true;
	if (changed & X86_AC)
		x86_update_mmu(cpu);
}

/* ---- selection ---- */

static insn_fn *select_setcc(const struct insn_info *info)
{
#define SETCC_ROW(cc, expression) set##cc,
	static insn_fn *const table[16] = { X86_CONDITIONS(SETCC_ROW) };

	return table[info->z.opcode & 15];
}

static insn_fn *select_stacked(const struct insn_info *info, struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_POPF:
		insn->opsize = 2;
		break;
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_POPFD:
		insn->opsize = 4;
		break;
	default:
		insn->opsize = 8;
		break;
	}
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
		return pushf;
	default:
		return popf;
	}
}

insn_fn *gp_select_flags(const struct insn_info *info, struct insn *insn)
{
	if (info->z.meta.category == ZYDIS_CATEGORY_SETCC)
		return select_setcc(info);
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_CLC: return clc;
	case ZYDIS_MNEMONIC_STC: return stc;
	case ZYDIS_MNEMONIC_CMC: return cmc;
	case ZYDIS_MNEMONIC_CLD: return cld;
	case ZYDIS_MNEMONIC_STD: return std;
	case ZYDIS_MNEMONIC_CLI: return cli;
	case ZYDIS_MNEMONIC_STI: return sti;
	case ZYDIS_MNEMONIC_CLAC: return clac;
	case ZYDIS_MNEMONIC_STAC: return stac;
	case ZYDIS_MNEMONIC_LAHF: return lahf;
	case ZYDIS_MNEMONIC_SAHF: return sahf;
	case ZYDIS_MNEMONIC_SALC: return salc;
	case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
		return select_stacked(info, insn);
	default: return NULL;
	}
}
