/* SPDX-License-Identifier: MIT */
/*
 * The jump tables (struct x86_jumps) as C sees them; translated code reads them by itself (lookup.c). A
 * CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_MIRROR_JUMPS_H
#define RINGLET_ISA_X86_MIRROR_JUMPS_H

#include "isa/x86/x86.h"

/*
 * The table of the current privilege, of the current mapping: before any of the rest, and before translated
 * code goes on.
 */
void mirror_jumps_turn(struct x86_cpu *cpu);

/* What the current table has for an address, or NULL. */
struct x86_block *mirror_jumps_find(const struct x86_cpu *cpu, uint64_t linear);
void mirror_jumps_learn(struct x86_cpu *cpu, uint64_t linear, struct x86_block *block);

/* Forgets all blocks, in both tables. */
void mirror_jumps_forget(struct x86_cpu *cpu);

#endif
