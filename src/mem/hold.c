/* SPDX-License-Identifier: MIT */
/* See hold.h. */
#include "mem/hold.h"

#include <stddef.h>

#include "mem/mem.h"

#define FOR_GOOD (15 * MEM_PAGE_HELD)

bool mem_hold_page(_Atomic uint8_t *flags)
{
	uint8_t now = atomic_load_explicit(flags, memory_order_relaxed);

	while (now < FOR_GOOD &&
	       !atomic_compare_exchange_weak(flags, &now, (uint8_t)(now + MEM_PAGE_HELD)))
		;
	return now & MEM_PAGE_EXEC;
}

void mem_stopped_page(_Atomic uint8_t *flags)
{
	atomic_fetch_and(flags, (uint8_t)~MEM_PAGE_EXEC);
}

void mem_release_page(_Atomic uint8_t *flags)
{
	uint8_t now = atomic_load_explicit(flags, memory_order_relaxed);

	while (now < FOR_GOOD &&
	       !atomic_compare_exchange_weak(flags, &now, (uint8_t)(now - MEM_PAGE_HELD)))
		;
}

/* The flags of the page that holds gpa, or NULL. */
static _Atomic uint8_t *flags_of(const struct mem *mem, uint64_t gpa)
{
	const struct mem_region *region = mem_find(mem, gpa);

	return region ? mem_page_flags(region, gpa) : NULL;
}

bool mem_hold(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	bool executed = false;

	for (uint64_t at = gpa & ~(MEM_PAGE_SIZE - 1ull); len && at < gpa + len; at += MEM_PAGE_SIZE) {
		_Atomic uint8_t *flags = flags_of(mem, at);

		if (flags)
			executed |= mem_hold_page(flags);
	}
	return executed;
}

void mem_stopped(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t start = gpa & ~(MEM_PAGE_SIZE - 1ull);

	for (uint64_t at = start; len && at < gpa + len; at += MEM_PAGE_SIZE) {
		_Atomic uint8_t *flags = flags_of(mem, at);

		if (flags)
			mem_stopped_page(flags);
	}
}

void mem_release(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	for (uint64_t at = gpa & ~(MEM_PAGE_SIZE - 1ull); len && at < gpa + len; at += MEM_PAGE_SIZE) {
		_Atomic uint8_t *flags = flags_of(mem, at);

		if (flags)
			mem_release_page(flags);
	}
}
