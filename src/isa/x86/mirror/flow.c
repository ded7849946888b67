/* SPDX-License-Identifier: MIT */
/*
 * How a block ends. A destination in the same page is reached through a block_exit, which is chained
 * once the destination has code. Any other is looked up in the CPU's jump table by its linear address:
 *
 *	mov   r11, rcx               ; RCX: destination
 *	shr   r11, 14
 *	xor   r11d, ecx
 *	and   r11d, 0x3fff           ; slot …
 *	shl   r11d, 4                ; … of 16 bytes
 *	add   r11, [rsp + jumps]
 *	add   rcx, [rsp + jump_key]
 *	cmp   rcx, [r11]
 *	jne   cold                   ; the interpreter does it, and the run loop fills the slot
 *	sub   rcx, [rsp + jump_key]
 *	and   rcx, -4096
 *	mov   [rsp + code_base], rcx
 *	mov   r11, [r11 + 8]
 *	jmp   [r11 + code]
 *
 * At every end the flags that somebody may read are in memory.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define SLOT_SHIFT 4
#define STACK_BYTES 8

_Static_assert(sizeof(struct x86_jump) == 1 << SLOT_SHIFT, "the look-up scales by it");

/* jmp [reg + disp] */
static void emit_jump_through(struct masm *m, uint8_t reg, size_t disp)
{
	masm_rm(m, false, 0xff, 4, reg, (int32_t)disp);
}

/* RCX: where to; R11 becomes the block's address, or it goes to label. Flags go. */
static void emit_look_up(struct emit *e, struct masm_label *label)
{
	struct masm *m = e->m;

	masm_mov(m, H_SCRATCH, H_RCX);
	masm_rr(m, true, 0xc1, 5, H_SCRATCH);
	masm_byte(m, X86_JUMP_BITS);
	masm_rr(m, false, 0x33, H_SCRATCH, H_RCX);
	masm_alu_imm(m, false, 4, H_SCRATCH, X86_JUMPS - 1);
	masm_rr(m, false, 0xc1, 4, H_SCRATCH);
	masm_byte(m, SLOT_SHIFT);
	masm_rm(m, true, 0x03, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.jumps));
	masm_rm(m, true, 0x03, H_RCX, H_CPU, (int32_t)CPU_FIELD(mirror.jump_key));
	masm_rm(m, true, 0x3b, H_RCX, H_SCRATCH, offsetof(struct x86_jump, key));
	masm_jcc(m, COND_NE, label);
}

/* After emit_look_up. */
static void emit_enter(struct emit *e)
{
	struct masm *m = e->m;

	masm_rm(m, true, 0x2b, H_RCX, H_CPU, (int32_t)CPU_FIELD(mirror.jump_key));
	masm_alu_imm(m, true, 4, H_RCX, -PAGE_BYTES);
	masm_store(m, CPU_FIELD(mirror.code_base), H_CPU, H_RCX);
	masm_load(m, H_SCRATCH, H_SCRATCH, offsetof(struct x86_jump, block));
	emit_jump_through(m, H_SCRATCH, offsetof(struct block, code));
}

/* To another page at a distance that is known: no chain, because what is mapped there may change. */
static void emit_far_exit(struct emit *e, int64_t offset)
{
	struct masm_label miss = MASM_LABEL_INIT;
	struct masm *m = e->m;

	masm_load(m, H_RCX, H_CPU, CPU_FIELD(mirror.code_base));
	masm_lea(m, H_RCX, H_RCX, (int32_t)offset);
	emit_look_up(e, &miss);
	emit_enter(e);
	masm_bind(m, &miss);
	masm_rm(m, true, 0x2b, H_RCX, H_CPU, (int32_t)CPU_FIELD(mirror.jump_key));
	masm_jmp_to(m, e->at, e->translator->thunks.miss);
}

void mirror_emit_exit(struct emit *e, unsigned number, int64_t offset)
{
	struct block_exit *exit = &e->block->block.exit[number];

	if (offset < 0 || offset >= PAGE_BYTES) {
		emit_far_exit(e, offset);
		return;
	}
	exit->offset = (int32_t)offset;
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)exit);
	emit_jump_through(e->m, H_SCRATCH, offsetof(struct block_exit, target));
}

/* ---- the instructions ---- */

static void emit_conditional(struct emit *e, int64_t next)
{
	struct masm_label taken = MASM_LABEL_INIT;

	mirror_restore_flags(e);
	if (e->live[e->block->count])
		mirror_save_flags(e);
	masm_jcc(e->m, e->insn->opcode & 15, &taken);
	mirror_emit_exit(e, 1, next);
	masm_bind(e->m, &taken);
	mirror_emit_exit(e, 0, next + e->insn->imm);
}

/* Pushes the address of the next instruction; the stack pointer moves only with moves_rsp. */
static void emit_push_return(struct emit *e, int64_t next)
{
	struct masm *m = e->m;

	masm_lea(m, H_RCX, mirror_reg(X86_RSP), -STACK_BYTES);
	mirror_emit_check(e, STACK_BYTES, true);
	masm_load(m, H_SCRATCH, H_CPU, CPU_FIELD(mirror.code_base));
	masm_lea(m, H_SCRATCH, H_SCRATCH, (int32_t)next);
	masm_store(m, 0, H_RCX, H_SCRATCH);
}

static void emit_call(struct emit *e, int64_t next)
{
	mirror_spare_flags(e);
	emit_push_return(e, next);
	masm_lea(e->m, mirror_reg(X86_RSP), mirror_reg(X86_RSP), -STACK_BYTES);
	mirror_emit_exit(e, 0, next + e->insn->imm);
}

/* The destination of an indirect jump or call to RCX. */
static bool emit_target(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	bool high;
	int gpr;

	if (e->insn->opsize != STACK_BYTES)
		return false;
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		if (!mirror_operand_simple(e, op))
			return false;
		mirror_emit_address(e, op, true);
		mirror_emit_check(e, STACK_BYTES, false);
		masm_load(e->m, H_RCX, H_RCX, 0);
		return true;
	}
	gpr = mirror_gpr(op->reg.value, &high);
	if (mirror_reg((unsigned)gpr) == H_MEMORY)
		masm_load(e->m, H_RCX, H_CPU, GPR_FIELD(gpr));
	else
		masm_mov(e->m, H_RCX, mirror_reg((unsigned)gpr));
	return true;
}

static bool emit_indirect_jump(struct emit *e)
{
	mirror_spare_flags(e);
	if (!emit_target(e))
		return false;
	emit_look_up(e, &mirror_cold(e)->enter);
	emit_enter(e);
	return true;
}

/* The call is undone by its cold path, which writes the same return address again. */
static bool emit_indirect_call(struct emit *e, int64_t next)
{
	mirror_spare_flags(e);
	if (!emit_target(e))
		return false;
	masm_store(e->m, CPU_FIELD(mirror.spare), H_CPU, H_RCX);
	emit_push_return(e, next);
	masm_load(e->m, H_RCX, H_CPU, CPU_FIELD(mirror.spare));
	emit_look_up(e, &mirror_cold(e)->enter);
	masm_lea(e->m, mirror_reg(X86_RSP), mirror_reg(X86_RSP), -STACK_BYTES);
	emit_enter(e);
	return true;
}

static bool emit_return(struct emit *e)
{
	int32_t release = STACK_BYTES + (int32_t)(e->insn->opcode == 0xc2 ? e->insn->imm & 0xffff : 0);
	uint8_t rsp = mirror_reg(X86_RSP);

	if (e->insn->opsize != STACK_BYTES)
		return false;
	mirror_spare_flags(e);
	masm_mov(e->m, H_RCX, rsp);
	mirror_emit_check(e, STACK_BYTES, false);
	masm_load(e->m, H_RCX, H_RCX, 0);
	emit_look_up(e, &mirror_cold(e)->enter);
	masm_lea(e->m, rsp, rsp, release);
	emit_enter(e);
	return true;
}

bool mirror_emit_flow(struct emit *e)
{
	int64_t next = e->insn->page_offset + e->insn->length;
	bool relative = e->info.op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
			e->info.op[0].imm.is_relative;

	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		if (e->info.z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			return false;
		if (!relative)
			return emit_indirect_jump(e);
		if (e->live[e->block->count])
			mirror_save_flags(e);
		mirror_emit_exit(e, 0, next + e->insn->imm);
		return true;
	case ZYDIS_MNEMONIC_CALL:
		if (e->info.z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			return false;
		if (!relative)
			return emit_indirect_call(e, next);
		emit_call(e, next);
		return true;
	case ZYDIS_MNEMONIC_RET:
		return e->info.z.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR && emit_return(e);
	default:
		if (e->info.z.meta.category != ZYDIS_CATEGORY_COND_BR || !e->info.z.cpu_flags ||
		    !e->info.z.cpu_flags->tested || e->info.z.mnemonic == ZYDIS_MNEMONIC_LOOPE ||
		    e->info.z.mnemonic == ZYDIS_MNEMONIC_LOOPNE)
			return false; /* LOOP and JRCXZ */
		emit_conditional(e, next);
		return true;
	}
}
