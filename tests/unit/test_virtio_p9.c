/* SPDX-License-Identifier: MIT */
/*
 * The 9P transport: requests through rings, answers in an order that the guest can rely on, resets
 * with threads under way. The protocol itself: test_p9.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/p9_proto.h"
#include "virtio/p9.h"
#include "virtio_driver.h"

#define FILE_BYTES (512u << 10)
#define REQUESTS 4u
/* Of each request: where it is, where its answer goes. */
#define REQUEST(n) (DRIVER_DATA + (n) * 0x1000u)
#define ANSWER(n) (DRIVER_DATA + 0x10000u + (n) * 0x90000u)
#define ANSWER_BYTES (FILE_BYTES + 64u)

struct bench {
	struct virtio_driver driver;
	char dir[32];
	uint16_t id[REQUESTS]; /* of the chain */
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_p9_config_host config = { .tag = "mine", .tree.path = b->dir };
	struct virtio_device *virtio;
	char path[64];
	int fd;

	*state = b;
	strcpy(b->dir, "/tmp/ringlet-test.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(path, sizeof(path), "%s/file", b->dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	close(fd);
	driver_open(&b->driver);
	assert_int_equal(virtio_p9_create(&b->driver.fixture->env, &config, &virtio, NULL), 0);
	driver_plug(&b->driver, virtio);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	char command[64];

	driver_close(&b->driver);
	snprintf(command, sizeof(command), "rm -rf %s", b->dir);
	assert_int_equal(system(command), 0);
	free(b);
	return 0;
}

/* ---- requests ---- */

/* Offers a message with that tag, of numbers: pairs of a size and a value. */
static void offer(struct bench *b, unsigned slot, uint8_t type, uint16_t tag, unsigned fields, ...)
{
	uint8_t message[128] = { 0 };
	struct driver_buffer buffers[2] = { { REQUEST(slot), 7, false },
					    { ANSWER(slot), ANSWER_BYTES, true } };
	va_list args;

	va_start(args, fields);
	while (fields--) {
		unsigned bytes = va_arg(args, unsigned);
		uint64_t value = va_arg(args, uint64_t);

		for (unsigned i = 0; i < bytes; i++)
			message[buffers[0].len++] = (uint8_t)(value >> 8 * i);
	}
	va_end(args);
	message[0] = (uint8_t)buffers[0].len;
	message[4] = type;
	message[5] = (uint8_t)tag;
	message[6] = (uint8_t)(tag >> 8);
	driver_put(&b->driver, REQUEST(slot), message, buffers[0].len);
	b->id[slot] = driver_add(&b->driver, 0, buffers, 2, 0);
}

static void wait_used(struct bench *b, uint16_t *id, uint32_t *len)
{
	bool done = true;

	while (!driver_used(&b->driver, 0, id, len))
		run_until(b->driver.fixture, &done);
}

/* Of the answer in slot: its type, and whether that is what is used of the buffer. */
static uint8_t answer(struct bench *b, unsigned slot, uint32_t len)
{
	uint8_t header[P9_HEADER_BYTES];

	driver_get(&b->driver, ANSWER(slot), header, sizeof(header));
	assert_int_equal(header[0] | header[1] << 8 | header[2] << 16, len);
	return header[4];
}

/* The next answer that comes must be to what is in slot. */
static void expect(struct bench *b, unsigned slot, uint8_t type)
{
	uint16_t id;
	uint32_t len;

	wait_used(b, &id, &len);
	assert_int_equal(id, b->id[slot]);
	assert_int_equal(answer(b, slot, len), type);
}

#define N(value) ((uint64_t)(value))

/* Fid 1 is the file, open. */
static void open_file(struct bench *b)
{
	offer(b, 0, P9_TATTACH, 1, 5, 4, N(0), 4, N(P9_NO_FID), 2, N(0), 2, N(0), 4, N(0));
	driver_kick(&b->driver, 0);
	expect(b, 0, P9_TATTACH + 1);
	offer(b, 0, P9_TWALK, 1, 5, 4, N(0), 4, N(1), 2, N(1), 2, N(4), 4, N(0x656c6966)); /* "file" */
	driver_kick(&b->driver, 0);
	expect(b, 0, P9_TWALK + 1);
	offer(b, 0, P9_TLOPEN, 1, 2, 4, N(1), 4, N(O_RDWR));
	driver_kick(&b->driver, 0);
	expect(b, 0, P9_TLOPEN + 1);
}

static void offer_read(struct bench *b, unsigned slot, uint16_t tag)
{
	offer(b, slot, P9_TREAD, tag, 3, 4, N(1), 8, N(0), 4, N(FILE_BYTES));
}

/* ---- tests ---- */

static void test_requests(void **state)
{
	struct bench *b = *state;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, 0);
		open_file(b);
		offer_read(b, 1, 2);
		driver_kick(&b->driver, 0);
		expect(b, 1, P9_TREAD + 1);
		offer(b, 2, P9_TCLUNK, 3, 1, 4, N(77));
		driver_kick(&b->driver, 0);
		expect(b, 2, P9_RLERROR);
	}
}

/* A flush is answered after what it flushes, whichever thread was faster. */
static void test_flush(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	open_file(b);
	for (unsigned round = 0; round < 50; round++) {
		offer_read(b, 1, 20);
		offer(b, 2, P9_TFLUSH, 21, 1, 2, N(20));
		offer(b, 3, P9_TFLUSH, 22, 1, 2, N(20));
		driver_kick(&b->driver, 0);
		expect(b, 1, P9_TREAD + 1);
		expect(b, 2, P9_TFLUSH + 1);
		expect(b, 3, P9_TFLUSH + 1);
		/* Of what is not under way: at once. */
		offer(b, 2, P9_TFLUSH, 21, 1, 2, N(20));
		driver_kick(&b->driver, 0);
		expect(b, 2, P9_TFLUSH + 1);
	}
}

/* Whatever is under way at a reset is dropped, and the guest's fids with it. */
static void test_reset(void **state)
{
	struct bench *b = *state;
	bool done = true;
	uint16_t id;
	uint32_t len;

	for (unsigned round = 0; round < 20; round++) {
		driver_start(&b->driver, round % 2 ? DRIVER_SPLIT : DRIVER_PACKED, 0);
		open_file(b);
		offer_read(b, 1, 30);
		offer(b, 2, P9_TFLUSH, 31, 1, 2, N(30));
		driver_kick(&b->driver, 0);
	}
	driver_start(&b->driver, DRIVER_SPLIT, 0);
	run_until(b->driver.fixture, &done);
	assert_false(driver_used(&b->driver, 0, &id, &len));
	offer_read(b, 1, 30);
	driver_kick(&b->driver, 0);
	expect(b, 1, P9_RLERROR);
	open_file(b);
	offer_read(b, 1, 30);
	driver_kick(&b->driver, 0);
	/* And the machine ends with one under way. */
}

/* Several threads with one fid. */
static void test_many_at_once(void **state)
{
	struct bench *b = *state;
	unsigned seen = 0;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	open_file(b);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned slot = 0; slot < REQUESTS; slot++)
			offer_read(b, slot, (uint16_t)(40 + slot));
		driver_kick(&b->driver, 0);
		for (seen = 0; seen != (1u << REQUESTS) - 1;) {
			unsigned slot = 0;

			wait_used(b, &id, &len);
			while (slot < REQUESTS && b->id[slot] != id)
				slot++;
			assert_true(slot < REQUESTS && !(seen & 1u << slot));
			assert_int_equal(answer(b, slot, len), P9_TREAD + 1);
			assert_int_equal(len, P9_READ_HEADER_BYTES + FILE_BYTES);
			seen |= 1u << slot;
		}
	}
}

static void test_tags(void **state)
{
	char tag[VIRTIO_P9_TAG_BYTES + 2];
	struct virtio_p9_config_host config = { .tag = tag, .tree.path = "/tmp" };
	struct virtio_device *virtio;
	struct bench *b = *state;

	*tag = 0;
	assert_int_equal(virtio_p9_create(&b->driver.fixture->env, &config, &virtio, NULL), -EINVAL);
	memset(tag, 'x', sizeof(tag));
	tag[sizeof(tag) - 1] = 0;
	assert_int_equal(virtio_p9_create(&b->driver.fixture->env, &config, &virtio, NULL), -EINVAL);
	tag[VIRTIO_P9_TAG_BYTES] = 0;
	assert_int_equal(virtio_p9_create(&b->driver.fixture->env, &config, &virtio, NULL), 0);
	assert_int_equal(virtio->config_bytes, 2 + VIRTIO_P9_TAG_BYTES);
	assert_int_equal(*(const uint16_t *)virtio->config, VIRTIO_P9_TAG_BYTES);
	virtio->class->destroy(virtio);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_requests), TEST(test_flush), TEST(test_reset), TEST(test_many_at_once),
		TEST(test_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
