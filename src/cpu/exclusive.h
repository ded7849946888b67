/* SPDX-License-Identifier: MIT */
/*
 * Safe points: every CPU thread is "in run" while it executes guest code and leaves it to sleep or
 * to handle requests. exclusive_begin waits until no other CPU is in run and keeps them out until
 * exclusive_end: for the rare things that must not race with guest execution (making a page a code
 * page, freeing blocks, split LOCKs, a TLB shoot-down that must be seen at once).
 *
 * The calls may sleep: guest vector state is parked before them.
 *
 * A CPU polls CPU_REQ_EXCLUSIVE at block ends; on it, it calls exclusive_yield. Never begin with
 * the machine lock held (a CPU in run may be waiting for it).
 */
#ifndef RINGLET_CPU_EXCLUSIVE_H
#define RINGLET_CPU_EXCLUSIVE_H

#include <stdint.h>

struct cpu;
struct error;
struct exclusive;

int exclusive_create(struct exclusive **exclusive, struct error *err);
void exclusive_destroy(struct exclusive *exclusive);

/* Registers a CPU (before threads start); -ENOMEM. */
int exclusive_add(struct exclusive *exclusive, struct cpu *cpu, struct error *err);

void exclusive_enter(struct cpu *cpu); /* blocks while another has the section */
void exclusive_leave(struct cpu *cpu);
void exclusive_yield(struct cpu *cpu); /* leave + enter */

/* From a CPU that is in run: it leaves while it waits for others' sections, then is alone. Nests not. */
void exclusive_begin(struct cpu *cpu);
void exclusive_end(struct cpu *cpu);

/* Sets request bits of every CPU that runs; one that sleeps sees them when it wakes. Any thread. */
void exclusive_request(struct exclusive *exclusive, uint32_t bits);

/*
 * The same, and waits until each CPU that was away (struct cpu) when it was asked is back. Any thread but that of one
 * that is.
 */
void exclusive_recall(struct exclusive *exclusive, uint32_t bits);

/* In a section: visits every CPU of the machine. */
void exclusive_each(struct exclusive *exclusive, void (*visit)(struct cpu *cpu, void *opaque),
		    void *opaque);

#endif
