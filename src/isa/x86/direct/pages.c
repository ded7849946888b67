/* SPDX-License-Identifier: MIT */
/*
 * See pages.h. Changes are noted for the cell to make before it runs guest code again.
 *
 * A fault costs two signals and two turns, so pages around the one that is missing come with it, if
 * the guest's tables have them and nothing would be marked there. A flush drops nothing: each entry
 * is compared with the tables, which costs a hundredth of mapping it again.
 *
 * Pages that the code cache knows as code (MEM_PAGE_CODE) are never writable in a cell. To be
 * executable there, a page must be such a page; MEM_PAGE_EXEC says that the code cache must tell of
 * writes to it although it may have no code of it.
 */
#include "isa/x86/direct/pages.h"

#include <sys/mman.h>

#include "cpu/blocks.h"
#include "isa/x86/direct/changes.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/direct/entries.h"
#include "isa/x86/direct/judge.h"
#include "isa/x86/direct/scan.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define AROUND_BYTES (16 * PAGE_BYTES) /* what is looked at with a page that is missing */
#define AROUND_WRITTEN_BYTES (64 * PAGE_BYTES) /* … for pages that can be written, with one that can be */

/* ---- pieces of larger pages ---- */

static unsigned cut_bit(uint64_t linear)
{
	return (unsigned)((linear >> LARGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 32) % DIRECT_CUT_BITS;
}

static void note_cut(struct direct_pages *pages, uint64_t linear, unsigned shift, const struct x86_walk *walk)
{
	if (walk->page_shift > LARGE_SHIFT)
		pages->cut_giant = true;
	else if (walk->page_shift > shift)
		pages->cut[cut_bit(linear) / 64] |= 1ull << cut_bit(linear) % 64;
}

static bool may_be_cut(const struct direct_pages *pages, uint64_t linear)
{
	return pages->cut[cut_bit(linear) / 64] >> cut_bit(linear) % 64 & 1;
}

/* Where the cell's own range after start begins, and where that ends. */
static struct cell_range next_range(const struct direct_pages *pages, uint64_t start)
{
	const struct cell *cell = pages->cell;
	struct cell_range next = { CELL_LIMIT, CELL_LIMIT };

	for (unsigned i = 0; i < CELL_RANGES; i++)
		if (cell->range[i].start >= start && cell->range[i].start < next.start &&
		    cell->range[i].start < cell->range[i].end)
			next = cell->range[i];
	return next;
}

/* Everything but what is the cell's own. */
static void drop_all(struct direct_pages *pages)
{
	pages->cell->changes = 0;
	for (uint64_t start = 0; start < CELL_LIMIT;) {
		struct cell_range next = next_range(pages, start);

		if (next.start > start)
			direct_change(pages, start, next.start - start, 0, 0);
		start = next.end;
	}
	for (unsigned i = 0; i < DIRECT_BUCKETS; i++)
		pages->bucket[i] = 0;
	for (unsigned i = 0; i < DIRECT_CUT_BITS / 64; i++)
		pages->cut[i] = 0;
	pages->cut_giant = false;
	pages->used = pages->free = 0;
	pages->all_stale = false;
	pages->dropped++;
}

/* The entry stays, for whoever is about to use it. */
static void unmap(struct direct_pages *pages, struct direct_page *page)
{
	if (page->protection && !direct_change(pages, page->linear, 1ull << page->shift, 0, 0))
		pages->all_stale = true;
	page->protection = 0;
}

static void drop(struct direct_pages *pages, struct direct_page *page)
{
	unmap(pages, page);
	direct_entry_remove(pages, page);
}

void direct_pages_init(struct direct_pages *pages, struct cell *cell, struct direct_verdicts *verdicts)
{
	pages->cell = cell;
	pages->verdicts = verdicts;
	pages->all_stale = true;
}

/* The part that the cell's own pages are in is what an entry of the guest's root table maps. */
bool direct_pages_fit(struct x86_cpu *cpu, const struct direct_pages *pages)
{
	const struct cell *cell = pages->cell;
	struct x86_walk_trace trace;
	uint64_t phys;

	x86_walk_trace(cpu, cell->self, &trace);
	if (trace.steps > 1)
		return false;
	for (unsigned i = 0; i < CELL_RANGES; i++) {
		uint64_t at = cell->range[i].start;

		if (at >> CELL_PART_SHIFT == cell->self >> CELL_PART_SHIFT)
			continue;
		for (; at < cell->range[i].end; at += PAGE_BYTES)
			if (x86_walk_debug(cpu, at, &phys))
				return false;
	}
	return true;
}

/* ---- entries ---- */

static const struct mem_region *region_of(struct x86_cpu *cpu, uint64_t phys, uint64_t bytes)
{
	const struct mem_region *region = mem_find(cpu->cpu.env.mem, phys);

	/* What a window shows is not in the machine's file. */
	return region && !region->is_window && bytes <= region->size_bytes - (phys - region->gpa) ?
		       region : NULL;
}

static bool holds_code(const struct mem_region *region, uint64_t phys, unsigned shift)
{
	for (uint64_t at = phys; at < phys + (1ull << shift); at += PAGE_BYTES)
		if (atomic_load_explicit(mem_page_flags(region, at), memory_order_relaxed) & MEM_PAGE_CODE)
			return true;
	return false;
}

static void mark_dirty(const struct mem_region *region, uint64_t phys, unsigned shift)
{
	for (uint64_t at = phys; at < phys + (1ull << shift); at += PAGE_BYTES)
		atomic_fetch_or_explicit(mem_page_flags(region, at), MEM_PAGE_DIRTY, memory_order_relaxed);
}

/*
 * The memory of the page behind linear's, or DIRECT_NO_PAGE. It is what the cell has or is about to have
 * there: the tables may say something else by now, of which no TLB has heard.
 */
static uint64_t page_behind(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear)
{
	uint64_t next = direct_page_start(linear, PAGE_SHIFT) + PAGE_BYTES, phys;
	const struct direct_page *page = direct_entry_find(pages, next, PAGE_SHIFT);
	struct x86_walk walk;

	if (page)
		phys = page->phys;
	else if (x86_walk_look(cpu, next, X86_MMU_USER, &walk) && walk.executable)
		phys = direct_page_start(walk.phys, PAGE_SHIFT);
	else
		return DIRECT_NO_PAGE;
	return region_of(cpu, phys, PAGE_BYTES) ? phys : DIRECT_NO_PAGE;
}

/*
 * An instruction may begin at the end of the page before, which was judged without this one's
 * bytes.
 */
static bool joins_cleanly(struct x86_cpu *cpu, struct direct_pages *pages, const struct direct_page *page)
{
	const struct direct_page *before = NULL;

	if (page->linear)
		before = direct_entry_find(pages, page->linear - PAGE_BYTES, PAGE_SHIFT);
	if (before && before->protection & PROT_EXEC &&
	    !direct_judge_seam(cpu, before->phys, page->phys, pages->quiet))
		return false;
	return direct_judge_seam(cpu, page->phys, page_behind(cpu, pages, page->linear), pages->quiet);
}

/* That it is clean holds good while it is executable: who writes to it else stops nobody. */
static void judge_code(struct x86_cpu *cpu, struct direct_pages *pages, struct direct_page *page)
{
	if (page->scanned && (!page->clean || page->protection & PROT_EXEC))
		return;
	page->clean = direct_judge_page(cpu, pages->verdicts, page->phys, pages->quiet,
					&page->code_generation) &&
		      joins_cleanly(cpu, pages, page);
	page->scanned = true;
}

/* What the cell may do with a page that a walk has found. */
static unsigned rights(struct x86_cpu *cpu, struct direct_pages *pages, struct direct_page *page,
		       const struct x86_walk *walk, bool execute)
{
	const struct mem_region *region = region_of(cpu, page->phys, 1ull << page->shift);
	unsigned protection = PROT_READ;

	if (walk->executable && execute && page->shift == PAGE_SHIFT) {
		judge_code(cpu, pages, page);
		if (page->clean)
			protection |= PROT_EXEC;
	}
	if (walk->writable && !region->readonly && !(protection & PROT_EXEC) &&
	    !holds_code(region, page->phys, page->shift)) {
		protection |= PROT_WRITE;
		mark_dirty(region, page->phys, page->shift);
	}
	return protection;
}

/* Brings what is mapped in agreement with walk. false: no room. */
static bool enter(struct x86_cpu *cpu, struct direct_pages *pages, struct direct_page *page,
		  const struct x86_walk *walk, bool execute)
{
	uint64_t bytes = 1ull << page->shift;
	const struct mem_region *region = region_of(cpu, page->phys, bytes);
	uint64_t offset = region->file_offset + (page->phys - region->gpa);
	unsigned protection = rights(cpu, pages, page, walk, execute);

	if (protection == page->protection)
		return true;
	if (!direct_change(pages, page->linear, bytes, offset, protection))
		return false;
	page->protection = (uint8_t)protection;
	pages->mapped++;
	return true;
}

/* Can all of the large page around linear be one mapping, and a huge page of the host's? */
static bool is_large(struct x86_cpu *cpu, const struct direct_pages *pages, uint64_t linear,
		     const struct x86_walk *walk)
{
	uint64_t phys = direct_page_start(walk->phys, LARGE_SHIFT);
	const struct mem_region *region;

	if (walk->page_shift < LARGE_SHIFT || walk->page_shift == 22)
		return false;
	region = region_of(cpu, phys, LARGE_BYTES);
	return region && phys >= region->gpa && !holds_code(region, phys, LARGE_SHIFT) &&
	       !direct_taken(pages, direct_page_start(linear, LARGE_SHIFT), LARGE_BYTES);
}

/* Entries of the other size for the same addresses. */
static void drop_overlapping(struct direct_pages *pages, uint64_t linear, unsigned shift)
{
	uint64_t start = direct_page_start(linear, LARGE_SHIFT);
	struct direct_page *page;

	if (shift == PAGE_SHIFT) {
		page = direct_entry_find(pages, linear, LARGE_SHIFT);
		if (page)
			drop(pages, page);
		return;
	}
	for (uint64_t at = start; at < start + LARGE_BYTES; at += PAGE_BYTES) {
		page = direct_entry_find(pages, at, PAGE_SHIFT);
		if (page)
			drop(pages, page);
	}
}

/* The entry for linear, made if there is none; NULL: it cannot be mapped, or there is no room. */
static struct direct_page *entry_for(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear,
				     const struct x86_walk *walk, bool execute)
{
	unsigned shift = !execute && is_large(cpu, pages, linear, walk) ? LARGE_SHIFT : PAGE_SHIFT;
	struct direct_page *page = direct_entry_find(pages, linear, shift);
	uint64_t phys = direct_page_start(walk->phys, shift);

	if (walk->key || !region_of(cpu, phys, 1ull << shift) ||
	    direct_taken(pages, direct_page_start(linear, shift), 1ull << shift))
		return NULL;
	note_cut(pages, linear, shift, walk);
	if (page && page->phys == phys)
		return page;
	if (page)
		drop(pages, page);
	drop_overlapping(pages, linear, shift);
	page = direct_entry_add(pages, linear, shift);
	if (!page) {
		pages->all_stale = true;
		return NULL;
	}
	page->phys = phys;
	return page;
}

/*
 * Maps linear's page as a look at the tables finds it, if it is not mapped and has these rights. false:
 * it could not, and hardly can more.
 */
static bool enter_looked(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear,
			 unsigned rights_needed, bool execute)
{
	struct direct_page *page;
	struct x86_walk walk;

	if (direct_entry_at(pages, linear) || !x86_walk_look(cpu, linear, X86_MMU_USER, &walk) ||
	    !walk.readable || (rights_needed & PROT_WRITE && !walk.writable))
		return true;
	page = entry_for(cpu, pages, linear, &walk, execute && walk.executable);
	return page && enter(cpu, pages, page, &walk, execute);
}

/*
 * Neighbours that the guest uses already. Memory that a program has written is used again all over.
 * What it can only read is looked for less far: it may be code, which is looked through then, or was
 * written before a fork, and is another page at the next write.
 */
static void enter_around(struct x86_cpu *cpu, struct direct_pages *pages,
			 const struct direct_page *page, bool execute)
{
	bool written = page->protection & PROT_WRITE;
	uint64_t bytes = written ? AROUND_WRITTEN_BYTES : AROUND_BYTES;
	uint64_t start = page->linear & ~(bytes - 1), near = page->linear & ~(AROUND_BYTES - 1);

	for (uint64_t at = start; at < start + bytes; at += PAGE_BYTES) {
		unsigned needed = at - near < AROUND_BYTES ? PROT_READ : PROT_WRITE;

		if (!enter_looked(cpu, pages, at, needed, execute))
			return;
	}
}

void direct_pages_foresee(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear)
{
	enter_looked(cpu, pages, linear, PROT_READ, false);
}

enum direct_fault direct_pages_fault(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear,
				     unsigned protection, uint32_t *error)
{
	enum x86_walk_access access = protection & PROT_EXEC	? X86_WALK_FETCH
				      : protection & PROT_WRITE ? X86_WALK_WRITE
								: X86_WALK_READ;
	bool execute = protection & PROT_EXEC;
	struct direct_page *page;
	struct x86_walk walk;
	unsigned before;

	if (!x86_walk(cpu, linear, access, X86_MMU_USER, &walk)) {
		*error = walk.error;
		return DIRECT_DENIED;
	}
	page = entry_for(cpu, pages, linear, &walk, execute);
	if (!page)
		return DIRECT_OURS;
	before = page->protection;
	if (!enter(cpu, pages, page, &walk, execute || page->protection & PROT_EXEC)) {
		pages->all_stale = true;
		return DIRECT_OURS;
	}
	if (!(page->protection & protection) || page->protection == before)
		return DIRECT_OURS;
	enter_around(cpu, pages, page, execute);
	return DIRECT_MAPPED;
}

bool direct_pages_refused(const struct direct_pages *pages, uint64_t linear)
{
	const struct direct_page *page =
		direct_entry_find((struct direct_pages *)pages, linear, PAGE_SHIFT);

	return page && page->scanned && !page->clean;
}

/* ---- flushes ---- */

static bool still_code(struct x86_cpu *cpu, const struct direct_page *page)
{
	uint8_t flags;

	if (page->scanned &&
	    blocks_generation(cpu->cpu.env.blocks, page->phys) != page->code_generation)
		return false;
	if (!(page->protection & PROT_EXEC))
		return true;
	flags = atomic_load(mem_page_flags(region_of(cpu, page->phys, PAGE_BYTES), page->phys));
	return flags & MEM_PAGE_EXEC && flags < MEM_PAGE_HELD;
}

/* Would the tables give the same, with no less rights? */
static bool still_there(struct x86_cpu *cpu, struct direct_pages *pages, const struct direct_page *page)
{
	struct x86_walk walk;

	if (!x86_walk_look(cpu, page->linear, X86_MMU_USER, &walk) || walk.page_shift < page->shift ||
	    direct_page_start(walk.phys, page->shift) != page->phys || walk.key)
		return false;
	note_cut(pages, page->linear, page->shift, &walk);
	return (walk.readable || !page->protection) &&
	       (walk.writable || !(page->protection & PROT_WRITE)) &&
	       (walk.executable || !(page->protection & PROT_EXEC));
}

/* Looks each entry up again. true: most have stayed. */
static bool drop_changed(struct x86_cpu *cpu, struct direct_pages *pages)
{
	unsigned kept = 0, dropped = 0, first = pages->cell->changes;

	for (unsigned i = 0; i < pages->used && !pages->all_stale; i++) {
		struct direct_page *page = &pages->page[i];

		if (!page->shift)
			continue;
		if (still_there(cpu, pages, page) && still_code(cpu, page)) {
			kept++;
			continue;
		}
		if (pages->cell->changes == CELL_CHANGES && !direct_changes_join(pages, first))
			pages->all_stale = true;
		drop(pages, page);
		dropped++;
	}
	if (pages->all_stale)
		drop_all(pages);
	else
		direct_changes_join(pages, first);
	return dropped <= kept;
}

bool direct_pages_freshen(struct x86_cpu *cpu, struct direct_pages *pages)
{
	uint64_t root = direct_space_of(cpu);
	uint32_t writes = blocks_exec_writes(cpu->cpu.env.blocks);
	unsigned quiet = (cpu->state.tsc_offset ? SCAN_RDTSC : 0) |
			 (pages->cell->cpuid_faults ? 0 : SCAN_CPUID);
	bool same = true;

	if (root != pages->root || quiet != pages->quiet)
		pages->all_stale = true;
	if (pages->all_stale)
		drop_all(pages);
	else if (cpu->user_flush != pages->flush || writes != pages->code_writes)
		same = drop_changed(cpu, pages);
	pages->flush = cpu->user_flush;
	pages->root = root;
	pages->quiet = quiet;
	pages->code_writes = writes;
	return same;
}

/* INVLPG forgets the guest's whole page, in however many pieces it is mapped here. */
void direct_pages_forget(struct direct_pages *pages, uint64_t linear)
{
	struct direct_page *small = direct_entry_find(pages, linear, PAGE_SHIFT);
	struct direct_page *large = direct_entry_find(pages, linear, LARGE_SHIFT);

	if (small)
		drop(pages, small);
	if (large)
		drop(pages, large);
	if (pages->cut_giant)
		pages->all_stale = true;
	else if (may_be_cut(pages, linear))
		drop_overlapping(pages, linear, LARGE_SHIFT);
}

void direct_pages_protect(struct direct_pages *pages, uint64_t phys)
{
	for (unsigned i = 0; i < pages->used; i++) {
		struct direct_page *page = &pages->page[i];

		if (page->shift && page->protection & PROT_WRITE &&
		    phys - page->phys < 1ull << page->shift)
			unmap(pages, page);
	}
}
