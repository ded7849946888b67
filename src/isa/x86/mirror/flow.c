/* SPDX-License-Identifier: MIT */
/*
 * How a block ends. A destination in the same region is jumped to; one elsewhere in the same page is
 * reached through a block_exit, which is chained once the destination has code. For any other there is
 * lookup.c, and for an instruction that runs into the next page as well.
 *
 * Events are looked for at loop heads, where a jump leads back in the page to another region, and with
 * what lookup.c emits; so there is no way around without.
 *
 * Flags that somebody may read are in memory where a region is left or an event may be taken, and at the start
 * of a member where flags.c says.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define INSN_BYTES_MAX 15
#define ALU_CMP 7

/* A block's exits: where it jumps, and what follows it. */
enum { EXIT_TARGET, EXIT_NEXT };

/* Does the instruction at offset run into the next page? */
static bool runs_across(const struct emit *e, const struct member *from, int64_t offset)
{
	struct insn_info info;
	const uint8_t *page;

	if (offset <= PAGE_BYTES - INSN_BYTES_MAX || offset >= PAGE_BYTES)
		return false;
	page = mem_ptr(e->cpu->cpu.env.mem, from->block->block.phys & ~0xfffull, PAGE_BYTES);
	return page && !mirror_describe(e->cpu, page + offset, (unsigned)(PAGE_BYTES - offset), &info);
}

/* Out of the region, to an offset in the page (or beyond). */
static void emit_exit(struct emit *e, struct member *from, unsigned number)
{
	int64_t offset = number == EXIT_TARGET ? from->ending.target : from->ending.next;
	struct block_exit *exit = &from->block->block.exit[number];

	if (number == EXIT_TARGET ? from->wanted_target : from->wanted_next)
		mirror_save_flags(e);
	if (offset < 0 || offset >= PAGE_BYTES || runs_across(e, from, offset)) {
		mirror_emit_far(e, offset);
		return;
	}
	exit->offset = (int32_t)offset;
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)exit);
	if (offset <= from->block->insn[0].page_offset) {
		masm_alu_imm_mem(e->m, false, ALU_CMP, H_CPU, CPU_FIELD(cpu.requests), 0);
		masm_jcc(e->m, COND_NE, &e->leave);
	}
	masm_rm(e->m, false, 0xff, 4, H_SCRATCH, offsetof(struct block_exit, target));
}

void mirror_emit_leave(struct emit *e)
{
	if (!e->leave.fixups)
		return;
	masm_bind(e->m, &e->leave);
	masm_jmp_to(e->m, e->at, e->translator->thunks.exit);
}

/* The flags are where the member expects them. */
static void emit_flags_for(struct emit *e, const struct member *to)
{
	if (!mirror_live_at(e, to))
		return;
	if (to->flags_in_memory)
		mirror_save_flags(e);
	else
		mirror_restore_flags(e);
}

static struct member *destination(struct emit *e, const struct member *from, unsigned number)
{
	return mirror_member_at(e, number == EXIT_TARGET ? from->ending.target : from->ending.next);
}

/* On through one of the current member's exits; falls through to the member behind it. */
static void emit_goto(struct emit *e, unsigned number)
{
	struct member *to = destination(e, e->member, number);

	if (!to) {
		emit_exit(e, e->member, number);
		return;
	}
	emit_flags_for(e, to);
	if (e->in_twin || to != e->member + 1)
		masm_jmp(e->m, &to->start);
}

void mirror_emit_fall(struct emit *e)
{
	emit_goto(e, EXIT_NEXT);
}

/* The same if the condition holds, by one instruction: whatever needs more lies out of line. */
static void emit_branch(struct emit *e, uint8_t condition, unsigned number)
{
	struct member *to = destination(e, e->member, number);
	struct side_exit *side;

	if (to && (!to->flags_in_memory || e->flags_in_memory || !mirror_live_at(e, to))) {
		masm_jcc(e->m, condition, &to->start);
		return;
	}
	side = &e->side[e->side_exits++];
	*side = (struct side_exit){
		.enter = MASM_LABEL_INIT, .from = e->member, .number = number,
		.flags_in_memory = e->flags_in_memory,
	};
	masm_jcc(e->m, condition, &side->enter);
}

void mirror_emit_side_exits(struct emit *e)
{
	for (unsigned i = 0; i < e->side_exits; i++) {
		struct side_exit *side = &e->side[i];
		struct member *to = destination(e, side->from, side->number);

		masm_bind(e->m, &side->enter);
		e->flags_in_host = true;
		e->flags_in_memory = side->flags_in_memory;
		if (to) {
			emit_flags_for(e, to);
			masm_jmp(e->m, &to->start);
		} else {
			emit_exit(e, side->from, side->number);
		}
	}
}

/* ---- the instructions ---- */

static void emit_conditional(struct emit *e)
{
	uint8_t condition = e->insn->opcode & 15;

	mirror_restore_flags(e);
	if (destination(e, e->member, EXIT_TARGET) == e->member + 1) {
		emit_branch(e, condition ^ 1, EXIT_NEXT);
		emit_goto(e, EXIT_TARGET);
	} else {
		emit_branch(e, condition, EXIT_TARGET);
		emit_goto(e, EXIT_NEXT);
	}
}

/* Pushes the address of the next instruction; the stack pointer moves only with moves_rsp. */
static void emit_push_return(struct emit *e, int64_t next)
{
	unsigned word = mirror_word_bytes(e);
	struct mirror_address top = mirror_stack_address(e, X86_RSP, -(int32_t)word);
	struct masm_place place;
	uint8_t scratch;

	mirror_spare_flags_for(e, &top, word, true);
	place = mirror_emit_access(e, &top, word, true, true);
	scratch = mirror_free_scratch(&place);
	masm_load(e->m, scratch, H_CPU, CPU_FIELD(mirror.code_base));
	mirror_emit_lea(e, scratch, scratch, (int32_t)next);
	masm_at(e->m, mirror_wide(e), 0x89, scratch, &place);
}

static void emit_move_stack(struct emit *e, int32_t distance)
{
	mirror_emit_lea(e, mirror_reg(X86_RSP), mirror_reg(X86_RSP), distance);
}

static void emit_call(struct emit *e, int64_t next)
{
	emit_push_return(e, next);
	emit_move_stack(e, -(int32_t)mirror_word_bytes(e));
	emit_goto(e, EXIT_TARGET);
}

/* The destination of an indirect jump or call to RCX. */
static bool emit_target(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	bool high;
	int gpr;

	if (e->insn->opsize != mirror_word_bytes(e))
		return false;
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		struct mirror_address address;

		if (!mirror_operand_simple(e, op))
			return false;
		address = mirror_address_of(e, op);
		mirror_emit_access(e, &address, mirror_word_bytes(e), false, false);
		masm_rm(e->m, mirror_wide(e), 0x8b, H_RCX, H_RCX, 0);
		return true;
	}
	gpr = mirror_gpr(op->reg.value, &high);
	if (mirror_reg((unsigned)gpr) == H_MEMORY)
		masm_load(e->m, H_RCX, H_CPU, GPR_FIELD(gpr));
	else
		masm_rr(e->m, mirror_wide(e), 0x89, mirror_reg((unsigned)gpr), H_RCX);
	return true;
}

static bool emit_indirect_jump(struct emit *e)
{
	mirror_spare_flags(e);
	if (!emit_target(e))
		return false;
	mirror_emit_look_up(e);
	mirror_emit_enter(e);
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
	mirror_emit_look_up(e);
	emit_move_stack(e, -(int32_t)mirror_word_bytes(e));
	mirror_emit_enter(e);
	return true;
}

static bool emit_return(struct emit *e)
{
	unsigned word = mirror_word_bytes(e);
	int32_t release = (int32_t)word +
			  (int32_t)(e->insn->opcode == 0xc2 ? e->insn->imm & 0xffff : 0);
	struct mirror_address top = mirror_stack_address(e, X86_RSP, 0);
	struct masm_place place;

	if (e->insn->opsize != word)
		return false;
	mirror_spare_flags(e);
	place = mirror_emit_access(e, &top, word, false, true);
	masm_at(e->m, mirror_wide(e), 0x8b, H_RCX, &place);
	mirror_emit_look_up(e);
	emit_move_stack(e, release);
	mirror_emit_enter(e);
	return true;
}

static enum ending_kind ending_kind_of(const struct insn_info *info)
{
	bool relative = info->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
			info->op[0].imm.is_relative;

	if (info->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return ENDING_UNKNOWN;
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		return relative ? ENDING_JUMP : ENDING_UNKNOWN;
	case ZYDIS_MNEMONIC_CALL:
		return relative ? ENDING_CALL : ENDING_CALL_INDIRECT;
	case ZYDIS_MNEMONIC_LOOPE: /* these and JRCXZ are interpreted */
	case ZYDIS_MNEMONIC_LOOPNE:
		return ENDING_UNKNOWN;
	default:
		if (info->z.meta.category != ZYDIS_CATEGORY_COND_BR || !info->z.cpu_flags ||
		    !info->z.cpu_flags->tested)
			return ENDING_UNKNOWN;
		return ENDING_CONDITION;
	}
}

struct ending mirror_ending(struct x86_cpu *cpu, const struct insn *last)
{
	int64_t next = last->page_offset + last->length;
	struct ending ending = { .next = next, .target = next + last->imm };
	struct insn_info info;

	if (!(last->flags & INSN_ENDS_BLOCK))
		ending.kind = ENDING_FALL;
	else if (!mirror_describe(cpu, last->bytes, last->length, &info) ||
		 info.z.mnemonic != last->mnemonic || mirror_narrow_jump_is_short(cpu, last))
		ending.kind = ENDING_UNKNOWN;
	else
		ending.kind = ending_kind_of(&info);
	return ending;
}

bool mirror_emit_flow(struct emit *e)
{
	int64_t next = e->member->ending.next;

	switch (e->member->ending.kind) {
	case ENDING_JUMP:
		emit_goto(e, EXIT_TARGET);
		return true;
	case ENDING_CONDITION:
		emit_conditional(e);
		return true;
	case ENDING_CALL:
		emit_call(e, next);
		return true;
	case ENDING_CALL_INDIRECT:
		return emit_indirect_call(e, next);
	default:
		break;
	}
	if (e->info.z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	if (e->info.z.mnemonic == ZYDIS_MNEMONIC_JMP)
		return emit_indirect_jump(e);
	return e->info.z.mnemonic == ZYDIS_MNEMONIC_RET && emit_return(e);
}
