/* SPDX-License-Identifier: MIT */
/*
 * The table of what is mapped in a cell (struct direct_pages): entries by linear address and size.
 * The CPU's thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_ENTRIES_H
#define RINGLET_ISA_X86_DIRECT_ENTRIES_H

#include "isa/x86/direct/pages.h"

#define PAGE_SHIFT 12
#define PAGE_BYTES (1ull << PAGE_SHIFT)
#define LARGE_SHIFT 21
#define LARGE_BYTES (1ull << LARGE_SHIFT)

static inline uint64_t direct_page_start(uint64_t linear, unsigned shift)
{
	return linear & ~((1ull << shift) - 1);
}

/* The entry of this size around linear, or NULL; of any size. */
struct direct_page *direct_entry_find(struct direct_pages *pages, uint64_t linear, unsigned shift);
struct direct_page *direct_entry_at(struct direct_pages *pages, uint64_t linear);

/* A new entry that maps nothing; NULL: there is no room. Removed, it is anybody's. */
struct direct_page *direct_entry_add(struct direct_pages *pages, uint64_t linear, unsigned shift);
void direct_entry_remove(struct direct_pages *pages, struct direct_page *page);

#endif
