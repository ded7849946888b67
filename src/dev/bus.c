/* SPDX-License-Identifier: MIT */
/*
 * Buses: see bus.h. The ranges are one immutable, sorted table. A change publishes a new table and
 * retires the old one; a retired table is freed at a moment when nobody is in a bus access, because
 * whoever comes later sees the new one. So a guest that moves a device's range about for ever does
 * not eat the host's memory.
 *
 * Between finding a range and getting the machine lock, the range may have gone (and its device
 * with it), so a locked access looks again once it holds the lock.
 */
#include "dev/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/loop.h"

struct bus_table {
	struct bus_table *retired_next;
	unsigned count;
	struct bus_range range[];
};

struct bus {
	const char *name;
	struct loop *loop;
	_Atomic(struct bus_table *) table;
	_Atomic unsigned accesses; /* under way now */
	pthread_mutex_t change;    /* guards retired, listener; makes changes one at a time */
	struct bus_listener listener;
	_Atomic(struct bus_table *) retired;
};

struct bus_access {
	uint64_t address;
	unsigned size;
	int cpu;
	bool write;
	uint64_t value;
};

static struct bus_table *table_alloc(unsigned count)
{
	struct bus_table *table = calloc(1, sizeof(*table) + count * sizeof(table->range[0]));

	if (table)
		table->count = count;
	return table;
}

int bus_create(struct bus **bus, const char *name, struct loop *loop, struct error *err)
{
	struct bus_table *table = table_alloc(0);

	*bus = calloc(1, sizeof(**bus));
	if (!*bus || !table) {
		free(table);
		free(*bus);
		*bus = NULL;
		return error_set(err, ENOMEM, "%s bus: out of memory", name);
	}
	(*bus)->name = name;
	(*bus)->loop = loop;
	pthread_mutex_init(&(*bus)->change, NULL);
	atomic_init(&(*bus)->table, table);
	return 0;
}

static void free_retired(struct bus *bus)
{
	struct bus_table *table = atomic_exchange(&bus->retired, NULL);

	while (table) {
		struct bus_table *next = table->retired_next;

		free(table);
		table = next;
	}
}

void bus_destroy(struct bus *bus)
{
	if (!bus)
		return;
	free_retired(bus);
	free(atomic_load(&bus->table));
	pthread_mutex_destroy(&bus->change);
	free(bus);
}

static void access_begin(struct bus *bus)
{
	atomic_fetch_add(&bus->accesses, 1);
}

static void access_end(struct bus *bus)
{
	if (atomic_fetch_sub(&bus->accesses, 1) != 1 || !atomic_load(&bus->retired))
		return;
	/* No change can retire a table while we hold the mutex, so what is retired now was so
	 * before accesses was seen to be zero: whoever begins after that cannot find it. */
	pthread_mutex_lock(&bus->change);
	if (!atomic_load(&bus->accesses))
		free_retired(bus);
	pthread_mutex_unlock(&bus->change);
}

/* change held. */
static void publish(struct bus *bus, struct bus_table *table)
{
	struct bus_table *old = atomic_exchange(&bus->table, table);

	old->retired_next = atomic_load(&bus->retired);
	atomic_store(&bus->retired, old);
	if (!atomic_load(&bus->accesses))
		free_retired(bus);
}

/* Index of the first range that ends at address or after it; count if there is none. */
static unsigned first_from(const struct bus_table *table, uint64_t address)
{
	unsigned low = 0, high = table->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct bus_range *range = &table->range[middle];

		if (range->base + (range->size - 1) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* change held. */
static void tell(const struct bus *bus, const struct bus_range *range, bool there)
{
	for (unsigned i = 0; bus->listener.doorbell && i < range->doorbell_count; i++)
		bus->listener.doorbell(bus->listener.opaque,
				       range->base + range->doorbells[i].offset,
				       &range->doorbells[i], there);
}

void bus_listen(struct bus *bus, const struct bus_listener *listener)
{
	const struct bus_table *table;

	pthread_mutex_lock(&bus->change);
	bus->listener = listener ? *listener : (struct bus_listener){ 0 };
	table = atomic_load(&bus->table);
	for (unsigned i = 0; i < table->count; i++)
		tell(bus, &table->range[i], true);
	pthread_mutex_unlock(&bus->change);
}

static int insert(struct bus *bus, const struct bus_range *range, struct error *err)
{
	const struct bus_table *old = atomic_load(&bus->table);
	unsigned at = first_from(old, range->base);
	struct bus_table *table;

	if (at < old->count && old->range[at].base <= range->base + (range->size - 1))
		return error_set(err, EEXIST, "%s bus: %s at 0x%llx overlaps %s", bus->name,
				 range->name, (unsigned long long)range->base,
				 old->range[at].name);
	table = table_alloc(old->count + 1);
	if (!table)
		return error_set(err, ENOMEM, "%s bus: out of memory", bus->name);
	memcpy(table->range, old->range, at * sizeof(*range));
	table->range[at] = *range;
	memcpy(&table->range[at + 1], &old->range[at], (old->count - at) * sizeof(*range));
	publish(bus, table);
	tell(bus, range, true);
	return 0;
}

int bus_add(struct bus *bus, const struct bus_range *range, struct error *err)
{
	int result;

	if (!range->size || range->base + (range->size - 1) < range->base)
		return error_set(err, EINVAL, "%s bus: %s has the bad range 0x%llx+0x%llx",
				 bus->name, range->name, (unsigned long long)range->base,
				 (unsigned long long)range->size);
	pthread_mutex_lock(&bus->change);
	result = insert(bus, range, err);
	pthread_mutex_unlock(&bus->change);
	return result;
}

static void delete(struct bus *bus, struct bus_table *old, unsigned at)
{
	struct bus_table *table = table_alloc(old->count - 1);

	if (!table) {
		/* Its place stays taken, but the device that is about to go is out of reach. */
		old->range[at].read = NULL;
		old->range[at].write = NULL;
		return;
	}
	memcpy(table->range, old->range, at * sizeof(old->range[0]));
	memcpy(&table->range[at], &old->range[at + 1],
	       (table->count - at) * sizeof(old->range[0]));
	publish(bus, table);
}

void bus_remove(struct bus *bus, uint64_t base)
{
	struct bus_table *table;
	unsigned at;

	pthread_mutex_lock(&bus->change);
	table = atomic_load(&bus->table);
	at = first_from(table, base);
	if (at < table->count && table->range[at].base == base) {
		tell(bus, &table->range[at], false);
		delete(bus, table, at);
	}
	pthread_mutex_unlock(&bus->change);
}

enum fit { FIT_NONE, FIT_WHOLE, FIT_BYTES };

/* How access meets table: no device, one as it is, or byte by byte. */
static enum fit find(const struct bus_table *table, const struct bus_access *access,
		     const struct bus_range **range)
{
	unsigned at = first_from(table, access->address);
	uint64_t offset;
	unsigned width;

	*range = NULL;
	if (at == table->count)
		return FIT_NONE;
	*range = &table->range[at];
	if ((*range)->base > access->address)
		return (*range)->base - access->address < access->size ? FIT_BYTES : FIT_NONE;
	offset = access->address - (*range)->base;
	width = (*range)->max_width ? (*range)->max_width : 8;
	if (access->size == 1)
		return FIT_WHOLE;
	if (access->size > width || (access->size & (access->size - 1)) ||
	    access->size > (*range)->size - offset)
		return FIT_BYTES;
	return FIT_WHOLE;
}

static uint64_t all_ones(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << size * 8) - 1;
}

static void call(const struct bus_range *range, struct bus_access *access)
{
	uint64_t offset = access->address - range->base;

	if (access->write) {
		if (range->write)
			range->write(range->opaque, offset, access->size,
				     access->value & all_ones(access->size), access->cpu);
	} else if (range->read) {
		access->value = range->read(range->opaque, offset, access->size, access->cpu) &
				all_ones(access->size);
	} else {
		access->value = all_ones(access->size);
	}
}

/* FIT_BYTES: the caller does it byte by byte; else it is done. */
static enum fit perform(struct bus *bus, struct bus_access *access)
{
	const struct bus_range *range;
	enum fit fit = find(atomic_load(&bus->table), access, &range);

	if (fit == FIT_WHOLE && !(range->flags & BUS_UNLOCKED)) {
		loop_lock(bus->loop);
		fit = find(atomic_load(&bus->table), access, &range);
		if (fit == FIT_WHOLE)
			call(range, access);
		loop_unlock(bus->loop);
	} else if (fit == FIT_WHOLE) {
		call(range, access);
	}
	if (fit == FIT_NONE && !access->write)
		access->value = all_ones(access->size);
	return fit;
}

static void perform_bytes(struct bus *bus, struct bus_access *access)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < access->size; i++) {
		struct bus_access byte = {
			.address = access->address + i, .size = 1, .cpu = access->cpu,
			.write = access->write, .value = access->value >> i * 8,
		};

		perform(bus, &byte);
		value |= (byte.value & 0xff) << i * 8;
	}
	access->value = value;
}

uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size, int cpu)
{
	struct bus_access access = { .address = address, .size = size, .cpu = cpu };

	access_begin(bus);
	if (perform(bus, &access) == FIT_BYTES)
		perform_bytes(bus, &access);
	access_end(bus);
	return access.value;
}

void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value, int cpu)
{
	struct bus_access access = {
		.address = address, .size = size, .cpu = cpu, .write = true, .value = value,
	};

	access_begin(bus);
	if (perform(bus, &access) == FIT_BYTES)
		perform_bytes(bus, &access);
	access_end(bus);
}

const struct bus_range *bus_range_at(const struct bus *bus, unsigned index)
{
	const struct bus_table *table = atomic_load(&bus->table);

	return index < table->count ? &table->range[index] : NULL;
}
