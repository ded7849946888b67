/* SPDX-License-Identifier: MIT */
/* Which runs of a program are translated because they are brief (isa/x86/direct/runs.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "isa/x86/direct/runs.h"

#define TICKS_PER_US 1000u
#define HERE 0x401000u
#define THERE 0x402000u
#define BRIEF (2 * TICKS_PER_US)
#define LONG (100 * TICKS_PER_US)

static void test_cell_first(void **state)
{
	struct direct_runs runs;

	(void)state;
	direct_runs_init(&runs, TICKS_PER_US);
	assert_false(direct_runs_begin(&runs, HERE, 0));
	assert_int_equal(runs.translated, 0);
}

static void test_as_long_as_the_last_one_from_there(void **state)
{
	struct direct_runs runs;

	(void)state;
	direct_runs_init(&runs, TICKS_PER_US);
	direct_runs_left_cell(&runs, HERE, BRIEF, false);
	assert_true(direct_runs_begin(&runs, HERE, 5000));
	direct_runs_end(&runs, 5000 + BRIEF, false);
	assert_true(direct_runs_begin(&runs, HERE, 90000));
	assert_false(direct_runs_begin(&runs, THERE, 90000));
	direct_runs_left_cell(&runs, HERE, LONG, false);
	assert_false(direct_runs_begin(&runs, HERE, 100000));
}

/* A run that was to be brief and is not goes on in a cell at once, wherever it is by then. */
static void test_found_long(void **state)
{
	struct direct_runs runs;

	(void)state;
	direct_runs_init(&runs, TICKS_PER_US);
	direct_runs_left_cell(&runs, HERE, BRIEF, false);
	direct_runs_left_cell(&runs, THERE, BRIEF, false);
	assert_true(direct_runs_begin(&runs, HERE, 0));
	assert_false(direct_runs_is_long(&runs, BRIEF));
	assert_true(direct_runs_is_long(&runs, LONG));
	assert_false(direct_runs_begin(&runs, THERE, LONG));
	/* Once; and it was one from HERE. */
	assert_true(direct_runs_begin(&runs, THERE, LONG));
	assert_false(direct_runs_begin(&runs, HERE, LONG));
}

static void test_found_long_at_its_end(void **state)
{
	struct direct_runs runs;

	(void)state;
	direct_runs_init(&runs, TICKS_PER_US);
	direct_runs_left_cell(&runs, HERE, BRIEF, false);
	assert_true(direct_runs_begin(&runs, HERE, 0));
	direct_runs_end(&runs, LONG, false);
	assert_false(direct_runs_begin(&runs, HERE, LONG));
}

/* What an interrupt cut short may have been long: nothing is learnt. What was long was. */
static void test_interrupted(void **state)
{
	struct direct_runs runs;

	(void)state;
	direct_runs_init(&runs, TICKS_PER_US);
	direct_runs_left_cell(&runs, HERE, BRIEF, true);
	assert_false(direct_runs_begin(&runs, HERE, 0));
	direct_runs_left_cell(&runs, HERE, BRIEF, false);
	assert_true(direct_runs_begin(&runs, HERE, 0));
	direct_runs_end(&runs, LONG, true);
	assert_false(direct_runs_begin(&runs, HERE, LONG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cell_first),
		cmocka_unit_test(test_as_long_as_the_last_one_from_there),
		cmocka_unit_test(test_found_long),
		cmocka_unit_test(test_found_long_at_its_end),
		cmocka_unit_test(test_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
