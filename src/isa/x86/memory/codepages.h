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

#endif
