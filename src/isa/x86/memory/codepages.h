/* SPDX-License-Identifier: MIT */
/*
 * Which pages the jump tables of translated code know code in: an exact set, so that INVLPG of a data
 * page costs them nothing. A CPU's own. Intel SDM vol. 3, 4.10.4.1: INVLPG forgets the whole page
 * around its operand, however large; so a page is remembered with its size.
 */
#ifndef RINGLET_ISA_X86_CODEPAGES_H
#define RINGLET_ISA_X86_CODEPAGES_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

#define X86_CODE_PAGES_BITS 12

struct x86_code_pages {
	unsigned count;
	unsigned sizes; /* a bit a size: whether there is any page of it */
	uint64_t key[1u << X86_CODE_PAGES_BITS]; /* 0: free */
};

/* Remembers the page of 1 << shift bytes (12, 21 or 30) around linear. False: no room. */
bool x86_code_pages_add(struct x86_code_pages *set, uint64_t linear, unsigned shift);
/* Is any page around linear there? */
bool x86_code_pages_has(const struct x86_code_pages *set, uint64_t linear);
void x86_code_pages_clear(struct x86_code_pages *set);

/*
 * Where the user code lies that a mapping's jumps lead to: what the TLB said when they were
 * learned. If the tables say the same after a flush, the jumps are still right. A look at a page
 * costs a fifth to a third of learning a jump anew, so there are few of them.
 */
#define X86_CODE_PLACES 64

struct x86_code_places {
	unsigned count; /* X86_CODE_PLACES + 1: there is more than is told here */
	struct x86_code_place {
		uint64_t linear, phys; /* of the 4 KiB */
		unsigned shift;        /* log2 of the size of their page; 0: free */
	} slot[2 * X86_CODE_PLACES];
};

void x86_code_places_clear(struct x86_code_places *places);
void x86_code_places_add(struct x86_code_places *places, uint64_t linear, uint64_t phys,
			 unsigned shift);
/* There is more, of which nobody could tell whether it has changed. */
void x86_code_places_give_up(struct x86_code_places *places);
/* Do the guest's tables say the same of all of it, for ring 3? Marks nothing there. */
bool x86_code_places_hold(struct x86_cpu *cpu, const struct x86_code_places *places);

#endif
