/* SPDX-License-Identifier: MIT */
/* 8254 counters at chosen times, and the chip on its ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device_fixture.h"
#include "legacy/pit.h"
#include "legacy/pit_counter.h"

#define START 1000000000ull

static uint64_t at(uint64_t ticks)
{
	return START + pit_ticks_to_ns(ticks);
}

/* Low byte, high byte. */
static struct pit_counter counter(uint8_t mode, uint16_t count, bool gate)
{
	struct pit_counter c = { .gate = gate, .reload = 0x10000 };

	pit_counter_set_mode(&c, 0x30 | mode << 1, START);
	pit_counter_write(&c, count, START);
	pit_counter_write(&c, count >> 8, START);
	return c;
}

static unsigned read_count(struct pit_counter *c, uint64_t now)
{
	unsigned low;

	pit_counter_latch(c, now);
	low = pit_counter_read(c, now);
	return low | pit_counter_read(c, now) << 8;
}

static void test_clock(void **state)
{
	(void)state;
	/* 105/88 MHz. */
	assert_int_equal(pit_ns_to_ticks(88000), 105);
	assert_int_equal(pit_ns_to_ticks(pit_ticks_to_ns(12345)), 12345);
	assert_int_equal(pit_ns_to_ticks(pit_ticks_to_ns(12345) - 1), 12344);
}

static void test_mode0(void **state)
{
	struct pit_counter c = counter(0, 1000, true);

	(void)state;
	assert_false(pit_counter_output(&c, at(999)));
	assert_int_equal(read_count(&c, at(400)), 600);
	assert_int_equal(pit_counter_next_rise(&c, at(400)), at(1000));
	assert_true(pit_counter_output(&c, at(1000)));
	assert_int_equal(read_count(&c, at(1001)), 0xffff);
	assert_int_equal(pit_counter_next_rise(&c, at(1001)), PIT_NEVER);
	/* The gate holds the count. */
	c = counter(0, 1000, true);
	pit_counter_set_gate(&c, false, at(300));
	assert_int_equal(read_count(&c, at(900)), 700);
	assert_int_equal(pit_counter_next_rise(&c, at(900)), PIT_NEVER);
	pit_counter_set_gate(&c, true, at(1000));
	assert_in_range(read_count(&c, at(1100)), 600, 601);
}

static void test_mode1(void **state)
{
	struct pit_counter c = counter(1, 100, false);

	(void)state;
	assert_true(pit_counter_output(&c, at(500)));
	pit_counter_set_gate(&c, true, at(500));
	assert_false(pit_counter_output(&c, at(550)));
	pit_counter_set_gate(&c, false, at(560));
	pit_counter_set_gate(&c, true, at(570)); /* triggers anew */
	assert_false(pit_counter_output(&c, at(660)));
	assert_true(pit_counter_output(&c, at(671)));
}

static void test_mode2(void **state)
{
	struct pit_counter c = counter(2, 100, true);

	(void)state;
	assert_true(pit_counter_output(&c, at(98)));
	assert_false(pit_counter_output(&c, at(99)));
	assert_true(pit_counter_output(&c, at(100)));
	assert_int_equal(read_count(&c, at(130)), 70);
	assert_int_equal(pit_counter_next_rise(&c, at(130)), at(200));
	/* A new count waits for the end of the period. */
	pit_counter_write(&c, 50, at(230));
	pit_counter_write(&c, 0, at(230));
	pit_counter_latch_status(&c, at(230));
	assert_int_equal(pit_counter_read(&c, at(230)), 0x80 | 0x40 | 0x34);
	assert_in_range(read_count(&c, at(240)), 60, 61); /* moved by less than a tick */
	assert_in_range(read_count(&c, at(320)), 30, 31);
	assert_int_equal(pit_counter_output(&c, at(340)), true);
}

static void test_mode3(void **state)
{
	struct pit_counter c = counter(3, 5, true);

	(void)state;
	assert_true(pit_counter_output(&c, at(2)));
	assert_false(pit_counter_output(&c, at(3)));
	assert_false(pit_counter_output(&c, at(4)));
	assert_true(pit_counter_output(&c, at(5)));
	c = counter(3, 100, true);
	assert_int_equal(read_count(&c, at(10)), 80);
	assert_int_equal(read_count(&c, at(60)), 80);
	pit_counter_set_gate(&c, false, at(60));
	assert_true(pit_counter_output(&c, at(60)));
}

static void test_mode4(void **state)
{
	struct pit_counter c = counter(4, 10, true);

	(void)state;
	assert_true(pit_counter_output(&c, at(9)));
	assert_false(pit_counter_output(&c, at(10)));
	assert_true(pit_counter_output(&c, at(11)));
	assert_int_equal(pit_counter_next_rise(&c, at(3)), at(11));
}

static void test_bcd_and_bytes(void **state)
{
	struct pit_counter c = { .gate = true, .reload = 0x10000 };

	(void)state;
	pit_counter_set_mode(&c, 0x35, START); /* BCD, mode 2 */
	pit_counter_write(&c, 0x00, START);
	pit_counter_write(&c, 0x10, START);
	assert_int_equal(read_count(&c, at(1)), 0x0999);
	pit_counter_set_mode(&c, 0x20, START); /* high byte alone, mode 0 */
	pit_counter_write(&c, 0x02, START);
	pit_counter_latch(&c, at(0x101));
	assert_int_equal(pit_counter_read(&c, at(0x101)), 0x00);
	assert_int_equal(pit_counter_read(&c, at(0x80)), 0x01);
}

static void test_chip(void **state)
{
	struct device_fixture *fixture = *state;
	struct test_wire irq = { 0 };
	struct pit_config config = { .irq = test_wire_line(&irq) };
	struct device *pit;

	assert_int_equal(pit_create(&fixture->env, &config, &pit, NULL), 0);
	port_out(fixture, 0x43, 0x34);
	port_out(fixture, 0x40, 0x00);
	port_out(fixture, 0x40, 0x10);
	for (unsigned i = 0; i < 3; i++) {
		irq.done = false;
		run_until(fixture, &irq.done);
	}
	/* Channel 2 by way of port 0x61, as a kernel measures time. */
	port_out(fixture, 0x61, 0x01);
	port_out(fixture, 0x43, 0xb0);
	port_out(fixture, 0x42, 0x10);
	port_out(fixture, 0x42, 0x00);
	while (!(port_in(fixture, 0x61) & 0x20))
		;
	assert_int_equal(port_in(fixture, 0x61) & 0x0f, 0x01);
	port_out(fixture, 0x43, 0xe8); /* read back: status of channel 2 */
	assert_int_equal(port_in(fixture, 0x42), 0xb0);
	device_free(pit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_mode0),
		cmocka_unit_test(test_mode1),
		cmocka_unit_test(test_mode2),
		cmocka_unit_test(test_mode3),
		cmocka_unit_test(test_mode4),
		cmocka_unit_test(test_bcd_and_bytes),
		cmocka_unit_test(test_chip),
	};

	return cmocka_run_group_tests_name("pit", tests, device_fixture_open,
					   device_fixture_close);
}
