/* SPDX-License-Identifier: MIT */
/* Which instructions belong to segments and far transfers: see decode.h. */
#include "isa/x86/decode.h"
#include "isa/x86/system/far.h"

static bool is_segment(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* The segment register's number goes where ModRM would have it, whatever the encoding. */
static void set_segment(struct insn *insn, const ZydisDecodedOperand *op)
{
	insn->modrm_reg = (uint8_t)ZydisRegisterGetId(op->reg.value);
}

static insn_fn *select_mov(const struct insn_info *info, struct insn *insn)
{
	if (is_segment(&info->op[0])) {
		set_segment(insn, &info->op[0]);
		return insn->modrm_reg == X86_CS ? NULL : x86_mov_to_seg;
	}
	if (!is_segment(&info->op[1]))
		return NULL;
	set_segment(insn, &info->op[1]);
	return x86_mov_from_seg;
}

static insn_fn *select_stack(const struct insn_info *info, struct insn *insn)
{
	if (!is_segment(&info->op[0]))
		return NULL;
	set_segment(insn, &info->op[0]);
	return info->z.mnemonic == ZYDIS_MNEMONIC_PUSH ? x86_push_seg : x86_pop_seg;
}

static insn_fn *select_far_pointer(struct insn *insn, enum x86_seg_index seg)
{
	insn->modrm_reg = (uint8_t)seg;
	return x86_load_far_pointer;
}

static insn_fn *select_segment(const struct insn_info *info, struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV: return select_mov(info, insn);
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_POP: return select_stack(info, insn);
	case ZYDIS_MNEMONIC_LDS: return select_far_pointer(insn, X86_DS);
	case ZYDIS_MNEMONIC_LES: return select_far_pointer(insn, X86_ES);
	case ZYDIS_MNEMONIC_LFS: return select_far_pointer(insn, X86_FS);
	case ZYDIS_MNEMONIC_LGS: return select_far_pointer(insn, X86_GS);
	case ZYDIS_MNEMONIC_LSS: return select_far_pointer(insn, X86_SS);
	case ZYDIS_MNEMONIC_LLDT: return x86_lldt;
	case ZYDIS_MNEMONIC_LTR: return x86_ltr;
	case ZYDIS_MNEMONIC_SLDT: return x86_sldt;
	case ZYDIS_MNEMONIC_STR: return x86_str;
	case ZYDIS_MNEMONIC_VERR: return x86_verr;
	case ZYDIS_MNEMONIC_VERW: return x86_verw;
	case ZYDIS_MNEMONIC_LAR: return x86_lar;
	case ZYDIS_MNEMONIC_LSL: return x86_lsl;
	case ZYDIS_MNEMONIC_ARPL: return x86_arpl;
	default: return NULL;
	}
}

static insn_fn *select_transfer(const struct insn_info *info)
{
	bool far = info->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_JMP: return far ? x86_far_jump : NULL;
	case ZYDIS_MNEMONIC_CALL: return far ? x86_far_call : NULL;
	case ZYDIS_MNEMONIC_RET: return far ? x86_far_return : NULL;
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ: return x86_iret;
	case ZYDIS_MNEMONIC_INT: return x86_int;
	case ZYDIS_MNEMONIC_INT3: return x86_int3;
	case ZYDIS_MNEMONIC_INTO: return x86_into;
	case ZYDIS_MNEMONIC_INT1: return x86_int1;
	default: return NULL;
	}
}

insn_fn *x86_select_far(const struct insn_info *info, struct insn *insn)
{
	insn_fn *fn = select_transfer(info);

	if (!fn)
		return select_segment(info, insn);
	insn->flags |= INSN_ENDS_BLOCK;
	return fn;
}
