/* SPDX-License-Identifier: MIT */
/*
 * A guest's virtio driver, for tests: finds the device on a PCI bus of its own, negotiates, lays
 * out rings (split or packed) in guest memory, offers chains, takes back what was used. It can do
 * everything wrong, too: rings and registers are open to the test.
 */
#ifndef RINGLET_TESTS_UNIT_VIRTIO_DRIVER_H
#define RINGLET_TESTS_UNIT_VIRTIO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/pci.h"
#include "device_fixture.h"
#include "virtio/virtio.h"

#define DRIVER_RAM (8u << 20)
#define DRIVER_DATA 0x400000u /* memory from here on is the test's */
#define DRIVER_BAR 0xc0000000ull
#define DRIVER_MSIX_BAR 0xc0100000ull
#define DRIVER_QUEUE_SIZE 8u

enum { DRIVER_SPLIT, DRIVER_PACKED };

struct driver_ring {
	uint64_t desc, driver, device; /* guest addresses */
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap;
	uint16_t free_head; /* split: the next descriptor to use, round and round */
	uint16_t slots[DRIVER_QUEUE_SIZE]; /* packed: by buffer ID */
};

struct virtio_driver {
	struct device_fixture *fixture;
	struct pci_bus *pci;
	struct device *dev;
	struct virtio_device *virtio;
	bool packed;
	struct driver_ring ring[64];
	unsigned messages[66]; /* received, by vector */
	bool pin;
};

struct driver_buffer {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

/* Makes a fixture with memory; the test creates its device with fixture->env and plugs it in. */
void driver_open(struct virtio_driver *driver);
void driver_plug(struct virtio_driver *driver, struct virtio_device *virtio);
void driver_close(struct virtio_driver *driver);

/* Registers, at offsets of BAR 4. */
uint32_t driver_in(struct virtio_driver *driver, unsigned offset, unsigned size);
void driver_out(struct virtio_driver *driver, unsigned offset, unsigned size, uint32_t value);
uint8_t driver_status(struct virtio_driver *driver);
void driver_set_status(struct virtio_driver *driver, uint8_t status);
/* Returns when the device is reset: its loop runs until then. */
void driver_reset(struct virtio_driver *driver);

/*
 * From reset to DRIVER_OK: takes features (of those offered; the ring's format besides) and
 * enables every queue with DRIVER_QUEUE_SIZE entries and its own vector.
 */
void driver_start(struct virtio_driver *driver, int format, uint64_t features);
/* The same up to, and without, DRIVER_OK. */
void driver_prepare(struct virtio_driver *driver, int format, uint64_t features);

/* Offers a chain; returns its ID. indirect: the table's address, or 0. */
uint16_t driver_add(struct virtio_driver *driver, unsigned queue,
		    const struct driver_buffer *buffers, unsigned count, uint64_t indirect);
void driver_kick(struct virtio_driver *driver, unsigned queue);

/* The next used chain; false: there is none. */
bool driver_used(struct virtio_driver *driver, unsigned queue, uint16_t *id, uint32_t *len);

/* Guest memory. */
void driver_put(struct virtio_driver *driver, uint64_t gpa, const void *data, size_t len);
void driver_get(struct virtio_driver *driver, uint64_t gpa, void *data, size_t len);
void driver_put16(struct virtio_driver *driver, uint64_t gpa, uint16_t value);
uint16_t driver_get16(struct virtio_driver *driver, uint64_t gpa);

#endif
