/* SPDX-License-Identifier: MIT */
/*
 * The PC's memory map: sorted, disjoint ranges with a type, as INT 15h AX=E820h reports them
 * (ACPI 6.5, section 15). The board makes one; loaders hand it to the guest and take the
 * space for what they place from a private copy, so that nothing overlaps.
 *
 * Plain data, no locks: used while a machine is built.
 */
#ifndef RINGLET_BOOT_E820_H
#define RINGLET_BOOT_E820_H

#include <stdbool.h>
#include <stdint.h>

enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
	E820_ACPI = 3,
	E820_NVS = 4,
};

#define E820_MAX 64 /* at most; the zero page holds 128 */

struct e820_range {
	uint64_t addr;
	uint64_t size_bytes;
	uint32_t type;
};

struct e820_map {
	struct e820_range range[E820_MAX];
	unsigned count;
};

/*
 * Gives [addr, addr + size) a type, whatever it was before; equal neighbours are joined.
 * -EINVAL: empty, or wraps. -ENOSPC: the map is full (and unchanged).
 */
int e820_set(struct e820_map *map, uint64_t addr, uint64_t size_bytes, enum e820_type type);

/* All of [addr, addr + size) is RAM. */
bool e820_is_ram(const struct e820_map *map, uint64_t addr, uint64_t size_bytes);

/*
 * The lowest / highest place for size bytes of RAM, aligned (a power of two), within
 * [min, max] inclusive; false when there is none.
 */
bool e820_find_low(const struct e820_map *map, uint64_t size_bytes, uint64_t align, uint64_t min,
		   uint64_t max, uint64_t *addr);
bool e820_find_high(const struct e820_map *map, uint64_t size_bytes, uint64_t align, uint64_t min,
		    uint64_t max, uint64_t *addr);

/* Bytes of RAM in all ranges. */
uint64_t e820_ram_bytes(const struct e820_map *map);

#endif
