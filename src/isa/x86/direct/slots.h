/* SPDX-License-Identifier: MIT */
/*
 * What a CPU has for direct execution: a few slots, each a cell and what is known of the program that
 * it is for now. Programs that run directly in turn have one each; one more takes that which was not
 * used for longest. The CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_SLOTS_H
#define RINGLET_ISA_X86_DIRECT_SLOTS_H

#include "base/log.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/direct/judge.h"
#include "isa/x86/direct/pages.h"
#include "isa/x86/direct/policy.h"
#include "isa/x86/direct/runs.h"

#define DIRECT_NOWHERE (~0ull) /* no address space */
#define DIRECT_SLOTS 8u

struct direct_slot {
	uint64_t agreed;    /* the one under which tables were last found to agree */
	unsigned visit;     /* blocks interpreted since the cell was left */
	enum direct_fault fault; /* whose the last page fault was */
	uint64_t missed;    /* address that the guest's tables did not have when it was last asked for, or 0 */
	uint64_t used_at;   /* in turns of this CPU */
	struct cell cell;
	struct direct_pages pages;
	struct direct_account account;
};

struct direct {
	enum translator_direct when;
	uint64_t retry_at;         /* by the TSC: no cell is started before; 0: the host lets us */
	struct direct_policy policy;
	uint64_t ticks_per_us;     /* of the TSC */
	uint64_t host_xcr0;
	uint64_t host_cr4;         /* as far as user code sees it without a fault */
	uint16_t host_cs, host_ss;
	struct log_limit log_limit;
	uint64_t entered, kicked, calls, faults, others; /* counted: by how it came back */
	uint64_t chosen, given_up;
	uint64_t slept_at;         /* entered, when the CPU slept … */
	unsigned sleeps;           /* … and how often it has slept since without a change */
	struct direct_runs runs;
	struct direct_verdicts verdicts;
	/* What runs directly in each slot, or DIRECT_NOWHERE. Slots are large, and this is looked at often. */
	uint64_t space[DIRECT_SLOTS];
	struct direct_slot slot[DIRECT_SLOTS];
};

/* All free, without cells. */
void direct_slots_init(struct direct *direct);
/* Ends all cells. */
void direct_slots_end(struct direct *direct);

/* The address space that runs directly in slot, or DIRECT_NOWHERE. */
static inline uint64_t *direct_slot_space(const struct x86_cpu *cpu, const struct direct_slot *slot)
{
	return &cpu->direct->space[slot - cpu->direct->slot];
}

/* The slot of the current address space, or NULL. */
struct direct_slot *direct_slot_find(const struct x86_cpu *cpu);
/* The one that was not used for longest, of those that have a cell or may get one; or NULL. */
struct direct_slot *direct_slot_oldest(const struct x86_cpu *cpu);
/* It becomes the current address space's. */
struct direct_slot *direct_slot_take(struct x86_cpu *cpu);
/* Has a cell that belongs to this thread, started if need be. false: the host gives none now. */
bool direct_slot_start(struct x86_cpu *cpu, struct direct_slot *slot);

#endif
