/* SPDX-License-Identifier: MIT */
/*
 * Virtio's core and its PCI transport, with a device that turns text round: negotiation, both ring
 * formats, and drivers that break every rule. Tests named ..._both run on each format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "mem/mem.h"
#include "virtio/pool.h"
#include "virtio_driver.h"

#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define CARD PCI_DEVFN(2, 0)
#define MIDDLE (DRIVER_DATA + 0x100)

struct turner {
	struct virtio_device virtio; /* must be first */
	uint8_t config[6];
	unsigned starts, stops, handled;
	bool hold; /* keep chains */
	struct virtio_pool *pool;
	atomic_bool hangs;
	struct virtio_chain *held[16];
	unsigned held_count;
};

struct bench {
	struct virtio_driver driver;
	struct turner *turner;
	struct bus_doorbell doorbell[4];
	unsigned doorbells;
};

static void turn(struct virtio_queue *queue, struct virtio_chain *chain)
{
	char text[64], back[64];
	size_t len = virtio_chain_read(chain, 0, text, sizeof(text));

	for (size_t i = 0; i < len; i++)
		back[i] = text[len - 1 - i];
	virtio_queue_push(queue, chain, virtio_chain_write(chain, 0, back, len));
}

static void turner_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct turner *turner = (struct turner *)dev;
	struct virtio_chain *chain;

	turner->handled++;
	while ((chain = virtio_queue_pop(queue))) {
		if (turner->hold)
			turner->held[turner->held_count++] = chain;
		else
			turn(queue, chain);
	}
	virtio_queue_notify(queue);
}

static void turner_start(struct virtio_device *dev)
{
	((struct turner *)dev)->starts++;
}

static void turner_stop(struct virtio_device *dev)
{
	struct turner *turner = (struct turner *)dev;

	turner->stops++;
	while (turner->held_count)
		virtio_chain_drop(virtio_queue(dev, 0), turner->held[--turner->held_count]);
}

static void turner_config_write(struct virtio_device *dev, unsigned offset, unsigned size,
				uint32_t value)
{
	memcpy(((struct turner *)dev)->config + offset, &value, size);
}

static void turner_destroy(struct virtio_device *dev)
{
	virtio_device_release(dev);
	free(dev);
}

static const struct virtio_class turner_class = {
	.name = "virtio-turner",
	.id = 63,
	.handle = turner_handle,
	.start = turner_start,
	.stop = turner_stop,
	.config_write = turner_config_write,
	.destroy = turner_destroy,
};

static const struct virtio_class deferred_class = {
	.name = "virtio-deferred",
	.id = 63,
	.deferred = true,
	.handle = turner_handle,
	.destroy = turner_destroy,
};

/* ---- one whose answers take as long as somebody likes ---- */

static size_t slow_answer(void *opaque, const struct virtio_chain *chain)
{
	struct turner *turner = opaque;

	while (turner->hangs)
		usleep(100);
	return virtio_chain_write(chain, 0, "late", 4);
}

static void slow_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue)))
		virtio_pool_submit(((struct turner *)dev)->pool, queue, chain, 0);
}

static bool slow_quiesce(struct virtio_device *dev)
{
	return virtio_pool_quiesce(((struct turner *)dev)->pool);
}

static void slow_stop(struct virtio_device *dev)
{
	((struct turner *)dev)->stops++;
	virtio_pool_stop(((struct turner *)dev)->pool);
}

static void slow_destroy(struct virtio_device *dev)
{
	virtio_pool_destroy(((struct turner *)dev)->pool);
	turner_destroy(dev);
}

static const struct virtio_class slow_class = {
	.name = "virtio-slow",
	.id = 63,
	.handle = slow_handle,
	.quiesce = slow_quiesce,
	.stop = slow_stop,
	.destroy = slow_destroy,
};

static int open_bench(void **state, const struct virtio_class *class, bool doorbells)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_setup setup = { .class = class, .features = 1, .config_bytes = 6,
				      .queue_count = 2, .queue_size = 16 };

	*state = b;
	driver_open(&b->driver);
	b->turner = calloc(1, sizeof(*b->turner));
	memcpy(b->turner->config, "config", 6);
	b->driver.fixture->env.doorbells = doorbells;
	setup.env = &b->driver.fixture->env;
	setup.config = b->turner->config;
	assert_int_equal(virtio_device_init(&b->turner->virtio, &setup, NULL), 0);
	if (class == &slow_class)
		assert_int_equal(virtio_pool_create(&b->turner->pool, &b->turner->virtio, "slow",
						    slow_answer, b->turner, NULL), 0);
	driver_plug(&b->driver, &b->turner->virtio);
	return 0;
}

static void count_doorbell(void *opaque, uint64_t address, const struct bus_doorbell *doorbell,
			   bool there)
{
	struct bench *b = opaque;

	(void)address;
	if (there)
		b->doorbell[b->doorbells++] = *doorbell;
}

static int setup(void **state)
{
	return open_bench(state, &turner_class, false);
}

static int setup_deferred(void **state)
{
	return open_bench(state, &deferred_class, false);
}

static int setup_slow(void **state)
{
	return open_bench(state, &slow_class, false);
}

static int setup_bells(void **state)
{
	return open_bench(state, &turner_class, true);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	free(b);
	return 0;
}

static bool broken(struct bench *b)
{
	return driver_status(&b->driver) & NEEDS_RESET;
}

/* ---- negotiation ---- */

static void test_identity(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;

	assert_int_equal(pci_config_read(d->pci, 0, CARD, 0, 4), 0x107f1af4);
	assert_int_equal(pci_config_read(d->pci, 0, CARD, PCI_REVISION_ID, 1), 1);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	driver_out(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	driver_out(d, VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	driver_out(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	driver_out(d, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_DF, 4), INDIRECT | EVENT_IDX | 1);
	driver_out(d, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_DF, 4), 5);
	driver_out(d, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_DF, 4), 0);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_DFSELECT, 2), 0);
	assert_int_equal(driver_status(d), 0);
}

static void test_features_refused(void **state)
{
	struct bench *b = *state;

	driver_prepare(&b->driver, DRIVER_SPLIT, 2);
	assert_false(driver_status(&b->driver) & VIRTIO_CONFIG_S_FEATURES_OK);
	driver_set_status(&b->driver, 0);
	driver_set_status(&b->driver, VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(driver_status(&b->driver), VIRTIO_CONFIG_S_DRIVER);
	driver_set_status(&b->driver, 0xff);
	assert_true(broken(b));
	assert_int_equal(b->turner->starts, 0);
}

static void test_config(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;

	assert_int_equal(driver_in(d, 0x2000, 4), 0x666e6f63);
	assert_int_equal(driver_in(d, 0x2004, 4), 0x6769);
	assert_int_equal(driver_in(d, 0x2ffc, 4), 0);
	driver_out(d, 0x2004, 2, 0x4241);
	assert_memory_equal(b->turner->config, "confAB", 6);
	driver_out(d, 0x2004, 4, 0);
	driver_out(d, 0x2006, 1, 0);
	assert_memory_equal(b->turner->config, "confAB", 6);
	driver_start(d, DRIVER_SPLIT, 0);
	virtio_config_changed(&b->turner->virtio);
	assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	assert_int_equal(d->messages[0], 1);
}

static void test_window(void **state)
{
	struct bench *b = *state;
	struct pci_bus *pci = b->driver.pci;
	unsigned cap = pci_config_read(pci, 0, CARD, PCI_CAPABILITY_LIST, 1);

	while (pci_config_read(pci, 0, CARD, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) !=
		       VIRTIO_PCI_CAP_PCI_CFG ||
	       pci_config_read(pci, 0, CARD, cap, 1) != PCI_CAP_ID_VNDR)
		cap = pci_config_read(pci, 0, CARD, cap + 1, 1);
	pci_config_write(pci, 0, CARD, cap + VIRTIO_PCI_CAP_BAR, 1, 4);
	pci_config_write(pci, 0, CARD, cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
	pci_config_write(pci, 0, CARD, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	pci_config_write(pci, 0, CARD, cap + 16, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(driver_status(&b->driver), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(pci_config_read(pci, 0, CARD, cap + 16, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	pci_config_write(pci, 0, CARD, cap + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffffc);
	pci_config_write(pci, 0, CARD, cap + 16, 1, 0);
	pci_config_write(pci, 0, CARD, cap + VIRTIO_PCI_CAP_LENGTH, 4, 0x1000);
	pci_config_write(pci, 0, CARD, cap + 16, 1, 0);
	assert_int_equal(driver_status(&b->driver), VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

/* ---- chains ---- */

/* Has text turned round, from out_count pieces into in_count. */
static void check_turn(struct bench *b, const char *text, unsigned out_count, unsigned in_count,
		       uint64_t indirect)
{
	struct virtio_driver *d = &b->driver;
	struct driver_buffer buffers[16];
	uint32_t len = (uint32_t)strlen(text), used_len;
	char back[64] = "";
	uint16_t id, used_id;

	driver_put(d, DRIVER_DATA, text, len);
	for (unsigned i = 0; i < out_count; i++) {
		uint32_t start = len * i / out_count;

		buffers[i] = (struct driver_buffer){ DRIVER_DATA + start,
						     len * (i + 1) / out_count - start, false };
	}
	for (unsigned i = 0; i < in_count; i++) {
		uint32_t start = len * i / in_count;

		buffers[out_count + i] = (struct driver_buffer){
			MIDDLE + start, len * (i + 1) / in_count - start, true };
	}
	id = driver_add(d, 0, buffers, out_count + in_count, indirect);
	driver_kick(d, 0);
	assert_true(driver_used(d, 0, &used_id, &used_len));
	assert_true(id == used_id && len == used_len);
	driver_get(d, MIDDLE, back, len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(back[i], text[len - 1 - i]);
	assert_false(broken(b));
}

static void check_chains(struct bench *b, int format, uint64_t features)
{
	driver_start(&b->driver, format, features);
	for (unsigned round = 0; round < 40; round++) {
		check_turn(b, "abc", 1, 1, 0);
		check_turn(b, "two, three", 2, 3, 0);
		if (features & INDIRECT)
			check_turn(b, "by way of a table", 5, 6, DRIVER_DATA + 0x1000);
		check_turn(b, "a whole ring", 3, 5, 0);
	}
}

static void test_chains_both(void **state)
{
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		check_chains(*state, format, 0);
		check_chains(*state, format, INDIRECT);
		check_chains(*state, format, INDIRECT | EVENT_IDX);
	}
	assert_int_equal(((struct bench *)*state)->turner->starts, 6);
	assert_int_equal(((struct bench *)*state)->turner->stops, 5);
}

/* Chains that come back out of order, and all at once. */
static void test_out_of_order_both(void **state)
{
	struct bench *b = *state;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	const struct driver_buffer two[2] = { one, one };

	b->turner->hold = true;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		struct virtio_queue *queue = virtio_queue(&b->turner->virtio, 0);
		const size_t written[2] = { 1, 2 };
		struct virtio_chain **held = b->turner->held;
		uint16_t ids[3], id;
		uint32_t len;

		driver_start(&b->driver, format, 0);
		for (unsigned i = 0; i < 20; i++) {
			ids[0] = driver_add(&b->driver, 0, &one, 1, 0);
			ids[1] = driver_add(&b->driver, 0, two, 2, 0);
			ids[2] = driver_add(&b->driver, 0, &one, 1, 0);
			driver_kick(&b->driver, 0);
			assert_int_equal(b->turner->held_count, 3);
			assert_int_equal(held[1]->in_count, 2);
			virtio_queue_push(queue, held[2], 0);
			assert_true(driver_used(&b->driver, 0, &id, &len) && id == ids[2]);
			assert_false(driver_used(&b->driver, 0, &id, &len));
			virtio_queue_push_all(queue, held, written, 2);
			assert_true(driver_used(&b->driver, 0, &id, &len) && id == ids[0] &&
				    len == 1);
			assert_true(driver_used(&b->driver, 0, &id, &len) && id == ids[1] &&
				    len == 2);
			b->turner->held_count = 0;
		}
	}
}

static void test_unpop_both(void **state)
{
	struct bench *b = *state;
	const struct driver_buffer buffers[3] = { { DRIVER_DATA, 1, true },
						  { DRIVER_DATA + 1, 1, true },
						  { DRIVER_DATA + 2, 1, true } };

	b->turner->hold = true;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		struct virtio_queue *queue = virtio_queue(&b->turner->virtio, 0);
		uint16_t id, used;
		uint32_t len;

		driver_start(&b->driver, format, 0);
		for (unsigned i = 0; i < 20; i++) {
			id = driver_add(&b->driver, 0, buffers, 3, 0);
			driver_kick(&b->driver, 0);
			assert_int_equal(b->turner->held_count, 1);
			virtio_queue_unpop(queue, b->turner->held[0]);
			b->turner->held[0] = virtio_queue_pop(queue);
			assert_non_null(b->turner->held[0]);
			assert_int_equal(b->turner->held[0]->in_bytes, 3);
			virtio_queue_push(queue, b->turner->held[0], 3);
			assert_true(driver_used(&b->driver, 0, &used, &len) && used == id);
			b->turner->held_count = 0;
		}
	}
}

/* ---- interrupts ---- */

static void test_interrupts_both(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		uint64_t flags;

		driver_start(d, format, 0);
		flags = format == DRIVER_SPLIT ? d->ring[1].driver : d->ring[1].driver + 2;
		d->messages[2] = 0;
		driver_add(d, 1, &one, 1, 0);
		driver_kick(d, 1);
		assert_int_equal(d->messages[2], 1);
		driver_kick(d, 1);
		assert_int_equal(d->messages[2], 1);
		driver_put16(d, flags, 1);
		driver_add(d, 1, &one, 1, 0);
		driver_kick(d, 1);
		assert_int_equal(d->messages[2], 1);
	}
	assert_int_equal(d->messages[0], 0);
	assert_int_equal(d->messages[1], 0);
}

/* Only for the third of four chains. */
static void test_event_index_both(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		uint64_t event;

		driver_start(d, format, EVENT_IDX);
		driver_add(d, 0, &one, 1, 0);
		driver_kick(d, 0);
		d->messages[1] = 0;
		event = d->ring[0].driver;
		if (format == DRIVER_SPLIT) {
			driver_put16(d, event + 4 + 2 * DRIVER_QUEUE_SIZE, 3);
			assert_int_equal(driver_get16(d, d->ring[0].device + 4 +
							      8 * DRIVER_QUEUE_SIZE), 1);
		} else {
			driver_put16(d, event, 3 | 1 << VRING_PACKED_EVENT_F_WRAP_CTR);
			driver_put16(d, event + 2, VRING_PACKED_EVENT_FLAG_DESC);
			assert_int_equal(driver_get16(d, d->ring[0].device), 0x8001);
			assert_int_equal(driver_get16(d, d->ring[0].device + 2),
					 VRING_PACKED_EVENT_FLAG_DESC);
		}
		for (unsigned i = 0; i < 4; i++) {
			driver_add(d, 0, &one, 1, 0);
			driver_kick(d, 0);
			assert_int_equal(d->messages[1], i >= 2);
		}
	}
}

static void test_pin(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	driver_start(d, DRIVER_SPLIT, 0);
	for (unsigned cap = 0x40; cap; cap = pci_config_read(d->pci, 0, CARD, cap + 1, 1))
		if (pci_config_read(d->pci, 0, CARD, cap, 1) == PCI_CAP_ID_MSIX)
			pci_config_write(d->pci, 0, CARD, cap + PCI_MSIX_FLAGS, 2, 0);
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	assert_true(d->pin);
	virtio_config_changed(&b->turner->virtio);
	assert_int_equal(driver_in(d, 0x1000, 1), 3);
	assert_false(d->pin);
	assert_int_equal(driver_in(d, 0x1000, 1), 0);
	assert_int_equal(d->messages[1], 0);
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	driver_set_status(d, 0);
	assert_false(d->pin);
}

static void test_deferred(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	bool done = true;
	uint16_t id;
	uint32_t len;

	driver_start(d, DRIVER_SPLIT, 0);
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	driver_kick(d, 0);
	driver_kick(d, 2);
	assert_false(driver_used(d, 0, &id, &len));
	run_until(d->fixture, &done);
	assert_true(driver_used(d, 0, &id, &len));
	driver_kick(d, 0);
	driver_set_status(d, 0);
	run_until(d->fixture, &done);
	driver_start(d, DRIVER_SPLIT, 0);
	driver_kick(d, 1);
}

/* A signal is a notification; so is a write that comes all the same. */
static void test_doorbells(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct bus_listener listener = { b, count_doorbell };
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	const uint64_t once = 1;
	bool done = true;
	uint16_t id;
	uint32_t len;

	driver_start(d, DRIVER_SPLIT, 0);
	bus_listen(d->fixture->env.mmio, &listener);
	assert_int_equal(b->doorbells, 2);
	driver_add(d, 1, &one, 1, 0);
	assert_int_equal(write(b->doorbell[1].fd, &once, sizeof(once)), sizeof(once));
	run_until(d->fixture, &done);
	assert_true(driver_used(d, 1, &id, &len));
	driver_add(d, 1, &one, 1, 0);
	driver_kick(d, 1);
	assert_true(driver_used(d, 1, &id, &len));
	/* One that comes late, after a reset. */
	assert_int_equal(write(b->doorbell[1].fd, &once, sizeof(once)), sizeof(once));
	driver_set_status(d, 0);
	run_until(d->fixture, &done);
	assert_false(broken(b));
}

/* Without bus mastering nothing moves; when it comes, what waits does. */
static void test_bus_master(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	uint16_t id;
	uint32_t len;

	driver_start(d, DRIVER_PACKED, 0);
	pci_config_write(d->pci, 0, CARD, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	assert_false(driver_used(d, 0, &id, &len));
	pci_config_write(d->pci, 0, CARD, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_true(driver_used(d, 0, &id, &len));
	assert_false(broken(b));
}

/* ---- drivers that break the rules ---- */

/* The device is stuck until it is reset, and good again then. */
static void check_broken(struct bench *b)
{
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	uint16_t id;
	uint32_t len;

	assert_true(broken(b));
	driver_add(d, 1, &one, 1, 0);
	driver_kick(d, 1);
	assert_false(driver_used(d, 1, &id, &len));
	b->turner->hold = false;
	driver_start(d, d->packed ? DRIVER_PACKED : DRIVER_SPLIT, INDIRECT);
	check_turn(b, "good again", 1, 1, 0);
}

static void test_bad_buffers_both(void **state)
{
	static const struct driver_buffer bad[][2] = {
		{ { DRIVER_RAM - 4, 5, true } },
		{ { DRIVER_RAM - 4, 5, false } },
		{ { DRIVER_BAR, 4, true } },
		{ { UINT64_MAX - 1, 4, true } },
		{ { 0, UINT32_MAX, false } },
		{ { DRIVER_DATA, 4, true }, { DRIVER_DATA, 4, false } },
	};

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			struct bench *b = *state;

			for (unsigned table = 0; table < 2; table++) {
				driver_start(&b->driver, format, INDIRECT);
				driver_add(&b->driver, 0, bad[i], bad[i][1].len ? 2 : 1,
					   table * (DRIVER_DATA + 0x1000));
				driver_kick(&b->driver, 0);
				check_broken(b);
			}
		}
	}
}

static void count(void *opaque)
{
	++*(unsigned *)opaque;
}

/* The pages that the device writes of a ring are held as long as it is live. */
static void test_rings_are_held_both(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	struct dma *dma = &d->fixture->env.dma;
	const struct mem_region *ram = mem_find(dma->mem, 0);
	unsigned asked = 0;

	driver_reset(d);
	dma->stop_exec = count;
	dma->opaque = &asked;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(d, format, 0);
		assert_true(ram->page_flags[d->ring[0].device / MEM_PAGE_SIZE] >= MEM_PAGE_HELD);
		if (format == DRIVER_PACKED)
			assert_true(ram->page_flags[d->ring[0].desc / MEM_PAGE_SIZE] >=
				    MEM_PAGE_HELD);
		driver_reset(d);
		for (unsigned i = 0; i < DRIVER_RAM / MEM_PAGE_SIZE; i++)
			assert_true(ram->page_flags[i] < MEM_PAGE_HELD);
	}
	dma->stop_exec = NULL;
}

static void add_written(void *opaque, uint64_t gpa, uint64_t len)
{
	if (gpa >= MIDDLE)
		*(uint64_t *)opaque += len;
}

/* What a device has for itself of an answer is less than it may have written: all of it is taken for changed. */
static void test_written_beyond_the_answer_both(void **state)
{
	struct bench *b = *state;
	struct dma *dma = &b->driver.fixture->env.dma;
	const struct driver_buffer buffers[2] = { { MIDDLE, 100, true },
						  { MIDDLE + 2 * MEM_PAGE_SIZE, 50, true } };
	uint64_t written;

	driver_reset(&b->driver);
	b->turner->hold = true;
	dma->wrote = add_written;
	dma->opaque = &written;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		struct virtio_queue *queue = virtio_queue(&b->turner->virtio, 0);

		driver_start(&b->driver, format, 0);
		for (unsigned drops = 0; drops < 2; drops++) {
			driver_add(&b->driver, 0, buffers, 2, 0);
			driver_kick(&b->driver, 0);
			assert_int_equal(b->turner->held_count, 1);
			b->turner->held_count = 0;
			written = 0;
			if (drops)
				virtio_chain_drop(queue, b->turner->held[0]);
			else
				virtio_queue_push(queue, b->turner->held[0], 10);
			assert_int_equal(written, 150);
		}
		driver_reset(&b->driver);
	}
	dma->wrote = NULL;
}

/* More than 4 GiB, of which each buffer has a page more than the last: the rest is not looked at. */
static void test_too_long_both(void **state)
{
	struct bench *b = *state;
	struct dma *dma = &b->driver.fixture->env.dma;
	const struct mem_region *ram = mem_find(dma->mem, 0);
	struct driver_buffer table[VIRTIO_CHAIN_MAX];
	unsigned held = 0;

	for (unsigned i = 0; i < VIRTIO_CHAIN_MAX; i++) {
		uint64_t gpa = (VIRTIO_CHAIN_MAX - 1 - i) * MEM_PAGE_SIZE;

		table[i] = (struct driver_buffer){ gpa, (uint32_t)(DRIVER_RAM - gpa), true };
	}
	dma->stop_exec = count;
	dma->opaque = &held;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, INDIRECT);
		driver_add(&b->driver, 0, table, VIRTIO_CHAIN_MAX, DRIVER_DATA);
		for (unsigned i = 0; i < DRIVER_RAM / MEM_PAGE_SIZE; i++)
			ram->page_flags[i] = MEM_PAGE_CODE | MEM_PAGE_EXEC;
		held = 0;
		driver_kick(&b->driver, 0);
		check_broken(b);
		assert_in_range(held, VIRTIO_CHAIN_MAX / 2, VIRTIO_CHAIN_MAX * 3 / 4);
	}
	dma->stop_exec = NULL;
}

static void test_bad_tables_both(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} bad[] = {
		{ DRIVER_DATA, 0 }, { DRIVER_DATA, 17 }, { DRIVER_RAM - 16, 32 },
		{ DRIVER_DATA, 16 * (VIRTIO_CHAIN_MAX + 1) },
	};
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			struct driver_buffer table[VIRTIO_CHAIN_MAX + 1];

			for (unsigned j = 0; j <= VIRTIO_CHAIN_MAX; j++)
				table[j] = (struct driver_buffer){ DRIVER_DATA, 1, true };
			driver_start(d, format, INDIRECT);
			driver_add(d, 0, table, i == 3 ? VIRTIO_CHAIN_MAX + 1 : 1,
				   i == 2 ? DRIVER_RAM - 16 : DRIVER_DATA);
			driver_put(d, d->ring[0].desc, &bad[i].gpa, 8);
			driver_put(d, d->ring[0].desc + 8, &bad[i].len, 4);
			/* The table's last entry leads on to where there is no memory. */
			if (i == 2 && format == DRIVER_SPLIT)
				driver_put16(d, DRIVER_RAM - 4, VRING_DESC_F_NEXT | 2);
			if (i == 2)
				driver_put16(d, DRIVER_RAM - 2, 1);
			driver_kick(d, 0);
			check_broken(b);
		}
	}
}

/* An indirect table in one, one with more behind it, one that was not negotiated. */
static void test_misplaced_tables_both(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		uint64_t flags = format == DRIVER_SPLIT ? 12 : 14;

		driver_start(d, format, 0);
		driver_add(d, 0, &one, 1, DRIVER_DATA + 0x1000);
		driver_kick(d, 0);
		check_broken(b);
		driver_start(d, format, INDIRECT);
		driver_add(d, 0, &one, 1, DRIVER_DATA + 0x1000);
		driver_put16(d, d->ring[0].desc + flags,
			     driver_get16(d, d->ring[0].desc + flags) | VRING_DESC_F_NEXT);
		driver_kick(d, 0);
		check_broken(b);
	}
	driver_start(d, DRIVER_SPLIT, INDIRECT);
	driver_add(d, 0, &one, 1, DRIVER_DATA + 0x1000);
	driver_put16(d, DRIVER_DATA + 0x1000 + 12, VRING_DESC_F_INDIRECT);
	driver_kick(d, 0);
	check_broken(b);
}

static void test_loop(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer two[2] = { { DRIVER_DATA, 4, true }, { DRIVER_DATA, 4, true } };

	driver_start(d, DRIVER_SPLIT, INDIRECT);
	driver_add(d, 0, two, 2, 0);
	driver_put16(d, d->ring[0].desc + 16 + 12, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	driver_put16(d, d->ring[0].desc + 16 + 14, 0);
	driver_kick(d, 0);
	check_broken(b);
	driver_start(d, DRIVER_SPLIT, INDIRECT);
	driver_add(d, 0, two, 2, DRIVER_DATA + 0x1000);
	driver_put16(d, DRIVER_DATA + 0x1000 + 14, 0);
	driver_kick(d, 0);
	check_broken(b);
	/* All of a packed ring, each descriptor with another behind it. */
	driver_start(d, DRIVER_PACKED, 0);
	for (unsigned i = 0; i < DRIVER_QUEUE_SIZE; i++) {
		driver_add(d, 0, two, 1, 0);
		driver_put16(d, d->ring[0].desc + 16 * i + 14,
			     1 << VRING_PACKED_DESC_F_AVAIL | VRING_DESC_F_NEXT);
	}
	driver_kick(d, 0);
	check_broken(b);
}

static void test_bad_indices(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	driver_start(d, DRIVER_SPLIT, 0);
	driver_put16(d, d->ring[0].driver + 2, DRIVER_QUEUE_SIZE + 1);
	driver_kick(d, 0);
	check_broken(b);
	driver_start(d, DRIVER_SPLIT, 0);
	driver_add(d, 0, &one, 1, 0);
	driver_put16(d, d->ring[0].driver + 4, DRIVER_QUEUE_SIZE);
	driver_kick(d, 0);
	check_broken(b);
	driver_start(d, DRIVER_SPLIT, 0);
	driver_add(d, 0, &one, 1, 0);
	driver_put16(d, d->ring[0].desc + 12, VRING_DESC_F_NEXT);
	driver_put16(d, d->ring[0].desc + 14, DRIVER_QUEUE_SIZE);
	driver_kick(d, 0);
	check_broken(b);
	/* The same descriptor again and again, faster than it comes back. */
	b->turner->hold = true;
	driver_start(d, DRIVER_SPLIT, 0);
	for (unsigned i = 0; i < DRIVER_QUEUE_SIZE; i++) {
		driver_add(d, 0, &one, 1, 0);
		driver_kick(d, 0);
	}
	assert_false(broken(b));
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	check_broken(b);
}

static void test_live_registers(void **state)
{
	static const struct {
		unsigned offset, size;
		uint32_t value;
	} writes[] = {
		{ VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x123450 },
		{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 1 },
		{ VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0 },
		{ VIRTIO_PCI_COMMON_Q_SIZE, 2, 4 },
		{ VIRTIO_PCI_COMMON_GF, 4, 0 },
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		driver_start(&b->driver, DRIVER_SPLIT, 0);
		driver_out(&b->driver, writes[i].offset, writes[i].size,
			   driver_in(&b->driver, writes[i].offset, writes[i].size));
		assert_false(broken(b));
		b->driver.messages[0] = 0;
		driver_out(&b->driver, writes[i].offset, writes[i].size, writes[i].value);
		assert_int_equal(b->driver.messages[0], 1);
		check_broken(b);
	}
}

static void test_bad_rings(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	static const struct {
		uint32_t size, desc;
	} bad[] = { { 0, 0x10000 }, { 3, 0x10000 }, { 32, 0x10000 }, { 8, 0x10008 },
		    { 8, DRIVER_RAM - 16 }, { 8, (uint32_t)DRIVER_BAR } };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		driver_set_status(d, 0);
		driver_out(d, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
		driver_out(d, VIRTIO_PCI_COMMON_GF, 4, 1);
		driver_set_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
		driver_out(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
		driver_out(d, VIRTIO_PCI_COMMON_Q_SIZE, 2, bad[i].size);
		driver_out(d, VIRTIO_PCI_COMMON_Q_DESCLO, 4, bad[i].desc);
		driver_out(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		assert_true(broken(b));
		assert_int_equal(driver_in(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
}

/* A reset while chains are out: they are dropped, and those of before are not used afterwards. */
static void test_reset_under_way_both(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };
	struct virtio_queue *queue = virtio_queue(&b->turner->virtio, 0);
	struct virtio_chain *late;
	uint16_t id;
	uint32_t len;

	b->turner->hold = true;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(d, format, 0);
		driver_add(d, 0, &one, 1, 0);
		driver_add(d, 0, &one, 1, 0);
		driver_kick(d, 0);
		assert_int_equal(b->turner->held_count, 2);
		late = b->turner->held[--b->turner->held_count];
		driver_start(d, format, 0);
		assert_int_equal(b->turner->held_count, 0);
		virtio_queue_push(queue, late, 4);
		assert_false(driver_used(d, 0, &id, &len));
	}
}

/* The machine's reset, and its end, with chains out. */
/* A reset under way takes place when the last thread is back; what they answered is nobody's. */
static void test_slow_reset(void **state)
{
	const struct driver_buffer answer = { DRIVER_DATA, 4, true };
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	bool done = true;
	uint16_t id;
	uint32_t len;
	uint8_t live;

	for (unsigned i = 0; i < 2; i++) {
		driver_start(d, (int)i, 0);
		live = driver_status(d);
		b->turner->hangs = true;
		driver_add(d, 0, &answer, 1, 0);
		driver_add(d, 1, &answer, 1, 0);
		driver_kick(d, 0);
		driver_kick(d, 1);
		driver_set_status(d, 0);
		run_until(d->fixture, &done);
		assert_int_equal(driver_status(d), live);
		assert_int_equal(b->turner->stops, i);
		b->turner->hangs = false;
		driver_reset(d);
		assert_int_equal(b->turner->stops, i + 1);
		assert_false(driver_used(d, 0, &id, &len) || driver_used(d, 1, &id, &len));
	}
	driver_start(d, DRIVER_SPLIT, 0);
	driver_add(d, 0, &answer, 1, 0);
	driver_kick(d, 0);
	while (!driver_used(d, 0, &id, &len))
		run_until(d->fixture, &done);
	assert_int_equal(len, 4);
}

static void test_machine_reset(void **state)
{
	struct bench *b = *state;
	struct virtio_driver *d = &b->driver;
	const struct driver_buffer one = { DRIVER_DATA, 4, true };

	b->turner->hold = true;
	driver_start(d, DRIVER_SPLIT, 0);
	driver_add(d, 0, &one, 1, 0);
	driver_kick(d, 0);
	d->dev->class->reset(d->dev);
	assert_int_equal(b->turner->held_count, 0);
	assert_int_equal(b->turner->virtio.status, 0);
	assert_int_equal(driver_status(d), 0xff);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity),
		TEST(test_features_refused),
		TEST(test_config),
		TEST(test_window),
		TEST(test_chains_both),
		TEST(test_out_of_order_both),
		TEST(test_unpop_both),
		TEST(test_interrupts_both),
		TEST(test_event_index_both),
		TEST(test_pin),
		cmocka_unit_test_setup_teardown(test_doorbells, setup_bells, teardown),
		cmocka_unit_test_setup_teardown(test_deferred, setup_deferred, teardown),
		TEST(test_bus_master),
		TEST(test_bad_buffers_both),
		TEST(test_rings_are_held_both),
		TEST(test_written_beyond_the_answer_both),
		TEST(test_too_long_both),
		TEST(test_bad_tables_both),
		TEST(test_misplaced_tables_both),
		TEST(test_loop),
		TEST(test_bad_indices),
		TEST(test_live_registers),
		TEST(test_bad_rings),
		TEST(test_reset_under_way_both),
		cmocka_unit_test_setup_teardown(test_slow_reset, setup_slow, teardown),
		TEST(test_machine_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
