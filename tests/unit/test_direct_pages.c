/* SPDX-License-Identifier: MIT */
/* What becomes executable in a cell (isa/x86/direct/pages.h): the changes that it would be told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "cpu/blocks.h"
#include "isa/x86/block.h"
#include "isa/x86/direct/entries.h"
#include "isa/x86/direct/judge.h"
#include "isa/x86/direct/pages.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/x86.h"
#include "mem/hold.h"
#include "mem/mem.h"
#include "x86_fixture.h"

#define PAGE 4096u
#define ROOT 0x100000u /* four tables, one behind the other */
#define TABLE (ROOT + 3 * PAGE)
#define CODE_AT 0x40000000u
#define CODE_PHYS 0x200000u
#define USER 0x7u /* present, writable, for user code */
#define ACCESSED 0x20u
#define DIRTY 0x40u

struct bench {
	struct x86_fixture x86;
	struct cell cell;
	struct direct_verdicts verdicts;
	struct direct_pages *pages;
};

/* What was at watched, if that is not 0, when everybody had left the pages that they ran. */
static uint64_t watched, entry_when_stopped;
static struct bench *current;
void __real_blocks_stop_exec(struct blocks *blocks);
void __wrap_blocks_stop_exec(struct blocks *blocks);

void __wrap_blocks_stop_exec(struct blocks *blocks)
{
	__real_blocks_stop_exec(blocks);
	if (watched)
		entry_when_stopped = x86_peek(&current->x86, watched, 8);
}

static void set_page(struct bench *bench, unsigned page, uint64_t flags)
{
	x86_poke(&bench->x86, TABLE + page * 8, CODE_PHYS + page * PAGE + flags, 8);
}

static int set_up(void **state)
{
	static struct bench bench;

	bench = (struct bench){ .cell.self = 1ull << 46 };
	current = &bench;
	x86_fixture_create(&bench.x86);
	x86_poke(&bench.x86, ROOT, ROOT + PAGE + USER, 8);
	x86_poke(&bench.x86, ROOT + PAGE + (CODE_AT >> 30) * 8, ROOT + 2 * PAGE + USER, 8);
	x86_poke(&bench.x86, ROOT + 2 * PAGE, TABLE + USER, 8);
	for (uint64_t at = 0; at < 2 * PAGE; at += 8)
		x86_poke(&bench.x86, CODE_PHYS + at, 0x9090909090909090, 8);
	x86_fixture_long(&bench.x86, 3, ROOT);
	bench.pages = calloc(1, sizeof(*bench.pages));
	assert_non_null(bench.pages);
	direct_pages_init(bench.pages, &bench.cell, &bench.verdicts);
	direct_pages_freshen(bench.x86.cpu, bench.pages);
	*state = &bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	free(bench->pages);
	x86_fixture_destroy(&bench->x86);
	return 0;
}

static enum direct_fault access_page(struct bench *bench, unsigned page, unsigned protection)
{
	uint64_t linear = CODE_AT + page * PAGE;
	uint32_t error;

	return direct_pages_fault(bench->x86.cpu, bench->pages, linear, protection, &error);
}

static enum direct_fault execute(struct bench *bench, unsigned page)
{
	return access_page(bench, page, PROT_EXEC);
}

/* So many pages are to be mapped, all of them in [first, end). */
static void assert_mapped(const struct bench *bench, unsigned pages, unsigned first, unsigned end)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < bench->cell.changes; i++) {
		const struct cell_change *change = &bench->cell.change[i];

		assert_in_range(change->linear, CODE_AT + first * PAGE,
				CODE_AT + end * PAGE - change->bytes);
		bytes += change->bytes;
	}
	assert_int_equal(bytes, pages * PAGE);
}

static void test_runs(void **state)
{
	struct bench *bench = *state;
	const struct cell_change *change;

	set_page(bench, 0, USER);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	change = &bench->cell.change[bench->cell.changes - 1];
	assert_int_equal(change->linear, CODE_AT);
	assert_int_equal(change->offset, CODE_PHYS);
	assert_int_equal(change->protection, PROT_READ | PROT_EXEC);
}

/*
 * WRPKRU, its first byte at the end of a page. The page behind runs already; its entry is not as it
 * was: aged, say, of which no TLB hears.
 */
static void test_joins_what_is_mapped(void **state)
{
	static const uint64_t entries[] = { USER | ACCESSED, USER, 0 };
	struct bench *bench = *state;

	x86_poke(&bench->x86, CODE_PHYS + PAGE - 1, 0x90ef010f, 4);
	for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		set_page(bench, 0, 0);
		set_page(bench, 1, USER);
		assert_int_equal(execute(bench, 1), DIRECT_MAPPED);
		set_page(bench, 0, USER);
		set_page(bench, 1, entries[i]);
		assert_int_equal(execute(bench, 0), DIRECT_OURS);
		assert_true(direct_pages_refused(bench->pages, CODE_AT));
		direct_pages_forget(bench->pages, CODE_AT);
		direct_pages_forget(bench->pages, CODE_AT + PAGE);
	}
}

/* Somebody is about to write to it, and waits until nobody runs it. */
static void test_held(void **state)
{
	struct bench *bench = *state;

	set_page(bench, 0, USER);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	assert_true(mem_hold(bench->x86.mem, CODE_PHYS, 1));
	direct_pages_forget(bench->pages, CODE_AT);
	assert_int_equal(execute(bench, 0), DIRECT_OURS);
	mem_stopped(bench->x86.mem, CODE_PHYS, 1);
	mem_release(bench->x86.mem, CODE_PHYS, 1);
	direct_pages_forget(bench->pages, CODE_AT);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
}

/* A neighbour was looked through, but there was no room to map it: what it is later counts. */
static void test_looks_again(void **state)
{
	struct bench *bench = *state;
	struct blocks *blocks = bench->x86.cpu->cpu.env.blocks;
	const uint64_t phys = CODE_PHYS + 2 * PAGE;

	set_page(bench, 0, USER);
	set_page(bench, 2, USER | ACCESSED);
	for (; bench->cell.changes < CELL_CHANGES - 1; bench->cell.changes++)
		bench->cell.change[bench->cell.changes].linear = 2 * bench->cell.changes * PAGE;
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	bench->cell.changes = 0;
	mem_hold(bench->x86.mem, phys, 3);
	blocks_stop_exec(blocks);
	mem_stopped(bench->x86.mem, phys, 3);
	direct_pages_freshen(bench->x86.cpu, bench->pages);
	x86_poke(&bench->x86, phys, 0xef010f, 3);
	blocks_wrote(blocks, phys, 3);
	mem_release(bench->x86.mem, phys, 3);
	direct_pages_freshen(bench->x86.cpu, bench->pages);
	assert_int_equal(execute(bench, 2), DIRECT_OURS);
}

/* Code is looked through once, until it is written; or when more instructions count. */
static void test_remembers(void **state)
{
	struct bench *bench = *state;

	bench->cell.cpuid_faults = true;
	direct_pages_freshen(bench->x86.cpu, bench->pages);
	set_page(bench, 0, USER);
	set_page(bench, 1, USER);
	x86_poke(&bench->x86, CODE_PHYS + PAGE, 0xa20f, 2);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	assert_int_equal(execute(bench, 1), DIRECT_MAPPED);
	x86_poke(&bench->x86, CODE_PHYS, 0xef010f, 3);
	direct_pages_forget(bench->pages, CODE_AT);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	blocks_wrote(bench->x86.cpu->cpu.env.blocks, CODE_PHYS, 3);
	direct_pages_forget(bench->pages, CODE_AT);
	assert_int_equal(execute(bench, 0), DIRECT_OURS);
	bench->cell.cpuid_faults = false;
	direct_pages_freshen(bench->x86.cpu, bench->pages);
	assert_int_equal(execute(bench, 1), DIRECT_OURS);
}

/* A page of tables is code, too. An accessed bit may make WRPKRU there: nobody runs it any more by then. */
static void test_stops_before_tables_change(void **state)
{
	struct bench *bench = *state;
	struct x86_cpu *cpu = bench->x86.cpu;
	struct x86_walk walk;

	set_page(bench, 0, USER);
	assert_true(x86_mark_exec_page(cpu, TABLE));
	watched = TABLE;
	assert_true(x86_walk(cpu, CODE_AT, X86_WALK_READ, X86_MMU_USER, &walk));
	watched = 0;
	assert_int_equal(entry_when_stopped, CODE_PHYS + USER);
	assert_int_equal(x86_peek(&bench->x86, TABLE, 8), CODE_PHYS + USER + ACCESSED);
}

/* A flush is heard of, though to translated code the mapping is still the same. */
static void test_flushed(void **state)
{
	struct bench *bench = *state;
	struct x86_cpu *cpu = bench->x86.cpu;
	const struct cell_change *change;
	uint64_t mapping;

	x86_tlb_confirm(cpu, 0);
	mapping = cpu->mapping_generation[X86_JUMP_USER];
	direct_pages_freshen(cpu, bench->pages);
	set_page(bench, 0, USER);
	assert_int_equal(execute(bench, 0), DIRECT_MAPPED);
	set_page(bench, 0, 0);
	x86_tlb_flush_nonglobal(cpu);
	x86_tlb_confirm(cpu, 0);
	assert_int_equal(cpu->mapping_generation[X86_JUMP_USER], mapping);
	direct_pages_freshen(cpu, bench->pages);
	change = &bench->cell.change[bench->cell.changes - 1];
	assert_int_equal(change->linear, CODE_AT);
	assert_int_equal(change->protection, 0);
}

/* A fault is dear: what can be written comes with it from 256 KiB around, all else from 64 KiB. */
static void test_neighbours(void **state)
{
	struct bench *bench = *state;

	for (unsigned page = 0; page < 256; page++)
		set_page(bench, page, USER | ACCESSED | DIRTY);
	set_page(bench, 70, USER | ACCESSED);
	set_page(bench, 97, USER | ACCESSED);
	set_page(bench, 98, USER);
	bench->cell.changes = 0;
	assert_int_equal(access_page(bench, 100, PROT_READ), DIRECT_MAPPED);
	assert_mapped(bench, 62, 64, 128);
	assert_null(direct_entry_at(bench->pages, CODE_AT + 70 * PAGE));
	assert_null(direct_entry_at(bench->pages, CODE_AT + 98 * PAGE));
	set_page(bench, 150, USER | ACCESSED);
	bench->cell.changes = 0;
	assert_int_equal(access_page(bench, 150, PROT_READ), DIRECT_MAPPED);
	assert_mapped(bench, 16, 144, 160);
	bench->cell.changes = 0;
	assert_int_equal(execute(bench, 200), DIRECT_MAPPED);
	assert_mapped(bench, 16, 192, 208);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_joins_what_is_mapped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_held, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_looks_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_remembers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stops_before_tables_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flushed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_neighbours, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
