/* SPDX-License-Identifier: MIT */
/*
 * Which blocks become one piece of code. A region begins with a block that is hot and takes in what
 * can be reached from it by direct jumps, by falling through and behind calls, as long as that lies in
 * the same page, has been executed a few times itself and has no code yet. What has code is made again
 * with it, a few times at most, when both are in one loop: a branch in a loop may have been taken for
 * the first time long after the loop was hot.
 *
 * A region is laid out as the guest is, by ascending address: the guest's compiler knew more about it
 * than we do. So what jumps forwards there does so here, and only what jumps backwards closes a loop.
 * An instruction that runs into the next page is a region of its own, since it depends on what is mapped
 * there: it is entered through the jump table only, which is told of both pages.
 * Blocks that overlap (a loop that begins in the middle of another block) share their common end.
 */
#include "isa/x86/mirror/translate.h"

#define JOIN_EXECUTIONS 5
#define TRANSLATIONS_MAX 3
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

struct candidates {
	unsigned insns;            /* of the members so far */
	bool loops_only;           /* take no block that has code, but for those in loop */
	unsigned loop_count;
	struct x86_block *loop[REGION_BLOCKS];
};

static bool in_loop(const struct candidates *c, const struct x86_block *block)
{
	for (unsigned i = 0; i < c->loop_count; i++)
		if (c->loop[i] == block)
			return true;
	return false;
}

static bool is_wanted(const struct emit *e, const struct candidates *c, const struct x86_block *block)
{
	const uint8_t *code = atomic_load(&block->block.code);

	if (block->heat < JOIN_EXECUTIONS || block->block.phys2 != ~0ull ||
	    c->insns + block->count > REGION_INSNS)
		return false;
	if (!atomic_load(&block->block.code))
		return true;
	if (code >= e->translator->again_start && code < e->translator->again_end)
		return true;
	return c->loops_only ? in_loop(c, block) : block->translations < TRANSLATIONS_MAX;
}

/* Adds the block at offset, if there is one worth it. */
static void consider(struct emit *e, int64_t offset, struct candidates *c)
{
	const struct block *head = &e->members[0].block->block;
	struct x86_block *block;

	if (offset < 0 || offset >= PAGE_BYTES || e->member_count == REGION_BLOCKS ||
	    mirror_member_at(e, offset))
		return;
	block = (struct x86_block *)blocks_find(e->cpu->cpu.env.blocks,
						head->phys / PAGE_BYTES * PAGE_BYTES +
							(uint64_t)offset, head->key);
	if (!block || !is_wanted(e, c, block))
		return;
	c->insns += block->count;
	add(e, block);
}

/* Where the code may go on within the page: behind a call, too. False: nowhere that is known. */
static bool goes_next(const struct ending *ending)
{
	return ending->kind != ENDING_JUMP && ending->kind != ENDING_UNKNOWN;
}

static bool goes_to_target(const struct ending *ending)
{
	return ending->kind == ENDING_JUMP || ending->kind == ENDING_CONDITION ||
	       ending->kind == ENDING_CALL;
}

static void gather(struct emit *e, struct x86_block *head, struct candidates *c)
{
	c->insns = head->count;
	e->member_count = 0;
	add(e, head);
	if (head->block.phys2 != ~0ull)
		return;
	for (unsigned i = 0; i < e->member_count; i++) {
		struct ending ending = e->members[i].ending;

		if (goes_next(&ending))
			consider(e, ending.next, c);
		if (goes_to_target(&ending))
			consider(e, ending.target, c);
	}
}

/* Marks the members from where marked ones are reached. True: there were new ones. */
static bool mark_back(struct emit *e, bool *marked)
{
	bool more = false;

	for (unsigned i = e->member_count; i-- > 0;) {
		const struct ending *ending = &e->members[i].ending;
		const struct member *next, *target;

		if (marked[i])
			continue;
		next = goes_next(ending) ? mirror_member_at(e, ending->next) : NULL;
		target = goes_to_target(ending) ? mirror_member_at(e, ending->target) : NULL;
		marked[i] = (next && marked[next - e->members]) ||
			    (target && marked[target - e->members]);
		more |= marked[i];
	}
	return more;
}

/* Of what was gathered, the blocks that have code and lead back to the first one. */
static void find_loop(struct emit *e, struct candidates *c)
{
	bool marked[REGION_BLOCKS] = { true };

	while (mark_back(e, marked))
		;
	c->loop_count = 0;
	c->loops_only = true;
	for (unsigned i = 0; i < e->member_count; i++)
		if (marked[i] && atomic_load(&e->members[i].block->block.code))
			c->loop[c->loop_count++] = e->members[i].block;
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

static void mark_loop_head(struct emit *e, const struct member *from, int64_t offset)
{
	struct member *to = mirror_member_at(e, offset);

	if (to && to <= from)
		to->loop_head = true;
}

static void find_loop_heads(struct emit *e, const struct member *from)
{
	if (from->ending.kind == ENDING_FALL || from->ending.kind == ENDING_CONDITION)
		mark_loop_head(e, from, from->ending.next);
	if (goes_to_target(&from->ending))
		mark_loop_head(e, from, from->ending.target);
}

void mirror_choose_region(struct emit *e, struct x86_block *head)
{
	struct candidates candidates = { .loops_only = false };
	unsigned insns = 0;

	gather(e, head, &candidates);
	find_loop(e, &candidates);
	gather(e, head, &candidates);
	sort(e);
	for (unsigned i = 0; i < e->member_count; i++) {
		struct member *member = &e->members[i];

		cut(e, member);
		member->position = i;
		member->block->translations++;
		member->first = insns;
		insns += member->count;
	}
	for (unsigned i = 0; i < e->member_count; i++)
		find_loop_heads(e, &e->members[i]);
}
