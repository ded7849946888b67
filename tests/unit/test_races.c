/* SPDX-License-Identifier: MIT */
/*
 * Threads against each other: safe points, the code cache, APIC messages, bus ranges that come and
 * go. What these tests assert is little; run under ThreadSanitizer (make tsan) they say more.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "cpu/exclusive.h"
#include "dev/bus.h"
#include "device_fixture.h"
#include "irqchip/apic.h"
#include "mem/mem.h"

#define THREADS 4
#define ROUNDS 2000
#define WORDS 40000
#define RAM_PAGES 4u
#define KEYS 3u

struct crowd {
	struct device_fixture *fixture;
	struct exclusive *exclusive;
	struct blocks *blocks;
	struct device *apics;
	struct cpu cpu[THREADS];
	unsigned alone;          /* no lock but the exclusive section */
	_Atomic unsigned inside; /* CPUs in run */
	_Atomic uint32_t written; /* the last word that is in the page */
	_Atomic bool direct_way;  /* its writer need not ask the code cache */
	_Atomic unsigned taken, done; /* interrupts; sections, or threads that sent all */
};

struct member {
	struct crowd *crowd;
	unsigned index;
	uint64_t random;
	pthread_t thread;
};

/* Good enough to mix threads up; xorshift. */
static uint32_t any(struct member *member, uint32_t below)
{
	member->random ^= member->random << 13;
	member->random ^= member->random >> 7;
	member->random ^= member->random << 17;
	return (uint32_t)(member->random >> 32) % below;
}

/* In place of cmocka's assertions, which know one thread only. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static void release(struct block *block)
{
	/* Whoever still used it would see this. */
	block->phys = 0xdead;
	free(block);
}

static void start(void **state, struct crowd *crowd)
{
	*crowd = (struct crowd){ .fixture = *state };
	assert_int_equal(exclusive_create(&crowd->exclusive, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		crowd->cpu[i] = (struct cpu){ .index = i, .count = THREADS,
					      .env.exclusive = crowd->exclusive };
		assert_int_equal(exclusive_add(crowd->exclusive, &crowd->cpu[i], NULL), 0);
	}
}

static void run(struct crowd *crowd, void *(*body)(void *member))
{
	struct member member[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		member[i] = (struct member){ .crowd = crowd, .index = i,
					     .random = i + 88172645463325252ull };
		assert_int_equal(pthread_create(&member[i].thread, NULL, body, &member[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(member[i].thread, NULL);
}

/* What a CPU thread does between pieces of guest code. */
static void poll_safe_point(struct crowd *crowd, struct cpu *cpu)
{
	if (!cpu_requested(cpu, CPU_REQ_EXCLUSIVE))
		return;
	atomic_fetch_sub(&crowd->inside, 1);
	exclusive_yield(cpu);
	atomic_fetch_add(&crowd->inside, 1);
}

/* ---- safe points ---- */

static void *body_exclusive(void *opaque)
{
	struct member *member = opaque;
	struct crowd *crowd = member->crowd;
	struct cpu *cpu = &crowd->cpu[member->index];

	exclusive_enter(cpu);
	atomic_fetch_add(&crowd->inside, 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		poll_safe_point(crowd, cpu);
		if (any(member, 8))
			continue;
		atomic_fetch_sub(&crowd->inside, 1);
		exclusive_begin(cpu);
		must(!atomic_load(&crowd->inside));
		crowd->alone++;
		exclusive_end(cpu);
		atomic_fetch_add(&crowd->inside, 1);
		atomic_fetch_add(&crowd->done, 1);
	}
	atomic_fetch_sub(&crowd->inside, 1);
	exclusive_leave(cpu);
	return NULL;
}

static void test_exclusive(void **state)
{
	struct crowd crowd;

	start(state, &crowd);
	run(&crowd, body_exclusive);
	assert_true(crowd.alone > 0);
	assert_int_equal(crowd.alone, crowd.done);
	exclusive_destroy(crowd.exclusive);
}

/* ---- the code cache ---- */

static void pin(struct cpu *cpu, void *opaque)
{
	(void)opaque;
	if (cpu->block)
		cpu->block->pins++;
}

static void unpin(struct cpu *cpu, void *opaque)
{
	(void)opaque;
	if (cpu->block)
		cpu->block->pins--;
}

static void reclaim(struct crowd *crowd, struct cpu *cpu)
{
	exclusive_begin(cpu);
	exclusive_each(crowd->exclusive, pin, NULL);
	blocks_reclaim(crowd->blocks, false);
	exclusive_each(crowd->exclusive, unpin, NULL);
	exclusive_end(cpu);
}

static struct block *make_block(struct crowd *crowd, struct member *member, uint64_t phys,
				uint32_t key)
{
	struct block *block = calloc(1, sizeof(*block)), *inserted;
	bool crosses = (phys & 0xff0) == 0xff0;
	uint64_t next = ((phys >> MEM_PAGE_SHIFT) + 1) % RAM_PAGES << MEM_PAGE_SHIFT;
	uint64_t generation = blocks_generation(crowd->blocks, phys);
	uint64_t generation2 = blocks_generation(crowd->blocks, next);
	const struct mem_region *region = mem_find(crowd->fixture->env.mem, 0);

	must(block);
	block->phys = phys;
	block->key = key;
	block->size_bytes = 16;
	block->phys2 = crosses ? next : ~0ull;
	block->size2_bytes = crosses ? any(member, 8) + 1 : 0;
	atomic_fetch_or(&region->page_flags[phys >> MEM_PAGE_SHIFT], MEM_PAGE_CODE);
	atomic_fetch_or(&region->page_flags[next >> MEM_PAGE_SHIFT], MEM_PAGE_CODE);
	inserted = blocks_insert(crowd->blocks, block, sizeof(*block), generation, generation2);
	if (!inserted)
		free(block);
	return inserted;
}

/* Finds or makes a block and "executes" it: it must be what was asked for, and stay so. */
static void use_block(struct crowd *crowd, struct member *member, struct cpu *cpu)
{
	uint64_t phys = (uint64_t)any(member, RAM_PAGES * 256) << 4;
	uint32_t key = any(member, KEYS);
	struct block *block = blocks_find(crowd->blocks, phys, key);

	if (!block)
		block = make_block(crowd, member, phys, key);
	if (!block)
		return;
	must(block->phys == phys && block->key == key);
	cpu->block = block;
}

static void *body_blocks(void *opaque)
{
	struct member *member = opaque;
	struct crowd *crowd = member->crowd;
	struct cpu *cpu = &crowd->cpu[member->index];

	exclusive_enter(cpu);
	for (unsigned i = 0; i < ROUNDS * 4; i++) {
		if (cpu_requested(cpu, CPU_REQ_EXCLUSIVE))
			exclusive_yield(cpu);
		switch (any(member, 32)) {
		case 0:
			reclaim(crowd, cpu);
			break;
		case 1: case 2:
			blocks_wrote(crowd->blocks, any(member, RAM_PAGES << MEM_PAGE_SHIFT),
				     any(member, 64) + 1);
			break;
		default:
			use_block(crowd, member, cpu);
		}
	}
	cpu->block = NULL;
	exclusive_leave(cpu);
	return NULL;
}

static void test_blocks(void **state)
{
	struct blocks_stats stats;
	struct crowd crowd;

	start(state, &crowd);
	assert_int_equal(mem_add(crowd.fixture->env.mem, 0, RAM_PAGES << MEM_PAGE_SHIFT, false,
				 "ram", NULL), 0);
	/* Room for fewer blocks than there are, so that it is emptied as well. */
	assert_int_equal(blocks_create(&crowd.blocks, crowd.fixture->env.mem,
				       300 * sizeof(struct block), release, NULL), 0);
	run(&crowd, body_blocks);
	blocks_stats(crowd.blocks, &stats);
	assert_true(stats.inserted > 0 && stats.invalidated > 0 && stats.flushes > 0);
	blocks_destroy(crowd.blocks);
	exclusive_destroy(crowd.exclusive);
}

/* ---- making code of a page while it is written ---- */

struct word_block {
	struct block block; /* must be first */
	uint32_t word;      /* what the page held when the block was made */
};

static void forget_way(struct cpu *cpu, void *opaque)
{
	(void)cpu;
	atomic_store(&((struct crowd *)opaque)->direct_way, false);
}

/* As an engine does: see cpu/blocks.h. NULL: the page was written meanwhile. */
static struct word_block *make_word(struct crowd *crowd, struct cpu *cpu)
{
	struct word_block *made = calloc(1, sizeof(*made));
	const struct mem_region *region = mem_find(crowd->fixture->env.mem, 0);
	uint64_t generation = blocks_generation(crowd->blocks, 0);

	must(made);
	made->block.phys2 = ~0ull;
	made->block.size_bytes = sizeof(uint32_t);
	if (!(atomic_load(region->page_flags) & MEM_PAGE_CODE)) {
		exclusive_begin(cpu);
		atomic_fetch_or(region->page_flags, MEM_PAGE_CODE);
		exclusive_each(crowd->exclusive, forget_way, crowd);
		exclusive_end(cpu);
	}
	made->word = atomic_load((_Atomic uint32_t *)region->host);
	if (!blocks_insert(crowd->blocks, &made->block, sizeof(*made), generation, 0)) {
		free(made);
		return NULL;
	}
	return (struct word_block *)blocks_find(crowd->blocks, 0, 0);
}

/* The one that writes has a direct way to the page while it holds no code. */
static void write_word(struct crowd *crowd, uint32_t word)
{
	const struct mem_region *region = mem_find(crowd->fixture->env.mem, 0);

	atomic_store((_Atomic uint32_t *)region->host, word);
	if (atomic_load(&crowd->direct_way))
		return;
	if (atomic_load(region->page_flags) & MEM_PAGE_CODE)
		blocks_wrote(crowd->blocks, 0, sizeof(word));
	if (!(atomic_load(region->page_flags) & MEM_PAGE_CODE))
		atomic_store(&crowd->direct_way, true);
}

static void *body_words(void *opaque)
{
	struct member *member = opaque;
	struct crowd *crowd = member->crowd;
	struct cpu *cpu = &crowd->cpu[member->index];

	exclusive_enter(cpu);
	for (uint32_t i = 1, written = 0; written < WORDS; i++) {
		struct word_block *found;

		written = atomic_load(&crowd->written);
		if (cpu_requested(cpu, CPU_REQ_EXCLUSIVE))
			exclusive_yield(cpu);
		if (member->index == 0) {
			write_word(crowd, i);
			atomic_store(&crowd->written, i);
			continue;
		}
		found = (struct word_block *)blocks_find(crowd->blocks, 0, 0);
		if (!found)
			found = make_word(crowd, cpu);
		/* Code that is older than what had been written when we looked. */
		must(!found || found->word >= written);
	}
	exclusive_leave(cpu);
	return NULL;
}

static void test_written_while_made(void **state)
{
	struct crowd crowd;

	start(state, &crowd);
	assert_int_equal(blocks_create(&crowd.blocks, crowd.fixture->env.mem, 1u << 30, release,
				       NULL), 0);
	run(&crowd, body_words);
	blocks_destroy(crowd.blocks);
	exclusive_destroy(crowd.exclusive);
}

/* ---- APICs ---- */

static uint64_t tsc_now(void *opaque, unsigned cpu)
{
	(void)opaque;
	(void)cpu;
	return __builtin_ia32_rdtsc();
}

static void write_apic(struct crowd *crowd, int cpu, unsigned reg, uint32_t value)
{
	mmio_write32(crowd->fixture, APIC_DEFAULT_BASE + reg, value, cpu);
}

static void take_interrupts(struct crowd *crowd, const struct cpu_intc *intc, unsigned index)
{
	while (intc->pending(intc->opaque)) {
		if (intc->acknowledge(intc->opaque) < 0)
			break;
		atomic_fetch_add(&crowd->taken, 1);
		write_apic(crowd, (int)index, 0xb0, 0);
	}
}

static void *body_ipis(void *opaque)
{
	struct member *member = opaque;
	struct crowd *crowd = member->crowd;
	const struct cpu_intc *intc = apic_cpu_intc(crowd->apics, member->index);
	int cpu = (int)member->index;

	write_apic(crowd, cpu, 0xf0, 0x1ff);
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* To one, to oneself, to all, to all others; a timer; the priority moves. */
		write_apic(crowd, cpu, 0x310, any(member, THREADS) << 24);
		write_apic(crowd, cpu, 0x300, (0x20 + any(member, 0xd0)) | any(member, 4) << 18);
		if (!any(member, 16))
			write_apic(crowd, cpu, 0x380, any(member, 100000));
		intc->cr8_write(intc->opaque, any(member, 8));
		take_interrupts(crowd, intc, member->index);
		cpu_request_clear(&crowd->cpu[cpu], ~0u);
	}
	atomic_fetch_add(&crowd->done, 1);
	/* Everything that was sent is taken, also what comes late. */
	while (atomic_load(&crowd->done) < THREADS)
		sched_yield();
	intc->cr8_write(intc->opaque, 0);
	take_interrupts(crowd, intc, member->index);
	return NULL;
}

static void test_ipis(void **state)
{
	struct apic_config config = { .cpus = THREADS, .tsc_hz = 1000000000, .tsc_now = tsc_now };
	struct crowd crowd;

	start(state, &crowd);
	assert_int_equal(apic_set_create(&crowd.fixture->env, &config, &crowd.apics, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		apic_attach_cpu(crowd.apics, i, &crowd.cpu[i]);
	run(&crowd, body_ipis);
	assert_true(crowd.taken >= ROUNDS);
	for (unsigned i = 0; i < THREADS; i++) {
		const struct cpu_intc *intc = apic_cpu_intc(crowd.apics, i);

		assert_false(intc->pending(intc->opaque));
	}
	device_free(crowd.apics);
	exclusive_destroy(crowd.exclusive);
}

/* ---- bus ranges ---- */

static uint64_t range_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)size;
	(void)cpu;
	return (uint64_t)(uintptr_t)opaque + offset;
}

/* Two threads move a range each about, the others look where one could be. */
static void *body_bus(void *opaque)
{
	struct member *member = opaque;
	struct bus *bus = member->crowd->fixture->env.mmio;
	struct bus_range range = { .size = 0x1000, .name = "moving", .read = range_read,
				   .opaque = (void *)(uintptr_t)(member->index + 1) };

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t place = (uint64_t)(1 + any(member, 8)) << 20;
		uint64_t value;

		if (member->index < 2) {
			range.base = place + member->index * 0x1000;
			range.flags = any(member, 2) ? BUS_UNLOCKED : 0;
			must(!bus_add(bus, &range, NULL));
			must(bus_read(bus, range.base, 8, 0) == member->index + 1);
			bus_remove(bus, range.base);
		} else {
			value = bus_read(bus, place + (member->index & 1) * 0x1000, 8, 0);
			must(value == ~0ull || value == (member->index & 1) + 1);
		}
	}
	return NULL;
}

static void test_bus(void **state)
{
	struct crowd crowd;

	start(state, &crowd);
	run(&crowd, body_bus);
	exclusive_destroy(crowd.exclusive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exclusive),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_written_while_made),
		cmocka_unit_test(test_ipis),
		cmocka_unit_test(test_bus),
	};

	return cmocka_run_group_tests_name("races", tests, device_fixture_open,
					   device_fixture_close);
}
