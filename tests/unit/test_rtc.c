/* SPDX-License-Identifier: MIT */
/* The real-time clock with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device_fixture.h"
#include "host/clock.h"
#include "legacy/rtc.h"

/* 2026-11-22 15:04:05 UTC, a Sunday. */
#define NOW_S 1795359845ull

struct setup {
	struct device_fixture *fixture;
	struct device *rtc;
	struct test_wire irq;
	uint64_t now_ns;
};

static uint64_t now_ns(void *opaque)
{
	struct setup *setup = opaque;

	return setup->now_ns;
}

static void start(void **state, struct setup *setup)
{
	struct rtc_config config = {
		.irq = test_wire_line(&setup->irq),
		.mem_low_bytes = 512ull << 20,
		.mem_high_bytes = 5ull << 30,
		.cpus = 4,
		.now_ns = now_ns,
		.opaque = setup,
	};

	*setup = (struct setup){ .fixture = *state, .now_ns = NOW_S * CLOCK_NS_PER_S };
	assert_int_equal(rtc_create(&setup->fixture->env, &config, &setup->rtc, NULL), 0);
}

static uint8_t in(struct setup *setup, uint8_t cell)
{
	port_out(setup->fixture, 0x70, cell);
	return port_in(setup->fixture, 0x71);
}

static void out(struct setup *setup, uint8_t cell, uint8_t value)
{
	port_out(setup->fixture, 0x70, cell);
	port_out(setup->fixture, 0x71, value);
}

static void assert_time(struct setup *setup, unsigned hours, unsigned minutes, unsigned seconds)
{
	assert_int_equal(in(setup, 4), hours);
	assert_int_equal(in(setup, 2), minutes);
	assert_int_equal(in(setup, 0), seconds);
}

static void test_formats(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_time(&setup, 0x15, 0x04, 0x05);
	assert_int_equal(in(&setup, 6), 1);
	assert_int_equal(in(&setup, 7), 0x22);
	assert_int_equal(in(&setup, 8), 0x11);
	assert_int_equal(in(&setup, 9), 0x26);
	assert_int_equal(in(&setup, 0x32), 0x20);
	out(&setup, 0xb, 0x04); /* binary, 12 hours */
	assert_time(&setup, 0x83, 4, 5);
	out(&setup, 0xb, 0x06);
	assert_time(&setup, 15, 4, 5);
	assert_int_equal(in(&setup, 0xd), 0x80);
	device_free(setup.rtc);
}

static void test_set(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, 0xb, 0x82);
	setup.now_ns += 10 * CLOCK_NS_PER_S; /* held: nothing moves */
	assert_time(&setup, 0x15, 0x04, 0x05);
	out(&setup, 4, 0x23);
	out(&setup, 2, 0x59);
	out(&setup, 0, 0x58);
	out(&setup, 0xb, 0x02);
	setup.now_ns += 3 * CLOCK_NS_PER_S;
	assert_time(&setup, 0x00, 0x00, 0x01);
	assert_int_equal(in(&setup, 7), 0x23);
	device_free(setup.rtc);
}

static void test_update_in_progress(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_int_equal(in(&setup, 0xa), 0x26);
	setup.now_ns += CLOCK_NS_PER_S - 200000;
	assert_int_equal(in(&setup, 0xa), 0xa6);
	setup.now_ns += 200000;
	assert_int_equal(in(&setup, 0xa), 0x26);
	assert_int_equal(in(&setup, 0xc), 0x50); /* and it has ended, once; periods too */
	assert_int_equal(in(&setup, 0xc), 0x00);
	device_free(setup.rtc);
}

static void test_alarm(void **state)
{
	struct setup setup;

	start(state, &setup);
	in(&setup, 0xc);
	out(&setup, 1, 0x07);
	out(&setup, 3, 0xff);
	out(&setup, 5, 0xc0);
	setup.now_ns += CLOCK_NS_PER_S;
	assert_int_equal(in(&setup, 0xc) & 0x20, 0);
	setup.now_ns += 5 * CLOCK_NS_PER_S;
	assert_int_equal(in(&setup, 0xc) & 0x20, 0x20);
	device_free(setup.rtc);
}

static void test_interrupt(void **state)
{
	struct setup setup;

	start(state, &setup);
	in(&setup, 0xc);
	setup.now_ns += CLOCK_NS_PER_S - 1000000;
	out(&setup, 0xb, 0x12); /* update-ended */
	assert_false(setup.irq.level);
	setup.now_ns += 1000000;
	run_until(setup.fixture, &setup.irq.done);
	assert_int_equal(in(&setup, 0xc) & 0x90, 0x90);
	assert_false(setup.irq.level);
	device_free(setup.rtc);
}

static void test_cells(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_int_equal(in(&setup, 0x15) | in(&setup, 0x16) << 8, 640);
	assert_int_equal(in(&setup, 0x30) | in(&setup, 0x31) << 8, 0xffff);
	assert_int_equal(in(&setup, 0x34) | in(&setup, 0x35) << 8, (512 - 16) * 16);
	assert_int_equal(in(&setup, 0x5b) | in(&setup, 0x5c) << 8 | in(&setup, 0x5d) << 16,
			 5 << 14);
	assert_int_equal(in(&setup, 0x5f), 3);
	out(&setup, 0x40, 0x99);
	assert_int_equal(rtc_cmos_get(setup.rtc, 0x40), 0x99);
	device_free(setup.rtc);
}

/* Its bit is none of the index. */
static void test_nmi_mask(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_false(rtc_nmi_masked(setup.rtc));
	port_out(setup.fixture, 0x70, 0xdf);
	assert_true(rtc_nmi_masked(setup.rtc));
	assert_int_equal(port_in(setup.fixture, 0x71), 3);
	port_out(setup.fixture, 0x70, 0x5f);
	assert_false(rtc_nmi_masked(setup.rtc));
	port_out(setup.fixture, 0x70, 0x80);
	setup.rtc->class->reset(setup.rtc);
	assert_false(rtc_nmi_masked(setup.rtc));
	device_free(setup.rtc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_update_in_progress),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_nmi_mask),
	};

	return cmocka_run_group_tests_name("rtc", tests, device_fixture_open,
					   device_fixture_close);
}
