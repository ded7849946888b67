/* SPDX-License-Identifier: MIT */
/* The balloon: pages given away read as zeros, wherever the guest says they are; statistics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_balloon.h>

#include "virtio/balloon.h"
#include "virtio_driver.h"

#define STATS (1ull << VIRTIO_BALLOON_F_STATS_VQ)
#define REPORTING (1ull << VIRTIO_BALLOON_F_REPORTING)
#define PAGE 4096u
#define FIRST_PFN (DRIVER_DATA / PAGE + 16)

struct bench {
	struct virtio_driver driver;
	struct virtio_device *virtio;
	uint64_t wrote; /* bytes of pages that have changed */
};

static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	struct bench *b = opaque;

	if (gpa >= FIRST_PFN * PAGE)
		b->wrote += len;
}

static int setup(void **state)
{
	const struct virtio_balloon_options options = { .target_bytes = 5 * PAGE };
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	driver_open(&b->driver);
	b->driver.fixture->env.dma.wrote = wrote;
	b->driver.fixture->env.dma.opaque = b;
	assert_int_equal(virtio_balloon_create(&b->driver.fixture->env, &options, &b->virtio,
					       NULL), 0);
	driver_plug(&b->driver, b->virtio);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	free(b);
	return 0;
}

static void fill_pages(struct bench *b, unsigned count)
{
	uint8_t page[PAGE];

	memset(page, 0x77, sizeof(page));
	for (unsigned i = 0; i < count; i++)
		driver_put(&b->driver, (FIRST_PFN + i) * (uint64_t)PAGE, page, PAGE);
	b->wrote = 0;
}

static bool is_zero(struct bench *b, unsigned page)
{
	uint64_t ends[2];

	driver_get(&b->driver, (FIRST_PFN + page) * (uint64_t)PAGE, &ends[0], 8);
	driver_get(&b->driver, (FIRST_PFN + page + 1) * (uint64_t)PAGE - 8, &ends[1], 8);
	return !ends[0] && !ends[1];
}

static void offer(struct bench *b, unsigned queue, const void *data, uint32_t len)
{
	const struct driver_buffer buffer = { DRIVER_DATA, len, false };

	driver_put(&b->driver, DRIVER_DATA, data, len);
	driver_add(&b->driver, queue, &buffer, 1, 0);
	driver_kick(&b->driver, queue);
}

static void test_inflate_both(void **state)
{
	struct bench *b = *state;
	const uint32_t pfns[6] = { FIRST_PFN, FIRST_PFN + 1, FIRST_PFN + 4, FIRST_PFN + 3,
				   0xffffffff, DRIVER_RAM / PAGE };
	uint16_t id;
	uint32_t len;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, 0);
		assert_int_equal(driver_in(&b->driver, 0x2000, 4), 5);
		fill_pages(b, 6);
		offer(b, 0, pfns, sizeof(pfns));
		assert_true(driver_used(&b->driver, 0, &id, &len));
		for (unsigned i = 0; i < 6; i++)
			assert_int_equal(is_zero(b, i), i != 2 && i != 5);
		assert_true(b->wrote >= 4 * PAGE);
		driver_out(&b->driver, 0x2004, 4, 4);
		offer(b, 1, pfns, 8);
		assert_true(driver_used(&b->driver, 1, &id, &len));
	}
}

static void test_target(void **state)
{
	struct bench *b = *state;
	struct virtio_balloon_figures figures;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	virtio_balloon_set_target(b->virtio, 100 * PAGE + 5);
	assert_int_equal(b->driver.messages[0], 1);
	assert_int_equal(driver_in(&b->driver, 0x2000, 4), 100);
	driver_out(&b->driver, 0x2004, 4, 90);
	driver_out(&b->driver, 0x2000, 4, 1);
	virtio_balloon_figures(b->virtio, &figures);
	assert_int_equal(figures.target_bytes, 100 * PAGE);
	assert_int_equal(figures.actual_bytes, 90 * PAGE);
	assert_true(figures.stat[VIRTIO_BALLOON_S_MEMFREE] == UINT64_MAX);
	virtio_balloon_set_target(b->virtio, UINT64_MAX);
	assert_int_equal(driver_in(&b->driver, 0x2000, 4), 0xffffffff);
}

static void test_statistics(void **state)
{
	struct bench *b = *state;
	struct virtio_balloon_stat stats[3] = {
		{ VIRTIO_BALLOON_S_MEMFREE, 1234 }, { 999, 1 }, { VIRTIO_BALLOON_S_MEMTOT, 99 },
	};
	struct virtio_balloon_figures figures;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_PACKED, STATS);
	offer(b, 2, stats, sizeof(stats));
	assert_false(driver_used(&b->driver, 2, &id, &len));
	virtio_balloon_figures(b->virtio, &figures);
	assert_int_equal(figures.stat[VIRTIO_BALLOON_S_MEMFREE], 1234);
	assert_int_equal(figures.stat[VIRTIO_BALLOON_S_MEMTOT], 99);
	assert_true(driver_used(&b->driver, 2, &id, &len));
	virtio_balloon_figures(b->virtio, &figures);
	stats[0].val = 4321;
	offer(b, 2, stats, sizeof(stats));
	driver_set_status(&b->driver, 0);
	virtio_balloon_figures(b->virtio, &figures);
	assert_true(figures.stat[VIRTIO_BALLOON_S_MEMFREE] == UINT64_MAX);
}

/* The queue's number depends on whether there are statistics. */
static void test_reporting_both(void **state)
{
	struct bench *b = *state;
	uint16_t id;
	uint32_t len;

	for (unsigned i = 0; i < 4; i++) {
		const struct driver_buffer buffers[2] = {
			{ FIRST_PFN * PAGE, 2 * PAGE, true },
			{ (FIRST_PFN + 3) * PAGE, PAGE, true },
		};
		unsigned queue = i & 2 ? 3 : 2;

		driver_start(&b->driver, (int)i & 1, i & 2 ? REPORTING | STATS : REPORTING);
		fill_pages(b, 5);
		driver_add(&b->driver, queue, buffers, 2, 0);
		driver_kick(&b->driver, queue);
		assert_true(driver_used(&b->driver, queue, &id, &len));
		assert_true(is_zero(b, 0) && is_zero(b, 1) && is_zero(b, 3));
		assert_true(!is_zero(b, 2) && !is_zero(b, 4));
		assert_true(b->wrote >= 3 * PAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inflate_both, setup, teardown),
		cmocka_unit_test_setup_teardown(test_target, setup, teardown),
		cmocka_unit_test_setup_teardown(test_statistics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reporting_both, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
