/* SPDX-License-Identifier: MIT */
/*
 * Which registers stay in a page for long, so that a memo of it (memory.c) is worth having: in a loop,
 * those that nothing in it writes, but for small constants that are added. Of what a loop calls is assumed
 * that it keeps the registers that compilers expect to be kept. Other registers that addresses are formed
 * with point somewhere else each time: a memo would rarely be right, and a processor cannot foresee when.
 * The stack pointer is steady always; so is RBP where it looks like a frame's.
 */
#include "isa/x86/mirror/translate.h"

#define BIT(gpr) (1u << (gpr))
#define KEPT_BY_CALLS (BIT(X86_RBX) | BIT(X86_RBP) | BIT(X86_R12) | BIT(X86_R13) | BIT(X86_R14) | \
		       BIT(X86_R15))

static bool is_call(const struct member *member)
{
	return member->ending.kind == ENDING_CALL || member->ending.kind == ENDING_CALL_INDIRECT;
}

/* The members from head to tail are a loop. */
static void note_loop(struct emit *e, struct member *head, const struct member *tail)
{
	uint16_t wild = 0;

	for (const struct member *member = head; member <= tail; member++) {
		if (is_call(member))
			wild |= (uint16_t)~KEPT_BY_CALLS;
		for (unsigned i = 0; i < member->count; i++)
			wild |= e->all_notes[member->first + i].wild;
	}
	for (struct member *member = head; member <= tail; member++)
		member->steady |= (uint16_t)~wild;
}

static void note_jump(struct emit *e, const struct member *from, int64_t offset)
{
	struct member *to = mirror_member_at(e, offset);

	if (to && to <= from)
		note_loop(e, to, from);
}

void mirror_find_steady(struct emit *e)
{
	for (unsigned i = 0; i < e->member_count; i++) {
		const struct member *member = &e->members[i];

		if (member->ending.kind == ENDING_CONDITION || member->ending.kind == ENDING_JUMP)
			note_jump(e, member, member->ending.target);
	}
}

static bool is_steady(const struct emit *e, int gpr)
{
	return gpr < 0 || gpr == X86_RSP || e->member->steady >> gpr & 1;
}

bool mirror_address_steady(const struct emit *e, const struct mirror_address *address)
{
	if (address->base == X86_RBP && address->disp < 0 && is_steady(e, address->index))
		return true;
	return is_steady(e, address->base) && is_steady(e, address->index);
}
