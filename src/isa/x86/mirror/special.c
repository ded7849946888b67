/* SPDX-License-Identifier: MIT */
/* Instructions that are nearly themselves: CMPXCHG16B. */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PAIR_BYTES 16

/* RCX is both an operand and our address: the address moves to R11. A misaligned one faults. */
static bool emit_cmpxchg16b(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	struct mirror_address address;
	struct masm *m = e->m;

	if (!mirror_operand_simple(e, op))
		return false;
	address = mirror_address_of(e, op);
	mirror_spare_flags(e);
	mirror_emit_access(e, &address, PAIR_BYTES, true, false);
	mirror_restore_flags(e);
	masm_mov(m, H_SCRATCH, H_RCX);
	masm_mov(m, H_RCX, mirror_reg(X86_RCX));
	mirror_site_here(e);
	if (e->insn->flags & INSN_LOCK)
		masm_byte(m, 0xf0);
	masm_rm(m, true, 0x0fc7, 1, H_SCRATCH, 0);
	e->flags_in_host = true;
	e->flags_in_memory = false;
	return true;
}

bool mirror_emit_special(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return emit_cmpxchg16b(e);
	default:
		return false;
	}
}
