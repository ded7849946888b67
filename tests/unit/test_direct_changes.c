/* SPDX-License-Identifier: MIT */
/* What a cell is told to unmap, in as few pieces as possible (isa/x86/direct/changes.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "isa/x86/direct/changes.h"
#include "isa/x86/direct/entries.h"

#define HERE (1ull << 30)
#define FAR (1ull << 24)

struct bench {
	struct cell cell;
	struct direct_pages pages;
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	b->cell.self = 130ull << CELL_PART_SHIFT;
	b->pages.cell = &b->cell;
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void unmap(struct bench *b, uint64_t linear)
{
	assert_true(direct_change(&b->pages, linear, PAGE_BYTES, 0, 0));
}

static void assert_change(const struct bench *b, unsigned i, uint64_t start, uint64_t end)
{
	assert_int_equal(b->cell.change[i].linear, start);
	assert_int_equal(b->cell.change[i].bytes, end - start);
	assert_int_equal(b->cell.change[i].protection, 0);
}

/* In whatever order they came, over gaps where nothing is mapped; what was there before stays. */
static void test_joined_over_gaps(void **state)
{
	struct bench *b = *state;

	assert_true(direct_change(&b->pages, HERE, PAGE_BYTES, 0, 1));
	unmap(b, HERE + 9 * PAGE_BYTES);
	unmap(b, HERE + 3 * PAGE_BYTES);
	unmap(b, HERE + 5 * PAGE_BYTES);
	assert_true(direct_changes_join(&b->pages, 1));
	assert_int_equal(b->cell.changes, 2);
	assert_int_equal(b->cell.change[0].protection, 1);
	assert_change(b, 1, HERE + 3 * PAGE_BYTES, HERE + 10 * PAGE_BYTES);
}

/* A small page and a large one that begins before the gap. */
static void test_not_over_what_is_mapped(void **state)
{
	struct bench *b = *state;

	assert_non_null(direct_entry_add(&b->pages, HERE + 2 * PAGE_BYTES, PAGE_SHIFT));
	assert_non_null(direct_entry_add(&b->pages, HERE + LARGE_BYTES, LARGE_SHIFT));
	unmap(b, HERE + 2 * LARGE_BYTES);
	unmap(b, HERE + PAGE_BYTES);
	unmap(b, HERE + 3 * PAGE_BYTES);
	unmap(b, HERE + LARGE_BYTES - PAGE_BYTES);
	assert_true(direct_changes_join(&b->pages, 0));
	assert_int_equal(b->cell.changes, 4);
	assert_change(b, 0, HERE + PAGE_BYTES, HERE + 2 * PAGE_BYTES);
	assert_change(b, 3, HERE + 2 * LARGE_BYTES, HERE + 2 * LARGE_BYTES + PAGE_BYTES);
}

/* Joining makes room for many more, or is said not to be worth it: not once for each change. */
static void test_room_or_none(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < CELL_CHANGES; i++)
		unmap(b, HERE + i * 2 * PAGE_BYTES);
	assert_true(direct_changes_join(&b->pages, 0));
	assert_int_equal(b->cell.changes, 1);
	b->cell.changes = 0;
	for (unsigned i = 0; i + 1 < CELL_CHANGES; i++)
		unmap(b, HERE + i * FAR);
	unmap(b, HERE + 2 * PAGE_BYTES);
	assert_false(direct_changes_join(&b->pages, 0));
	assert_int_equal(b->cell.changes, CELL_CHANGES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_joined_over_gaps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_over_what_is_mapped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_room_or_none, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
