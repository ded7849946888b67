/* SPDX-License-Identifier: MIT */
/*
 * See policy.h. To leave a cell and come back costs a signal and two turns, some microseconds. Code
 * that the translator has is about half as fast as in a cell. So each exit is paid for by what is
 * gained between exits. A program may have its pages mapped, and may take a burst of faults, on
 * credit; what it gained long ago is forgotten. On a busy host a turn may last for milliseconds
 * without any work; so no turn counts for more than DIRECT_TURN_US.
 */
#include "isa/x86/direct/policy.h"

#define EXIT_US 10      /* of which guest_ticks have about a third */
#define REST_US 2
#define CREDIT_US 5000
#define MOST_US 20000
#define FIRST_WANTED 2u
#define MOST_WANTED 128u

void direct_policy_init(struct direct_policy *policy, uint64_t ticks_per_us)
{
	*policy = (struct direct_policy){ .time = 1, .ticks_per_us = ticks_per_us };
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

bool direct_policy_tick(struct direct_policy *policy, uint64_t root, uint32_t pcid)
{
	struct direct_space *space = space_of(policy, root);
	bool in_a_row = space->seen_at == policy->time && space->pcid == pcid;

	space->seen_at = ++policy->time;
	space->pcid = pcid;
	space->seen = in_a_row ? space->seen + 1 : 1;
	return space->seen >= space->wanted;
}

void direct_account_open(const struct direct_policy *policy, struct direct_account *account,
			 uint64_t ticks)
{
	*account = (struct direct_account){
		.balance = (int64_t)(CREDIT_US * policy->ticks_per_us), .ticks = ticks,
	};
}

/* false: the balance is below zero, and root has to wait for longer than the last time. */
static bool settle(struct direct_space *space, const struct direct_account *account)
{
	if (account->balance >= 0)
		return true;
	space->seen = 0;
	if (space->wanted < MOST_WANTED)
		space->wanted *= 4;
	return false;
}

bool direct_account_exit(struct direct_policy *policy, struct direct_account *account, uint64_t root,
			 uint64_t ticks)
{
	int64_t most = (int64_t)(MOST_US * policy->ticks_per_us);
	struct direct_space *space = space_of(policy, root);

	account->balance += (int64_t)(ticks - account->ticks) - (int64_t)(EXIT_US * policy->ticks_per_us);
	account->ticks = ticks;
	if (account->balance > most) {
		account->balance = most;
		space->wanted = FIRST_WANTED;
	}
	return settle(space, account);
}

bool direct_account_rest(struct direct_policy *policy, struct direct_account *account,
			 uint64_t root)
{
	account->balance -= (int64_t)(REST_US * policy->ticks_per_us);
	return settle(space_of(policy, root), account);
}
