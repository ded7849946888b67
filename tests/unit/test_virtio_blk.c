/* SPDX-License-Identifier: MIT */
/* The block device: requests however their pieces lie, what may not be, resets under way. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "block/block.h"
#include "virtio/blk.h"
#include "virtio_driver.h"

#define DISK_BYTES (1u << 20)
#define HEADER DRIVER_DATA
#define STATUS (DRIVER_DATA + 0x100)
#define DATA (DRIVER_DATA + 0x1000)
#define FEATURES (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)

struct bench {
	struct virtio_driver driver;
	char path[32];
	struct diary *diary;
};

static void plug(struct bench *b, const char *options)
{
	struct virtio_blk_options blk = { .serial = "a serial that is too long", .queues = 2,
					  .file = b->path };
	struct block_options parsed;
	struct virtio_device *virtio;
	char text[80];

	snprintf(text, sizeof(text), "%s%s", b->path, options);
	assert_int_equal(block_options_parse(&parsed, text, NULL), 0);
	assert_int_equal(block_open(&parsed, &blk.block, NULL), 0);
	block_options_release(&parsed);
	assert_int_equal(virtio_blk_create(&b->driver.fixture->env, &blk, &virtio, NULL), 0);
	driver_plug(&b->driver, virtio);
}

static int open_bench(void **state, const char *options)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fd;

	*state = b;
	strcpy(b->path, "/tmp/ringlet-test.XXXXXX");
	fd = mkstemp(b->path);
	assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	driver_open(&b->driver);
	plug(b, options);
	return 0;
}

static int setup(void **state)
{
	return open_bench(state, ",discard");
}

static int setup_readonly(void **state)
{
	return open_bench(state, ",ro");
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	if (*b->path)
		unlink(b->path);
	free(b);
	return 0;
}

static void put_header(struct bench *b, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	const uint8_t status = 0xee;

	driver_put(&b->driver, HEADER, &header, sizeof(header));
	driver_put(&b->driver, STATUS, &status, 1);
}

/* Waits for a chain to come back; its status. */
static uint8_t wait_status(struct bench *b, unsigned queue)
{
	bool done = true;
	uint8_t status;
	uint16_t id;
	uint32_t len;

	while (!driver_used(&b->driver, queue, &id, &len))
		run_until(b->driver.fixture, &done);
	driver_get(&b->driver, STATUS, &status, 1);
	return status;
}

static uint8_t request(struct bench *b, uint32_t type, uint64_t sector, bool write, uint32_t len)
{
	const struct driver_buffer buffers[3] = {
		{ HEADER, 16, false }, { DATA, len, write }, { STATUS, 1, true },
	};
	const struct driver_buffer ends[2] = { buffers[0], buffers[2] };

	put_header(b, type, sector);
	driver_add(&b->driver, 1, len ? buffers : ends, len ? 3 : 2, 0);
	driver_kick(&b->driver, 1);
	return wait_status(b, 1);
}

static uint8_t range_request(struct bench *b, uint32_t type, uint64_t sector, uint32_t sectors,
			     uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range[2] = {
		{ sector, sectors, flags }, { sector + sectors, sectors, flags },
	};

	driver_put(&b->driver, DATA, range, sizeof(range));
	return request(b, type, 0, false, sizeof(range));
}

static void fill(struct bench *b, uint64_t gpa, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)((i * 7 + seed) >> 3);

		driver_put(&b->driver, gpa + i, &byte, 1);
	}
}

static void test_write_and_read(void **state)
{
	struct bench *b = *state;
	uint8_t before[1024], after[1024];

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, 0);
		fill(b, DATA, 1024, 5 + (unsigned)format);
		driver_get(&b->driver, DATA, before, 1024);
		assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 9, false, 1024), VIRTIO_BLK_S_OK);
		assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, false, 0), VIRTIO_BLK_S_OK);
		fill(b, DATA, 1024, 99);
		assert_int_equal(request(b, VIRTIO_BLK_T_IN, 9, true, 1024), VIRTIO_BLK_S_OK);
		driver_get(&b->driver, DATA, after, 1024);
		assert_memory_equal(before, after, 1024);
	}
}

/* Header, data and status cut anywhere. */
static void test_any_layout(void **state)
{
	struct bench *b = *state;
	const struct driver_buffer write[6] = {
		{ HEADER, 3, false }, { HEADER + 3, 12, false }, { DATA - 1, 101, false },
		{ DATA + 100, 412, false }, { STATUS, 1, true },
	};
	const struct driver_buffer read[4] = {
		{ HEADER, 15, false }, { DATA - 1, 1, false }, { DATA + 0x1000, 500, true },
		{ DATA + 0x1000 + 500, 13, true },
	};
	uint8_t before[512], after[513], last;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	put_header(b, VIRTIO_BLK_T_OUT, 0);
	driver_get(&b->driver, HEADER + 15, &last, 1);
	driver_put(&b->driver, DATA - 1, &last, 1);
	fill(b, DATA, 512, 3);
	driver_get(&b->driver, DATA, before, 512);
	driver_add(&b->driver, 0, write, 5, 0);
	driver_kick(&b->driver, 0);
	assert_int_equal(wait_status(b, 0), VIRTIO_BLK_S_OK);
	put_header(b, VIRTIO_BLK_T_IN, 0);
	driver_add(&b->driver, 0, read, 4, 0);
	driver_kick(&b->driver, 0);
	wait_status(b, 0);
	driver_get(&b->driver, DATA + 0x1000, after, 513);
	assert_memory_equal(before, after, 512);
	assert_int_equal(after[512], VIRTIO_BLK_S_OK);
}

static void test_serial(void **state)
{
	struct bench *b = *state;
	char id[21] = "";

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	assert_int_equal(request(b, VIRTIO_BLK_T_GET_ID, 0, true, 20), VIRTIO_BLK_S_OK);
	driver_get(&b->driver, DATA, id, 20);
	assert_string_equal(id, "a serial that is too");
	assert_int_equal(request(b, VIRTIO_BLK_T_GET_ID, 0, true, 4), VIRTIO_BLK_S_OK);
}

static void test_ranges(void **state)
{
	struct bench *b = *state;
	uint8_t data[2048];

	driver_start(&b->driver, DRIVER_PACKED, FEATURES);
	for (unsigned i = 0; i < 8; i++) {
		fill(b, DATA, 2048, 1000);
		assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 4 * i, false, 2048), 0);
	}
	assert_int_equal(range_request(b, VIRTIO_BLK_T_WRITE_ZEROES, 2, 3, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_DISCARD, 16, 4, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_DISCARD, 16, 4, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_WRITE_ZEROES, 16, 4, 2),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_DISCARD, UINT64_MAX - 1, 4, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_WRITE_ZEROES, 2046, 4, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, false, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, false, 17 * 16), VIRTIO_BLK_S_IOERR);
	/* Sectors 2 to 7 and 16 to 23 are zero, those around them are not. */
	for (unsigned sector = 0; sector < 28; sector++) {
		bool zero = (sector >= 2 && sector < 8) || (sector >= 16 && sector < 24);

		assert_int_equal(request(b, VIRTIO_BLK_T_IN, sector, true, 512), 0);
		driver_get(&b->driver, DATA, data, 512);
		assert_int_equal(data[0] == 0 && data[511] == 0, zero);
	}
}

static void test_bad_requests(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, 2048, true, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, 2047, true, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, 1ull << 55, true, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, UINT64_MAX, true, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 511), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, true, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(b, 77, 0, true, 512), VIRTIO_BLK_S_UNSUPP);
	/* Not negotiated. */
	assert_int_equal(range_request(b, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0),
			 VIRTIO_BLK_S_UNSUPP);
}

static void test_no_request(void **state)
{
	const struct driver_buffer bad[2][2] = {
		{ { HEADER, 15, false }, { STATUS, 1, true } },
		{ { HEADER, 16, false }, { DATA, 16, false } },
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < 2; i++) {
		driver_start(&b->driver, DRIVER_PACKED, 0);
		driver_add(&b->driver, 0, bad[i], 2, 0);
		driver_kick(&b->driver, 0);
		assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	driver_start(&b->driver, DRIVER_PACKED, 0);
	assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, false, 0), VIRTIO_BLK_S_OK);
}

static void test_readonly(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_RO);
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, true, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, false, 0), VIRTIO_BLK_S_OK);
	driver_prepare(&b->driver, DRIVER_SPLIT, FEATURES);
	assert_false(driver_status(&b->driver) & VIRTIO_CONFIG_S_FEATURES_OK);
}

/* ---- a back end that writes down what it is asked for ---- */

struct diary {
	struct block block; /* must be first */
	atomic_bool full, hangs;
	int error; /* of writes to a full one */
	atomic_uint length; /* of text, which is read when nothing is under way */
	char text[256];
};

static int diary_perform(struct block *block, const struct block_request *request)
{
	struct diary *diary = (struct diary *)block;

	while (diary->hangs)
		usleep(100);
	if (diary->length + 1 < sizeof(diary->text)) {
		diary->text[diary->length] = "RWFDZ"[request->op];
		diary->length++;
	}
	if (request->op == BLOCK_DISCARD)
		return -EIO;
	return diary->full && request->op == BLOCK_WRITE ? -diary->error : 0;
}

static void diary_close(struct block *block)
{
	free(block);
}

static const struct block_class diary_class = {
	.name = "diary", .perform = diary_perform, .close = diary_close,
};

static int open_diary(void **state, enum block_errors errors)
{
	struct virtio_blk_options blk = { .queues = 2, .file = "diary", .retry_ms = 1,
					  .errors = errors };
	struct diary *diary = calloc(1, sizeof(*diary));
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_device *virtio;

	*state = b;
	diary->error = ENOSPC;
	diary->block = (struct block){ .class = &diary_class,
				       .info = { .size_bytes = DISK_BYTES, .block_bytes = 512,
						 .discard = true } };
	assert_int_equal(workers_create(&diary->block.workers, "diary", 1, NULL), 0);
	blk.block = &diary->block;
	b->diary = diary;
	driver_open(&b->driver);
	assert_int_equal(virtio_blk_create(&b->driver.fixture->env, &blk, &virtio, NULL), 0);
	driver_plug(&b->driver, virtio);
	return 0;
}

static int setup_diary(void **state)
{
	return open_diary(state, BLOCK_ERRORS_DEFAULT);
}

static int setup_pause(void **state)
{
	return open_diary(state, BLOCK_ERRORS_PAUSE);
}

static int setup_report(void **state)
{
	return open_diary(state, BLOCK_ERRORS_REPORT);
}

/* A driver that knows no flush gets each write flushed. */
static void test_write_through(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 2; i++) {
		bool can_flush = i;

		memset(b->diary->text, 0, sizeof(b->diary->text));
		b->diary->length = 0;
		driver_start(&b->driver, DRIVER_PACKED,
			     can_flush ? FEATURES | 1ull << VIRTIO_BLK_F_FLUSH : FEATURES);
		request(b, VIRTIO_BLK_T_IN, 0, true, 512);
		request(b, VIRTIO_BLK_T_OUT, 0, false, 512);
		range_request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0);
		request(b, VIRTIO_BLK_T_FLUSH, 0, false, 0);
		assert_string_equal(b->diary->text, can_flush ? "RWZZF" : "RWFZFZFF");
	}
}

/* The host's errors reach the guest; the ranges behind the one that failed are left alone. */
static void test_host_errors(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, FEATURES | 1ull << VIRTIO_BLK_F_FLUSH);
	assert_int_equal(range_request(b, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_string_equal(b->diary->text, "D");
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 512), VIRTIO_BLK_S_OK);
}

static void offer_write(struct bench *b, unsigned queue)
{
	const struct driver_buffer buffers[3] = {
		{ HEADER, 16, false }, { DATA, 512, false }, { STATUS, 1, true },
	};

	put_header(b, VIRTIO_BLK_T_OUT, 0);
	driver_add(&b->driver, queue, buffers, 3, 0);
	driver_kick(&b->driver, queue);
}

/* No space: the request is tried again until there is some; a reset forgets it. */
static void test_waiting_for_space(void **state)
{
	struct bench *b = *state;
	bool done = true;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_FLUSH);
	b->diary->full = true;
	offer_write(b, 0);
	while (b->diary->length < 3)
		run_until(b->driver.fixture, &done);
	assert_false(driver_used(&b->driver, 0, &id, &len));
	b->diary->full = false;
	assert_int_equal(wait_status(b, 0), VIRTIO_BLK_S_OK);
	b->diary->full = true;
	offer_write(b, 1);
	run_until(b->driver.fixture, &done);
	driver_start(&b->driver, DRIVER_PACKED, 1ull << VIRTIO_BLK_F_FLUSH);
	b->diary->full = false;
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 512), VIRTIO_BLK_S_OK);
	b->diary->full = true;
	offer_write(b, 1);
}

static void count_pause(void *pauses)
{
	++*(unsigned *)pauses;
}

/* The machine is paused each time; there is one pause for all that waits. */
static void test_pausing(void **state)
{
	struct bench *b = *state;
	bool done = true;
	unsigned pauses = 0;

	b->driver.fixture->env.pause = count_pause;
	b->driver.fixture->env.opaque = &pauses;
	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_FLUSH);
	for (unsigned i = 0; i < 2; i++) {
		b->diary->error = i ? EIO : ENOSPC;
		b->diary->full = true;
		pauses = 0;
		offer_write(b, 0);
		while (pauses < 3)
			run_until(b->driver.fixture, &done);
		b->diary->full = false;
		assert_int_equal(wait_status(b, 0), VIRTIO_BLK_S_OK);
	}
}

static void test_reporting_no_space(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_FLUSH);
	b->diary->full = true;
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 512), VIRTIO_BLK_S_IOERR);
}

/* Whatever is under way at a reset touches nothing afterwards. */
static void test_reset_under_way(void **state)
{
	struct bench *b = *state;
	const struct driver_buffer buffers[3] = {
		{ HEADER, 16, false }, { DATA, 1 << 19, false }, { STATUS, 1, true },
	};
	uint8_t status;
	bool done = true;

	for (unsigned i = 0; i < 20; i++) {
		driver_start(&b->driver, (int)i & 1, 0);
		put_header(b, VIRTIO_BLK_T_OUT, i * 8);
		driver_add(&b->driver, 0, buffers, 3, 0);
		driver_kick(&b->driver, 0);
		driver_reset(&b->driver);
		run_until(b->driver.fixture, &done);
		driver_get(&b->driver, STATUS, &status, 1);
		assert_int_equal(status, 0xee);
	}
	driver_start(&b->driver, DRIVER_SPLIT, 0);
	put_header(b, VIRTIO_BLK_T_OUT, 0);
	driver_add(&b->driver, 0, buffers, 3, 0);
	driver_kick(&b->driver, 0);
}

/* Bytes of DATA that count as written, by whoever has code or pages of them. */
static void note_written(void *opaque, uint64_t gpa, uint64_t len)
{
	if (gpa == DATA)
		*(uint64_t *)opaque += len;
}

/* A read that a reset overtakes has changed the guest's memory, and that is known. */
static void test_what_a_reset_overtakes(void **state)
{
	const struct driver_buffer buffers[3] = {
		{ HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true },
	};
	struct bench *b = *state;
	uint64_t written = 0;
	uint16_t id;
	uint32_t len;

	b->driver.fixture->env.dma.wrote = note_written;
	b->driver.fixture->env.dma.opaque = &written;
	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_FLUSH);
	for (unsigned by_machine = 0; by_machine < 2; by_machine++) {
		put_header(b, VIRTIO_BLK_T_IN, 0);
		driver_add(&b->driver, 0, buffers, 3, 0);
		driver_kick(&b->driver, 0);
		written = 0;
		if (by_machine)
			b->driver.dev->class->reset(b->driver.dev);
		else
			driver_reset(&b->driver);
		assert_int_equal(written, 512);
		assert_false(driver_used(&b->driver, 0, &id, &len));
		if (!by_machine)
			driver_start(&b->driver, DRIVER_PACKED, 1ull << VIRTIO_BLK_F_FLUSH);
	}
}

/* A disk that hangs: the reset takes place when it goes on; until then all but that goes on. */
static void test_reset_of_a_disk_that_hangs(void **state)
{
	struct bench *b = *state;
	uint8_t status, live;
	bool done = true;

	driver_start(&b->driver, DRIVER_SPLIT, 1ull << VIRTIO_BLK_F_FLUSH);
	live = driver_status(&b->driver);
	b->diary->hangs = true;
	offer_write(b, 0);
	offer_write(b, 1);
	driver_set_status(&b->driver, 0);
	run_until(b->driver.fixture, &done);
	/* Not done, whatever the driver does. */
	driver_set_status(&b->driver, 0);
	driver_set_status(&b->driver, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(driver_status(&b->driver), live);
	driver_kick(&b->driver, 0);
	offer_write(b, 0);
	run_until(b->driver.fixture, &done);
	assert_int_equal(driver_status(&b->driver), live);
	assert_int_equal(b->diary->length, 0);
	b->diary->hangs = false;
	driver_reset(&b->driver);
	driver_get(&b->driver, STATUS, &status, 1);
	assert_int_equal(status, 0xee);
	assert_string_equal(b->diary->text, "WW");
	driver_start(&b->driver, DRIVER_PACKED, 1ull << VIRTIO_BLK_F_FLUSH);
	assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, false, 512), VIRTIO_BLK_S_OK);
	/* A machine's reset waits. */
	offer_write(b, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serial, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup_readonly, teardown),
		cmocka_unit_test_setup_teardown(test_write_through, setup_diary, teardown),
		cmocka_unit_test_setup_teardown(test_host_errors, setup_diary, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_for_space, setup_diary, teardown),
		cmocka_unit_test_setup_teardown(test_pausing, setup_pause, teardown),
		cmocka_unit_test_setup_teardown(test_reporting_no_space, setup_report, teardown),
		cmocka_unit_test_setup_teardown(test_reset_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_reset_overtakes, setup_diary, teardown),
		cmocka_unit_test_setup_teardown(test_reset_of_a_disk_that_hangs, setup_diary, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
