/* SPDX-License-Identifier: MIT */
/*
 * Who carries out a general-purpose instruction, and the rule that LOCK may stand only before a
 * read-modify-write of memory. Intel SDM vol. 2, "LOCK".
 */
#include "isa/x86/gp/gp.h"

static bool lockable(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SBB: case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG: case ZYDIS_MNEMONIC_NOT: case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_XCHG:
	case ZYDIS_MNEMONIC_XADD: case ZYDIS_MNEMONIC_CMPXCHG: case ZYDIS_MNEMONIC_CMPXCHG8B:
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return true;
	default:
		return false;
	}
}

void gp_locked_undefined(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_undefined(cpu);
}

insn_fn *x86_select_gp(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *(*const select[])(const struct insn_info *, struct insn *) = {
		gp_select_alu, gp_select_mov, gp_select_stack, gp_select_shift, gp_select_muldiv,
		gp_select_bit, gp_select_bmi, gp_select_atomic, gp_select_flags, gp_select_bcd,
		gp_select_misc,
	};

	for (unsigned i = 0; i < sizeof(select) / sizeof(select[0]); i++) {
		insn_fn *fn = select[i](info, insn);

		if (!fn)
			continue;
		if ((insn->flags & INSN_LOCK) &&
		    (!lockable(info->z.mnemonic) || !(insn->flags & INSN_MEM_FIRST)))
			return gp_locked_undefined;
		return fn;
	}
	return NULL;
}
