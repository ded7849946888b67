/* SPDX-License-Identifier: MIT */
/*
 * 32-bit code, in protected and in compatibility mode. It is translated where it is flat (X86_KEY_FLAT):
 * CS, SS, DS and ES have base 0 and all of the 4 GiB, as systems with paging have them. So EIP is the
 * linear address, and operands need no check but that of their page. FS and GS may have a base; their
 * limit is looked at each time.
 *
 * Guest registers are where they are in 64-bit code. Their upper halves mean nothing: addresses are
 * formed with 32 bits, which clears RCX's upper half.
 */
#include "isa/x86/mirror/translate.h"

bool mirror_narrow_operand_simple(const struct emit *e, const ZydisDecodedOperand *op)
{
	return e->insn->addrsize == 4 && op->mem.type != ZYDIS_MEMOP_TYPE_VSIB &&
	       (e->insn->flags & INSN_SEG_FLAT || e->insn->seg == X86_FS || e->insn->seg == X86_GS);
}

/* Offsets end at 4 GiB: only one that wraps is outside. */
void mirror_emit_limit_check(struct emit *e, const struct mirror_address *address,
			     unsigned size_bytes)
{
	struct mirror_address offset = *address;

	masm_cmp_byte(e->m, H_CPU, CPU_FIELD(open[0]) + (size_t)address->seg, 0);
	masm_jcc(e->m, COND_E, &mirror_cold(e)->enter);
	offset.seg = MIRROR_FLAT;
	mirror_emit_address(e, &offset);
	masm_alu_imm(e->m, false, 7, H_RCX, -(int32_t)size_bytes);
	masm_jcc(e->m, COND_A, &mirror_cold(e)->enter);
	e->flags_in_host = false;
}

bool mirror_narrow_jump_is_short(const struct x86_cpu *cpu, const struct insn *insn)
{
	return (cpu->block_key & X86_KEY_MODE) != X86_MODE_64 && insn->opsize != 4;
}

bool mirror_emit_offset_move(struct emit *e)
{
	const ZydisDecodedInstruction *z = &e->info.z;
	bool store = z->opcode & 2;
	struct mirror_address address = { .base = MIRROR_NONE, .index = MIRROR_NONE };
	const ZydisDecodedOperand *op = &e->info.op[store ? 0 : 1];

	if (z->mnemonic != ZYDIS_MNEMONIC_MOV || z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || (z->opcode & 0xfc) != 0xa0 ||
	    op->type != ZYDIS_OPERAND_TYPE_MEMORY || !mirror_operand_simple(e, op))
		return false;
	address = mirror_address_of(e, op);
	mirror_spare_flags(e);
	mirror_emit_access(e, &address, op->size / 8, store, false);
	masm_rm(e->m, op->size == 64,
		(op->size == 16 ? MASM_66 : 0) | (store ? 0x88u : 0x8au) | (op->size > 8), H_RAX,
		H_RCX, 0);
	return true;
}
