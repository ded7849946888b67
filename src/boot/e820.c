/* SPDX-License-Identifier: MIT */
/* The memory map: see e820.h. Invariant: sorted by address, disjoint, no empty range, no wrap. */
#include "boot/e820.h"

#include <errno.h>
#include <string.h>

static uint64_t range_end(const struct e820_range *range)
{
	return range->addr + range->size_bytes;
}

/* Appends to a map under construction, joining with the last range when the types agree. */
static int append(struct e820_map *map, uint64_t addr, uint64_t end, uint32_t type)
{
	struct e820_range *last = map->count ? &map->range[map->count - 1] : NULL;

	if (addr >= end)
		return 0;
	if (last && range_end(last) == addr && last->type == type) {
		last->size_bytes += end - addr;
		return 0;
	}
	if (map->count == E820_MAX)
		return -ENOSPC;
	map->range[map->count++] = (struct e820_range){ addr, end - addr, type };
	return 0;
}

int e820_set(struct e820_map *map, uint64_t addr, uint64_t size_bytes, enum e820_type type)
{
	struct e820_map out = { .count = 0 };
	uint64_t end = addr + size_bytes;
	bool placed = false;
	int rc = 0;

	if (!size_bytes || end < addr)
		return -EINVAL;
	for (unsigned i = 0; i < map->count && !rc; i++) {
		const struct e820_range *old = &map->range[i];
		uint64_t old_end = range_end(old);

		rc = append(&out, old->addr, old_end < addr ? old_end : addr, old->type);
		if (!rc && !placed && old_end > addr) {
			rc = append(&out, addr, end, type);
			placed = true;
		}
		if (!rc)
			rc = append(&out, old->addr > end ? old->addr : end, old_end, old->type);
	}
	if (!rc && !placed)
		rc = append(&out, addr, end, type);
	if (!rc)
		*map = out;
	return rc;
}

bool e820_is_ram(const struct e820_map *map, uint64_t addr, uint64_t size_bytes)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct e820_range *range = &map->range[i];

		if (range->type == E820_RAM && addr >= range->addr && addr < range_end(range))
			return size_bytes <= range_end(range) - addr;
	}
	return false;
}

/* The part of a RAM range that lies in [min, max]; false when there is none. */
static bool usable(const struct e820_range *range, uint64_t min, uint64_t max, uint64_t *start,
		   uint64_t *last)
{
	if (range->type != E820_RAM)
		return false;
	*start = range->addr > min ? range->addr : min;
	*last = range_end(range) - 1 < max ? range_end(range) - 1 : max;
	return *start <= *last;
}

bool e820_find_low(const struct e820_map *map, uint64_t size_bytes, uint64_t align, uint64_t min,
		   uint64_t max, uint64_t *addr)
{
	uint64_t start, last;

	for (unsigned i = 0; i < map->count; i++) {
		if (!usable(&map->range[i], min, max, &start, &last))
			continue;
		start = (start + align - 1) & ~(align - 1);
		if (start <= last && last - start >= size_bytes - 1) {
			*addr = start;
			return true;
		}
	}
	return false;
}

bool e820_find_high(const struct e820_map *map, uint64_t size_bytes, uint64_t align, uint64_t min,
		    uint64_t max, uint64_t *addr)
{
	uint64_t start, last, at;

	for (unsigned i = map->count; i-- > 0;) {
		if (!usable(&map->range[i], min, max, &start, &last))
			continue;
		if (last - start < size_bytes - 1)
			continue;
		at = (last - (size_bytes - 1)) & ~(align - 1);
		if (at >= start) {
			*addr = at;
			return true;
		}
	}
	return false;
}

uint64_t e820_ram_bytes(const struct e820_map *map)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < map->count; i++)
		if (map->range[i].type == E820_RAM)
			sum += map->range[i].size_bytes;
	return sum;
}
