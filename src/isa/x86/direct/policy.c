/* SPDX-License-Identifier: MIT */
/*
 * See policy.h. To leave a cell and come back costs two signals and two turns, EXIT_US or more. Code that
 * the translator has is about half as fast as in a cell. So a cell is worth it for programs that stay for
 * longer than they take to leave.
 */
#include "isa/x86/direct/policy.h"

#define EXIT_US 12u          /* of those, on average, a program has to be more in its cell */
#define JUDGED_EXITS 64u
#define FIRST_WANTED 2u
#define MOST_WANTED 128u
#define MAPPINGS_FREE 512u
#define MAPPINGS_AN_EXIT 4u  /* they are investments */

void direct_policy_init(struct direct_policy *policy, uint64_t tsc_hz)
{
	*policy = (struct direct_policy){ .ticks_per_us = tsc_hz / 1000000 };
}

/* The entry of root; the one not seen for longest becomes its. */
static struct direct_space *space_of(struct direct_policy *policy, uint64_t root)
{
	struct direct_space *oldest = &policy->space[0];

	for (unsigned i = 0; i < DIRECT_SPACES; i++) {
		if (policy->space[i].root == root)
			return &policy->space[i];
		if (policy->space[i].seen_at < oldest->seen_at)
			oldest = &policy->space[i];
	}
	*oldest = (struct direct_space){ .root = root, .wanted = FIRST_WANTED };
	return oldest;
}

bool direct_policy_tick(struct direct_policy *policy, uint64_t root)
{
	struct direct_space *space = space_of(policy, root);
	bool in_a_row = space->seen_at == policy->time;

	space->seen_at = ++policy->time;
	space->seen = in_a_row ? space->seen + 1 : 1;
	if (space->seen < space->wanted)
		return false;
	policy->exits = policy->ticks = 0;
	policy->credit = MAPPINGS_FREE;
	return true;
}

bool direct_policy_goes_on(struct direct_policy *policy, uint64_t root, uint64_t ticks, bool mapping)
{
	struct direct_space *space;
	bool worth;

	policy->ticks += ticks;
	if (mapping && policy->credit)
		policy->credit--;
	else
		policy->exits += mapping ? 1 : MAPPINGS_AN_EXIT;
	if (policy->exits < JUDGED_EXITS * MAPPINGS_AN_EXIT)
		return true;
	worth = policy->ticks > policy->exits / MAPPINGS_AN_EXIT * EXIT_US * policy->ticks_per_us;
	space = space_of(policy, root);
	if (worth)
		space->wanted = FIRST_WANTED;
	else if (space->wanted < MOST_WANTED)
		space->wanted *= 4;
	space->seen = 0;
	policy->exits = policy->ticks = 0;
	return worth;
}
