/* SPDX-License-Identifier: MIT */
/* See entries.h. A hash table; entries are numbered, so that links are of 16 bits. */
#include "isa/x86/direct/entries.h"

#include <stddef.h>

static uint16_t *bucket_of(struct direct_pages *pages, uint64_t linear, unsigned shift)
{
	uint64_t hash = (direct_page_start(linear, shift) + shift) * 0x9e3779b97f4a7c15ull;

	return &pages->bucket[hash >> 48];
}

struct direct_page *direct_entry_find(struct direct_pages *pages, uint64_t linear, unsigned shift)
{
	uint16_t number = *bucket_of(pages, linear, shift);

	while (number) {
		struct direct_page *page = &pages->page[number - 1];

		if (page->linear == direct_page_start(linear, shift) && page->shift == shift)
			return page;
		number = page->next;
	}
	return NULL;
}

struct direct_page *direct_entry_at(struct direct_pages *pages, uint64_t linear)
{
	struct direct_page *page = direct_entry_find(pages, linear, PAGE_SHIFT);

	return page ? page : direct_entry_find(pages, linear, LARGE_SHIFT);
}

struct direct_page *direct_entry_add(struct direct_pages *pages, uint64_t linear, unsigned shift)
{
	uint16_t *bucket = bucket_of(pages, linear, shift);
	unsigned number = pages->free;
	struct direct_page *page;

	if (number)
		pages->free = pages->page[number - 1].next;
	else if (pages->used < DIRECT_PAGES)
		number = ++pages->used;
	else
		return NULL;
	page = &pages->page[number - 1];
	*page = (struct direct_page){ .linear = direct_page_start(linear, shift), .next = *bucket,
				      .shift = (uint8_t)shift };
	*bucket = (uint16_t)number;
	return page;
}

void direct_entry_remove(struct direct_pages *pages, struct direct_page *page)
{
	uint16_t number = (uint16_t)(page - pages->page + 1);
	uint16_t *link = bucket_of(pages, page->linear, page->shift);

	while (*link != number)
		link = &pages->page[*link - 1].next;
	*link = page->next;
	page->next = (uint16_t)pages->free;
	page->shift = 0;
	pages->free = number;
}
