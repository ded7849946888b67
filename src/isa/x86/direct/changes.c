/* SPDX-License-Identifier: MIT */
/* See changes.h. */
#include "isa/x86/direct/changes.h"

#include <stdlib.h>

#include "isa/x86/direct/entries.h"

#define GAP_MOST (64 * PAGE_BYTES) /* between pages that are unmapped as one */

/* Is next what follows last, so that they can be one? */
static bool follows(const struct cell_change *last, const struct cell_change *next)
{
	return last->protection == next->protection && last->linear + last->bytes == next->linear &&
	       (!next->protection || last->offset + last->bytes == next->offset);
}

bool direct_change(struct direct_pages *pages, uint64_t linear, uint64_t bytes, uint64_t offset,
		   unsigned protection)
{
	struct cell *cell = pages->cell;
	const struct cell_change next = { linear, bytes, offset, protection };

	if (cell->changes && follows(&cell->change[cell->changes - 1], &next)) {
		cell->change[cell->changes - 1].bytes += bytes;
		return true;
	}
	if (cell->changes >= CELL_CHANGES)
		return false;
	cell->change[cell->changes++] = next;
	return true;
}

bool direct_taken(const struct direct_pages *pages, uint64_t linear, uint64_t bytes)
{
	const struct cell *cell = pages->cell;

	if (linear >= CELL_LIMIT || linear + bytes > CELL_LIMIT ||
	    linear >> CELL_PART_SHIFT == cell->self >> CELL_PART_SHIFT)
		return true;
	for (unsigned i = 0; i < CELL_RANGES; i++)
		if (linear < cell->range[i].end && linear + bytes > cell->range[i].start)
			return true;
	return false;
}

static int by_address(const void *left, const void *right)
{
	const struct cell_change *a = left, *b = right;

	return (a->linear > b->linear) - (a->linear < b->linear);
}

/* Is nothing mapped in [start, end), a few pages? */
static bool is_gap(struct direct_pages *pages, uint64_t start, uint64_t end)
{
	if (end - start > GAP_MOST)
		return false;
	for (; start < end; start += PAGE_BYTES)
		if (direct_taken(pages, start, PAGE_BYTES) || direct_entry_at(pages, start))
			return false;
	return true;
}

/*
 * To join takes up to a millisecond. With half of the room free behind it, it comes once in so many
 * changes; a program could lay out its memory such that it comes with each.
 */
bool direct_changes_join(struct direct_pages *pages, unsigned first)
{
	struct cell *cell = pages->cell;
	unsigned last = first;

	if (cell->changes <= first)
		return cell->changes <= CELL_CHANGES / 2;
	qsort(&cell->change[first], cell->changes - first, sizeof(cell->change[0]), by_address);
	for (unsigned i = first + 1; i < cell->changes; i++) {
		struct cell_change *before = &cell->change[last], *next = &cell->change[i];

		if (is_gap(pages, before->linear + before->bytes, next->linear))
			before->bytes = next->linear + next->bytes - before->linear;
		else
			cell->change[++last] = *next;
	}
	cell->changes = last + 1;
	return cell->changes <= CELL_CHANGES / 2;
}
