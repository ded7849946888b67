/* SPDX-License-Identifier: MIT */
/* Virtio's MMIO transport: registers, a queue from set-up to removal, the interrupt wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "dev/bus.h"
#include "device_fixture.h"
#include "mem/mem.h"
#include "virtio/balloon.h"
#include "virtio/transport_mmio.h"

#define BASE 0xfed80000ull
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define SIZE 8u

struct bench {
	struct device_fixture *fixture;
	struct test_wire wire;
	struct device *dev;
	struct virtio_device *virtio;
};

static uint32_t in(struct bench *b, unsigned offset)
{
	return mmio_read32(b->fixture, BASE + offset, 0);
}

static void out(struct bench *b, unsigned offset, uint32_t value)
{
	mmio_write32(b->fixture, BASE + offset, value, 0);
}

static int setup(void **state)
{
	const struct virtio_balloon_options options = { .target_bytes = 3 << 12 };
	struct virtio_mmio_config config = { .base = BASE };
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	if (device_fixture_open((void **)&b->fixture) ||
	    mem_add(b->fixture->env.mem, 0, 1 << 20, false, "ram", NULL) ||
	    virtio_balloon_create(&b->fixture->env, &options, &b->virtio, NULL))
		return -1;
	config.irq = test_wire_line(&b->wire);
	return virtio_mmio_create(&b->fixture->env, &config, b->virtio, &b->dev, NULL);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	device_free(b->dev);
	device_fixture_close((void **)&b->fixture);
	free(b);
	return 0;
}

/* Up to FEATURES_OK, with queue 0 enabled. */
static void prepare(struct bench *b)
{
	static const uint8_t zeros[0x3000];

	mem_write(b->fixture->env.mem, DESC, zeros, sizeof(zeros));
	out(b, VIRTIO_MMIO_STATUS, 0);
	out(b, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	out(b, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	out(b, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true(in(b, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
	out(b, VIRTIO_MMIO_QUEUE_SEL, 0);
	out(b, VIRTIO_MMIO_QUEUE_NUM, SIZE);
	out(b, VIRTIO_MMIO_QUEUE_DESC_LOW, DESC);
	out(b, VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL);
	out(b, VIRTIO_MMIO_QUEUE_USED_LOW, USED);
	assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_READY), 0);
	out(b, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_READY), 1);
}

/* A page for the balloon; whether it came back. */
static bool give_page(struct bench *b)
{
	const struct vring_desc desc = { .addr = 0x8000, .len = 4 };
	const uint32_t pfn = 0x10;
	const uint16_t avail[3] = { 0, 1, 0 };
	uint16_t used = 0;

	mem_write(b->fixture->env.mem, DESC, &desc, sizeof(desc));
	mem_write(b->fixture->env.mem, 0x8000, &pfn, sizeof(pfn));
	mem_write(b->fixture->env.mem, AVAIL, avail, sizeof(avail));
	out(b, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	mem_read(b->fixture->env.mem, USED + 2, &used, sizeof(used));
	return used == 1;
}

static void test_identity(void **state)
{
	struct bench *b = *state;

	assert_int_equal(in(b, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(in(b, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(in(b, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BALLOON);
	assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_NUM_MAX), 128);
	out(b, VIRTIO_MMIO_QUEUE_SEL, 4);
	assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	out(b, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(in(b, VIRTIO_MMIO_DEVICE_FEATURES), 5);
	assert_int_equal(in(b, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(in(b, VIRTIO_MMIO_CONFIG), 3);
	assert_int_equal(bus_read(b->fixture->env.mmio, BASE + VIRTIO_MMIO_MAGIC_VALUE, 2, 0), 0);
}

static void test_a_life(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 3; i++) {
		prepare(b);
		out(b, VIRTIO_MMIO_STATUS, in(b, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
		assert_true(give_page(b));
		assert_true(b->wire.level);
		assert_int_equal(in(b, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
		virtio_config_changed(b->virtio);
		out(b, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		assert_true(b->wire.level);
		assert_int_equal(in(b, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
		assert_int_equal(in(b, VIRTIO_MMIO_CONFIG_GENERATION), 3 * i + 1);
		out(b, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
		assert_false(b->wire.level);
		virtio_config_changed(b->virtio);
		out(b, VIRTIO_MMIO_STATUS, 0);
		assert_false(b->wire.level);
		virtio_config_changed(b->virtio);
		assert_false(b->wire.level);
		assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_READY), 0);
	}
}

/* A driver that gives up takes its queues back; one that runs must not. */
static void test_disabling(void **state)
{
	struct bench *b = *state;

	prepare(b);
	out(b, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_READY), 0);
	prepare(b);
	out(b, VIRTIO_MMIO_STATUS, in(b, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	out(b, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_true(in(b, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_false(give_page(b));
	b->dev->class->reset(b->dev);
	assert_int_equal(in(b, VIRTIO_MMIO_STATUS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disabling, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
