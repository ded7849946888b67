/* SPDX-License-Identifier: MIT */
/* The CPU's state at one moment of a lock-step run: taken, put back, compared, told. */
#ifndef RINGLET_ISA_X86_MIRROR_LOCKSTEP_STATE_H
#define RINGLET_ISA_X86_MIRROR_LOCKSTEP_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "isa/x86/x86.h"

/* All but the image of the vector state. */
#define SNAPSHOT_HEAD offsetof(struct x86_state, xsave)

/* How a run ended, beside where. */
enum run_end {
	RUN_LEFT,    /* between two instructions */
	RUN_FAULTED, /* the fault is not delivered, rip at the instruction (behind it for a trap) */
	RUN_OUTSIDE, /* rip at an instruction that touches the outside */
};

struct snapshot {
	uint8_t head[SNAPSHOT_HEAD] __attribute__((aligned(8)));
	uint8_t vec[X86_XSAVE_MAX] __attribute__((aligned(64)));
	uint64_t instructions, fault_address;
	bool single_step;
	enum run_end end;
	struct x86_fault fault;
};

/* Parks. */
void snapshot_take(struct x86_cpu *cpu, struct snapshot *snapshot);
void snapshot_restore(struct x86_cpu *cpu, const struct snapshot *snapshot);

static inline const struct x86_state *snapshot_state(const struct snapshot *snapshot)
{
	return (const struct x86_state *)snapshot->head;
}

/* Are general-purpose registers those of the CPU now? */
bool snapshot_same_gprs(const struct snapshot *snapshot, const struct x86_cpu *cpu);

/* Everything but the status flags in ignored and memory. Parked. */
bool snapshot_same(const struct x86_cpu *cpu, const struct snapshot *a, const struct snapshot *b,
		   uint64_t ignored);

/* A line for each difference. Parked. */
void snapshot_tell(FILE *out, const struct x86_cpu *cpu, const struct snapshot *translated,
		   const struct snapshot *interpreted, uint64_t ignored);

#endif
