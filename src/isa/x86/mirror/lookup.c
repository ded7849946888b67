/* SPDX-License-Identifier: MIT */
/*
 * From one page of code to another. What is mapped where may change, so that no such jump is chained:
 * the CPU's jump table says which block is at a linear address (jumps.c says how). There is one for code of
 * privilege 0 and one for all other code, at a known distance behind struct x86_cpu. RCX is the address:
 *
 *	mov   r11d, [rsp + jump_turn]
 *	add   r11w, cx               ; index of the entry, in the first way
 *	add   r11d, r11d             ; an entry has 16 bytes
 *	cmp   rcx, [rsp + r11 * 8 + linear]
 *	jne   elsewhere              ; the same 65536 entries further, then the cold path
 *	and   rcx, -4096
 *	mov   [rsp + code_base], rcx
 *	mov   r11, [rsp + r11 * 8 + block]
 *	jmp   [r11 + code]
 *
 * While something is requested, jump_turn and jump_key are such that nothing is found (cpu/cpu.h): so
 * these jumps are where requests are seen, at no cost.
 *
 * So are user code's while it is translated though it has a cell, so that C is asked now and then whether that is
 * still right (direct/direct.h). In between, where nothing was found, it looks once more, with the turn of the
 * mapping, as often as direct_looks says.
 *
 * A direct jump or call has a slot of its own in the table (or nearly: they are dealt out in turn),
 * which the first look-up fills:
 *
 *	mov   rcx, [rsp + code_base]
 *	lea   rcx, [rcx + distance]
 *	add   rcx, [rsp + jump_key]
 *	cmp   rcx, [rsp + slot]
 *	jne   miss                   ; far away, which has the thunk look it up
 *	add   [rsp + code_base], distance in pages
 *	mov   r11, [rsp + slot + 8]
 *	jmp   [r11 + code]
 */
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define ENTRY_WORDS 2
#define WORD_SHIFT 3
#define KEY_SHIFT 48
#define ALU_ADD 0
#define ALU_AND 4
#define ALU_SUB 5
#define ALU_CMP 7
#define FAR_FIELD(slot, field) ((slot) + (int32_t)offsetof(struct x86_far_jump, field))

_Static_assert(sizeof(struct x86_jump) == ENTRY_WORDS << WORD_SHIFT, "the look-up scales by it");
_Static_assert(X86_JUMPS == 1 << 16, "the look-up adds 16 bits");
_Static_assert(CPU_JUMP_KEY(1) == 1ull << KEY_SHIFT, "the thunk makes keys");

static enum x86_jump_table table_of(const struct emit *e)
{
	return e->cpu->block_key & X86_KEY_CPL0 ? X86_JUMP_SUPERVISOR : X86_JUMP_USER;
}

static bool may_rest(const struct translator *translator, enum x86_jump_table table)
{
	return translator->direct != TRANSLATOR_DIRECT_NEVER && table == X86_JUMP_USER;
}

/* Compares RCX with the address in the entry in R11. */
static void emit_compare(struct masm *m, enum x86_jump_table table, struct masm_label *elsewhere)
{
	masm_rx(m, true, 0x3b, H_RCX, H_CPU, H_SCRATCH, WORD_SHIFT,
		JUMPS_FIELD(table, way[0].linear));
	masm_jcc(m, COND_NE, elsewhere);
}

/* R11 becomes the block of the entry. */
static void emit_load_block(struct masm *m, enum x86_jump_table table)
{
	masm_rx(m, true, 0x8b, H_SCRATCH, H_CPU, H_SCRATCH, WORD_SHIFT,
		JUMPS_FIELD(table, way[0].block));
}

/* From a turn, R11 becomes where RCX's entry is, in words. */
static void emit_index(struct masm *m)
{
	masm_rr(m, false, MASM_66 | 0x01, H_RCX, H_SCRATCH);
	masm_rr(m, false, 0x01, H_SCRATCH, H_SCRATCH);
}

/* The same from nothing, and the comparison with what is there. */
static void emit_first_way(struct masm *m, enum x86_jump_table table, struct masm_label *elsewhere)
{
	masm_load32(m, H_SCRATCH, H_CPU, CPU_FIELD(cpu.jump_turn[0]) + sizeof(uint32_t) * table);
	emit_index(m);
	emit_compare(m, table, elsewhere);
}

static void emit_second_way(struct masm *m, enum x86_jump_table table,
			    struct masm_label *elsewhere)
{
	masm_alu_imm(m, false, ALU_ADD, H_SCRATCH, ENTRY_WORDS * X86_JUMPS);
	emit_compare(m, table, elsewhere);
}

/* The same with the mapping's own turn, if code that has a cell is translated now, and need not ask. */
static void emit_rest(struct masm *m, struct masm_label *found, struct masm_label *otherwise)
{
	struct masm_label second = MASM_LABEL_INIT;

	masm_alu_imm_mem(m, false, ALU_CMP, H_CPU, CPU_FIELD(direct_looks), 0);
	masm_jcc(m, COND_E, otherwise);
	masm_alu_imm_mem(m, false, ALU_CMP, H_CPU, CPU_FIELD(cpu.requests), 0);
	masm_jcc(m, COND_NE, otherwise);
	masm_alu_imm_mem(m, false, ALU_SUB, H_CPU, CPU_FIELD(direct_looks), 1);
	masm_load32(m, H_SCRATCH, H_CPU, CPU_FIELD(mirror.owner[X86_JUMP_USER].turn));
	emit_index(m);
	emit_compare(m, X86_JUMP_USER, &second);
	masm_jmp(m, found);
	masm_bind(m, &second);
	emit_second_way(m, X86_JUMP_USER, otherwise);
	masm_jmp(m, found);
}

void mirror_emit_look_up(struct emit *e)
{
	struct second_look *second = &e->second_look[e->second_looks++];

	*second = (struct second_look){
		.enter = MASM_LABEL_INIT, .found = MASM_LABEL_INIT,
		.otherwise = &mirror_cold(e)->enter,
	};
	emit_first_way(e->m, table_of(e), &second->enter);
	masm_bind(e->m, &second->found);
}

void mirror_emit_second_looks(struct emit *e)
{
	for (unsigned i = 0; i < e->second_looks; i++) {
		struct second_look *second = &e->second_look[i];

		masm_bind(e->m, &second->enter);
		if (may_rest(e->translator, table_of(e))) {
			struct masm_label rest = MASM_LABEL_INIT;

			emit_second_way(e->m, table_of(e), &rest);
			masm_jmp(e->m, &second->found);
			masm_bind(e->m, &rest);
			emit_rest(e->m, &second->found, second->otherwise);
			continue;
		}
		emit_second_way(e->m, table_of(e), second->otherwise);
		masm_jmp(e->m, &second->found);
	}
}

/* The page that executes: the one of RCX. */
static void emit_code_base(struct masm *m)
{
	masm_alu_imm(m, true, ALU_AND, H_RCX, -PAGE_BYTES);
	masm_store(m, CPU_FIELD(mirror.code_base), H_CPU, H_RCX);
}

static void emit_jump_to_block(struct masm *m)
{
	masm_rm(m, false, 0xff, 4, H_SCRATCH, offsetof(struct block, code));
}

void mirror_emit_enter(struct emit *e)
{
	emit_code_base(e->m);
	emit_load_block(e->m, table_of(e));
	emit_jump_to_block(e->m);
}

/*
 * The block in R11 to the slot in RAX, for the address in RCX, after so many bytes were pushed. The turn is
 * the mapping's, whatever was requested since the block was found.
 */
static void fill_slot(struct masm *m, enum x86_jump_table table, size_t pushed)
{
	masm_store(m, offsetof(struct x86_far_jump, block), H_RAX, H_SCRATCH);
	masm_load32(m, H_SCRATCH, H_CPU, CPU_FIELD(mirror.owner[0].turn) + pushed +
						 sizeof(struct x86_table_owner) * table);
	masm_rorx(m, H_SCRATCH, H_SCRATCH, 64 - KEY_SHIFT);
	masm_rr(m, true, 0x03, H_SCRATCH, H_RCX);
	masm_store(m, offsetof(struct x86_far_jump, key), H_RAX, H_SCRATCH);
	masm_load(m, H_SCRATCH, H_RAX, offsetof(struct x86_far_jump, block));
}

void mirror_make_far(struct translator *t, const uint8_t *at, enum x86_jump_table table)
{
	struct masm_label second = MASM_LABEL_INIT, found = MASM_LABEL_INIT, miss = MASM_LABEL_INIT;
	struct masm_label rest = MASM_LABEL_INIT;
	struct masm *m = &t->masm;
	const size_t pushed = 8;

	masm_store(m, CPU_FIELD(mirror.spare), H_CPU, H_SCRATCH);
	emit_first_way(m, table, &second);
	masm_bind(m, &found);
	emit_load_block(m, table);
	masm_push(m, H_RAX);
	masm_load(m, H_RAX, H_CPU, CPU_FIELD(mirror.spare) + pushed);
	fill_slot(m, table, pushed);
	masm_pop(m, H_RAX);
	emit_code_base(m);
	emit_jump_to_block(m);
	masm_bind(m, &second);
	emit_second_way(m, table, &rest);
	masm_jmp(m, &found);
	masm_bind(m, &rest);
	if (may_rest(t, table))
		emit_rest(m, &found, &miss);
	masm_bind(m, &miss);
	masm_jmp_to(m, at, t->thunks.miss);
}

/* RCX becomes the address at a distance from the page; it wraps at 4 GiB in 32-bit code. */
static void emit_destination(struct masm *m, int64_t distance, bool wide)
{
	masm_load(m, H_RCX, H_CPU, CPU_FIELD(mirror.code_base));
	if (!wide) {
		masm_rm(m, false, 0x8d, H_RCX, H_RCX, (int32_t)distance);
		return;
	}
	if (distance == (int32_t)distance) {
		masm_lea(m, H_RCX, H_RCX, (int32_t)distance);
		return;
	}
	masm_imm64(m, H_SCRATCH, (uint64_t)distance);
	masm_rr(m, true, 0x03, H_RCX, H_SCRATCH);
}

static void emit_move_code_base(struct masm *m, int64_t distance, bool wide)
{
	if (!distance)
		return;
	if (!wide || distance == (int32_t)distance) {
		masm_alu_imm_mem(m, wide, 0, H_CPU, CPU_FIELD(mirror.code_base), (int32_t)distance);
		return;
	}
	masm_imm64(m, H_RCX, (uint64_t)distance);
	masm_rm(m, true, 0x01, H_RCX, H_CPU, (int32_t)CPU_FIELD(mirror.code_base));
}

void mirror_emit_far(struct emit *e, int64_t offset)
{
	unsigned slot = e->translator->far_jumps++ % X86_FAR_JUMPS;
	struct far_miss *miss = &e->far[e->far_misses++];
	struct masm *m = e->m;

	*miss = (struct far_miss){
		.enter = MASM_LABEL_INIT, .offset = offset, .slot = JUMPS_FIELD(table_of(e), far[slot]),
	};
	emit_destination(m, offset, mirror_wide(e));
	masm_rm(m, true, 0x03, H_RCX, H_CPU,
		(int32_t)(CPU_FIELD(cpu.jump_key[0]) + sizeof(uint64_t) * table_of(e)));
	masm_rm(m, true, 0x3b, H_RCX, H_CPU, FAR_FIELD(miss->slot, key));
	masm_jcc(m, COND_NE, &miss->enter);
	emit_move_code_base(m, offset & -PAGE_BYTES, mirror_wide(e));
	masm_load(m, H_SCRATCH, H_CPU, (size_t)FAR_FIELD(miss->slot, block));
	emit_jump_to_block(m);
}

void mirror_emit_far_misses(struct emit *e)
{
	for (unsigned i = 0; i < e->far_misses; i++) {
		struct far_miss *miss = &e->far[i];

		masm_bind(e->m, &miss->enter);
		emit_destination(e->m, miss->offset, mirror_wide(e));
		masm_lea(e->m, H_SCRATCH, H_CPU, miss->slot);
		masm_jmp_to(e->m, e->at, e->translator->thunks.far[table_of(e)]);
	}
}
