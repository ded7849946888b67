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

static struct bench *bench_open(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	assert_int_equal(device_fixture_open((void **)&b->fixture), 0);
	assert_int_equal(mem_add(b->fixture->env.mem, 0, 1 << 20, false, "ram", NULL), 0);
	return b;
}

static int bench_plug(struct bench *b)
{
	const struct virtio_mmio_config config = { .base = BASE, .irq = test_wire_line(&b->wire) };

	return virtio_mmio_create(&b->fixture->env, &config, b->virtio, &b->dev, NULL);
}

static int setup(void **state)
{
	const struct virtio_balloon_options options = { .target_bytes = 3 << 12 };
	struct bench *b = bench_open(state);

	return virtio_balloon_create(&b->fixture->env, &options, &b->virtio, NULL) || bench_plug(b);
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

/* ---- a device whose reset has to wait ---- */

struct slow {
	struct virtio_device virtio;
	unsigned held_cpu; /* its number + 1; 0: none */
	bool is_busy;
};

static struct slow *slow_of(struct bench *b)
{
	return (struct slow *)b->virtio;
}

static void slow_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	(void)dev, (void)queue;
}

static bool slow_quiesce(struct virtio_device *dev)
{
	return !((struct slow *)dev)->is_busy;
}

static void slow_destroy(struct virtio_device *dev)
{
	virtio_device_release(dev);
	free(dev);
}

static void hold(void *opaque, int cpu, bool held)
{
	struct slow *slow = opaque;

	assert_int_equal(slow->held_cpu, held ? 0 : cpu + 1);
	slow->held_cpu = held ? (unsigned)cpu + 1 : 0;
}

static int setup_slow(void **state)
{
	static const struct virtio_class class = {
		.name = "slow", .id = VIRTIO_ID_BALLOON, .handle = slow_handle,
		.quiesce = slow_quiesce, .destroy = slow_destroy,
	};
	struct slow *slow = calloc(1, sizeof(*slow));
	struct virtio_setup config = { .class = &class, .queue_count = 1, .queue_size = 128 };
	struct bench *b = bench_open(state);

	b->fixture->env.hold = hold;
	b->fixture->env.opaque = slow;
	config.env = &b->fixture->env;
	b->virtio = &slow->virtio;
	return virtio_device_init(b->virtio, &config, NULL) || bench_plug(b);
}

/* The CPU that asks is held; others find a device that does nothing. */
static void test_a_reset_that_waits(void **state)
{
	struct bench *b = *state;
	uint32_t live;

	for (unsigned i = 0; i < 2; i++) {
		prepare(b);
		out(b, VIRTIO_MMIO_STATUS, in(b, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
		live = in(b, VIRTIO_MMIO_STATUS);
		virtio_config_changed(b->virtio);
		slow_of(b)->is_busy = true;
		mmio_write32(b->fixture, BASE + VIRTIO_MMIO_STATUS, 0, 3);
		assert_int_equal(slow_of(b)->held_cpu, 4);
		out(b, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED);
		out(b, VIRTIO_MMIO_QUEUE_READY, 0);
		assert_int_equal(in(b, VIRTIO_MMIO_STATUS), live);
		assert_int_equal(in(b, VIRTIO_MMIO_QUEUE_READY), 1);
		out(b, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
		assert_false(b->wire.level);
		/* The machine's reset comes first, the second time. */
		slow_of(b)->is_busy = false;
		if (i)
			b->dev->class->reset(b->dev);
		else
			virtio_quiet(b->virtio);
		assert_int_equal(slow_of(b)->held_cpu, 0);
		assert_int_equal(in(b, VIRTIO_MMIO_STATUS), 0);
	}
}

/* ---- the balloon ---- */

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
		cmocka_unit_test_setup_teardown(test_a_reset_that_waits, setup_slow, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
