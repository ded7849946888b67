/* SPDX-License-Identifier: MIT */
/* Nearly themselves: CMPXCHG8B and CMPXCHG16B, bits of memory that a register numbers. */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PREFIX_LOCK 0xf0
#define ALU_CMP 7

/* RCX is both an operand and our address: the address moves to R11. 16 bytes misaligned fault. */
static bool emit_exchange_pair(struct emit *e, unsigned size_bytes)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	struct mirror_address address;
	struct masm *m = e->m;

	if (!mirror_operand_simple(e, op))
		return false;
	address = mirror_address_of(e, op);
	mirror_spare_flags(e);
	mirror_emit_access(e, &address, size_bytes, true, false);
	if (size_bytes == 8)
		mirror_emit_lock_check(e, size_bytes);
	mirror_restore_flags(e);
	masm_mov(m, H_SCRATCH, H_RCX);
	masm_mov(m, H_RCX, mirror_reg(X86_RCX));
	mirror_site_here(e);
	if (e->insn->flags & INSN_LOCK)
		masm_byte(m, PREFIX_LOCK);
	masm_rm(m, size_bytes == 16, 0x0fc7, 1, H_SCRATCH, 0);
	e->flags_in_host = true;
	e->flags_in_memory = false;
	return true;
}

/*
 * BT and its kin with the bit's number in a register: the number also moves the address, by whole
 * operands. Kernels ask for bits of masks, which is within the operand nearly always; others are left to
 * the interpreter.
 */
static bool emit_bit(struct emit *e, bool write)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	unsigned size = e->insn->opsize;
	struct mirror_address address;
	struct masm *m = e->m;
	uint8_t number;
	bool high;
	int gpr;

	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || e->info.op[1].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    size < 4 || !mirror_operand_simple(e, op))
		return false;
	gpr = mirror_gpr(e->info.op[1].reg.value, &high);
	number = mirror_reg((unsigned)gpr);
	address = mirror_address_of(e, op);
	mirror_spare_flags(e);
	if (number == H_MEMORY)
		masm_load(m, H_SCRATCH, H_CPU, GPR_FIELD(gpr));
	masm_alu_imm(m, size == 8, ALU_CMP, number == H_MEMORY ? H_SCRATCH : number,
		     (int32_t)size * 8 - 1);
	masm_jcc(m, COND_A, &mirror_cold(e)->enter);
	mirror_emit_access(e, &address, size, write, false);
	if (e->insn->flags & INSN_LOCK)
		mirror_emit_lock_check(e, size);
	mirror_restore_flags(e);
	if (number == H_MEMORY) {
		masm_load(m, H_SCRATCH, H_CPU, GPR_FIELD(gpr));
		number = H_SCRATCH;
	}
	if (e->insn->flags & INSN_LOCK)
		masm_byte(m, PREFIX_LOCK);
	masm_rm(m, size == 8, 0x0f00u | e->insn->opcode, number, H_RCX, 0);
	e->flags_in_host = true;
	e->flags_in_memory = false;
	return true;
}

bool mirror_emit_special(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
		return emit_bit(e, false);
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return emit_bit(e, true);
	case ZYDIS_MNEMONIC_CMPXCHG8B: return emit_exchange_pair(e, 8);
	case ZYDIS_MNEMONIC_CMPXCHG16B: return emit_exchange_pair(e, 16);
	default:
		return false;
	}
}
