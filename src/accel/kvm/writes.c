/* SPDX-License-Identifier: MIT */
/*
 * What a guest wrote while the kernel ran it, for those who keep decoded code: by the kernel's log of
 * dirty pages, in machines that may go on under an engine. Other machines have no log, whose upkeep
 * costs the guest a fault a page, and all is taken to be written. Linux, api.rst 4.8.
 */
#include "accel/kvm/kvm.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "cpu/blocks.h"
#include "mem/mem.h"

#define PAGE_SHIFT 12u
#define WORD_PAGES 64u

static size_t bitmap_bytes(const struct mem_region *region)
{
	uint64_t pages = region->size_bytes >> PAGE_SHIFT;

	return (pages + WORD_PAGES - 1) / WORD_PAGES * sizeof(uint64_t);
}

static bool is_set(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / WORD_PAGES] >> page % WORD_PAGES & 1;
}

/* Each run of pages that follow each other at once. */
static void report_pages(struct blocks *blocks, const struct mem_region *region,
			 const uint64_t *bitmap)
{
	uint64_t pages = region->size_bytes >> PAGE_SHIFT, page = 0;

	while (page < pages) {
		uint64_t first = page;

		if (page % WORD_PAGES == 0 && !bitmap[page / WORD_PAGES]) {
			page += WORD_PAGES;
			continue;
		}
		while (page < pages && is_set(bitmap, page))
			page++;
		if (page == first)
			page++;
		else
			blocks_wrote(blocks, region->gpa + (first << PAGE_SHIFT),
				     (page - first) << PAGE_SHIFT);
	}
}

/* False: the kernel does not say. */
static bool report_logged(const struct accel_machine *machine, unsigned slot,
			  const struct mem_region *region, struct blocks *blocks)
{
	struct kvm_dirty_log log = { .slot = slot };
	bool known;

	if (machine->vm < 0 || !machine->follows_writes || slot >= machine->slots)
		return false;
	log.dirty_bitmap = calloc(1, bitmap_bytes(region));
	if (!log.dirty_bitmap)
		return false;
	known = !ioctl(machine->vm, KVM_GET_DIRTY_LOG, &log);
	if (known)
		report_pages(blocks, region, log.dirty_bitmap);
	free(log.dirty_bitmap);
	return known;
}

void kvm_report_writes(struct accel_machine *machine, struct blocks *blocks)
{
	for (unsigned slot = 0; slot < mem_region_count(machine->mem); slot++) {
		const struct mem_region *region = mem_region_added(machine->mem, slot);

		if (!report_logged(machine, slot, region, blocks))
			blocks_wrote(blocks, region->gpa, region->size_bytes);
	}
}
