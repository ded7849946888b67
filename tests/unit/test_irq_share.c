/* SPDX-License-Identifier: MIT */
/* A shared wire is high while anybody drives it, and its listener hears of changes alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dev/irq_share.h"

struct listener {
	bool level;
	unsigned calls;
};

static void listen(void *opaque, unsigned input, bool level)
{
	struct listener *listener = opaque;

	(void)input;
	listener->level = level;
	listener->calls++;
}

static void test_wired_or(void **state)
{
	struct listener listener = { false, 0 };
	struct irq_share share = { .out = { .set = listen, .opaque = &listener } };
	struct irq_line first = irq_share_line(&share, 0);
	struct irq_line last = irq_share_line(&share, IRQ_SHARE_INPUTS - 1);

	(void)state;
	irq_set(&first, true);
	irq_set(&last, true);
	irq_set(&first, true);
	assert_true(listener.level);
	irq_set(&first, false);
	assert_true(listener.level);
	assert_int_equal(listener.calls, 1);
	irq_set(&last, false);
	irq_set(&last, false);
	assert_false(listener.level);
	assert_int_equal(listener.calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wired_or),
	};

	return cmocka_run_group_tests_name("irq_share", tests, NULL, NULL);
}
