/* SPDX-License-Identifier: MIT */
/* The HPET: counter, one-shot and periodic comparators, levels, legacy replacement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dev/bus.h"
#include "device_fixture.h"
#include "legacy/hpet.h"

#define PIN 20
#define TIMER1 0x120
#define TIMER2 0x140

struct setup {
	struct device_fixture *fixture;
	struct device *hpet;
	struct test_wire irq0, irq8, pin;
};

static void start(void **state, struct setup *setup)
{
	struct hpet_config config = { .irq0 = test_wire_line(&setup->irq0),
				      .irq8 = test_wire_line(&setup->irq8) };

	*setup = (struct setup){ .fixture = *state };
	config.pin[PIN] = test_wire_line(&setup->pin);
	assert_int_equal(hpet_create(&setup->fixture->env, &config, &setup->hpet, NULL), 0);
}

static uint64_t in(struct setup *setup, unsigned reg)
{
	return bus_read(setup->fixture->env.mmio, HPET_DEFAULT_BASE + reg, 8, 0);
}

static void out(struct setup *setup, unsigned reg, uint64_t value)
{
	bus_write(setup->fixture->env.mmio, HPET_DEFAULT_BASE + reg, 8, value, 0);
}

static void test_counter(void **state)
{
	struct setup setup;
	uint64_t first;

	start(state, &setup);
	assert_int_equal(in(&setup, 0), (uint64_t)HPET_PERIOD_FS << 32 | HPET_BLOCK_ID);
	assert_int_equal(in(&setup, 0xf0), 0);
	out(&setup, 0xf0, 1000);
	assert_int_equal(in(&setup, 0xf0), 1000);
	out(&setup, 0x10, 1);
	first = in(&setup, 0xf0);
	while (in(&setup, 0xf0) == first)
		;
	out(&setup, 0x10, 0);
	first = in(&setup, 0xf0);
	assert_int_equal(in(&setup, 0xf0), first);
	assert_int_equal(in(&setup, TIMER2), 1ull << (32 + PIN) | 0x30);
	device_free(setup.hpet);
}

static void test_level_one_shot(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, TIMER2, PIN << 9 | 0x6); /* level, enabled */
	out(&setup, TIMER2 + 8, 100000);     /* 1 ms */
	out(&setup, 0x10, 1);
	run_until(setup.fixture, &setup.pin.done);
	assert_true(setup.pin.level);
	assert_int_equal(in(&setup, 0x20), 4);
	out(&setup, 0x20, 4);
	assert_false(setup.pin.level);
	device_free(setup.hpet);
}

/*
 * Two comparators at one pin: it stays high until both are done. The counter has passed their values
 * before the host can look, which is no reason not to match.
 */
static void test_shared_pin(void **state)
{
	struct setup setup;

	start(state, &setup);
	for (unsigned timer = TIMER1; timer <= TIMER2; timer += TIMER2 - TIMER1) {
		out(&setup, timer, PIN << 9 | 0x6);
		out(&setup, timer + 8, 1);
	}
	out(&setup, 0x10, 1);
	run_until(setup.fixture, &setup.pin.done);
	while (in(&setup, 0x20) != 6)
		run_until(setup.fixture, &setup.pin.done);
	out(&setup, 0x20, 2);
	assert_true(setup.pin.level);
	out(&setup, 0x20, 4);
	assert_false(setup.pin.level);
	device_free(setup.hpet);
}

static void test_periodic_legacy(void **state)
{
	struct setup setup;
	struct irq_line pit;

	start(state, &setup);
	pit = hpet_pit_line(setup.hpet);
	irq_set(&pit, true);
	assert_int_equal(setup.irq0.rises, 1);
	out(&setup, 0x10, 3);
	assert_false(setup.irq0.level); /* the PIT is cut off */
	irq_set(&pit, false);
	irq_set(&pit, true);
	assert_int_equal(setup.irq0.rises, 1);
	out(&setup, 0x100, 0x4c); /* periodic, enabled, set accumulator */
	out(&setup, 0x108, in(&setup, 0xf0) + 100000);
	out(&setup, 0x108, 100000);
	for (unsigned i = 0; i < 3; i++) {
		setup.irq0.done = false;
		run_until(setup.fixture, &setup.irq0.done);
	}
	out(&setup, 0x10, 0);
	assert_true(setup.irq0.level); /* the PIT's again */
	device_free(setup.hpet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter),
		cmocka_unit_test(test_level_one_shot),
		cmocka_unit_test(test_shared_pin),
		cmocka_unit_test(test_periodic_legacy),
	};

	return cmocka_run_group_tests_name("hpet", tests, device_fixture_open,
					   device_fixture_close);
}
