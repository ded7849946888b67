/* SPDX-License-Identifier: MIT */
/*
 * Which address spaces run directly: those whose user code is met by interrupt after interrupt, for as long as
 * they do not leave their cell so often that the translator would be faster. The CPU's thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_POLICY_H
#define RINGLET_ISA_X86_DIRECT_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define DIRECT_SPACES 16u

struct direct_space {
	uint64_t root;     /* CR3 */
	uint32_t seen;     /* interrupts in a row that met its user code */
	uint32_t wanted;   /* so many are needed */
	uint64_t seen_at;  /* the last time, in the policy's own time */
};

struct direct_policy {
	struct direct_space space[DIRECT_SPACES];
	uint64_t time;            /* interrupts seen */
	uint64_t ticks_per_us;    /* of the TSC */
	/* Since the last judgement of what runs directly. */
	uint64_t exits, ticks;
	uint64_t credit;          /* mappings that do not count: a program has to have its pages first */
};

void direct_policy_init(struct direct_policy *policy, uint64_t tsc_hz);

/* An interrupt met user code of root; true: it should run directly now. */
bool direct_policy_tick(struct direct_policy *policy, uint64_t root);

/* It ran for some ticks of the TSC until it needed mappings (true) or us; false: not worth going on. */
bool direct_policy_goes_on(struct direct_policy *policy, uint64_t root, uint64_t ticks, bool mapping);

#endif
