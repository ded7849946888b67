/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory: RAM and ROM regions, backed by host memory (only touched pages cost
 * anything): private, or a file without a name that another process can map, too. Regions are added
 * while the board is built and never move afterwards; look-ups are lock-free from any thread. What
 * is not a region here is a device's: see dev/bus.h.
 *
 * Each page carries flags (atomic bytes): MEM_PAGE_CODE says that decoded or translated code was
 * made from it, so that writers must call the code cache; see cpu/blocks.h. MEM_PAGE_EXEC, which
 * only a page with MEM_PAGE_CODE has, says that it was looked through and is executed as it is; who is
 * about to write to it holds it (mem/hold.h). The upper half of the byte counts those who do,
 * MEM_PAGE_HELD each.
 */
#ifndef RINGLET_MEM_MEM_H
#define RINGLET_MEM_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct mem;

#define MEM_PAGE_SHIFT 12
#define MEM_PAGE_SIZE (1u << MEM_PAGE_SHIFT)

enum { MEM_PAGE_CODE = 1, MEM_PAGE_DIRTY = 2, MEM_PAGE_EXEC = 4, MEM_PAGE_HELD = 16 };

struct mem_region {
	uint64_t gpa;
	uint64_t size_bytes; /* multiple of the page size */
	uint8_t *host;
	_Atomic uint8_t *page_flags; /* one byte a page */
	bool readonly;               /* ROM: guest writes are dropped */
	bool is_window;              /* of a device, not the guest's to use freely: window.h */
	const char *name;
	uint64_t file_offset;        /* in mem_file, if there is one */
	_Atomic uint8_t *settled;    /* a byte for each huge page: has been asked for; NULL: private */
};

/* The flags of the page that holds gpa, which is in region. */
static inline _Atomic uint8_t *mem_page_flags(const struct mem_region *region, uint64_t gpa)
{
	return &region->page_flags[(gpa - region->gpa) >> MEM_PAGE_SHIFT];
}

int mem_create(struct mem **mem, struct error *err);
void mem_destroy(struct mem *mem);

/* Regions that are added from now on lie in a file. 0 or -errno: the host has no such files. */
int mem_share(struct mem *mem);
/* That file, or -1. It is the mem's. */
int mem_file(const struct mem *mem);

/*
 * Somebody is about to use the memory around offset: hosts put private memory on huge pages by
 * themselves, a file's only when asked for each (MADV_COLLAPSE, Linux 6.1), which is done once. Any
 * thread; callable beside live vector state.
 */
void mem_settle_slow(const struct mem_region *region, uint64_t offset);

#define MEM_HUGE_SHIFT 21
#define MEM_HUGE_SIZE (1ull << MEM_HUGE_SHIFT)

static inline void mem_settle(const struct mem_region *region, uint64_t offset)
{
	uint64_t number = (offset + (region->gpa & (MEM_HUGE_SIZE - 1))) >> MEM_HUGE_SHIFT;

	if (region->settled &&
	    !atomic_load_explicit(&region->settled[number], memory_order_relaxed))
		mem_settle_slow(region, offset);
}

void mem_settle_range(const struct mem_region *region, uint64_t offset, uint64_t len);

/* Adds a zeroed region; gpa and size page-aligned, no overlap (-EEXIST), -ENOMEM. */
int mem_add(struct mem *mem, uint64_t gpa, uint64_t size_bytes, bool readonly, const char *name,
	    struct error *err);

unsigned mem_region_count(const struct mem *mem);
const struct mem_region *mem_region_at(const struct mem *mem, unsigned index); /* by address */
const struct mem_region *mem_region_added(const struct mem *mem, unsigned index); /* by age */

/* The region that holds gpa, or NULL. */
const struct mem_region *mem_find(const struct mem *mem, uint64_t gpa);

/* Host address of [gpa, gpa+len) where one region holds all of it, or NULL. */
void *mem_ptr(const struct mem *mem, uint64_t gpa, uint64_t len);

/* Whole-range copies for loaders; -EFAULT where a byte is no memory. mem_write writes ROM, too, and
 * does not notify code caches: devices use dev/dma.h. */
int mem_read(const struct mem *mem, uint64_t gpa, void *data, uint64_t len);
int mem_write(struct mem *mem, uint64_t gpa, const void *data, uint64_t len);
int mem_fill(struct mem *mem, uint64_t gpa, uint8_t value, uint64_t len);

/* Gives the host memory behind the whole pages of [gpa, gpa+len) back, as far as they are RAM; they
 * read as zeros from then on. It says nothing to anybody: devices use dev/dma.h. */
void mem_discard(const struct mem *mem, uint64_t gpa, uint64_t len);

/* Sets MEM_PAGE_DIRTY on the pages of [gpa, gpa+len), as far as they are memory. */
void mem_mark_dirty(const struct mem *mem, uint64_t gpa, uint64_t len);

#endif
