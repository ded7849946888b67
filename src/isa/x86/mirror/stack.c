/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, LEAVE and LEA with words of the mode's size: the stack pointer moves after the access, so that a cold
 * path finds it as it was.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define OP_LOAD 0x8b
#define OP_STORE 0x89

/* A register operand's number if it has a word, or -1. */
static int whole_register(const struct emit *e, const ZydisDecodedOperand *op)
{
	bool high;

	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || op->size != 8 * mirror_word_bytes(e))
		return -1;
	return mirror_gpr(op->reg.value, &high);
}

static void store_register(struct emit *e, int gpr, uint8_t from)
{
	if (mirror_reg((unsigned)gpr) == H_MEMORY)
		masm_store(e->m, GPR_FIELD(gpr), H_CPU, from);
	else
		masm_mov(e->m, mirror_reg((unsigned)gpr), from);
}

static bool emit_push(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	const ZydisDecodedOperand *op = &e->info.op[0];
	int gpr = whole_register(e, op);
	uint8_t rsp = mirror_reg(X86_RSP);
	struct mirror_address top = mirror_stack_address(e, X86_RSP, -word);
	struct masm_place place;

	if (e->insn->opsize != word ||
	    (gpr < 0 && op->type != ZYDIS_OPERAND_TYPE_IMMEDIATE))
		return false;
	mirror_spare_flags_for(e, &top, (unsigned)word, true);
	place = mirror_emit_access(e, &top, (unsigned)word, true, true);
	if (gpr < 0) {
		masm_at(e->m, mirror_wide(e), 0xc7, 0, &place);
		masm_u32(e->m, (uint32_t)e->insn->imm);
	} else if (mirror_reg((unsigned)gpr) == H_MEMORY) {
		masm_load(e->m, H_RCX, H_CPU, GPR_FIELD(gpr));
		masm_at(e->m, mirror_wide(e), OP_STORE, H_RCX, &place);
	} else {
		masm_at(e->m, mirror_wide(e), OP_STORE, mirror_reg((unsigned)gpr), &place);
	}
	mirror_emit_lea(e, rsp, rsp, -word);
	return true;
}

/* Reads first, so that a cold path has nothing to undo. */
static bool emit_push_memory(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	const ZydisDecodedOperand *op = &e->info.op[0];
	uint8_t rsp = mirror_reg(X86_RSP), scratch;
	struct mirror_address top = mirror_stack_address(e, X86_RSP, -word), from;
	struct masm_place place;

	if (e->insn->opsize != word || !mirror_operand_simple(e, op))
		return false;
	from = mirror_address_of(e, op);
	mirror_spare_flags(e);
	mirror_emit_access(e, &from, (unsigned)word, false, false);
	masm_rm(e->m, mirror_wide(e), OP_LOAD, H_RCX, H_RCX, 0);
	masm_store(e->m, CPU_FIELD(mirror.spare), H_CPU, H_RCX);
	place = mirror_emit_access(e, &top, (unsigned)word, true, true);
	scratch = mirror_free_scratch(&place);
	masm_load(e->m, scratch, H_CPU, CPU_FIELD(mirror.spare));
	masm_at(e->m, mirror_wide(e), OP_STORE, scratch, &place);
	mirror_emit_lea(e, rsp, rsp, -word);
	return true;
}

static bool emit_pop(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	int gpr = whole_register(e, &e->info.op[0]);
	uint8_t rsp = mirror_reg(X86_RSP), to;
	struct mirror_address top = mirror_stack_address(e, X86_RSP, 0);
	struct masm_place place;

	if (e->insn->opsize != word || gpr < 0)
		return false;
	mirror_spare_flags_for(e, &top, (unsigned)word, false);
	place = mirror_emit_access(e, &top, (unsigned)word, false, true);
	to = gpr == X86_RSP || mirror_reg((unsigned)gpr) == H_MEMORY ? H_RCX : mirror_reg((unsigned)gpr);
	masm_at(e->m, mirror_wide(e), OP_LOAD, to, &place);
	mirror_emit_lea(e, rsp, rsp, word);
	store_register(e, gpr, to);
	return true;
}

static bool emit_leave(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	struct mirror_address frame = mirror_stack_address(e, X86_RBP, 0);
	struct masm_place place;

	if (e->insn->opsize != word)
		return false;
	mirror_spare_flags_for(e, &frame, (unsigned)word, false);
	place = mirror_emit_access(e, &frame, (unsigned)word, false, true);
	mirror_emit_lea(e, mirror_reg(X86_RSP), mirror_reg(X86_RBP), word);
	masm_at(e->m, mirror_wide(e), OP_LOAD, mirror_reg(X86_RBP), &place);
	return true;
}

/* LEA of registers that the host has, too, is itself. */
static bool emit_lea_direct(struct emit *e, const ZydisDecodedOperand *op, int gpr)
{
	bool high;
	int base = mirror_gpr(op->mem.base, &high), index = mirror_gpr(op->mem.index, &high);

	if (e->insn->addrsize != mirror_word_bytes(e) || op->mem.base == ZYDIS_REGISTER_RIP ||
	    mirror_reg((unsigned)gpr) == H_MEMORY)
		return false;
	if (e->insn->base == CPU_FIELD(zero))
		base = -1;
	if ((base >= 0 && mirror_reg((unsigned)base) == H_MEMORY) ||
	    (index >= 0 && mirror_reg((unsigned)index) == H_MEMORY))
		return false;
	masm_rx(e->m, e->insn->opsize == 8, 0x8d, mirror_reg((unsigned)gpr),
		base < 0 ? H_MEMORY : mirror_reg((unsigned)base),
		index < 0 ? H_MEMORY : mirror_reg((unsigned)index), e->insn->scale, (int32_t)e->insn->disp);
	return true;
}

static bool emit_lea(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[1];
	struct mirror_address address;
	bool high;
	int gpr = mirror_gpr(e->info.op[0].reg.value, &high);

	if (e->insn->opsize < 4 || !mirror_operand_simple(e, op))
		return false;
	if (emit_lea_direct(e, op, gpr))
		return true;
	address = mirror_address_of(e, op);
	address.seg = MIRROR_FLAT;
	mirror_emit_address(e, &address);
	if (e->insn->opsize == 4)
		masm_rr(e->m, false, 0x89, H_RCX, H_RCX);
	store_register(e, gpr, H_RCX);
	return true;
}

bool mirror_emit_stack(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return e->insn->flags & INSN_MEM ? emit_push_memory(e) : emit_push(e);
	case ZYDIS_MNEMONIC_POP: return emit_pop(e);
	case ZYDIS_MNEMONIC_LEAVE: return emit_leave(e);
	case ZYDIS_MNEMONIC_LEA: return emit_lea(e);
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_PREFETCH:
	case ZYDIS_MNEMONIC_PREFETCHW:
	case ZYDIS_MNEMONIC_PREFETCHWT1:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_ENDBR64:
		return true;
	case ZYDIS_MNEMONIC_PAUSE:
		masm_byte(e->m, 0xf3);
		masm_byte(e->m, 0x90);
		return true;
	default:
		return false;
	}
}
