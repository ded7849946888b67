/* SPDX-License-Identifier: MIT */
#include "cpu/blocks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "cpu/cpu.h"
#include "cpu/exclusive.h"
#include "mem/mem.h"

#define HASH_BITS 16
#define PAGE_HASH_BITS 14
#define GENERATION_BITS 12
#define NO_PAGE (~0ull)
/* Reclaiming stops every CPU, so dead blocks are let to pile up a little. */
#define DEAD_BYTES_WORTH_RECLAIM (4u << 20)

struct blocks {
	struct mem *mem;
	struct exclusive *exclusive; /* the CPUs, or NULL */
	void (*release)(struct block *block);
	uint64_t limit_bytes;
	pthread_mutex_t mutex;  /* all below but hash reads */
	_Atomic uint64_t live_bytes, dead_bytes;
	struct block *dead;
	struct blocks_stats stats;
	const void *exit_thunk, *dead_thunk;
	_Atomic(struct block *) hash[1u << HASH_BITS];
	struct block *page_hash[1u << PAGE_HASH_BITS];
	_Atomic uint64_t generation[1u << GENERATION_BITS];
	_Atomic uint32_t exec_writes;
};

static uint32_t hash_of(uint64_t value, unsigned bits)
{
	return (uint32_t)((value * 0x9e3779b97f4a7c15ull) >> (64 - bits));
}

static _Atomic(struct block *) *bucket_of(struct blocks *blocks, uint64_t phys, uint32_t key)
{
	return &blocks->hash[hash_of(phys ^ ((uint64_t)key << 48), HASH_BITS)];
}

static struct block **page_bucket(struct blocks *blocks, uint64_t page)
{
	return &blocks->page_hash[hash_of(page >> MEM_PAGE_SHIFT, PAGE_HASH_BITS)];
}

static _Atomic uint64_t *generation_of(struct blocks *blocks, uint64_t phys)
{
	return &blocks->generation[(phys >> MEM_PAGE_SHIFT) & ((1u << GENERATION_BITS) - 1)];
}

static uint64_t page_of(uint64_t phys)
{
	return phys & ~(uint64_t)(MEM_PAGE_SIZE - 1);
}

static bool in_page(const struct block *block, uint64_t page)
{
	return page_of(block->phys) == page || block->phys2 == page;
}

int blocks_create(struct blocks **out, struct mem *mem, uint64_t limit_bytes,
		  void (*release)(struct block *block), struct error *err)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	if (!blocks)
		return error_set(err, ENOMEM, "no memory for the code cache");
	blocks->mem = mem;
	blocks->limit_bytes = limit_bytes;
	blocks->release = release;
	pthread_mutex_init(&blocks->mutex, NULL);
	*out = blocks;
	return 0;
}

/*
 * A bucket chains the blocks of all pages that hash to it; a block that lies in two pages is in two
 * chains, and this is its link in the chain of bucket.
 */
static struct block **page_link(struct blocks *blocks, struct block *block, struct block **bucket)
{
	return &block->page_next[page_bucket(blocks, page_of(block->phys)) == bucket ? 0 : 1];
}

/* Takes what is not valid any more out of the chain of page. */
static void page_sweep(struct blocks *blocks, uint64_t page)
{
	struct block **bucket = page_bucket(blocks, page);
	struct block **link = bucket;

	while (*link) {
		struct block **next = page_link(blocks, *link, bucket);

		if (atomic_load(&(*link)->valid))
			link = next;
		else
			*link = *next;
	}
}

/* A block whose two pages share a bucket is in that chain once, by link 0. */
static bool second_page_linked(struct blocks *blocks, const struct block *block)
{
	return block->phys2 != NO_PAGE &&
	       page_bucket(blocks, block->phys2) != page_bucket(blocks, page_of(block->phys));
}

static void release(struct blocks *blocks, struct block *block)
{
	free(block->exit);
	blocks->release(block);
}

/* ---- chains between blocks' generated code ---- */

static void exit_unchain(struct blocks *blocks, struct block_exit *exit)
{
	struct block_exit **link;

	if (!exit->to)
		return;
	for (link = &exit->to->incoming; *link != exit; link = &(*link)->next)
		;
	*link = exit->next;
	exit->to = NULL;
	atomic_store(&exit->target, blocks->exit_thunk);
}

static void unchain(struct blocks *blocks, struct block *block)
{
	while (block->incoming)
		exit_unchain(blocks, block->incoming);
	for (unsigned i = 0; block->exit && i < BLOCK_EXITS; i++)
		exit_unchain(blocks, &block->exit[i]);
	if (atomic_load(&block->code))
		atomic_store(&block->code, blocks->dead_thunk);
}

void blocks_set_thunks(struct blocks *blocks, const void *exit, const void *dead)
{
	blocks->exit_thunk = exit;
	blocks->dead_thunk = dead;
}

void blocks_set_cpus(struct blocks *blocks, struct exclusive *exclusive)
{
	blocks->exclusive = exclusive;
}

static bool all_valid(const struct block_entry *entries, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!atomic_load(&entries[i].block->valid))
			return false;
	return true;
}

/* In addition to what older code of the block depends on. */
static void watch(struct block *block, unsigned start, unsigned end)
{
	if (start >= end)
		return;
	if (block->watch_start >= block->watch_end) {
		block->watch_start = (uint16_t)start;
		block->watch_end = (uint16_t)end;
		return;
	}
	if (start < block->watch_start)
		block->watch_start = (uint16_t)start;
	if (end > block->watch_end)
		block->watch_end = (uint16_t)end;
}

/* Makes the rings of two blocks one, unless they are. */
static void join(struct block *a, struct block *b)
{
	struct block *next = a->region_next;

	for (const struct block *block = next; block != a; block = block->region_next)
		if (block == b)
			return;
	if (a == b)
		return;
	a->region_next = b->region_next;
	b->region_next = next;
}

/* Those who jump to older code of the block come to the new one from now on. */
static void give_code(struct block *block, const void *code)
{
	atomic_store(&block->code, code);
	for (struct block_exit *exit = block->incoming; exit; exit = exit->next)
		atomic_store(&exit->target, code);
}

bool blocks_set_code(struct blocks *blocks, const struct block_entry *entries, unsigned count,
		     unsigned watch_start, unsigned watch_end, uint64_t generation)
{
	bool valid;

	pthread_mutex_lock(&blocks->mutex);
	valid = all_valid(entries, count) &&
		blocks_generation(blocks, entries[0].block->phys) == generation;
	if (valid) {
		watch(entries[0].block, watch_start, watch_end);
		for (unsigned i = 0; i < count; i++) {
			join(entries[0].block, entries[i].block);
			give_code(entries[i].block, entries[i].code);
		}
	}
	pthread_mutex_unlock(&blocks->mutex);
	return valid;
}

struct block *blocks_with_code(struct blocks *blocks, struct block *block, const uint8_t *start,
			       const uint8_t *end)
{
	struct block *at = block, *found = NULL;

	pthread_mutex_lock(&blocks->mutex);
	do {
		const uint8_t *code = atomic_load(&at->code);

		if (atomic_load(&at->valid) && code >= start && code < end)
			found = at;
		at = at->region_next;
	} while (!found && at != block);
	pthread_mutex_unlock(&blocks->mutex);
	return found;
}

void blocks_chain(struct blocks *blocks, struct block *from, struct block_exit *exit,
		  struct block *to)
{
	pthread_mutex_lock(&blocks->mutex);
	if (!exit->to && atomic_load(&from->valid) && atomic_load(&to->valid) &&
	    atomic_load(&to->code)) {
		exit->to = to;
		exit->next = to->incoming;
		to->incoming = exit;
		atomic_store(&exit->target, atomic_load(&to->code));
	}
	pthread_mutex_unlock(&blocks->mutex);
}

/* ---- linking and unlinking ---- */

/* Nobody goes to the block any more, who is not in it already. */
static void retire(struct blocks *blocks, struct block *block)
{
	atomic_store(&block->valid, false);
	unchain(blocks, block);
	block->dead_next = blocks->dead;
	blocks->dead = block;
	atomic_fetch_sub(&blocks->live_bytes, block->alloc_bytes);
	atomic_fetch_add(&blocks->dead_bytes, block->alloc_bytes);
}

/* hash_next of the dead block stays, so that a concurrent look-up passes through it. */
static void hash_unlink(struct blocks *blocks, struct block *block)
{
	_Atomic(struct block *) *link = bucket_of(blocks, block->phys, block->key);

	while (atomic_load(link) != block)
		link = &atomic_load(link)->hash_next;
	atomic_store(link, atomic_load(&block->hash_next));
}

/* With all blocks that its code is one piece with. True: there was code, which may be running. */
static bool unlink_region(struct blocks *blocks, struct block *block)
{
	bool had_code = atomic_load(&block->code);
	struct block *member = block, *next;

	do {
		next = member->region_next;
		hash_unlink(blocks, member);
		retire(blocks, member);
		if (second_page_linked(blocks, member))
			page_sweep(blocks, member->phys2);
		member = next;
	} while (member != block);
	page_sweep(blocks, page_of(block->phys));
	return had_code;
}

struct block *blocks_find(struct blocks *blocks, uint64_t phys, uint32_t key)
{
	struct block *block = atomic_load(bucket_of(blocks, phys, key));

	while (block && !(block->phys == phys && block->key == key && atomic_load(&block->valid)))
		block = atomic_load(&block->hash_next);
	return block;
}

uint64_t blocks_generation(struct blocks *blocks, uint64_t phys)
{
	return atomic_load(generation_of(blocks, phys));
}

uint32_t blocks_exec_writes(const struct blocks *blocks)
{
	return atomic_load(&blocks->exec_writes);
}

void blocks_stop_exec(struct blocks *blocks)
{
	atomic_fetch_add(&blocks->exec_writes, 1);
	if (blocks->exclusive)
		exclusive_recall(blocks->exclusive, CPU_REQ_CODE);
}

static void link_block(struct blocks *blocks, struct block *block, uint32_t alloc_bytes)
{
	_Atomic(struct block *) *bucket = bucket_of(blocks, block->phys, block->key);
	struct block **page = page_bucket(blocks, page_of(block->phys));

	block->alloc_bytes = alloc_bytes;
	block->region_next = block;
	block->page_next[0] = *page;
	*page = block;
	if (second_page_linked(blocks, block)) {
		page = page_bucket(blocks, block->phys2);
		block->page_next[1] = *page;
		*page = block;
	}
	atomic_store(&block->valid, true);
	atomic_store(&block->hash_next, atomic_load(bucket));
	atomic_store(bucket, block);
	atomic_fetch_add(&blocks->live_bytes, alloc_bytes);
	blocks->stats.inserted++;
}

struct block *blocks_insert(struct blocks *blocks, struct block *block, uint32_t alloc_bytes,
			    uint64_t generation, uint64_t generation2)
{
	struct block *found = NULL;

	pthread_mutex_lock(&blocks->mutex);
	if (blocks_generation(blocks, block->phys) == generation &&
	    (block->phys2 == NO_PAGE ||
	     blocks_generation(blocks, block->phys2) == generation2)) {
		found = blocks_find(blocks, block->phys, block->key);
		if (found && found->phys2 != block->phys2) {
			/* The next linear page is another one than when the old block was made. */
			unlink_region(blocks, found);
			found = NULL;
		}
		if (!found) {
			link_block(blocks, block, alloc_bytes);
			found = block;
		}
	}
	pthread_mutex_unlock(&blocks->mutex);
	if (found && found != block)
		release(blocks, block);
	return found;
}

bool blocks_wants_reclaim(const struct blocks *blocks)
{
	return atomic_load_explicit(&blocks->dead_bytes, memory_order_relaxed) >=
		       DEAD_BYTES_WORTH_RECLAIM ||
	       atomic_load_explicit(&blocks->live_bytes, memory_order_relaxed) > blocks->limit_bytes;
}

static void retire_all(struct blocks *blocks)
{
	for (unsigned i = 0; i < 1u << HASH_BITS; i++) {
		struct block *block = atomic_load(&blocks->hash[i]);

		for (; block; block = atomic_load(&block->hash_next))
			retire(blocks, block);
		atomic_store(&blocks->hash[i], NULL);
	}
	for (unsigned i = 0; i < 1u << PAGE_HASH_BITS; i++)
		blocks->page_hash[i] = NULL;
	blocks->stats.flushes++;
}

void blocks_reclaim(struct blocks *blocks, bool everything)
{
	struct block *block, *next;

	pthread_mutex_lock(&blocks->mutex);
	if (everything || atomic_load(&blocks->live_bytes) > blocks->limit_bytes)
		retire_all(blocks);
	block = blocks->dead;
	blocks->dead = NULL;
	for (; block; block = next) {
		next = block->dead_next;
		if (block->pins) {
			block->dead_next = blocks->dead;
			blocks->dead = block;
		} else {
			atomic_fetch_sub(&blocks->dead_bytes, block->alloc_bytes);
			release(blocks, block);
		}
	}
	pthread_mutex_unlock(&blocks->mutex);
}

/* Does the block hold a byte of [start, end), which lies in one page? */
static bool overlaps(const struct block *block, uint64_t start, uint64_t end)
{
	uint64_t page = page_of(block->phys);

	if (start < block->phys + block->size_bytes && end > block->phys)
		return true;
	if (start < page + block->watch_end && end > page + block->watch_start)
		return true;
	return block->phys2 != NO_PAGE && start < block->phys2 + block->size2_bytes &&
	       end > block->phys2;
}

/* A block of page that holds a byte of [start, end), or NULL. others: there are some that do not. */
static struct block *find_hit(struct blocks *blocks, uint64_t page, uint64_t start, uint64_t end,
			      bool *others)
{
	struct block **bucket = page_bucket(blocks, page);

	*others = false;
	for (struct block *block = *bucket; block; block = *page_link(blocks, block, bucket)) {
		if (!in_page(block, page))
			continue;
		if (overlaps(block, start, end))
			return block;
		*others = true;
	}
	return NULL;
}

static bool wrote_page(struct blocks *blocks, _Atomic uint8_t *flags, uint64_t start, uint64_t end)
{
	uint64_t page = page_of(start);
	bool hit = false, had_code = false, had_exec, others;
	struct block *block;

	while ((block = find_hit(blocks, page, start, end, &others))) {
		had_code |= unlink_region(blocks, block);
		blocks->stats.invalidated++;
		hit = true;
	}
	/* The flag before the generation: who reads the new one must see that the flag is gone. */
	had_exec = atomic_fetch_and(flags, (uint8_t)~(MEM_PAGE_EXEC | (others ? 0 : MEM_PAGE_CODE))) &
		   MEM_PAGE_EXEC;
	/* Whoever reads the page's bytes now read the generation before: see the header. */
	atomic_fetch_add(generation_of(blocks, page), 1);
	if (had_exec) {
		atomic_fetch_add(&blocks->exec_writes, 1);
		had_code = true;
	}
	if (had_code && blocks->exclusive)
		exclusive_request(blocks->exclusive, CPU_REQ_CODE);
	return hit;
}

bool blocks_wrote(struct blocks *blocks, uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa + len, next;
	bool hit = false;

	for (; gpa < end; gpa = next) {
		const struct mem_region *region = mem_find(blocks->mem, gpa);
		_Atomic uint8_t *flags;

		next = page_of(gpa) + MEM_PAGE_SIZE;
		if (!region)
			continue;
		flags = mem_page_flags(region, gpa);
		if (!(atomic_load(flags) & MEM_PAGE_CODE))
			continue;
		pthread_mutex_lock(&blocks->mutex);
		hit |= wrote_page(blocks, flags, gpa, next < end ? next : end);
		pthread_mutex_unlock(&blocks->mutex);
	}
	return hit;
}

void blocks_stats(const struct blocks *blocks, struct blocks_stats *stats)
{
	*stats = blocks->stats;
}

void blocks_destroy(struct blocks *blocks)
{
	struct block *next;

	if (!blocks)
		return;
	retire_all(blocks);
	for (struct block *block = blocks->dead; block; block = next) {
		next = block->dead_next;
		release(blocks, block);
	}
	pthread_mutex_destroy(&blocks->mutex);
	free(blocks);
}
