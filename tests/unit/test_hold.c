/* SPDX-License-Identifier: MIT */
/* Pages that are executed as they are, and who writes to them (mem/hold.h). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "cpu/exclusive.h"
#include "dev/dma.h"
#include "device_fixture.h"
#include "mem/hold.h"
#include "mem/mem.h"

#define RAM_PAGES 4u
#define EXECUTED (MEM_PAGE_CODE | MEM_PAGE_EXEC)

static void test_counts(void **state)
{
	_Atomic uint8_t flags = EXECUTED | MEM_PAGE_DIRTY;

	(void)state;
	assert_true(mem_hold_page(&flags));
	/* The first one may still wait for those who run it: so does the second. */
	assert_true(mem_hold_page(&flags));
	assert_int_equal(flags, EXECUTED | MEM_PAGE_DIRTY | 2 * MEM_PAGE_HELD);
	mem_stopped_page(&flags);
	assert_false(mem_hold_page(&flags));
	mem_release_page(&flags);
	assert_int_equal(flags, MEM_PAGE_CODE | MEM_PAGE_DIRTY | 2 * MEM_PAGE_HELD);
	mem_release_page(&flags);
	assert_int_equal(flags, MEM_PAGE_CODE | MEM_PAGE_DIRTY | MEM_PAGE_HELD);
	mem_release_page(&flags);
	assert_int_equal(flags, MEM_PAGE_CODE | MEM_PAGE_DIRTY);
}

/* What cannot be counted any more is not forgotten. */
static void test_too_many(void **state)
{
	_Atomic uint8_t flags = EXECUTED;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		mem_hold_page(&flags);
	mem_stopped_page(&flags);
	for (unsigned i = 0; i < 100; i++)
		mem_release_page(&flags);
	assert_int_equal(flags, MEM_PAGE_CODE | 15 * MEM_PAGE_HELD);
}

static const struct mem_region *ram(void **state)
{
	struct device_fixture *fixture = *state;

	if (!mem_find(fixture->env.mem, 0))
		assert_int_equal(mem_add(fixture->env.mem, 0, RAM_PAGES * MEM_PAGE_SIZE, false, "ram",
					 NULL), 0);
	return mem_find(fixture->env.mem, 0);
}

/* All pages that have a byte of the range; what is no memory does not count. */
static void test_range(void **state)
{
	const struct mem_region *region = ram(state);
	struct device_fixture *fixture = *state;

	for (unsigned i = 0; i < RAM_PAGES; i++)
		region->page_flags[i] = 0;
	assert_false(mem_hold(fixture->env.mem, MEM_PAGE_SIZE + 5, 0));
	assert_false(mem_hold(fixture->env.mem, 2 * MEM_PAGE_SIZE - 1, 1));
	assert_int_equal(region->page_flags[0], 0);
	assert_int_equal(region->page_flags[1], MEM_PAGE_HELD);
	assert_int_equal(region->page_flags[2], 0);
	region->page_flags[3] = EXECUTED;
	assert_true(mem_hold(fixture->env.mem, 2 * MEM_PAGE_SIZE - 1, RAM_PAGES * MEM_PAGE_SIZE));
	assert_int_equal(region->page_flags[1], 2 * MEM_PAGE_HELD);
	assert_int_equal(region->page_flags[2], MEM_PAGE_HELD);
	assert_int_equal(region->page_flags[3], EXECUTED | MEM_PAGE_HELD);
	mem_stopped(fixture->env.mem, 2 * MEM_PAGE_SIZE - 1, RAM_PAGES * MEM_PAGE_SIZE);
	assert_int_equal(region->page_flags[3], MEM_PAGE_CODE | MEM_PAGE_HELD);
	mem_release(fixture->env.mem, 2 * MEM_PAGE_SIZE - 1, RAM_PAGES * MEM_PAGE_SIZE);
	mem_release(fixture->env.mem, 2 * MEM_PAGE_SIZE - 1, 1);
	assert_int_equal(region->page_flags[1] | region->page_flags[2], 0);
	assert_int_equal(region->page_flags[3], MEM_PAGE_CODE);
}

static void is_asked(void *opaque)
{
	const struct mem_region *region = opaque;

	/* Before the first byte changes. */
	assert_int_equal(region->host[0], 1);
	assert_int_equal(region->page_flags[0], EXECUTED | MEM_PAGE_HELD);
	region->host[1] = 1;
}

static void test_devices_ask(void **state)
{
	const struct mem_region *region = ram(state);
	struct device_fixture *fixture = *state;
	const struct dma dma = { .mem = fixture->env.mem, .stop_exec = is_asked,
				 .opaque = (void *)(uintptr_t)region };

	for (unsigned discard = 0; discard < 2; discard++) {
		region->page_flags[0] = EXECUTED;
		region->host[0] = 1;
		region->host[1] = 0;
		if (discard)
			dma_discard(&dma, 0, MEM_PAGE_SIZE);
		else
			assert_int_equal(dma_fill(&dma, 0, 2, 1), 0);
		assert_int_equal(region->host[0], discard ? 0 : 2);
		assert_int_equal(region->host[1], discard ? 0 : 1);
		assert_int_equal(region->page_flags[0] & ~MEM_PAGE_DIRTY, MEM_PAGE_CODE);
	}
}

/* A CPU that is away comes back when it sees the request, and says so a little later. */
static void *come_back(void *opaque)
{
	struct cpu *cpu = opaque;

	while (!cpu_requested(cpu, CPU_REQ_CODE))
		;
	cpu->block = (struct block *)cpu; /* the last thing that it does there */
	atomic_fetch_add(&cpu->away, 1);
	return NULL;
}

static void kick(struct cpu *cpu)
{
	(void)cpu;
}

/* It comes back at once, and is away again before anybody looks. */
static void visit_again(struct cpu *cpu)
{
	cpu_request_clear(cpu, CPU_REQ_CODE);
	atomic_fetch_add(&cpu->away, 2);
}

static void test_cpus_are_back(void **state)
{
	struct device_fixture *fixture = *state;
	struct exclusive *exclusive;
	struct blocks *blocks;
	struct cpu cpu[2] = { { .count = 2, .away = 1, .kick = kick }, { .index = 1, .count = 2 } };
	pthread_t thread;
	uint32_t writes;

	assert_int_equal(exclusive_create(&exclusive, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(exclusive_add(exclusive, &cpu[i], NULL), 0);
	assert_int_equal(blocks_create(&blocks, fixture->env.mem, 1u << 20, NULL, NULL), 0);
	blocks_set_cpus(blocks, exclusive);
	writes = blocks_exec_writes(blocks);
	assert_int_equal(pthread_create(&thread, NULL, come_back, &cpu[0]), 0);
	blocks_stop_exec(blocks);
	assert_ptr_equal(cpu[0].block, &cpu[0]);
	assert_int_not_equal(blocks_exec_writes(blocks), writes);
	pthread_join(thread, NULL);
	cpu[1].away = 1;
	cpu[1].kick = visit_again;
	blocks_stop_exec(blocks);
	assert_int_equal(cpu[1].away, 3);
	blocks_destroy(blocks);
	exclusive_destroy(exclusive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_devices_ask),
		cmocka_unit_test(test_cpus_are_back),
	};

	return cmocka_run_group_tests_name("hold", tests, device_fixture_open, device_fixture_close);
}
