/* SPDX-License-Identifier: MIT */
/*
 * A program's code runs from where its kernel lets it go until the kernel is entered again. Brief
 * runs are not worth a cell. How long one will be is foretold by where it begins: as long as the
 * last one from there. What was foretold to be brief and is not, gets a cell on its way. Times are
 * ticks of the TSC. The CPU's thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_RUNS_H
#define RINGLET_ISA_X86_DIRECT_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#define DIRECT_RUNS 4096u

struct direct_runs {
	bool brief[DIRECT_RUNS]; /* the last one, by a hash of where it began */
	uint64_t ticks_per_us;
	uint64_t rip, since;     /* where and when the current one began, which is translated */
	bool is_long;            /* it has turned out to be long, and goes on in a cell */
	uint64_t translated;     /* counted */
};

void direct_runs_init(struct direct_runs *runs, uint64_t ticks_per_us);

/* A run begins, or goes on. true: it is to be translated until one of the next two ends that. */
bool direct_runs_begin(struct direct_runs *runs, uint64_t rip, uint64_t now);
/* Asked while it is translated. true: it is long, let it go on in a cell. */
bool direct_runs_is_long(struct direct_runs *runs, uint64_t now);
/* It ended; of one that was interrupted it is not known how long it would have been. */
void direct_runs_end(struct direct_runs *runs, uint64_t now, bool interrupted);

/* One from rip ended that was in a cell, after so many ticks. */
void direct_runs_left_cell(struct direct_runs *runs, uint64_t rip, uint64_t ticks,
			   bool interrupted);

#endif
