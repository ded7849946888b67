/* SPDX-License-Identifier: MIT */
#include "virtio_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "dev/bus.h"
#include "mem/mem.h"
#include "virtio/transport_pci.h"

#define CARD PCI_DEVFN(2, 0)
#define NOTIFY 0x3000u
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

/* ---- memory ---- */

void driver_put(struct virtio_driver *driver, uint64_t gpa, const void *data, size_t len)
{
	assert_int_equal(mem_write(driver->fixture->env.mem, gpa, data, len), 0);
}

void driver_get(struct virtio_driver *driver, uint64_t gpa, void *data, size_t len)
{
	assert_int_equal(mem_read(driver->fixture->env.mem, gpa, data, len), 0);
}

void driver_put16(struct virtio_driver *driver, uint64_t gpa, uint16_t value)
{
	driver_put(driver, gpa, &value, sizeof(value));
}

uint16_t driver_get16(struct virtio_driver *driver, uint64_t gpa)
{
	uint16_t value;

	driver_get(driver, gpa, &value, sizeof(value));
	return value;
}

static void put_desc(struct virtio_driver *driver, uint64_t gpa, const struct driver_buffer *buffer,
		     uint16_t word12, uint16_t word14)
{
	struct vring_desc desc = { buffer->gpa, buffer->len, word12, word14 };

	driver_put(driver, gpa, &desc, sizeof(desc));
}

/* ---- registers ---- */

static void msi(void *opaque, uint64_t address, uint32_t data)
{
	struct virtio_driver *driver = opaque;

	assert_int_equal(address, 0xfee00000);
	assert_true(data < 66);
	driver->messages[data]++;
}

static void intx(void *opaque, unsigned slot, unsigned pin, bool level)
{
	struct virtio_driver *driver = opaque;

	assert_true(slot == CARD >> 3 && pin == 0);
	driver->pin = level;
}

uint32_t driver_in(struct virtio_driver *driver, unsigned offset, unsigned size)
{
	return (uint32_t)bus_read(driver->fixture->env.mmio, DRIVER_BAR + offset, size, 0);
}

void driver_out(struct virtio_driver *driver, unsigned offset, unsigned size, uint32_t value)
{
	bus_write(driver->fixture->env.mmio, DRIVER_BAR + offset, size, value, 0);
}

uint8_t driver_status(struct virtio_driver *driver)
{
	return (uint8_t)driver_in(driver, VIRTIO_PCI_COMMON_STATUS, 1);
}

void driver_set_status(struct virtio_driver *driver, uint8_t status)
{
	driver_out(driver, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

void driver_open(struct virtio_driver *driver)
{
	struct pci_bus_config config = { .intx = intx, .msi = msi, .opaque = driver };

	*driver = (struct virtio_driver){ .packed = false };
	assert_int_equal(device_fixture_open((void **)&driver->fixture), 0);
	assert_int_equal(mem_add(driver->fixture->env.mem, 0, DRIVER_RAM, false, "ram", NULL), 0);
	config.pio = driver->fixture->env.pio;
	config.mmio = driver->fixture->env.mmio;
	assert_int_equal(pci_bus_create(&config, &driver->pci, NULL), 0);
}

static void config_out(struct virtio_driver *driver, unsigned offset, unsigned size,
		       uint32_t value)
{
	pci_config_write(driver->pci, 0, CARD, offset, size, value);
}

static void enable_msix(struct virtio_driver *driver)
{
	unsigned cap = pci_config_read(driver->pci, 0, CARD, PCI_CAPABILITY_LIST, 1);

	while (pci_config_read(driver->pci, 0, CARD, cap, 1) != PCI_CAP_ID_MSIX)
		cap = pci_config_read(driver->pci, 0, CARD, cap + 1, 1);
	config_out(driver, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	for (unsigned i = 0; i <= driver->virtio->queue_count; i++) {
		uint64_t entry = DRIVER_MSIX_BAR + 16 * i;

		mmio_write32(driver->fixture, entry, 0xfee00000, 0);
		mmio_write32(driver->fixture, entry + 8, i, 0);
		mmio_write32(driver->fixture, entry + 12, 0, 0);
	}
}

void driver_plug(struct virtio_driver *driver, struct virtio_device *virtio)
{
	const struct virtio_pci_config config = { .bus = driver->pci, .devfn = CARD };

	driver->virtio = virtio;
	assert_int_equal(virtio_pci_create(&config, virtio, &driver->dev, NULL), 0);
	config_out(driver, PCI_BASE_ADDRESS_1, 4, (uint32_t)DRIVER_MSIX_BAR);
	config_out(driver, PCI_BASE_ADDRESS_4, 4, (uint32_t)DRIVER_BAR);
	config_out(driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	enable_msix(driver);
}

void driver_close(struct virtio_driver *driver)
{
	if (driver->dev)
		device_free(driver->dev);
	pci_bus_destroy(driver->pci);
	device_fixture_close((void **)&driver->fixture);
}

/* ---- negotiation ---- */

static void out64(struct virtio_driver *driver, unsigned offset, uint64_t value)
{
	driver_out(driver, offset, 4, (uint32_t)value);
	driver_out(driver, offset + 4, 4, (uint32_t)(value >> 32));
}

static void set_up_queue(struct virtio_driver *driver, unsigned queue)
{
	static const uint8_t zeros[0x6000];
	struct driver_ring *ring = &driver->ring[queue];
	uint64_t base = 0x10000ull * (queue + 1);

	*ring = (struct driver_ring){ .desc = base, .driver = base + 0x2000,
				      .device = base + 0x4000, .avail_wrap = true,
				      .used_wrap = true };
	driver_put(driver, base, zeros, sizeof(zeros));
	driver_out(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	driver_out(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, DRIVER_QUEUE_SIZE);
	driver_out(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2, queue + 1);
	out64(driver, VIRTIO_PCI_COMMON_Q_DESCLO, ring->desc);
	out64(driver, VIRTIO_PCI_COMMON_Q_AVAILLO, ring->driver);
	out64(driver, VIRTIO_PCI_COMMON_Q_USEDLO, ring->device);
	driver_out(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void driver_reset(struct virtio_driver *driver)
{
	bool done = true;

	driver_set_status(driver, 0);
	while (driver_status(driver))
		run_until(driver->fixture, &done);
}

void driver_prepare(struct virtio_driver *driver, int format, uint64_t features)
{
	features |= 1ull << VIRTIO_F_VERSION_1;
	driver->packed = format == DRIVER_PACKED;
	if (driver->packed)
		features |= 1ull << VIRTIO_F_RING_PACKED;
	driver_reset(driver);
	driver_set_status(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		driver_out(driver, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		driver_out(driver, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
	driver_set_status(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					  VIRTIO_CONFIG_S_FEATURES_OK);
	driver_out(driver, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < driver->virtio->queue_count; i++)
		set_up_queue(driver, i);
}

void driver_start(struct virtio_driver *driver, int format, uint64_t features)
{
	driver_prepare(driver, format, features);
	assert_true(driver_status(driver) & VIRTIO_CONFIG_S_FEATURES_OK);
	driver_set_status(driver, driver_status(driver) | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- rings ---- */

static void put_table(struct virtio_driver *driver, const struct driver_buffer *buffers,
		      unsigned count, uint64_t table)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = buffers[i].write ? VRING_DESC_F_WRITE : 0;

		if (driver->packed)
			put_desc(driver, table + 16 * i, &buffers[i], 0, flags);
		else
			put_desc(driver, table + 16 * i, &buffers[i],
				 flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0),
				 (uint16_t)(i + 1));
	}
}

static uint16_t add_split(struct virtio_driver *driver, struct driver_ring *ring,
			  const struct driver_buffer *buffers, unsigned count, uint16_t extra)
{
	uint16_t head = ring->free_head;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = ring->free_head, next = (at + 1) % DRIVER_QUEUE_SIZE;
		unsigned flags = extra | (buffers[i].write ? VRING_DESC_F_WRITE : 0) |
				 (i + 1 < count ? VRING_DESC_F_NEXT : 0);

		put_desc(driver, ring->desc + 16 * at, &buffers[i], (uint16_t)flags, next);
		ring->free_head = next;
	}
	driver_put16(driver, ring->driver + 4 + 2 * (ring->next_avail % DRIVER_QUEUE_SIZE), head);
	driver_put16(driver, ring->driver + 2, ++ring->next_avail);
	return head;
}

static uint16_t add_packed(struct virtio_driver *driver, struct driver_ring *ring,
			   const struct driver_buffer *buffers, unsigned count, uint16_t extra)
{
	uint16_t id = ring->next_avail;

	ring->slots[id] = (uint16_t)count;
	for (unsigned i = 0; i < count; i++) {
		unsigned flags = extra | (buffers[i].write ? VRING_DESC_F_WRITE : 0) |
				 (i + 1 < count ? VRING_DESC_F_NEXT : 0) |
				 (ring->avail_wrap ? AVAIL : USED);

		put_desc(driver, ring->desc + 16 * ring->next_avail, &buffers[i], id,
			 (uint16_t)flags);
		if (++ring->next_avail == DRIVER_QUEUE_SIZE) {
			ring->next_avail = 0;
			ring->avail_wrap = !ring->avail_wrap;
		}
	}
	return id;
}

uint16_t driver_add(struct virtio_driver *driver, unsigned queue,
		    const struct driver_buffer *buffers, unsigned count, uint64_t indirect)
{
	struct driver_ring *ring = &driver->ring[queue];
	const struct driver_buffer table = { .gpa = indirect, .len = 16 * count };
	uint16_t extra = 0;

	if (indirect) {
		put_table(driver, buffers, count, indirect);
		buffers = &table;
		count = 1;
		extra = VRING_DESC_F_INDIRECT;
	}
	return driver->packed ? add_packed(driver, ring, buffers, count, extra) :
				add_split(driver, ring, buffers, count, extra);
}

void driver_kick(struct virtio_driver *driver, unsigned queue)
{
	driver_out(driver, NOTIFY + 4 * queue, 2, queue);
}

static bool used_split(struct virtio_driver *driver, struct driver_ring *ring, uint16_t *id,
		       uint32_t *len)
{
	struct vring_used_elem used;

	if (driver_get16(driver, ring->device + 2) == ring->next_used)
		return false;
	driver_get(driver, ring->device + 4 + 8 * (ring->next_used % DRIVER_QUEUE_SIZE), &used,
		   sizeof(used));
	ring->next_used++;
	*id = (uint16_t)used.id;
	*len = used.len;
	return true;
}

static bool used_packed(struct virtio_driver *driver, struct driver_ring *ring, uint16_t *id,
			uint32_t *len)
{
	uint64_t entry = ring->desc + 16 * ring->next_used;
	uint16_t flags = driver_get16(driver, entry + 14);

	if (!!(flags & USED) != ring->used_wrap || !!(flags & AVAIL) != ring->used_wrap)
		return false;
	driver_get(driver, entry + 8, len, sizeof(*len));
	*id = driver_get16(driver, entry + 12);
	ring->next_used = (uint16_t)(ring->next_used + ring->slots[*id]);
	if (ring->next_used >= DRIVER_QUEUE_SIZE) {
		ring->next_used = (uint16_t)(ring->next_used - DRIVER_QUEUE_SIZE);
		ring->used_wrap = !ring->used_wrap;
	}
	return true;
}

bool driver_used(struct virtio_driver *driver, unsigned queue, uint16_t *id, uint32_t *len)
{
	struct driver_ring *ring = &driver->ring[queue];

	return driver->packed ? used_packed(driver, ring, id, len) :
				used_split(driver, ring, id, len);
}
