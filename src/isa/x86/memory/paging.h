/* SPDX-License-Identifier: MIT */
/*
 * The page walk: linear to guest-physical, 2-, 3- and 4-level, with A/D bits, NX, WP, SMEP, SMAP,
 * protection keys, reserved bits and exact error codes. Intel SDM vol. 3, chapter 4.
 */
#ifndef RINGLET_ISA_X86_PAGING_H
#define RINGLET_ISA_X86_PAGING_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

/* Page-fault error code bits */
enum {
	X86_PF_P = 1, X86_PF_W = 2, X86_PF_U = 4, X86_PF_RSVD = 8, X86_PF_I = 16, X86_PF_PK = 32,
};

enum x86_walk_access { X86_WALK_READ, X86_WALK_WRITE, X86_WALK_FETCH };

struct x86_walk {
	uint64_t phys;      /* of the byte asked for */
	bool writable;      /* may be written under the same privilege without a further walk
			       (permission and dirty bit both there) */
	bool readable;
	bool executable;
	bool global;
	uint8_t page_shift; /* log2 of the page's size: 12, 21, 22 or 30 */
	uint8_t key;        /* protection key of a user page */
	uint32_t error;     /* page-fault error code when the walk fails */
};

/*
 * mmu: enum x86_mmu. true: mapped and allowed; A (and D on a write) are set. false: error holds the
 * code for #PF. Does not raise. With CR0.PG clear everything maps to itself.
 */
bool x86_walk(struct x86_cpu *cpu, uint64_t linear, enum x86_walk_access access, unsigned mmu,
	      struct x86_walk *walk);

/*
 * The same for one who must leave no trace: true only where the processor would have nothing to mark, so that
 * it may have the translation already.
 */
bool x86_walk_look(struct x86_cpu *cpu, uint64_t linear, unsigned mmu, struct x86_walk *walk);

/* As above, for debuggers: changes nothing, any privilege; false: not mapped. */
bool x86_walk_debug(struct x86_cpu *cpu, uint64_t linear, uint64_t *phys);

/* The entries on the way to linear, for people. Changes nothing. */
struct x86_walk_trace {
	unsigned steps;
	struct {
		unsigned shift; /* log2 of what the entry maps */
		uint64_t gpa, entry;
	} step[4];
	bool mapped, in_memory;
	uint64_t phys;
};

void x86_walk_trace(struct x86_cpu *cpu, uint64_t linear, struct x86_walk_trace *trace);

/* Loads the four PDPTEs as MOV CR3 / MOV CR0 do under PAE; false: reserved bits set (#GP). */
bool x86_load_pdptrs(struct x86_cpu *cpu, uint64_t cr3);

#endif
