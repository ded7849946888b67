/* SPDX-License-Identifier: MIT */
/*
 * Direct execution: a guest's 64-bit user code is run by the host's processor as it is, in a
 * process of its own (a cell, host/cell.h) that has the guest program's memory at the guest
 * program's addresses. The kernel, and programs that call it all the time, stay with the
 * translator. docs/DIRECT.md tells how and when.
 *
 * The CPU's own thread, but for what is said to need an exclusive section.
 */
#ifndef RINGLET_ISA_X86_DIRECT_H
#define RINGLET_ISA_X86_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/isa.h"
#include "isa/x86/x86.h"

/*
 * The CPU, of this model, may run code directly if config says so: cpu->direct. It never does
 * without a file that holds the guest's memory (mem.h), nor on a host that cannot.
 */
void direct_create(struct x86_cpu *cpu, const char *model);
void direct_destroy(struct x86_cpu *cpu);

/* Address spaces are known by where their tables are; the PCID may change. */
static inline uint64_t direct_space_of(const struct x86_cpu *cpu)
{
	return cpu->state.cr3 & 0x000ffffffffff000ull;
}

/*
 * A run that would be brief (runs.h) is translated: cpu->direct_rests, until it ends (direct_left),
 * or until this finds it long. So that this is asked, translated user code looks things up by itself so many
 * times only (cpu->direct_looks; mirror/lookup.c).
 */
bool direct_rested(struct x86_cpu *cpu);

/* Should the code at rip be run directly, now that user code is come to? */
static inline bool direct_wanted(struct x86_cpu *cpu)
{
	return unlikely(cpu->direct_on) && cpu->cpl == 3 &&
	       (!cpu->direct_rests || direct_rested(cpu));
}

/* What the run loop does next. */
enum direct_next {
	DIRECT_EVENTS,    /* look whether there are any */
	DIRECT_STEP,      /* carry out the instruction at rip, by itself */
	DIRECT_INTERPRET, /* … the block there, which is not for a cell; it is short, perhaps */
	DIRECT_TRANSLATE, /* as if there were no direct execution */
};

/* Runs user code until something happens. State is exact then. */
enum direct_next direct_run(struct x86_cpu *cpu);

void direct_rest_ends(struct x86_cpu *cpu, bool interrupted);

/* The kernel is about to be entered, by the program's doing or by an interrupt. */
static inline void direct_left(struct x86_cpu *cpu, bool interrupted)
{
	if (unlikely(cpu->direct_rests))
		direct_rest_ends(cpu, interrupted);
}

/* CR3 was written, or all of the state. */
void direct_space_changed(struct x86_cpu *cpu);

/* An interrupt comes, wherever in the guest: by these it is known what programs run for long. */
void direct_tick(struct x86_cpu *cpu);

/* The CPU has nothing to do; parked. */
void direct_sleeps(struct x86_cpu *cpu);

/* INVLPG and its like; and in an exclusive section, a page that became a code page. */
void direct_forget_page(struct x86_cpu *cpu, uint64_t linear);
void direct_protect_page(struct x86_cpu *cpu, uint64_t phys);

/* Counts for humans; nothing where there is no direct execution. Returns the length. */
int direct_describe_stats(struct x86_cpu *cpu, char *text, size_t size);

#endif
