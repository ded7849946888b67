/* SPDX-License-Identifier: MIT */
/*
 * Which blocks become one piece of code. A region begins with a block that is hot and takes in what
 * can be reached from it by direct jumps, by falling through and behind calls, as long as that lies in
 * the same page, has been executed a few times itself and has no code yet.
 *
 * A region is laid out as the guest is, by ascending address: the guest's compiler knew more about it
 * than we do. So what jumps forwards there does so here, and only what jumps backwards closes a loop.
 * An instruction that runs into the next page is a region of its own, since it depends on what is mapped
 * there: it is entered through the jump table only, which is told of both pages.
 * Blocks that overlap (a loop that begins in the middle of another block) share their common end.
 */
#include "isa/x86/mirror/translate.h"

#define JOIN_EXECUTIONS 2
#define PAGE_BYTES 4096

static unsigned offset_of(const struct member *member)
{
	return member->block->block.phys % PAGE_BYTES;
}

struct member *mirror_member_at(struct emit *e, int64_t offset)
{
	for (unsigned i = 0; i < e->member_count; i++)
		if (offset_of(&e->members[i]) == offset)
			return &e->members[i];
	return NULL;
}

static void add(struct emit *e, struct x86_block *block)
{
	e->members[e->member_count++] = (struct member){
		.block = block, .count = block->count,
		.ending = mirror_ending(e->cpu, &block->insn[block->count - 1]),
		.start = MASM_LABEL_INIT, .event = MASM_LABEL_INIT,
	};
}

/* Adds the block at offset, if there is one worth it. */
static void consider(struct emit *e, int64_t offset, unsigned *insns)
{
	const struct block *head = &e->members[0].block->block;
	struct x86_block *block;

	if (offset < 0 || offset >= PAGE_BYTES || e->member_count == REGION_BLOCKS ||
	    mirror_member_at(e, offset))
		return;
	block = (struct x86_block *)blocks_find(e->cpu->cpu.env.blocks,
						head->phys / PAGE_BYTES * PAGE_BYTES +
							(uint64_t)offset, head->key);
	if (!block || block->heat < JOIN_EXECUTIONS || block->block.phys2 != ~0ull ||
	    atomic_load(&block->block.code) || *insns + block->count > REGION_INSNS)
		return;
	*insns += block->count;
	add(e, block);
}

static void gather(struct emit *e, struct x86_block *head)
{
	unsigned insns = head->count;

	add(e, head);
	if (head->block.phys2 != ~0ull)
		return;
	for (unsigned i = 0; i < e->member_count; i++) {
		struct ending ending = e->members[i].ending;

		if (ending.kind != ENDING_JUMP && ending.kind != ENDING_UNKNOWN)
			consider(e, ending.next, &insns);
		if (ending.kind == ENDING_JUMP || ending.kind == ENDING_CONDITION ||
		    ending.kind == ENDING_CALL)
			consider(e, ending.target, &insns);
	}
}

static void sort(struct emit *e)
{
	for (unsigned i = 1; i < e->member_count; i++) {
		struct member member = e->members[i];
		unsigned k = i;

		for (; k && offset_of(&e->members[k - 1]) > offset_of(&member); k--)
			e->members[k] = e->members[k - 1];
		e->members[k] = member;
	}
}

/* A member ends where a later one begins, if that is between two of its instructions. */
static void cut(struct emit *e, struct member *member)
{
	for (unsigned i = 1; i < member->count; i++) {
		unsigned at = member->block->insn[i].page_offset;

		if (!mirror_member_at(e, at))
			continue;
		member->count = i;
		member->ending = (struct ending){ .kind = ENDING_FALL, .next = at };
	}
}

static void find_loop_heads(struct emit *e, const struct member *from)
{
	const struct ending *ending = &from->ending;
	struct member *to;

	if (ending->kind == ENDING_FALL || ending->kind == ENDING_CONDITION) {
		to = mirror_member_at(e, ending->next);
		if (to && to <= from)
			to->loop_head = true;
	}
	if (ending->kind == ENDING_JUMP || ending->kind == ENDING_CONDITION ||
	    ending->kind == ENDING_CALL) {
		to = mirror_member_at(e, ending->target);
		if (to && to <= from)
			to->loop_head = true;
	}
}

void mirror_choose_region(struct emit *e, struct x86_block *head)
{
	unsigned insns = 0;

	gather(e, head);
	sort(e);
	for (unsigned i = 0; i < e->member_count; i++) {
		struct member *member = &e->members[i];

		cut(e, member);
		member->position = i;
		member->first = insns;
		insns += member->count;
	}
	for (unsigned i = 0; i < e->member_count; i++)
		find_loop_heads(e, &e->members[i]);
}
