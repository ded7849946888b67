/* SPDX-License-Identifier: MIT */
/*
 * The code cache, as one thread sees it: blocks whose generated code is one piece, made again, chained,
 * and invalid together. Threads against each other: test_races.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "cpu/exclusive.h"
#include "mem/mem.h"

#define BLOCK_BYTES 16
#define COUNT 6

static const uint8_t exit_thunk, dead_thunk, code[16];

struct cache {
	struct mem *mem;
	struct exclusive *exclusive;
	struct blocks *blocks;
	struct cpu cpu;
	struct block *block[COUNT]; /* one behind the other, from the start of RAM */
};

static void release(struct block *block)
{
	free(block);
}

static struct block *make_block(struct cache *cache, uint64_t phys)
{
	struct block *block = calloc(1, sizeof(*block));

	assert_non_null(block);
	block->phys = phys;
	block->phys2 = ~0ull;
	block->size_bytes = BLOCK_BYTES;
	block->exit = calloc(BLOCK_EXITS, sizeof(*block->exit));
	assert_non_null(block->exit);
	for (unsigned i = 0; i < BLOCK_EXITS; i++) {
		block->exit[i].owner = block;
		atomic_store(&block->exit[i].target, &exit_thunk);
	}
	assert_ptr_equal(blocks_insert(cache->blocks, block, sizeof(*block),
				       blocks_generation(cache->blocks, phys), 0), block);
	return block;
}

static int setup(void **state)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	assert_non_null(cache);
	*state = cache;
	assert_int_equal(mem_create(&cache->mem, NULL), 0);
	assert_int_equal(mem_add(cache->mem, 0, 1u << 20, false, "ram", NULL), 0);
	assert_int_equal(exclusive_create(&cache->exclusive, NULL), 0);
	assert_int_equal(exclusive_add(cache->exclusive, &cache->cpu, NULL), 0);
	assert_int_equal(blocks_create(&cache->blocks, cache->mem, 1u << 20, release, NULL), 0);
	blocks_set_cpus(cache->blocks, cache->exclusive);
	blocks_set_thunks(cache->blocks, &exit_thunk, &dead_thunk);
	for (unsigned i = 0; i < COUNT; i++)
		cache->block[i] = make_block(cache, i * BLOCK_BYTES);
	atomic_fetch_or(&mem_find(cache->mem, 0)->page_flags[0], MEM_PAGE_CODE);
	return 0;
}

static int teardown(void **state)
{
	struct cache *cache = *state;

	blocks_destroy(cache->blocks);
	exclusive_destroy(cache->exclusive);
	mem_destroy(cache->mem);
	free(cache);
	return 0;
}

/* Code for blocks first … last, entered at code[at], code[at + 1] … */
static bool give(struct cache *cache, unsigned first, unsigned last, unsigned at)
{
	struct block_entry entries[COUNT];

	for (unsigned i = first; i <= last; i++)
		entries[i - first] = (struct block_entry){ .block = cache->block[i],
							   .code = &code[at + i - first] };
	return blocks_set_code(cache->blocks, entries, last - first + 1, 0, 0,
			       blocks_generation(cache->blocks, 0));
}

/* One bit for each valid block. */
static unsigned valid(const struct cache *cache)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < COUNT; i++)
		mask |= (unsigned)atomic_load(&cache->block[i]->valid) << i;
	return mask;
}

static const void *target(const struct cache *cache, unsigned from)
{
	return atomic_load(&cache->block[from]->exit[0].target);
}

static void chain(struct cache *cache, unsigned from, unsigned to)
{
	blocks_chain(cache->blocks, cache->block[from], &cache->block[from]->exit[0],
		     cache->block[to]);
}

static void test_a_region_dies_as_one(void **state)
{
	struct cache *cache = *state;

	assert_true(give(cache, 1, 3, 0));
	assert_true(give(cache, 4, 4, 3));
	chain(cache, 4, 2);
	chain(cache, 1, 4);
	assert_ptr_equal(target(cache, 4), &code[1]);
	assert_ptr_equal(target(cache, 1), &code[3]);
	assert_true(blocks_wrote(cache->blocks, 3 * BLOCK_BYTES, 1));
	assert_int_equal(valid(cache), 0x31);
	for (unsigned i = 1; i <= 3; i++)
		assert_ptr_equal(atomic_load(&cache->block[i]->code), &dead_thunk);
	assert_ptr_equal(target(cache, 4), &exit_thunk);
	assert_true(cpu_requested(&cache->cpu, CPU_REQ_CODE));
	assert_ptr_equal(blocks_find(cache->blocks, 4 * BLOCK_BYTES, 0), cache->block[4]);
	assert_null(blocks_find(cache->blocks, 2 * BLOCK_BYTES, 0));
}

static void test_blocks_without_code_disturb_nobody(void **state)
{
	struct cache *cache = *state;

	assert_true(give(cache, 1, 3, 0));
	assert_true(blocks_wrote(cache->blocks, 0, 1));
	assert_int_equal(valid(cache), 0x3e);
	assert_false(cpu_requested(&cache->cpu, CPU_REQ_CODE));
}

/* Old code of the same blocks may still be running: it goes with the new one's, and the other way. */
static void test_made_again(void **state)
{
	for (unsigned hit = 1; hit <= 4; hit++) {
		struct cache *cache = *state;

		assert_true(give(cache, 1, 2, 0));
		chain(cache, 5, 2);
		assert_ptr_equal(target(cache, 5), &code[1]);
		assert_true(give(cache, 2, 3, 4));
		assert_ptr_equal(target(cache, 5), &code[4]);
		assert_ptr_equal(atomic_load(&cache->block[1]->code), &code[0]);
		assert_true(give(cache, 1, 4, 8));
		assert_true(blocks_wrote(cache->blocks, hit * BLOCK_BYTES, 1));
		assert_int_equal(valid(cache), 0x21);
		assert_ptr_equal(target(cache, 5), &exit_thunk);
		teardown(state);
		setup(state);
	}
}

static void test_watched_bytes(void **state)
{
	struct cache *cache = *state;
	struct block_entry first = { .block = cache->block[1], .code = code };
	uint64_t generation = blocks_generation(cache->blocks, 0);

	assert_true(blocks_set_code(cache->blocks, &first, 1, 0x200, 0x210, generation));
	/* Made again, with other bytes looked at: the old ones still matter. */
	assert_true(blocks_set_code(cache->blocks, &first, 1, 0x300, 0x310, generation));
	assert_false(blocks_wrote(cache->blocks, 0x310, 8));
	assert_false(blocks_wrote(cache->blocks, 0x1f8, 8));
	assert_int_equal(valid(cache), 0x3f);
	assert_true(blocks_wrote(cache->blocks, 0x20f, 1));
	assert_int_equal(valid(cache), 0x3d);
}

static void test_too_late(void **state)
{
	struct cache *cache = *state;
	struct block_entry entries[2] = { { cache->block[1], code }, { cache->block[2], code } };
	uint64_t generation = blocks_generation(cache->blocks, 0);

	/* Somewhere else in the page: what was read of it may have been that. */
	blocks_wrote(cache->blocks, 0x800, 1);
	assert_false(blocks_set_code(cache->blocks, entries, 2, 0, 0, generation));
	blocks_wrote(cache->blocks, 2 * BLOCK_BYTES, 1);
	generation = blocks_generation(cache->blocks, 0);
	assert_false(blocks_set_code(cache->blocks, entries, 2, 0, 0, generation));
	assert_null(atomic_load(&cache->block[1]->code));
	assert_int_equal(valid(cache), 0x3b);
}

static void test_emptied(void **state)
{
	struct cache *cache = *state;

	assert_true(give(cache, 1, 3, 0));
	chain(cache, 4, 2);
	cache->block[0]->pins = 1;
	blocks_reclaim(cache->blocks, true);
	assert_null(blocks_find(cache->blocks, 0, 0));
	assert_false(atomic_load(&cache->block[0]->valid));
	cache->block[0]->pins = 0;
	assert_false(blocks_wrote(cache->blocks, 0, 4096));
	cache->block[1] = make_block(cache, BLOCK_BYTES);
	assert_ptr_equal(blocks_find(cache->blocks, BLOCK_BYTES, 0), cache->block[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_region_dies_as_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocks_without_code_disturb_nobody, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_made_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watched_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_emptied, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
