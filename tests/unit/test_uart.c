/* SPDX-License-Identifier: MIT */
/* The 16550A: output under back pressure, FIFOs, interrupts, loopback. */
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "device_fixture.h"
#include "legacy/uart.h"
#include "ui/chardev.h"

#define COM1 0x3f8

struct setup {
	struct device_fixture *fixture;
	struct device *uart;
	struct test_wire irq;
	struct chardev chardev;
	char sent[128];
	size_t sent_len, room;
	unsigned input_rooms;
};

static size_t back_write(void *opaque, const uint8_t *data, size_t len)
{
	struct setup *setup = opaque;
	size_t taken = len < setup->room ? len : setup->room;

	memcpy(setup->sent + setup->sent_len, data, taken);
	setup->sent_len += taken;
	setup->room -= taken;
	return taken;
}

static void back_input_room(void *opaque)
{
	struct setup *setup = opaque;

	setup->input_rooms++;
}

static const struct chardev_ops back_ops = { .write = back_write, .input_room = back_input_room };

static void start(void **state, struct setup *setup)
{
	struct uart_config config = { .port = COM1, .irq = test_wire_line(&setup->irq),
				      .chardev = &setup->chardev };

	*setup = (struct setup){ .fixture = *state, .room = sizeof(setup->sent) };
	setup->chardev = (struct chardev){ .ops = &back_ops, .opaque = setup };
	assert_int_equal(uart_create(&setup->fixture->env, &config, &setup->uart, NULL), 0);
	port_out(setup->fixture, COM1 + UART_MCR, UART_MCR_OUT2);
}

static uint8_t in(struct setup *setup, unsigned reg)
{
	return port_in(setup->fixture, COM1 + reg);
}

static void out(struct setup *setup, unsigned reg, uint8_t value)
{
	port_out(setup->fixture, COM1 + reg, value);
}

static void test_output(void **state)
{
	struct setup setup;

	start(state, &setup);
	for (const char *p = "hello"; *p; p++) {
		assert_true(in(&setup, UART_LSR) & UART_LSR_THRE);
		out(&setup, UART_TX, *p);
	}
	assert_int_equal(setup.sent_len, 5);
	assert_memory_equal(setup.sent, "hello", 5);
	device_free(setup.uart);
}

static void test_back_pressure(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(&setup, UART_IER, UART_IER_THRI);
	assert_int_equal(in(&setup, UART_IIR) & 0xf, UART_IIR_THRI);
	assert_false(setup.irq.level);
	setup.room = 2;
	for (const char *p = "abcdef"; *p; p++)
		out(&setup, UART_TX, *p);
	assert_int_equal(setup.sent_len, 2);
	assert_false(in(&setup, UART_LSR) & (UART_LSR_THRE | UART_LSR_TEMT));
	setup.room = 20;
	chardev_writable(&setup.chardev);
	assert_memory_equal(setup.sent, "abcdef", 6);
	assert_true(in(&setup, UART_LSR) & UART_LSR_TEMT);
	assert_true(setup.irq.level);
	assert_int_equal(in(&setup, UART_IIR) & 0xf, UART_IIR_THRI);
	assert_false(setup.irq.level);
	device_free(setup.uart);
}

static void test_receive_without_fifo(void **state)
{
	struct setup setup;
	unsigned rooms;

	start(state, &setup);
	out(&setup, UART_MCR, UART_MCR_OUT2 | UART_MCR_RTS);
	out(&setup, UART_IER, UART_IER_RDI);
	assert_int_equal(chardev_can_receive(&setup.chardev), 1);
	chardev_receive(&setup.chardev, (const uint8_t *)"x", 1);
	assert_int_equal(chardev_can_receive(&setup.chardev), 0);
	assert_true(setup.irq.level);
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_RDI);
	rooms = setup.input_rooms;
	assert_int_equal(in(&setup, UART_RX), 'x');
	assert_int_equal(setup.input_rooms, rooms + 1);
	assert_false(setup.irq.level);
	device_free(setup.uart);
}

/* What a script types before the guest is there waits, and comes as soon as the guest listens. */
static void test_input_waits_for_a_listener(void **state)
{
	struct setup setup;
	unsigned rooms;

	start(state, &setup);
	out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(chardev_can_receive(&setup.chardev), 0);
	rooms = setup.input_rooms;
	out(&setup, UART_MCR, UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(setup.input_rooms, rooms + 1);
	assert_int_equal(chardev_can_receive(&setup.chardev), 16);
	out(&setup, UART_MCR, UART_MCR_OUT2 | UART_MCR_DTR);
	assert_int_equal(chardev_can_receive(&setup.chardev), 0);
	device_free(setup.uart);
}

/* A guest that knows nothing but the line status gets its input; one that sends does not listen. */
static void test_polling_is_listening(void **state)
{
	struct setup setup;
	unsigned rooms;

	start(state, &setup);
	for (unsigned i = 0; i < 100; i++) {
		in(&setup, UART_LSR);
		out(&setup, UART_TX, 'x');
	}
	assert_int_equal(chardev_can_receive(&setup.chardev), 0);
	rooms = setup.input_rooms;
	for (unsigned i = 0; i < 100; i++)
		in(&setup, UART_LSR);
	assert_int_equal(setup.input_rooms, rooms + 1);
	assert_int_equal(chardev_can_receive(&setup.chardev), 1);
	device_free(setup.uart);
}

static void test_trigger_and_timeout(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_4);
	out(&setup, UART_IER, UART_IER_RDI);
	chardev_receive(&setup.chardev, (const uint8_t *)"ab", 2);
	assert_false(setup.irq.level);
	setup.irq.done = false;
	run_until(setup.fixture, &setup.irq.done);
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_RX_TIMEOUT | 0xc0);
	assert_int_equal(in(&setup, UART_RX), 'a');
	assert_false(setup.irq.level);
	chardev_receive(&setup.chardev, (const uint8_t *)"cde", 3);
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_RDI | 0xc0);
	for (const char *p = "bcde"; *p; p++)
		assert_int_equal(in(&setup, UART_RX), *p);
	assert_int_equal(in(&setup, UART_LSR) & UART_LSR_DR, 0);
	device_free(setup.uart);
}

static void test_loopback(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_int_equal(in(&setup, UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
	out(&setup, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	assert_int_equal(in(&setup, UART_MSR) & 0xf0, UART_MSR_CTS);
	assert_int_equal(chardev_can_receive(&setup.chardev), 0);
	out(&setup, UART_TX, 'L');
	assert_int_equal(setup.sent_len, 0);
	assert_int_equal(in(&setup, UART_RX), 'L');
	out(&setup, UART_TX, '1');
	out(&setup, UART_TX, '2'); /* no FIFO: an overrun */
	assert_true(in(&setup, UART_LSR) & UART_LSR_OE);
	assert_false(in(&setup, UART_LSR) & UART_LSR_OE);
	device_free(setup.uart);
}

static void test_divisor_and_scratch(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(&setup, UART_DLL, 0x34);
	out(&setup, UART_DLM, 0x12);
	assert_int_equal(in(&setup, UART_DLL), 0x34);
	assert_int_equal(in(&setup, UART_DLM), 0x12);
	out(&setup, UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(in(&setup, UART_IER), 0);
	out(&setup, UART_SCR, 0x5a);
	assert_int_equal(in(&setup, UART_SCR), 0x5a);
	device_free(setup.uart);
}

static void test_irq_gate(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, UART_MCR, 0);
	out(&setup, UART_IER, UART_IER_THRI);
	assert_false(setup.irq.level);
	out(&setup, UART_MCR, UART_MCR_OUT2);
	assert_true(setup.irq.level);
	/* Enabling it again raises it again, which drivers probe for. */
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_THRI);
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_NO_INT);
	out(&setup, UART_IER, 0);
	out(&setup, UART_IER, UART_IER_THRI);
	assert_true(setup.irq.level);
	device_free(setup.uart);
}

static void test_break(void **state)
{
	struct setup setup;

	start(state, &setup);
	out(&setup, UART_IER, UART_IER_RLSI);
	chardev_receive_break(&setup.chardev);
	assert_int_equal(in(&setup, UART_IIR), UART_IIR_RLSI);
	assert_true(in(&setup, UART_LSR) & UART_LSR_BI);
	assert_int_equal(in(&setup, UART_RX), 0);
	assert_false(setup.irq.level);
	device_free(setup.uart);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_receive_without_fifo),
		cmocka_unit_test(test_input_waits_for_a_listener),
		cmocka_unit_test(test_polling_is_listening),
		cmocka_unit_test(test_trigger_and_timeout),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_divisor_and_scratch),
		cmocka_unit_test(test_irq_gate),
		cmocka_unit_test(test_break),
	};

	return cmocka_run_group_tests_name("uart", tests, device_fixture_open,
					   device_fixture_close);
}
