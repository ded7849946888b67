/* SPDX-License-Identifier: MIT */
/* The console device: data both ways, a host without room, ports and what is said about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_console.h>

#include "ui/chardev.h"
#include "virtio/console.h"
#include "virtio_driver.h"

#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define CONTROL_IN 2
#define CONTROL_OUT 3

/* The host's side of a port. */
struct host {
	struct chardev chardev;
	char text[64];
	size_t len, room;
	unsigned input_rooms;
};

struct bench {
	struct virtio_driver driver;
	struct host host[2];
};

static size_t host_write(void *opaque, const uint8_t *data, size_t len)
{
	struct host *host = opaque;

	len = len < host->room ? len : host->room;
	memcpy(host->text + host->len, data, len);
	host->len += len;
	host->room -= len;
	return len;
}

static void host_input_room(void *opaque)
{
	((struct host *)opaque)->input_rooms++;
}

static const struct chardev_ops host_ops = { host_write, host_input_room };

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_console_options options = { .ports = 2 };
	struct virtio_device *virtio;

	*state = b;
	for (unsigned i = 0; i < 2; i++) {
		b->host[i] = (struct host){ .chardev = { .ops = &host_ops, .opaque = &b->host[i] },
					   .room = 64 };
		options.port[i].chardev = &b->host[i].chardev;
	}
	options.port[0].console = true;
	options.port[1].name = "log";
	driver_open(&b->driver);
	assert_int_equal(virtio_console_create(&b->driver.fixture->env, &options, &virtio, NULL),
			 0);
	driver_plug(&b->driver, virtio);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	assert_null(b->host[0].chardev.front.receive);
	free(b);
	return 0;
}

static void send(struct bench *b, unsigned queue, const void *data, uint32_t len)
{
	const struct driver_buffer buffers[2] = { { DRIVER_DATA, len / 2, false },
						  { DRIVER_DATA + len / 2, len - len / 2, false } };

	driver_put(&b->driver, DRIVER_DATA, data, len);
	driver_add(&b->driver, queue, buffers, 2, 0);
	driver_kick(&b->driver, queue);
}

static void give(struct bench *b, unsigned queue, uint32_t len)
{
	const struct driver_buffer buffer = { DRIVER_DATA + 0x1000 * (queue + 1), len, true };

	driver_add(&b->driver, queue, &buffer, 1, 0);
	driver_kick(&b->driver, queue);
}

static bool used(struct bench *b, unsigned queue, uint32_t *len)
{
	uint16_t id;

	return driver_used(&b->driver, queue, &id, len);
}

static void say(struct bench *b, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control control = { id, event, value };
	uint32_t len;

	send(b, CONTROL_OUT, &control, sizeof(control));
	assert_true(used(b, CONTROL_OUT, &len));
}

/* The next control message, for which a buffer was given. */
static void hear_value(struct bench *b, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control control;
	uint32_t len;

	assert_true(used(b, CONTROL_IN, &len) && len >= sizeof(control));
	driver_get(&b->driver, DRIVER_DATA + 0x1000 * (CONTROL_IN + 1), &control, sizeof(control));
	assert_true(control.id == id && control.event == event && control.value == value);
}

static void hear(struct bench *b, uint32_t id, uint16_t event)
{
	hear_value(b, id, event, 1);
}

/* A driver that knows one port only. */
static void test_single_port_both(void **state)
{
	struct bench *b = *state;
	struct chardev *chardev = &b->host[0].chardev;
	uint32_t len;
	char text[8];

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		b->host[0].len = 0;
		driver_start(&b->driver, format, 0);
		send(b, 1, "hello", 5);
		assert_true(used(b, 1, &len));
		assert_memory_equal(b->host[0].text, "hello", 5);
		assert_int_equal(chardev_can_receive(chardev), 0);
		give(b, 0, 4);
		assert_true(b->host[0].input_rooms > 0);
		assert_int_equal(chardev_can_receive(chardev), 4);
		assert_int_equal(chardev_can_receive(chardev), 4);
		chardev_receive(chardev, (const uint8_t *)"ab", 2);
		assert_true(used(b, 0, &len) && len == 2);
		driver_get(&b->driver, DRIVER_DATA + 0x1000, text, 2);
		assert_memory_equal(text, "ab", 2);
		assert_int_equal(chardev_can_receive(chardev), 0);
	}
}

/* The host takes three bytes, then the rest: nothing is lost, and the chain waits. */
static void test_host_without_room(void **state)
{
	struct bench *b = *state;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	b->host[0].room = 3;
	send(b, 1, "0123456789", 10);
	assert_false(used(b, 1, &len));
	b->host[0].room = 4;
	chardev_writable(&b->host[0].chardev);
	assert_false(used(b, 1, &len));
	b->host[0].room = 9;
	chardev_writable(&b->host[0].chardev);
	assert_true(used(b, 1, &len));
	assert_int_equal(b->host[0].len, 10);
	assert_memory_equal(b->host[0].text, "0123456789", 10);
	/* A reset with bytes left: they are the old driver's. */
	b->host[0].room = 0;
	send(b, 1, "lost", 4);
	driver_start(&b->driver, DRIVER_SPLIT, 0);
	b->host[0].room = 20;
	chardev_writable(&b->host[0].chardev);
	assert_int_equal(b->host[0].len, 10);
}

static void test_ports(void **state)
{
	struct bench *b = *state;
	char name[3];

	driver_start(&b->driver, DRIVER_PACKED, MULTIPORT);
	assert_int_equal(driver_in(&b->driver, 0x2004, 4), 2);
	say(b, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give(b, CONTROL_IN, 64);
	hear(b, 0, VIRTIO_CONSOLE_PORT_ADD);
	give(b, CONTROL_IN, 64);
	hear(b, 1, VIRTIO_CONSOLE_PORT_ADD);
	say(b, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	say(b, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	give(b, CONTROL_IN, 64);
	hear(b, 1, VIRTIO_CONSOLE_PORT_OPEN);
	give(b, CONTROL_IN, 64);
	hear(b, 1, VIRTIO_CONSOLE_PORT_NAME);
	driver_get(&b->driver, DRIVER_DATA + 0x3000 + 8, name, 3);
	assert_memory_equal(name, "log", 3);
	/* The host's end is closed: now, and for a driver that comes later. */
	chardev_hangup(&b->host[1].chardev);
	give(b, CONTROL_IN, 64);
	hear_value(b, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	say(b, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	give(b, CONTROL_IN, 64);
	hear(b, 0, VIRTIO_CONSOLE_CONSOLE_PORT);
	give(b, CONTROL_IN, 64);
	hear(b, 0, VIRTIO_CONSOLE_PORT_OPEN);
}

/* Input waits until the guest has opened the port. */
static void test_opening(void **state)
{
	struct bench *b = *state;
	struct chardev *chardev = &b->host[1].chardev;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, MULTIPORT);
	give(b, 4, 16);
	assert_int_equal(chardev_can_receive(chardev), 0);
	chardev_receive(chardev, (const uint8_t *)"x", 1);
	assert_false(used(b, 4, &len));
	say(b, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(chardev_can_receive(chardev), 16);
	chardev_receive(chardev, (const uint8_t *)"y", 1);
	assert_true(used(b, 4, &len) && len == 1);
	send(b, 5, "out", 3);
	assert_memory_equal(b->host[1].text, "out", 3);
	give(b, 4, 16);
	say(b, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_int_equal(chardev_can_receive(chardev), 0);
	driver_set_status(&b->driver, 0);
	assert_int_equal(chardev_can_receive(chardev), 0);
}

static void test_emergency_write(void **state)
{
	struct bench *b = *state;

	driver_out(&b->driver, 0x2008, 4, '!');
	driver_out(&b->driver, 0x2000, 2, 7);
	assert_int_equal(b->host[0].len, 1);
	assert_int_equal(b->host[0].text[0], '!');
	assert_int_equal(driver_in(&b->driver, 0x2000, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_single_port_both, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_without_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opening, setup, teardown),
		cmocka_unit_test_setup_teardown(test_emergency_write, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
