/* SPDX-License-Identifier: MIT */
/*
 * Which address spaces run directly: those whose user code is met by interrupt after interrupt, for
 * as long as they do not leave their cell so often that the translator would be faster. The CPU's
 * thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_POLICY_H
#define RINGLET_ISA_X86_DIRECT_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define DIRECT_SPACES 16u
#define DIRECT_TURN_US 200u /* as which a longer turn counts */

struct direct_space {
	uint64_t root;     /* of its tables */
	uint32_t pcid;     /* the last one it had */
	uint32_t seen;     /* interrupts in a row that met its user code */
	uint32_t wanted;   /* so many are needed */
	uint64_t seen_at;  /* the last time, in the policy's own time */
};

struct direct_policy {
	struct direct_space space[DIRECT_SPACES];
	uint64_t time;         /* interrupts seen */
	uint64_t ticks_per_us; /* of the TSC */
};

/* What one that runs directly has gained on the translator so far. In ticks of the TSC. */
struct direct_account {
	int64_t balance;
	uint64_t ticks;        /* that guest code had had at the last exit */
};

void direct_policy_init(struct direct_policy *policy, uint64_t ticks_per_us);

/*
 * An interrupt met user code of root, which has this PCID now; true: it should run directly now.
 * Tables of a program that has ended may be those of another one by now; then the PCID hardly is
 * the same.
 */
bool direct_policy_tick(struct direct_policy *policy, uint64_t root, uint32_t pcid);

/* It does from now on; ticks: of guest code in its cell so far. */
void direct_account_open(const struct direct_policy *policy, struct direct_account *account,
			 uint64_t ticks);
/* It left its cell. false: it is not worth going on with root. */
bool direct_account_exit(struct direct_policy *policy, struct direct_account *account, uint64_t root,
			 uint64_t ticks);
/* A run of it was translated because it would be brief. false: as above. */
bool direct_account_rest(struct direct_policy *policy, struct direct_account *account,
			 uint64_t root);

#endif
