/* SPDX-License-Identifier: MIT */
/* Which flushes the jumps to user code outlive (isa/x86/memory/codepages.h and tlb.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "isa/x86/memory/codepages.h"
#include "isa/x86/memory/tlb.h"
#include "x86_fixture.h"

enum { P = 1, W = 2, U = 4, A = 0x20, PS = 0x80, ALL = P | W | U | A };
#define NX (1ull << 63)

#define ROOT 0x10000u
#define PDPT 0x11000u
#define PD 0x12000u
#define PT 0x13000u
#define OTHER_ROOT 0x14000u
#define FRAME 0x200000u
#define LINEAR 0x400000u
#define PAGE 0x1000u
#define MANY (X86_CODE_PLACES + 1)

static void set_page(struct x86_fixture *f, unsigned page, uint64_t leaf)
{
	x86_poke(f, PT + page * 8, leaf, 8);
}

static int setup(void **state)
{
	static struct x86_fixture fixture;
	struct x86_fixture *f = &fixture;

	x86_fixture_create(f);
	x86_poke(f, ROOT, PDPT | ALL, 8);
	x86_poke(f, OTHER_ROOT, 0, 8);
	x86_poke(f, PDPT, PD | ALL, 8);
	x86_poke(f, PD + 2 * 8, PT | ALL, 8);
	for (unsigned page = 0; page < MANY; page++)
		set_page(f, page, (FRAME + page * PAGE) | ALL);
	x86_fixture_long(f, 3, ROOT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

/* What user code's mapping is called when it runs. */
static uint64_t mapping(struct x86_fixture *f)
{
	if (!f->cpu->mapping_generation[X86_JUMP_USER])
		x86_tlb_confirm(f->cpu, 0);
	return f->cpu->mapping_generation[X86_JUMP_USER];
}

/* Code of a page is fetched, and its jump table learns of it. */
static void learn(struct x86_fixture *f, uint64_t linear)
{
	const uint8_t *host;
	uint64_t phys;

	mapping(f);
	assert_true(x86_tlb_fetch(f->cpu, linear, &phys, &host));
	assert_true(x86_tlb_note_code(f->cpu, linear));
}

static bool outlives(struct x86_fixture *f, void flush(struct x86_cpu *cpu))
{
	uint64_t before = mapping(f), flushed = f->cpu->user_flush;

	flush(f->cpu);
	/* Those who map pages by themselves hear of it in any case. */
	assert_int_not_equal(f->cpu->user_flush, flushed);
	return mapping(f) == before;
}

static void test_nothing_changed(void **state)
{
	struct x86_fixture *f = *state;

	learn(f, LINEAR + 0x123);
	learn(f, LINEAR + PAGE);
	learn(f, LINEAR + 0x456);
	assert_true(outlives(f, x86_tlb_flush_nonglobal));
	assert_true(outlives(f, x86_tlb_flush_all));
	set_page(f, 2, 0); /* of no code that was learned */
	assert_true(outlives(f, x86_tlb_flush_all));
}

static void assert_ends(struct x86_fixture *f, uint64_t leaf)
{
	learn(f, LINEAR);
	learn(f, LINEAR + PAGE);
	set_page(f, 1, leaf);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
	/* The new mapping starts from nothing. */
	assert_true(outlives(f, x86_tlb_flush_nonglobal));
	set_page(f, 1, (FRAME + PAGE) | ALL);
	x86_tlb_flush_all(f->cpu);
}

static void test_changed(void **state)
{
	struct x86_fixture *f = *state;

	f->cpu->state.efer |= X86_EFER_NXE;
	x86_update_mode(f->cpu);
	assert_ends(f, (FRAME + 2 * PAGE) | ALL);
	assert_ends(f, (FRAME + PAGE) | ALL | NX);
	assert_ends(f, (FRAME + PAGE) | (ALL & ~U));
	assert_ends(f, (FRAME + PAGE) | (ALL & ~P));
	assert_ends(f, (FRAME + PAGE) | (ALL & ~A));
}

/* In a larger page at the same place, INVLPG forgets more than before. */
static void test_size(void **state)
{
	struct x86_fixture *f = *state;

	learn(f, LINEAR);
	x86_poke(f, PD + 2 * 8, FRAME | ALL | PS, 8);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
	learn(f, LINEAR);
	x86_poke(f, PD + 2 * 8, PT | ALL, 8);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
}

static void flush_code_page(struct x86_cpu *cpu)
{
	x86_tlb_flush_page(cpu, LINEAR + 0xfff);
}

static void flush_code_page_of_pcid(struct x86_cpu *cpu)
{
	x86_tlb_flush_pcid_page(cpu, 0, LINEAR);
}

static void test_invlpg(void **state)
{
	struct x86_fixture *f = *state;

	learn(f, LINEAR);
	assert_false(outlives(f, flush_code_page));
	learn(f, LINEAR);
	assert_false(outlives(f, flush_code_page_of_pcid));
}

/* Code was learned in two places of a page: whatever the tables say now, one of them is wrong. */
static void test_two_places(void **state)
{
	struct x86_fixture *f = *state;

	learn(f, LINEAR);
	set_page(f, 0, (FRAME + PAGE) | ALL);
	x86_tlb_denied(f->cpu, LINEAR);
	learn(f, LINEAR);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
	learn(f, LINEAR);
	set_page(f, 0, FRAME | ALL);
	x86_tlb_denied(f->cpu, LINEAR);
	learn(f, LINEAR);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
}

static void test_other_root(void **state)
{
	struct x86_fixture *f = *state;

	learn(f, LINEAR);
	f->cpu->state.cr3 = OTHER_ROOT;
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
}

/* Jumps of a PCID that rests are asked for when it comes back, and not before. */
static void test_pcids(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t first, second;

	x86_tlb_switch(f->cpu, 1, false);
	learn(f, LINEAR);
	first = mapping(f);
	x86_tlb_switch(f->cpu, 2, false);
	learn(f, LINEAR);
	second = mapping(f);
	assert_int_not_equal(first, second);
	x86_tlb_flush_pcid(f->cpu, 1);
	assert_int_equal(mapping(f), second);
	x86_tlb_switch(f->cpu, 1, true);
	assert_int_equal(mapping(f), first);
	x86_tlb_switch(f->cpu, 2, true);
	assert_int_equal(mapping(f), second);
	x86_tlb_flush_pcid(f->cpu, 1);
	set_page(f, 0, (FRAME + PAGE) | ALL);
	x86_tlb_switch(f->cpu, 1, true);
	assert_int_not_equal(mapping(f), first);
	x86_tlb_switch(f->cpu, 2, false);
	assert_int_not_equal(mapping(f), second);
}

static void test_too_many(void **state)
{
	struct x86_fixture *f = *state;

	for (unsigned page = 0; page < MANY; page++)
		learn(f, LINEAR + page * PAGE);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
	for (unsigned page = 0; page < MANY - 1; page++)
		learn(f, LINEAR + page * PAGE);
	assert_true(outlives(f, x86_tlb_flush_nonglobal));
}

/* Of privilege 1 and 2 we do not know what a look at the tables would have to say. */
static void test_other_privilege(void **state)
{
	struct x86_fixture *f = *state;

	set_page(f, 0, FRAME | (ALL & ~U));
	x86_fixture_long(f, 1, ROOT);
	learn(f, LINEAR);
	set_page(f, 0, FRAME | ALL);
	assert_false(outlives(f, x86_tlb_flush_nonglobal));
}

/* An old mapping, whose turn may have been given away. */
static void test_since(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t before;

	learn(f, LINEAR);
	before = mapping(f);
	x86_tlb_flush_nonglobal(f->cpu);
	x86_tlb_confirm(f->cpu, before + 1);
	assert_true(mapping(f) > before);
}

/* What does not run any more is not looked at for ever. */
static void test_in_a_row(void **state)
{
	struct x86_fixture *f = *state;
	unsigned row = 0;

	learn(f, LINEAR);
	while (row < 1000 && outlives(f, x86_tlb_flush_nonglobal))
		row++;
	assert_in_range(row, 10, 100);
	set_page(f, 0, 0);
	assert_true(outlives(f, x86_tlb_flush_nonglobal));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_changed), TEST(test_changed),    TEST(test_size),
		TEST(test_invlpg),	    TEST(test_two_places), TEST(test_other_root),
		TEST(test_pcids),	    TEST(test_too_many),   TEST(test_other_privilege),
		TEST(test_since),	    TEST(test_in_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
