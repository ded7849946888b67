/* SPDX-License-Identifier: MIT */
/* Which programs run directly, and for how long (isa/x86/direct/policy.c): decisions from given sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "isa/x86/direct/policy.h"

#define TICKS_PER_US 1000u
#define THIS 0x1000u
#define OTHER 0x2000u
#define PCID 3u
#define MANY 100000u

/* Interrupts in a row that it takes, or MANY. */
static unsigned ticks_until_chosen(struct direct_policy *policy, uint64_t root)
{
	unsigned ticks = 1;

	while (ticks < MANY && !direct_policy_tick(policy, root, PCID))
		ticks++;
	return ticks;
}

static void test_interrupts_in_a_row(void **state)
{
	struct direct_policy policy;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	assert_false(direct_policy_tick(&policy, THIS, PCID));
	assert_true(ticks_until_chosen(&policy, THIS) < 5);
}

static void test_programs_in_turn_do_not_count(void **state)
{
	struct direct_policy policy;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	for (unsigned i = 0; i < 1000; i++) {
		assert_false(direct_policy_tick(&policy, THIS, PCID));
		assert_false(direct_policy_tick(&policy, OTHER, PCID));
	}
}

/* Programs that do not live long, one after the other with the same tables. */
static void test_another_program_with_the_same_tables(void **state)
{
	struct direct_policy policy;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	for (uint32_t i = 0; i < 1000; i++)
		assert_false(direct_policy_tick(&policy, THIS, PCID + i % 6));
}

/* Exits until it is given up, each after so many microseconds of guest code; or MANY. */
static unsigned exits_until_given_up(struct direct_policy *policy, uint64_t us)
{
	struct direct_account account;
	uint64_t ticks = 5000;
	unsigned exits = 1;

	direct_account_open(policy, &account, ticks);
	for (;; exits++) {
		ticks += us * TICKS_PER_US;
		if (exits == MANY || !direct_account_exit(policy, &account, THIS, ticks))
			return exits;
	}
}

static void test_worth_by_what_lies_between_exits(void **state)
{
	struct direct_policy policy;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	assert_int_equal(exits_until_given_up(&policy, 100), MANY);
	/* Not at once: a program has to have its pages first. */
	assert_in_range(exits_until_given_up(&policy, 0), 100, MANY - 1);
	assert_in_range(exits_until_given_up(&policy, 3), 100, MANY - 1);
}

/* The longer it was good, the more it may leave afterwards; but not for ever. */
static void test_what_was_gained_is_forgotten(void **state)
{
	struct direct_account account;
	struct direct_policy policy;
	uint64_t ticks = 0;
	unsigned exits = 1;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	direct_account_open(&policy, &account, ticks);
	for (unsigned i = 0; i < MANY; i++) {
		ticks += 1000 * TICKS_PER_US;
		assert_true(direct_account_exit(&policy, &account, THIS, ticks));
	}
	while (exits < MANY && direct_account_exit(&policy, &account, THIS, ticks))
		exits++;
	assert_in_range(exits, 100, MANY - 1);
}

static void test_who_was_given_up_waits_longer(void **state)
{
	struct direct_policy policy;
	unsigned before, after;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	before = ticks_until_chosen(&policy, THIS);
	for (unsigned i = 0; i < 10; i++) {
		exits_until_given_up(&policy, 0);
		direct_policy_tick(&policy, OTHER, PCID);
		after = ticks_until_chosen(&policy, THIS);
		assert_true(after >= before);
		before = after;
	}
	/* It is not for ever either. */
	assert_in_range(after, 50, MANY - 1);
	assert_true(ticks_until_chosen(&policy, OTHER) < 5);
}

/* More of them than there are entries: the one that was not seen for longest is forgotten. */
static void test_many_programs(void **state)
{
	struct direct_policy policy;

	(void)state;
	direct_policy_init(&policy, TICKS_PER_US);
	for (uint64_t root = 1; root < 10 * DIRECT_SPACES; root++)
		assert_false(direct_policy_tick(&policy, root << 12, PCID));
	assert_true(ticks_until_chosen(&policy, THIS) < 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interrupts_in_a_row),
		cmocka_unit_test(test_programs_in_turn_do_not_count),
		cmocka_unit_test(test_another_program_with_the_same_tables),
		cmocka_unit_test(test_worth_by_what_lies_between_exits),
		cmocka_unit_test(test_what_was_gained_is_forgotten),
		cmocka_unit_test(test_who_was_given_up_waits_longer),
		cmocka_unit_test(test_many_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
