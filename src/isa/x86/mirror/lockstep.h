/* SPDX-License-Identifier: MIT */
/*
 * --debug-lockstep: the interpreter beside the translator. Where translated code would run, it
 * runs with everything that it changes written down, until it leaves by itself: a stretch, which
 * may be many blocks. All is undone, and the interpreter goes from the same start until it comes
 * to the same state: registers, flags, vector state, memory, pending fault. If it never does, they
 * differ. The guest goes on with what the interpreter made.
 *
 * What cannot be done twice or undone (ports, device memory, clocks, random numbers, control
 * registers and model-specific ones, TLB flushes: "the outside") ends a stretch before it happens,
 * and is then done once, by the interpreter.
 *
 * Below are the places where the engine reports to it; each costs one test of a pointer when it is
 * off. One CPU only: nobody else may write memory during a stretch. The CPU's thread.
 */
#ifndef RINGLET_ISA_X86_MIRROR_LOCKSTEP_H
#define RINGLET_ISA_X86_MIRROR_LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isa/x86/x86.h"

struct error;
struct lockstep;
struct x86_block;
struct x86_page;

/* Nothing to do unless the translator was created for it. */
int lockstep_create(struct x86_cpu *cpu, struct error *err);
void lockstep_destroy(struct x86_cpu *cpu);

/* Instead of mirror_run. Faults unwind from it, as from there. */
void lockstep_run(struct x86_cpu *cpu, struct x86_block *block);

/* What was compared, NUL-terminated. */
void lockstep_describe_stats(const struct x86_cpu *cpu, char *text, size_t size);

/* ---- reports ---- */

/* insn is about to be carried out by the interpreter's semantics, rip behind it. May unwind. */
void lockstep_instruction(struct x86_cpu *cpu, const struct insn *insn);

/* The entries of set that may hold a page which belongs to slot are about to change. */
void lockstep_tlb_changes(struct x86_cpu *cpu, struct x86_tlb *set, unsigned slot);

/*
 * A page has been found for an access (X86_TLB_ALLOW_…). May unwind, before anything is accessed.
 */
void lockstep_page(struct x86_cpu *cpu, const struct x86_page *page, unsigned need);
/* May the entry for page get its write tag? */
bool lockstep_may_write(struct x86_cpu *cpu, const struct x86_page *page, struct x86_tlb *set,
			unsigned slot);

/* Bytes in the page at phys are about to be written by the page walk. */
void lockstep_walk_writes(struct x86_cpu *cpu, uint64_t phys);

/* The current instruction is about to touch something else than the CPU and RAM. May unwind. */
void lockstep_outside(struct x86_cpu *cpu);

/* Blocks are run one at a time, none chained to another. */
bool lockstep_unchained(const struct x86_cpu *cpu);

#endif
