/* SPDX-License-Identifier: MIT */
/*
 * The machine's code cache, without knowledge of any instruction set: blocks keyed by the guest-
 * physical address of their first byte and a mode key, found by hash, invalidated by page and byte
 * range. Shared by all CPUs. A block's bytes lie in one page, except for a single instruction that
 * crosses into a second one (phys2).
 *
 * Look-up is lock-free. blocks_insert and invalidation take the cache's own mutex. An invalidated
 * block is unlinked and marked (valid = false) at once, but freed only when every CPU has passed a
 * safe point: blocks_reclaim is called in an exclusive section.
 *
 * Making a page a code page (MEM_PAGE_CODE): blocks_mark_page must run before the bytes are read,
 * in an exclusive section when the flag was not set, because others may hold TLB entries that write
 * to the page directly; every CPU's entries for it are dropped there.
 */
#ifndef RINGLET_CPU_BLOCKS_H
#define RINGLET_CPU_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct blocks;
struct cpu;
struct error;
struct mem;

struct block {
	uint64_t phys;      /* of the first byte */
	uint64_t phys2;     /* page address of the second page, or ~0 */
	uint32_t key;       /* the ISA's mode bits */
	uint16_t size_bytes; /* in the first page */
	uint16_t size2_bytes;
	_Atomic bool valid;
	_Atomic(struct block *) hash_next;
	struct block *page_next[2]; /* other blocks of the same pages */
};

struct blocks_stats {
	uint64_t lookups, misses, inserted, invalidated, flushes;
};

/* limit_bytes bounds the memory of all blocks; release frees one that the ISA allocated. */
int blocks_create(struct blocks **blocks, struct mem *mem, uint64_t limit_bytes,
		  void (*release)(struct block *block), struct error *err);
void blocks_destroy(struct blocks *blocks);

struct block *blocks_find(struct blocks *blocks, uint64_t phys, uint32_t key);

/* Takes over block (allocated by the ISA, size in alloc_bytes). Returns it, or an equal one that
 * another CPU inserted first (block is released then). */
struct block *blocks_insert(struct blocks *blocks, struct block *block, uint32_t alloc_bytes);

/* True when the cache is over its limit: the caller, in an exclusive section, calls blocks_flush. */
bool blocks_full(const struct blocks *blocks);
void blocks_flush(struct blocks *blocks);

/* The guest, a device or a loader wrote [gpa, gpa+len): unlinks the blocks made of these bytes.
 * Returns true when any was. Cheap when the page holds no code. */
bool blocks_wrote(struct blocks *blocks, uint64_t gpa, uint64_t len);

void blocks_stats(const struct blocks *blocks, struct blocks_stats *stats);

#endif
