/* SPDX-License-Identifier: MIT */
/* The 8259A pair: priorities, cascade, modes, spurious interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device_fixture.h"
#include "irqchip/pic.h"

#define MASTER 0x20
#define SLAVE 0xa0

struct setup {
	struct device_fixture *fixture;
	struct device *pic;
	struct test_wire intr;
};

static void initialise(struct setup *setup, uint8_t icw4)
{
	static const uint16_t ports[] = { MASTER, SLAVE };
	static const uint8_t bases[] = { 0x30, 0x38 };

	for (unsigned i = 0; i < 2; i++) {
		port_out(setup->fixture, ports[i], 0x11);
		port_out(setup->fixture, ports[i] + 1, bases[i]);
		port_out(setup->fixture, ports[i] + 1, i ? 2 : 4);
		port_out(setup->fixture, ports[i] + 1, icw4);
	}
}

static struct setup *start(void **state, struct setup *setup, uint8_t icw4)
{
	struct pic_config config = { .intr = test_wire_line(&setup->intr) };

	*setup = (struct setup){ .fixture = *state };
	assert_int_equal(pic_create(&setup->fixture->env, &config, &setup->pic, NULL), 0);
	initialise(setup, icw4);
	return setup;
}

static void drive(struct setup *setup, unsigned input, bool level)
{
	struct irq_line line = pic_line(setup->pic, input);

	irq_set(&line, level);
}

static void test_priority(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	drive(&setup, 5, true);
	assert_true(setup.intr.level);
	assert_int_equal(pic_acknowledge(setup.pic), 0x35);
	assert_false(setup.intr.level);
	drive(&setup, 7, true);
	assert_false(setup.intr.level); /* lower than what is in service */
	drive(&setup, 3, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x33);
	port_out(setup.fixture, MASTER, 0x20);
	assert_false(setup.intr.level);
	port_out(setup.fixture, MASTER, 0x20);
	assert_int_equal(pic_acknowledge(setup.pic), 0x37);
	device_free(setup.pic);
}

static void test_cascade(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	drive(&setup, 8, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x38);
	drive(&setup, 12, true);
	assert_false(setup.intr.level);
	port_out(setup.fixture, SLAVE, 0x20);
	assert_false(setup.intr.level); /* the master's input 2 is still in service */
	port_out(setup.fixture, MASTER, 0x62);
	assert_int_equal(pic_acknowledge(setup.pic), 0x3c);
	device_free(setup.pic);
}

static void test_mask_and_read(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	port_out(setup.fixture, MASTER + 1, 0x10);
	assert_int_equal(port_in(setup.fixture, MASTER + 1), 0x10);
	drive(&setup, 4, true);
	assert_false(setup.intr.level);
	assert_int_equal(port_in(setup.fixture, MASTER), 0x10); /* requested all the same */
	port_out(setup.fixture, MASTER + 1, 0);
	assert_int_equal(pic_acknowledge(setup.pic), 0x34);
	port_out(setup.fixture, MASTER, 0x0b);
	assert_int_equal(port_in(setup.fixture, MASTER), 0x10);
	device_free(setup.pic);
}

static void test_special_mask(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	drive(&setup, 1, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x31);
	drive(&setup, 6, true);
	assert_false(setup.intr.level);
	port_out(setup.fixture, MASTER + 1, 0x02);
	assert_false(setup.intr.level);
	port_out(setup.fixture, MASTER, 0x68);
	assert_int_equal(pic_acknowledge(setup.pic), 0x36);
	device_free(setup.pic);
}

static void test_auto_eoi_and_rotation(void **state)
{
	struct setup setup;

	start(state, &setup, 0x03);
	port_out(setup.fixture, MASTER, 0x80);
	drive(&setup, 0, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x30);
	drive(&setup, 0, false);
	drive(&setup, 0, true);
	drive(&setup, 1, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x31); /* 0 is the last one now */
	assert_int_equal(pic_acknowledge(setup.pic), 0x30);
	device_free(setup.pic);
}

static void test_set_priority(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	port_out(setup.fixture, MASTER, 0xc4); /* 4 lowest: 5 highest */
	drive(&setup, 0, true);
	drive(&setup, 5, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x35);
	device_free(setup.pic);
}

static void test_level_and_spurious(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	port_out(setup.fixture, 0x4d1, 0xff);
	assert_int_equal(port_in(setup.fixture, 0x4d1), 0xde);
	drive(&setup, 10, true);
	assert_true(setup.intr.level);
	drive(&setup, 10, false);
	assert_false(setup.intr.level);
	assert_int_equal(pic_acknowledge(setup.pic), 0x37);
	port_out(setup.fixture, MASTER, 0x0b);
	assert_int_equal(port_in(setup.fixture, MASTER), 0); /* nothing is in service */
	drive(&setup, 10, true);
	assert_int_equal(pic_acknowledge(setup.pic), 0x3a);
	port_out(setup.fixture, SLAVE, 0x20);
	port_out(setup.fixture, MASTER, 0x20);
	assert_true(setup.intr.level); /* the wire still asks */
	device_free(setup.pic);
}

static void test_poll(void **state)
{
	struct setup setup;

	start(state, &setup, 0x01);
	port_out(setup.fixture, MASTER, 0x0c);
	assert_int_equal(port_in(setup.fixture, MASTER), 0);
	drive(&setup, 3, true);
	port_out(setup.fixture, MASTER, 0x0c);
	assert_int_equal(port_in(setup.fixture, MASTER), 0x83);
	assert_false(setup.intr.level);
	device_free(setup.pic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_priority),
		cmocka_unit_test(test_cascade),
		cmocka_unit_test(test_mask_and_read),
		cmocka_unit_test(test_special_mask),
		cmocka_unit_test(test_auto_eoi_and_rotation),
		cmocka_unit_test(test_set_priority),
		cmocka_unit_test(test_level_and_spurious),
		cmocka_unit_test(test_poll),
	};

	return cmocka_run_group_tests_name("pic", tests, device_fixture_open,
					   device_fixture_close);
}
