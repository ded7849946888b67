/* SPDX-License-Identifier: MIT */
/*
 * See runs.h. To enter a cell and leave it costs about ten microseconds more than a run that is
 * translated, which takes twice as long. Runs from places that share an entry of the table cost
 * each other time, nothing else.
 */
#include "isa/x86/direct/runs.h"

#define BRIEF_US 10u            /* in a cell, its signal counted */
#define BRIEF_TRANSLATED_US 20u

static bool *entry(struct direct_runs *runs, uint64_t rip)
{
	return &runs->brief[(rip * 0x9e3779b97f4a7c15ull >> 32) % DIRECT_RUNS];
}

/* One that was cut short tells nothing. */
static void learn(struct direct_runs *runs, uint64_t rip, bool brief, bool interrupted)
{
	if (!brief || !interrupted)
		*entry(runs, rip) = brief;
}

void direct_runs_init(struct direct_runs *runs, uint64_t ticks_per_us)
{
	*runs = (struct direct_runs){ .ticks_per_us = ticks_per_us };
}

bool direct_runs_begin(struct direct_runs *runs, uint64_t rip, uint64_t now)
{
	bool is_long = runs->is_long || !*entry(runs, rip);

	runs->is_long = false;
	if (is_long)
		return false;
	runs->rip = rip;
	runs->since = now;
	runs->translated++;
	return true;
}

bool direct_runs_is_long(struct direct_runs *runs, uint64_t now)
{
	if (now - runs->since < runs->ticks_per_us * BRIEF_TRANSLATED_US)
		return false;
	learn(runs, runs->rip, false, false);
	runs->is_long = true;
	return true;
}

void direct_runs_end(struct direct_runs *runs, uint64_t now, bool interrupted)
{
	learn(runs, runs->rip, now - runs->since < runs->ticks_per_us * BRIEF_TRANSLATED_US,
	      interrupted);
}

void direct_runs_left_cell(struct direct_runs *runs, uint64_t rip, uint64_t ticks,
			   bool interrupted)
{
	learn(runs, rip, ticks < runs->ticks_per_us * BRIEF_US, interrupted);
}
