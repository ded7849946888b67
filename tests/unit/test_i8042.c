/* SPDX-License-Identifier: MIT */
/* The keyboard controller, keyboard and mouse, as drivers talk to them. */
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device_fixture.h"
#include "legacy/i8042.h"

#define DATA 0x60
#define COMMAND 0x64

struct setup {
	struct device_fixture *fixture;
	struct device *kbc;
	struct test_wire irq1, irq12;
	unsigned resets;
	bool a20;
};

static void note_reset(void *opaque)
{
	struct setup *setup = opaque;

	setup->resets++;
}

static void note_a20(void *opaque, bool open)
{
	struct setup *setup = opaque;

	setup->a20 = open;
}

static void start(void **state, struct setup *setup)
{
	struct i8042_config config = {
		.keyboard_irq = test_wire_line(&setup->irq1),
		.mouse_irq = test_wire_line(&setup->irq12),
		.reset = note_reset,
		.a20 = note_a20,
		.opaque = setup,
	};

	*setup = (struct setup){ .fixture = *state };
	assert_int_equal(i8042_create(&setup->fixture->env, &config, &setup->kbc, NULL), 0);
}

static void command(struct setup *setup, uint8_t value)
{
	port_out(setup->fixture, COMMAND, value);
}

static void data(struct setup *setup, uint8_t value)
{
	port_out(setup->fixture, DATA, value);
}

static void expect(struct setup *setup, uint8_t value)
{
	assert_true(port_in(setup->fixture, COMMAND) & 1);
	assert_int_equal(port_in(setup->fixture, DATA), value);
}

static void expect_mouse(struct setup *setup, uint8_t value)
{
	assert_int_equal(port_in(setup->fixture, COMMAND) & 0x21, 0x21);
	assert_true(setup->irq12.level);
	assert_int_equal(port_in(setup->fixture, DATA), value);
}

static void expect_nothing(struct setup *setup)
{
	assert_int_equal(port_in(setup->fixture, COMMAND) & 0x21, 0);
	assert_false(setup->irq1.level || setup->irq12.level);
}

static void mouse(struct setup *setup, uint8_t value)
{
	command(setup, 0xd4);
	data(setup, value);
	expect_mouse(setup, 0xfa);
}

static void test_controller(void **state)
{
	struct setup setup;

	start(state, &setup);
	expect_nothing(&setup);
	command(&setup, 0xaa);
	expect(&setup, 0x55);
	command(&setup, 0xab);
	expect(&setup, 0x00);
	command(&setup, 0xa9);
	expect(&setup, 0x00);
	command(&setup, 0x60);
	data(&setup, 0x47);
	command(&setup, 0x20);
	expect(&setup, 0x47);
	command(&setup, 0xd3); /* mouse loop */
	data(&setup, 0x5a);
	expect_mouse(&setup, 0x5a);
	expect_nothing(&setup);
	device_free(setup.kbc);
}

static void test_reset_and_a20(void **state)
{
	struct setup setup;

	start(state, &setup);
	command(&setup, 0xd1);
	data(&setup, 0xdf);
	assert_true(setup.a20);
	command(&setup, 0xd1);
	data(&setup, 0xdd);
	assert_false(setup.a20);
	command(&setup, 0xd0);
	assert_int_equal(port_in(setup.fixture, DATA) & 3, 1);
	assert_int_equal(setup.resets, 0);
	command(&setup, 0xff);
	assert_int_equal(setup.resets, 0);
	command(&setup, 0xfe);
	assert_int_equal(setup.resets, 1);
	device_free(setup.kbc);
}

static void test_keyboard_commands(void **state)
{
	struct setup setup;

	start(state, &setup);
	data(&setup, 0xff);
	expect(&setup, 0xfa);
	expect(&setup, 0xaa);
	data(&setup, 0xf2);
	expect(&setup, 0xfa);
	expect(&setup, 0xab);
	expect(&setup, 0x41); /* 0x83, translated */
	data(&setup, 0xed);
	expect(&setup, 0xfa);
	data(&setup, 0x02);
	expect(&setup, 0xfa);
	data(&setup, 0xee);
	expect(&setup, 0xee);
	data(&setup, 0x17);
	expect(&setup, 0xfe);
	expect_nothing(&setup);
	device_free(setup.kbc);
}

static void press(struct setup *setup, unsigned key)
{
	i8042_key(setup->kbc, key, true);
	i8042_key(setup->kbc, key, false);
}

static void test_keys(void **state)
{
	struct setup setup;

	start(state, &setup);
	press(&setup, KEY_A);
	assert_true(setup.irq1.level);
	expect(&setup, 0x1e);
	expect(&setup, 0x9e);
	press(&setup, KEY_LEFT);
	expect(&setup, 0xe0);
	expect(&setup, 0x4b);
	expect(&setup, 0xe0);
	expect(&setup, 0xcb);
	press(&setup, KEY_F7);
	expect(&setup, 0x41);
	expect(&setup, 0xc1);
	command(&setup, 0x60); /* raw scan set 2 */
	data(&setup, 0x05);
	press(&setup, KEY_A);
	expect(&setup, 0x1c);
	expect(&setup, 0xf0);
	expect(&setup, 0x1c);
	press(&setup, KEY_F7);
	expect(&setup, 0x83);
	expect(&setup, 0xf0);
	expect(&setup, 0x83);
	expect_nothing(&setup);
	/* Each byte is an edge of its own. */
	assert_int_equal(setup.irq1.rises, 14);
	device_free(setup.kbc);
}

/* Every key of the main block comes out as its historic code: the table has no holes. */
static void test_all_keys(void **state)
{
	struct setup setup;

	start(state, &setup);
	for (unsigned key = KEY_ESC; key <= KEY_F12; key++) {
		if (key == KEY_ZENKAKUHANKAKU || key == 84)
			continue;
		press(&setup, key);
		expect(&setup, key);
		expect(&setup, key | 0x80);
	}
	expect_nothing(&setup);
	device_free(setup.kbc);
}

static void test_overrun(void **state)
{
	struct setup setup;
	unsigned bytes = 0;

	start(state, &setup);
	for (unsigned i = 0; i < 100; i++)
		press(&setup, KEY_A);
	while (port_in(setup.fixture, COMMAND) & 1) {
		port_in(setup.fixture, DATA);
		bytes++;
	}
	assert_in_range(bytes, 10, 64);
	press(&setup, KEY_A);
	expect(&setup, 0x1e);
	device_free(setup.kbc);
}

static void test_mouse(void **state)
{
	static const uint8_t rates[] = { 200, 100, 80 };
	struct setup setup;

	start(state, &setup);
	mouse(&setup, 0xff);
	expect_mouse(&setup, 0xaa);
	expect_mouse(&setup, 0x00);
	i8042_mouse(setup.kbc, 5, 5, 0, 0);
	expect_nothing(&setup); /* not enabled */
	for (unsigned i = 0; i < 3; i++) {
		mouse(&setup, 0xf3);
		mouse(&setup, rates[i]);
	}
	mouse(&setup, 0xf2);
	expect_mouse(&setup, 0x03);
	mouse(&setup, 0xf4);
	i8042_mouse(setup.kbc, 10, -3, 1, I8042_BUTTON_LEFT);
	expect_mouse(&setup, 0x29);
	expect_mouse(&setup, 10);
	expect_mouse(&setup, (uint8_t)-3);
	expect_mouse(&setup, 1);
	/* Large motion comes in several packets. */
	i8042_mouse(setup.kbc, 300, 0, 0, I8042_BUTTON_LEFT);
	expect_mouse(&setup, 0x09);
	expect_mouse(&setup, 255);
	expect_mouse(&setup, 0);
	expect_mouse(&setup, 0);
	expect_mouse(&setup, 0x09);
	expect_mouse(&setup, 45);
	expect_mouse(&setup, 0);
	expect_mouse(&setup, 0);
	expect_nothing(&setup);
	device_free(setup.kbc);
}

static void test_disabled_devices_wait(void **state)
{
	struct setup setup;

	start(state, &setup);
	command(&setup, 0xad);
	i8042_key(setup.kbc, KEY_Q, true);
	expect_nothing(&setup);
	command(&setup, 0xae);
	expect(&setup, KEY_Q);
	device_free(setup.kbc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controller),
		cmocka_unit_test(test_reset_and_a20),
		cmocka_unit_test(test_keyboard_commands),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_overrun),
		cmocka_unit_test(test_mouse),
		cmocka_unit_test(test_disabled_devices_wait),
	};

	return cmocka_run_group_tests_name("i8042", tests, device_fixture_open,
					   device_fixture_close);
}
