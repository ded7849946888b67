/* SPDX-License-Identifier: MIT */
/* Inside lock-step runs: what lockstep*.c share. */
#ifndef RINGLET_ISA_X86_MIRROR_LOCKSTEP_IMPL_H
#define RINGLET_ISA_X86_MIRROR_LOCKSTEP_IMPL_H

#include "isa/x86/mirror/lockstep_trail.h"
#include "isa/x86/mirror/lockstep_state.h"

/* Why an instruction is not run twice. */
enum lockstep_cause {
	LOCKSTEP_NONE, LOCKSTEP_PORT, LOCKSTEP_DEVICE, LOCKSTEP_CLOCK, LOCKSTEP_RANDOM,
	LOCKSTEP_SYSTEM, LOCKSTEP_CAUSES
};

struct lockstep_stats {
	uint64_t stretches, instructions, outside[LOCKSTEP_CAUSES];
};

struct lockstep {
	enum { LOCKSTEP_IDLE, LOCKSTEP_TRANSLATED, LOCKSTEP_INTERPRETED } run;
	bool unchained;
	bool came_near;      /* the interpreter was at the right place, registers right … */
	bool stop_when_near; /* … where it is to stay, so that what else differs is told */
	enum lockstep_cause cause; /* of the last RUN_OUTSIDE */
	uint64_t ticks;            /* that translated code took */
	uint64_t ignored_flags;    /* status flags that nobody will read */
	struct trail trail;
	struct page_log *translated_pages, *interpreted_pages;
	struct lockstep_stats stats;
	struct snapshot start, translated, interpreted;
};

/* lockstep.c: runs block both ways. True: they agree; the state is the interpreter's either way. */
bool lockstep_stretch(struct x86_cpu *cpu, struct x86_block *block);
/* When they do not: lets the interpreter stop where it came nearest, if it came near at all. */
void lockstep_approach(struct x86_cpu *cpu);
/* Back to the start of the stretch. */
void lockstep_rewind(struct x86_cpu *cpu);

/*
 * lockstep_flags.c: flags that differ between the two and that nobody will read: the translator may
 * leave these stale. Found by reading the code that follows. Parked.
 */
uint64_t lockstep_dead_flags(struct x86_cpu *cpu, const struct snapshot *translated,
			     const struct snapshot *interpreted);

/* lockstep_report.c: tells on stderr how the two runs of the last stretch differ, and where. */
void lockstep_report(struct x86_cpu *cpu);

#endif
