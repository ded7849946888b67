/* SPDX-License-Identifier: MIT */
/*
 * See policy.h. To leave a cell and come back costs a signal and two turns, some microseconds. Code that
 * the translator has is about half as fast as in a cell. So a cell is worth it for programs that stay for
 * longer than they take to leave. On a busy host a turn may last for milliseconds without any work; so no turn
 * counts for more than it takes to be worth several exits (DIRECT_TURN_US).
 */
#include "isa/x86/direct/policy.h"

#define EXIT_US 10u          /* between exits, on average, from which on it pays: a third is the exit's */
#define JUDGED_EXITS 64u
#define FIRST_WANTED 2u
#define MOST_WANTED 128u
#define MAPPINGS_FREE 512u
#define MAPPINGS_AN_EXIT 4u  /* they are investments */

void direct_policy_init(struct direct_policy *policy, uint64_t ticks_per_us)
{
	*policy = (struct direct_policy){ .time = 1, .ticks_an_exit = EXIT_US * ticks_per_us };
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
	return space->seen >= space->wanted;
}

void direct_account_open(struct direct_account *account, uint64_t ticks)
{
	*account = (struct direct_account){ .ticks = ticks, .credit = MAPPINGS_FREE };
}

bool direct_account_exit(struct direct_account *account, bool mapping)
{
	if (mapping && account->credit)
		account->credit--;
	else
		account->exits += mapping ? 1 : MAPPINGS_AN_EXIT;
	return account->exits >= JUDGED_EXITS * MAPPINGS_AN_EXIT;
}

bool direct_policy_judge(struct direct_policy *policy, struct direct_account *account, uint64_t root,
			 uint64_t ticks)
{
	struct direct_space *space = space_of(policy, root);
	bool worth = ticks - account->ticks >
		     account->exits / MAPPINGS_AN_EXIT * policy->ticks_an_exit;

	if (worth)
		space->wanted = FIRST_WANTED;
	else if (space->wanted < MOST_WANTED)
		space->wanted *= 4;
	space->seen = 0;
	account->exits = 0;
	account->ticks = ticks;
	return worth;
}
