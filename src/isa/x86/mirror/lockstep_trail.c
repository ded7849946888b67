/* SPDX-License-Identifier: MIT */
/* What runs change: see lockstep_trail.h. The CPU's thread. */
#include "isa/x86/mirror/lockstep_trail.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "cpu/blocks.h"

#define PAGE_MASK (~(uint64_t)(MEM_PAGE_SIZE - 1))

/* Pages that are not touched cost nothing. */
static void *reserve(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void release(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}

struct page_log *page_log_create(struct error *err)
{
	struct page_log *pages = reserve(sizeof(*pages));

	if (pages) {
		pages->before = reserve(TRAIL_PAGES * sizeof(page_bytes));
		pages->after = reserve(TRAIL_PAGES * sizeof(page_bytes));
	}
	if (!pages || !pages->before || !pages->after) {
		page_log_destroy(pages);
		error_set(err, ENOMEM, "no memory for the log of written pages");
		return NULL;
	}
	return pages;
}

void page_log_destroy(struct page_log *pages)
{
	if (!pages)
		return;
	release(pages->before, TRAIL_PAGES * sizeof(page_bytes));
	release(pages->after, TRAIL_PAGES * sizeof(page_bytes));
	release(pages, sizeof(*pages));
}

int trail_create(struct trail *trail, struct error *err)
{
	trail->tlb = reserve(TRAIL_TLB * sizeof(*trail->tlb));
	trail->grant = reserve(TRAIL_GRANTS * sizeof(*trail->grant));
	if (!trail->tlb || !trail->grant)
		return error_set(err, ENOMEM, "no memory for the log of the TLB");
	return 0;
}

void trail_destroy(struct trail *trail)
{
	release(trail->tlb, TRAIL_TLB * sizeof(*trail->tlb));
	release(trail->grant, TRAIL_GRANTS * sizeof(*trail->grant));
}

/* ---- pages ---- */

static unsigned hash_of(uint64_t phys)
{
	uint64_t number = phys >> MEM_PAGE_SHIFT;

	return (unsigned)(number * 0x9e3779b97f4a7c15ull >> 40) & (TRAIL_HASH - 1);
}

/* The place of phys in the hash table, or the empty one where it would be. */
static unsigned hash_find(const struct page_log *pages, uint64_t phys)
{
	unsigned at = hash_of(phys);

	while (pages->hash[at] && pages->page[pages->hash[at] - 1].phys != phys)
		at = (at + 1) & (TRAIL_HASH - 1);
	return at;
}

bool page_log_has(const struct page_log *pages, uint64_t phys)
{
	return pages->hash[hash_find(pages, phys & PAGE_MASK)];
}

static void page_log_clear(struct page_log *pages)
{
	for (unsigned i = 0; i < pages->count; i++) {
		unsigned at = hash_of(pages->page[i].phys);

		while (pages->hash[at] != i + 1)
			at = (at + 1) & (TRAIL_HASH - 1);
		pages->hash[at] = 0;
	}
	pages->count = 0;
}

bool trail_write(struct trail *trail, const struct mem *mem, uint64_t phys)
{
	struct page_log *pages = trail->pages;
	uint64_t page = phys & PAGE_MASK;
	uint8_t *host;
	unsigned at;

	if (!pages)
		return false;
	at = hash_find(pages, page);
	host = mem_ptr(mem, page, MEM_PAGE_SIZE);
	if (pages->hash[at] || !host)
		return false;
	/* Runs are told to end long before, and no instruction writes as many as are left then. */
	assert(pages->count < TRAIL_PAGES);
	pages->page[pages->count].phys = page;
	pages->page[pages->count].host = host;
	pages->page[pages->count].changed = false;
	__builtin_memcpy(pages->before[pages->count], host, MEM_PAGE_SIZE);
	pages->hash[at] = (uint16_t)++pages->count;
	return true;
}

/* The first byte at which a and b differ, MEM_PAGE_SIZE: nowhere. */
static unsigned first_difference(const uint8_t *a, const uint8_t *b)
{
	for (unsigned at = 0; at < MEM_PAGE_SIZE; at += 8) {
		uint64_t differ = *(const uint64_t *)(a + at) ^ *(const uint64_t *)(b + at);

		if (differ)
			return at + (unsigned)__builtin_ctzll(differ) / 8;
	}
	return MEM_PAGE_SIZE;
}

const uint8_t *page_log_after(const struct page_log *pages, unsigned index)
{
	return pages->page[index].changed ? pages->after[index] : pages->before[index];
}

/* Blocks made of bytes that are gone now: those from start on to the last that differs. */
static void forget_code(struct x86_cpu *cpu, uint64_t phys, const uint8_t *was, const uint8_t *is,
			unsigned start)
{
	const struct mem_region *region = mem_find(cpu->cpu.env.mem, phys);
	unsigned end = MEM_PAGE_SIZE;

	if (!(atomic_load(mem_page_flags(region, phys)) & MEM_PAGE_CODE))
		return;
	while (was[end - 1] == is[end - 1])
		end--;
	blocks_wrote(cpu->cpu.env.blocks, phys + start, end - start);
}

void trail_undo_pages(struct x86_cpu *cpu, struct trail *trail, struct page_log *pages)
{
	trail->kept_count = 0;
	for (unsigned i = 0; i < pages->count; i++) {
		uint8_t *host = pages->page[i].host;
		unsigned start = first_difference(pages->before[i], host);

		if (start == MEM_PAGE_SIZE)
			continue;
		pages->page[i].changed = true;
		__builtin_memcpy(pages->after[i], host, MEM_PAGE_SIZE);
		__builtin_memcpy(host, pages->before[i], MEM_PAGE_SIZE);
		forget_code(cpu, pages->page[i].phys, pages->after[i], host, start);
		if (trail->kept_count < TRAIL_KEPT)
			trail->kept[trail->kept_count++] = pages->page[i].phys;
	}
}

uint64_t trail_compare(const struct page_log *first, const struct page_log *second)
{
	unsigned at;

	for (unsigned i = 0; i < first->count; i++) {
		at = first_difference(page_log_after(first, i), first->page[i].host);
		if (at < MEM_PAGE_SIZE)
			return first->page[i].phys + at;
	}
	for (unsigned i = 0; i < second->count; i++) {
		if (page_log_has(first, second->page[i].phys))
			continue;
		at = first_difference(second->before[i], second->page[i].host);
		if (at < MEM_PAGE_SIZE)
			return second->page[i].phys + at;
	}
	return TRAIL_SAME;
}

/* ---- TLB ---- */

static bool bit(const uint64_t *map, unsigned slot)
{
	return map[slot / 64] >> slot % 64 & 1;
}

static void set_bit(uint64_t *map, unsigned slot, bool value)
{
	map[slot / 64] = (map[slot / 64] & ~(1ull << slot % 64)) | (uint64_t)value << slot % 64;
}

void trail_tlb(struct trail *trail, struct x86_tlb *set, unsigned slot)
{
	struct tlb_record *record;

	if (!trail->pages)
		return;
	if (trail->tlb_count == TRAIL_TLB) {
		trail->tlb_lost = true;
		return;
	}
	record = &trail->tlb[trail->tlb_count++];
	record->set = set;
	record->slot = slot;
	for (unsigned way = 0; way < 2; way++, slot += X86_TLB_ENTRIES) {
		record->entry[way] = set->entry[slot];
		record->info[way] = set->info[slot];
		record->used[way] = bit(set->used, slot);
		record->global[way] = bit(set->global, slot);
	}
}

bool trail_undo_tlb(struct trail *trail)
{
	while (trail->tlb_count) {
		const struct tlb_record *record = &trail->tlb[--trail->tlb_count];
		unsigned slot = record->slot;

		for (unsigned way = 0; way < 2; way++, slot += X86_TLB_ENTRIES) {
			record->set->busy[slot / 64 / 64] |= 1ull << slot / 64 % 64;
			record->set->entry[slot] = record->entry[way];
			record->set->info[slot] = record->info[way];
			set_bit(record->set->used, slot, record->used[way]);
			set_bit(record->set->global, slot, record->global[way]);
		}
	}
	return !trail->tlb_lost;
}

/* Takes the write tags of a slot's two ways away, but for pages that are in the log. Any left? */
static bool revoke(const struct trail *trail, const struct tlb_grant *grant)
{
	unsigned slot = grant->slot;
	bool left = false;

	for (unsigned way = 0; way < 2; way++, slot += X86_TLB_ENTRIES) {
		if (trail->pages && page_log_has(trail->pages, grant->set->info[slot].phys))
			left = true;
		else
			grant->set->entry[slot].write_tag = x86_tlb_none(slot);
	}
	return left;
}

static void revoke_all(struct trail *trail)
{
	unsigned left = 0;

	for (unsigned i = 0; i < trail->grants; i++)
		if (revoke(trail, &trail->grant[i]))
			trail->grant[left++] = trail->grant[i];
	trail->grants = left;
}

void trail_grant(struct trail *trail, struct x86_tlb *set, unsigned slot)
{
	slot &= X86_TLB_ENTRIES - 1;
	if (trail->grants == TRAIL_GRANTS) {
		for (unsigned i = 0; i < TRAIL_GRANTS; i++) {
			struct tlb_grant *grant = &trail->grant[i];

			grant->set->entry[grant->slot].write_tag = x86_tlb_none(grant->slot);
			grant->set->entry[grant->slot + X86_TLB_ENTRIES].write_tag =
				x86_tlb_none(grant->slot);
		}
		trail->grants = 0;
	}
	trail->grant[trail->grants++] = (struct tlb_grant){ set, slot };
}

/* ---- runs ---- */

void trail_begin(struct trail *trail, struct page_log *pages, const struct mem *mem)
{
	page_log_clear(pages);
	trail->pages = pages;
	trail->tlb_count = 0;
	trail->tlb_lost = false;
	for (unsigned i = 0; i < trail->kept_count; i++)
		trail_write(trail, mem, trail->kept[i]);
	revoke_all(trail);
}

void trail_end(struct trail *trail)
{
	trail->pages = NULL;
}
