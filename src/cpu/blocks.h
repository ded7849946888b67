/* SPDX-License-Identifier: MIT */
/*
 * The machine's code cache, without knowledge of any instruction set: blocks keyed by the guest-
 * physical address of their first byte and a mode key, found by hash, invalidated by page and byte
 * range. Shared by all CPUs. A block's bytes lie in one page, except for a single instruction that
 * crosses into a second one (phys2).
 *
 * Look-up is lock-free. blocks_insert and invalidation take the cache's own mutex. An invalidated
 * block is unlinked and marked (valid = false) at once, but freed only when every CPU has passed a
 * safe point (blocks_reclaim).
 *
 * Making code of a page, in this order: generation = blocks_generation(page); if the page lacks
 * MEM_PAGE_CODE, set it in an exclusive section in which every CPU's TLB entries that write to the page
 * directly are dropped; read the bytes; blocks_insert with that generation. It refuses the block when
 * the page was written in between. A write takes MEM_PAGE_CODE away (the last block is gone) before it
 * makes the generation another one, so that who read the new generation does not count on the old flag.
 */
#ifndef RINGLET_CPU_BLOCKS_H
#define RINGLET_CPU_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct blocks;
struct cpu;
struct error;
struct exclusive;
struct mem;

/*
 * A place where generated code leaves its block for a known one. Code jumps through target: to the other
 * block's code once they are chained, to the exit thunk before that and after either became invalid.
 */
struct block_exit {
	_Atomic(const void *) target;
	struct block *owner, *to;
	struct block_exit *next; /* others that lead to the same block */
	int32_t offset;          /* of the destination, from the start of the block's page */
};

#define BLOCK_EXITS 2

struct block {
	uint64_t phys;      /* of the first byte */
	uint64_t phys2;     /* page address of the second page, or ~0 */
	uint32_t key;       /* the ISA's mode bits */
	uint16_t size_bytes; /* in the first page */
	uint16_t size2_bytes;
	/* Bytes of the first page that generated code depends on beyond its own; empty if equal. */
	uint16_t watch_start, watch_end;
	_Atomic bool valid;
	_Atomic(struct block *) hash_next;
	struct block *page_next[2]; /* other blocks of the same pages */
	struct block *region_next;   /* ring of the blocks whose generated code is one piece */
	struct block *dead_next;
	_Atomic(const void *) code;  /* generated code; the dead thunk once invalid; NULL: none */
	struct block_exit *exit;     /* BLOCK_EXITS of them, from malloc, once there is code */
	struct block_exit *incoming;
	uint32_t pins;
	uint32_t alloc_bytes;
};

struct blocks_stats {
	uint64_t inserted, invalidated, flushes;
};

/* limit_bytes bounds the memory of all blocks; release frees one that the ISA allocated. */
int blocks_create(struct blocks **blocks, struct mem *mem, uint64_t limit_bytes,
		  void (*release)(struct block *block), struct error *err);
void blocks_destroy(struct blocks *blocks);

struct block *blocks_find(struct blocks *blocks, uint64_t phys, uint32_t key);

uint64_t blocks_generation(struct blocks *blocks, uint64_t phys);

/*
 * How often CPUs had to leave pages that were looked through and run as they are, without blocks,
 * because somebody writes to them. They are asked to look up.
 */
uint32_t blocks_exec_writes(const struct blocks *blocks);

/*
 * Somebody is about to write, and holds pages that have MEM_PAGE_EXEC (mem/hold.h). Returns when no
 * CPU runs them any more. Any thread but that of a CPU that is away.
 */
void blocks_stop_exec(struct blocks *blocks);

/*
 * Takes over block (made by the ISA; alloc_bytes is its memory) and returns it, or an equal one that
 * another CPU inserted first (block is released then). NULL, and block stays the caller's, when its
 * bytes may have changed since generation (generation2 for phys2) was read.
 */
struct block *blocks_insert(struct blocks *blocks, struct block *block, uint32_t alloc_bytes,
			    uint64_t generation, uint64_t generation2);

/*
 * Where generated code goes instead of an invalid or unknown block: exit from a block_exit, dead when
 * it found the block in a table. Before the machine runs.
 */
void blocks_set_thunks(struct blocks *blocks, const void *exit, const void *dead);

/*
 * Generated code loops without leaving its blocks: the CPUs of exclusive are asked to look up
 * (CPU_REQ_CODE) when some became invalid. Before the machine runs.
 */
void blocks_set_cpus(struct blocks *blocks, struct exclusive *exclusive);

/* Where a block's generated code is entered. */
struct block_entry {
	struct block *block;
	const void *code;
};

/*
 * Gives blocks of one page their generated code, one piece that watches [watch_start, watch_end) of the
 * page beside the blocks' own bytes. From now on they become invalid together, and with what a block that
 * had code already was one piece with: that code may still be running. False, and nothing done: one is
 * invalid already, or the page was written since generation was read.
 */
bool blocks_set_code(struct blocks *blocks, const struct block_entry *entries, unsigned count,
		     unsigned watch_start, unsigned watch_end, uint64_t generation);

/*
 * A block of those that become invalid together with block whose code begins in [start, end), or NULL. It is
 * block itself, if its does.
 */
struct block *blocks_with_code(struct blocks *blocks, struct block *block, const uint8_t *start,
			       const uint8_t *end);

/* Makes from's exit lead straight to to, if both are valid and to has code. */
void blocks_chain(struct blocks *blocks, struct block *from, struct block_exit *exit,
		  struct block *to);

/* There is enough to free, live or dead, to be worth an exclusive section with blocks_reclaim. */
bool blocks_wants_reclaim(const struct blocks *blocks);

/*
 * In an exclusive section: frees what was invalidated, and everything when the cache is over its limit,
 * but for blocks with pins: the caller pins those that CPUs are in. everything: as if over the limit.
 */
void blocks_reclaim(struct blocks *blocks, bool everything);

/* The guest, a device or a loader wrote [gpa, gpa+len): unlinks the blocks made of these bytes.
 * Returns true when any was. Cheap when the page holds no code. */
bool blocks_wrote(struct blocks *blocks, uint64_t gpa, uint64_t len);

void blocks_stats(const struct blocks *blocks, struct blocks_stats *stats);

#endif
