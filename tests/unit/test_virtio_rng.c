/* SPDX-License-Identifier: MIT */
/* The entropy device: buffers get filled, at a bounded rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "virtio/rng.h"
#include "virtio_driver.h"

static int open_rng(void **state, unsigned rate)
{
	const struct virtio_rng_config config = { .bytes_per_second = rate };
	struct virtio_driver *d = calloc(1, sizeof(*d));
	struct virtio_device *virtio;

	*state = d;
	driver_open(d);
	assert_int_equal(virtio_rng_create(&d->fixture->env, &config, &virtio, NULL), 0);
	driver_plug(d, virtio);
	driver_start(d, DRIVER_PACKED, 0);
	return 0;
}

static int setup(void **state)
{
	return open_rng(state, 0);
}

static int setup_slow(void **state)
{
	return open_rng(state, 1000);
}

static int teardown(void **state)
{
	driver_close(*state);
	free(*state);
	return 0;
}

static void test_fill(void **state)
{
	const struct driver_buffer buffers[2] = { { DRIVER_DATA, 100, true },
						  { DRIVER_DATA + 1000, 60, true } };
	static const uint8_t zeros[32];
	struct virtio_driver *d = *state;
	uint8_t bytes[32];
	uint16_t id;
	uint32_t len;

	driver_add(d, 0, buffers, 2, 0);
	driver_kick(d, 0);
	assert_true(driver_used(d, 0, &id, &len) && len == 160);
	driver_get(d, DRIVER_DATA + 68, bytes, 32);
	assert_memory_not_equal(bytes, zeros, 32);
	driver_get(d, DRIVER_DATA + 1000 + 28, bytes, 32);
	assert_memory_not_equal(bytes, zeros, 32);
	driver_get(d, DRIVER_DATA + 100, bytes, 32);
	assert_memory_equal(bytes, zeros, 32);
}

/* A buffer to read holds no room: it comes back empty. */
static void test_nothing_to_fill(void **state)
{
	const struct driver_buffer buffer = { DRIVER_DATA, 100, false };
	struct virtio_driver *d = *state;
	uint16_t id;
	uint32_t len;

	driver_add(d, 0, &buffer, 1, 0);
	driver_kick(d, 0);
	assert_true(driver_used(d, 0, &id, &len) && len == 0);
}

/* While it has the chain. */
static void is_held(void *opaque)
{
	_Atomic uint8_t *flags = opaque;

	assert_int_equal(*flags, MEM_PAGE_CODE | MEM_PAGE_EXEC | MEM_PAGE_HELD);
	*flags |= MEM_PAGE_DIRTY;
}

/* A page that a device is going to write to must not be executed as it is any more. */
static void test_holds(void **state)
{
	const struct driver_buffer buffer = { DRIVER_DATA, 100, true };
	struct virtio_driver *d = *state;
	struct device_env *env = &d->fixture->env;
	const struct mem_region *region = mem_find(env->mem, DRIVER_DATA);
	_Atomic uint8_t *flags = &region->page_flags[(DRIVER_DATA - region->gpa) >> MEM_PAGE_SHIFT];

	env->dma.stop_exec = is_held;
	env->dma.opaque = flags;
	*flags = MEM_PAGE_CODE | MEM_PAGE_EXEC;
	driver_add(d, 0, &buffer, 1, 0);
	driver_kick(d, 0);
	assert_int_equal(*flags, MEM_PAGE_CODE | MEM_PAGE_DIRTY);
	env->dma.stop_exec = NULL;
}

/* A hundred bytes a tenth of a second: the second chain waits for the timer. */
static void test_rate(void **state)
{
	const struct driver_buffer buffer = { DRIVER_DATA, 1000, true };
	struct virtio_driver *d = *state;
	bool done = true;
	uint16_t id;
	uint32_t len;

	driver_add(d, 0, &buffer, 1, 0);
	driver_add(d, 0, &buffer, 1, 0);
	driver_kick(d, 0);
	assert_true(driver_used(d, 0, &id, &len) && len == 100);
	assert_false(driver_used(d, 0, &id, &len));
	while (!driver_used(d, 0, &id, &len))
		run_until(d->fixture, &done);
	assert_int_equal(len, 100);
	assert_int_equal(d->messages[1], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_fill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rate, setup_slow, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
