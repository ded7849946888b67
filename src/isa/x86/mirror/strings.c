/* SPDX-License-Identifier: MIT */
/*
 * REP STOS and REP MOVS upward within one page: the host's own, on the page in host memory. Kernels
 * clear and copy small structures with them all the time. Whatever else (several pages, downward, other
 * address sizes) is the interpreter's, which also goes in steps of pages. Intel SDM vol. 1, 7.3.9.
 *
 * A count of 0 goes the same way, but for pages that the check does not find: the interpreter knows
 * that nothing is accessed then.
 */
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define DF_BYTE 1 /* of RFLAGS; the flag in it: */
#define DF_BIT 4
#define ALU_OR 1
#define OP_XCHG 0x87

static bool is_simple(const struct emit *e)
{
	return e->insn->rep && e->insn->addrsize == 8 && !(e->insn->flags & INSN_LOCK) &&
	       e->insn->seg < X86_FS;
}

static uint8_t log2_size(const struct emit *e)
{
	return (uint8_t)__builtin_ctz(e->insn->opsize);
}

static void emit_upward(struct emit *e)
{
	masm_rm(e->m, false, 0xf6, 0, H_CPU, (int32_t)CPU_FIELD(state.rflags) + DF_BYTE);
	masm_byte(e->m, DF_BIT); /* test byte [rflags + 1], DF */
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
}

/* The host address of the first element that gpr points to, in RCX; R11 is free. */
static void emit_element(struct emit *e, unsigned gpr, bool write)
{
	struct mirror_address address = mirror_stack_address(e, (int)gpr, 0);

	mirror_emit_access(e, &address, e->insn->opsize, write, false);
}

/* To the cold path unless all elements at gpr are in its page. Keeps RCX. */
static void emit_room(struct emit *e, unsigned gpr)
{
	struct masm *m = e->m;

	masm_mov(m, H_SCRATCH, mirror_reg(gpr));
	masm_alu_imm(m, true, ALU_OR, H_SCRATCH, -PAGE_BYTES);
	masm_rr(m, true, 0xf7, 3, H_SCRATCH); /* neg: bytes to the page's end */
	if (log2_size(e)) {
		masm_rr(m, true, 0xc1, 5, H_SCRATCH); /* shr */
		masm_byte(m, log2_size(e));
	}
	masm_rr(m, true, 0x3b, mirror_reg(X86_RCX), H_SCRATCH);
	masm_jcc(m, COND_A, &mirror_cold(e)->enter);
}

/* RCX: where RDI's page is; R11 gets RDI. The instruction itself, and RDI and the count behind it. */
static void emit_repeat(struct emit *e, uint8_t opcode)
{
	struct masm *m = e->m;

	masm_mov(m, H_SCRATCH, H_RDI);
	masm_mov(m, H_RDI, H_RCX);
	masm_mov(m, H_RCX, mirror_reg(X86_RCX));
	if (e->insn->opsize == 2)
		masm_byte(m, 0x66);
	masm_byte(m, 0xf3);
	if (e->insn->opsize == 8)
		masm_byte(m, 0x48);
	masm_byte(m, opcode | (e->insn->opsize > 1));
	masm_rx(m, true, 0x8d, H_RDI, H_SCRATCH, mirror_reg(X86_RCX), log2_size(e), 0);
}

static bool emit_stos(struct emit *e)
{
	if (!is_simple(e))
		return false;
	mirror_spare_flags(e);
	emit_upward(e);
	emit_element(e, X86_RDI, true);
	emit_room(e, X86_RDI);
	emit_repeat(e, 0xaa);
	masm_rr(e->m, false, 0x8b, mirror_reg(X86_RCX), H_RCX); /* 0 now */
	e->flags_in_host = false;
	return true;
}

static bool emit_movs(struct emit *e)
{
	struct masm *m = e->m;

	if (!is_simple(e))
		return false;
	mirror_spare_flags(e);
	emit_upward(e);
	emit_element(e, X86_RSI, false);
	masm_store(m, CPU_FIELD(mirror.spare), H_CPU, H_RCX);
	emit_element(e, X86_RDI, true);
	emit_room(e, X86_RDI);
	emit_room(e, X86_RSI);
	masm_rm(m, true, OP_XCHG, H_RSI, H_CPU, (int32_t)CPU_FIELD(mirror.spare));
	emit_repeat(e, 0xa4);
	masm_load(m, H_RSI, H_CPU, CPU_FIELD(mirror.spare));
	masm_rx(m, true, 0x8d, H_RSI, H_RSI, mirror_reg(X86_RCX), log2_size(e), 0);
	masm_rr(m, false, 0x8b, mirror_reg(X86_RCX), H_RCX);
	e->flags_in_host = false;
	return true;
}

bool mirror_emit_string(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		return emit_stos(e);
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
		return emit_movs(e);
	default:
		return false;
	}
}
