/* SPDX-License-Identifier: MIT */
/*
 * Port and memory-mapped I/O: an address space of disjoint ranges, each owned by a device. The bus
 * hands a device the offset in its range and 1 to 8 bytes; it never hands over an address.
 * bus_read and bus_write take the machine lock around the device's handler, except for ranges
 * added with BUS_UNLOCKED (the local APIC page), whose device has its own. The table is an
 * immutable array swapped as a whole when a range comes or goes, so that look-ups need no lock.
 */
#ifndef RINGLET_DEV_BUS_H
#define RINGLET_DEV_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct error;
struct loop;

enum { BUS_UNLOCKED = 1 };

/*
 * A register that only wants to know that it was written, by size_bytes: whoever listens to the bus may
 * signal the eventfd instead of bringing it the write.
 */
struct bus_doorbell {
	uint32_t offset, size_bytes;
	int fd;
};

struct bus_range {
	uint64_t base;
	uint64_t size;
	unsigned flags;
	const char *name;
	void *opaque;
	/*
	 * size is 1, 2, 4 or 8; offset + size lies within the range. An access that runs past the
	 * end, or is wider than max_width, is split by the bus into bytes (max_width 0: 8).
	 * reader: opaque and offset -> value. cpu is the index of the CPU that accesses, or -1.
	 */
	unsigned max_width;
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size, int cpu);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu);
	/* The device's; they live as long as the range. */
	const struct bus_doorbell *doorbells;
	unsigned doorbell_count;
};

/* Hears of doorbells that come and go, on the thread that adds or removes their range. */
struct bus_listener {
	void *opaque;
	void (*doorbell)(void *opaque, uint64_t address, const struct bus_doorbell *doorbell,
			 bool there);
};

/* name: "pio" or "mmio", for logs. loop: whose lock guards the devices. */
int bus_create(struct bus **bus, const char *name, struct loop *loop, struct error *err);
void bus_destroy(struct bus *bus);

/* Copies range. -EEXIST when it overlaps another. */
int bus_add(struct bus *bus, const struct bus_range *range, struct error *err);
void bus_remove(struct bus *bus, uint64_t base);

/* One listener, told of those that are there at once; NULL: no more. It is copied. */
void bus_listen(struct bus *bus, const struct bus_listener *listener);

/* What no device answers reads as all ones and swallows writes (as on an ISA/PCI bus). */
uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size, int cpu);
void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value, int cpu);

/* For --dry-run and logs: ranges in address order; NULL past the end. */
const struct bus_range *bus_range_at(const struct bus *bus, unsigned index);

#endif
