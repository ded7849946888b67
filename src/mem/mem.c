/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory: see mem.h. Region structs never move (others keep pointers to them); only
 * the order array, by address, shifts while the board adds regions, before any CPU runs.
 *
 * Look-ups are called from code that must not touch vector registers (isa/x86/x86.h, rule 1), so
 * the Makefile compiles this file like those rooms.
 */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "mem/window.h"

#define MEM_REGIONS_MAX 64
#define HUGE_MASK (MEM_HUGE_SIZE - 1)
/* Of huge pages that the host did not give, before it is not asked any more. */
#define REFUSALS_MAX 16
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct mem {
	unsigned count;
	int file; /* or -1 */
	uint64_t file_bytes;
	struct mem_region *order[MEM_REGIONS_MAX]; /* by gpa */
	struct mem_region region[MEM_REGIONS_MAX];
};

int mem_create(struct mem **mem, struct error *err)
{
	*mem = calloc(1, sizeof(**mem));
	if (!*mem)
		return error_set(err, ENOMEM, "guest memory: out of host memory");
	(*mem)->file = -1;
	return 0;
}

int mem_share(struct mem *mem)
{
	mem->file = memfd_create("guest memory", MFD_CLOEXEC);
	return mem->file < 0 ? -errno : 0;
}

int mem_file(const struct mem *mem)
{
	return mem->file;
}

/* How many bytes of a region's first huge page lie before it. */
static uint64_t before_region(const struct mem_region *region)
{
	return region->gpa & HUGE_MASK;
}

static uint64_t huge_pages(const struct mem_region *region)
{
	return (before_region(region) + region->size_bytes + HUGE_MASK) >> MEM_HUGE_SHIFT;
}

static void region_unmap(struct mem_region *region)
{
	if (region->is_window && region->host)
		mem_window_leave(region);
	if (region->host)
		munmap(region->host, region->size_bytes);
	if (region->page_flags)
		munmap((void *)region->page_flags, region->size_bytes >> MEM_PAGE_SHIFT);
	free((void *)region->settled);
}

void mem_destroy(struct mem *mem)
{
	if (!mem)
		return;
	for (unsigned i = 0; i < mem->count; i++)
		region_unmap(&mem->region[i]);
	if (mem->file >= 0)
		close(mem->file);
	free(mem);
}

/*
 * Address space for a region, at the offset in a huge page that it has in the guest: so may both
 * use such pages. MAP_FAILED: none.
 */
static uint8_t *reserve(const struct mem_region *region)
{
	uint64_t room = region->size_bytes + MEM_HUGE_SIZE;
	uint8_t *all = mmap(NULL, room, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *host;

	if (all == MAP_FAILED)
		return all;
	host = all + ((region->gpa - (uintptr_t)all) & HUGE_MASK);
	if (host > all)
		munmap(all, (size_t)(host - all));
	if (all + room > host + region->size_bytes)
		munmap(host + region->size_bytes, (size_t)(all + room - host - region->size_bytes));
	return host;
}

/* The next piece of the file, at the same offset in a huge page, over what was reserved. */
static int map_file(struct mem *mem, struct mem_region *region)
{
	uint64_t start = ((mem->file_bytes + HUGE_MASK) & ~HUGE_MASK) + before_region(region);

	if (ftruncate(mem->file, (off_t)(start + region->size_bytes)) ||
	    mmap(region->host, region->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 mem->file, (off_t)start) == MAP_FAILED)
		return -errno;
	mem->file_bytes = start + region->size_bytes;
	region->file_offset = start;
	region->settled = calloc(huge_pages(region), 1);
	return region->settled ? 0 : -ENOMEM;
}

static int map_host(struct mem *mem, struct mem_region *region)
{
	uint8_t *host = reserve(region);
	int ret = 0;

	if (host == MAP_FAILED)
		return -errno;
	region->host = host;
	if (mem->file >= 0 && !region->is_window)
		ret = map_file(mem, region);
	else if (!region->is_window)
		/* A wish: a host without huge pages does as well, only slower. */
		madvise(host, region->size_bytes, MADV_HUGEPAGE);
	madvise(host, region->size_bytes, MADV_DONTDUMP);
	return ret;
}

/*
 * A huge page is made of one that is there, whatever is in it; so a byte is read. What lies in a
 * region only in part stays on small pages.
 */
void mem_settle_slow(const struct mem_region *region, uint64_t offset)
{
	static _Atomic unsigned refusals; /* the host's, whichever machine asked */
	uint64_t number = (offset + before_region(region)) >> MEM_HUGE_SHIFT;
	uint64_t start = (number << MEM_HUGE_SHIFT) - before_region(region);

	if (atomic_exchange(&region->settled[number], 1) || start + MEM_HUGE_SIZE < start ||
	    start + MEM_HUGE_SIZE > region->size_bytes ||
	    atomic_load_explicit(&refusals, memory_order_relaxed) > REFUSALS_MAX)
		return;
	(void)*(volatile uint8_t *)(region->host + start);
	if (madvise(region->host + start, MEM_HUGE_SIZE, MADV_COLLAPSE))
		atomic_fetch_add(&refusals, 1);
}

static int map_flags(struct mem_region *region)
{
	void *flags = mmap(NULL, region->size_bytes >> MEM_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (flags == MAP_FAILED)
		return -errno;
	region->page_flags = flags;
	return 0;
}

static int check_range(const struct mem *mem, uint64_t gpa, uint64_t size_bytes, const char *name,
		       struct error *err)
{
	if (!size_bytes || ((gpa | size_bytes) & (MEM_PAGE_SIZE - 1)) ||
	    gpa + (size_bytes - 1) < gpa || size_bytes > INT64_MAX)
		return error_set(err, EINVAL, "guest memory %s: bad range 0x%llx+0x%llx", name,
				 (unsigned long long)gpa, (unsigned long long)size_bytes);
	for (unsigned i = 0; i < mem->count; i++) {
		const struct mem_region *other = mem->order[i];

		if (gpa <= other->gpa + (other->size_bytes - 1) &&
		    other->gpa <= gpa + (size_bytes - 1))
			return error_set(err, EEXIST, "guest memory %s overlaps %s", name,
					 other->name);
	}
	if (mem->count == MEM_REGIONS_MAX)
		return error_set(err, ENOSPC, "guest memory %s: more than %d regions", name,
				 MEM_REGIONS_MAX);
	return 0;
}

static int add(struct mem *mem, const struct mem_region *wanted, struct error *err)
{
	struct mem_region *region;
	unsigned at;
	int result = check_range(mem, wanted->gpa, wanted->size_bytes, wanted->name, err);

	if (result)
		return result;
	region = &mem->region[mem->count];
	*region = *wanted;
	result = map_host(mem, region);
	if (!result)
		result = map_flags(region);
	if (result) {
		region_unmap(region);
		return error_set_errno(err, -result, "guest memory %s: cannot map %llu MiB",
				       wanted->name, (unsigned long long)(wanted->size_bytes >> 20));
	}
	for (at = mem->count; at > 0 && mem->order[at - 1]->gpa > wanted->gpa; at--)
		mem->order[at] = mem->order[at - 1];
	mem->order[at] = region;
	mem->count++;
	return 0;
}

int mem_add(struct mem *mem, uint64_t gpa, uint64_t size_bytes, bool readonly, const char *name,
	    struct error *err)
{
	return add(mem, &(struct mem_region){ .gpa = gpa, .size_bytes = size_bytes,
					      .readonly = readonly, .name = name }, err);
}

int mem_add_window(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const char *name,
		   struct error *err)
{
	int result = add(mem, &(struct mem_region){ .gpa = gpa, .size_bytes = size_bytes,
						    .is_window = true, .name = name }, err);

	return result ? result : mem_window_enter(&mem->region[mem->count - 1], err);
}

unsigned mem_region_count(const struct mem *mem)
{
	return mem->count;
}

const struct mem_region *mem_region_at(const struct mem *mem, unsigned index)
{
	return index < mem->count ? mem->order[index] : NULL;
}

const struct mem_region *mem_region_added(const struct mem *mem, unsigned index)
{
	return index < mem->count ? &mem->region[index] : NULL;
}

/* A machine has half a dozen regions, so a scan beats a search. */
const struct mem_region *mem_find(const struct mem *mem, uint64_t gpa)
{
	for (unsigned i = 0; i < mem->count; i++)
		if (gpa - mem->order[i]->gpa < mem->order[i]->size_bytes)
			return mem->order[i];
	return NULL;
}

void *mem_ptr(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	const struct mem_region *region = mem_find(mem, gpa);

	if (!region || len > region->size_bytes - (gpa - region->gpa))
		return NULL;
	return region->host + (gpa - region->gpa);
}

/* The longest piece of [gpa, gpa+len) that starts at gpa and lies in one region; 0: no memory. */
static uint64_t piece_at(const struct mem *mem, uint64_t gpa, uint64_t len,
			 const struct mem_region **region)
{
	uint64_t left;

	*region = mem_find(mem, gpa);
	if (!*region)
		return 0;
	left = (*region)->size_bytes - (gpa - (*region)->gpa);
	return len < left ? len : left;
}

static bool is_memory(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		if (!piece)
			return false;
		gpa += piece;
		len -= piece;
	}
	return true;
}

static void mark_dirty(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	for (uint64_t page = offset >> MEM_PAGE_SHIFT;
	     page <= (offset + len - 1) >> MEM_PAGE_SHIFT; page++)
		atomic_fetch_or_explicit(&region->page_flags[page], MEM_PAGE_DIRTY,
					 memory_order_relaxed);
}

void mem_settle_range(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (!len)
		return;
	for (uint64_t at = offset; at < offset + len; at += MEM_HUGE_SIZE)
		mem_settle(region, at);
	mem_settle(region, offset + len - 1);
}

int mem_read(const struct mem *mem, uint64_t gpa, void *data, uint64_t len)
{
	uint8_t *to = data;

	if (!is_memory(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		memcpy(to, region->host + (gpa - region->gpa), piece);
		gpa += piece;
		to += piece;
		len -= piece;
	}
	return 0;
}

int mem_write(struct mem *mem, uint64_t gpa, const void *data, uint64_t len)
{
	const uint8_t *from = data;

	if (!is_memory(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		mem_settle_range(region, gpa - region->gpa, piece);
		memcpy(region->host + (gpa - region->gpa), from, piece);
		mark_dirty(region, gpa - region->gpa, piece);
		gpa += piece;
		from += piece;
		len -= piece;
	}
	return 0;
}

int mem_fill(struct mem *mem, uint64_t gpa, uint8_t value, uint64_t len)
{
	if (!is_memory(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		mem_settle_range(region, gpa - region->gpa, piece);
		memset(region->host + (gpa - region->gpa), value, piece);
		mark_dirty(region, gpa - region->gpa, piece);
		gpa += piece;
		len -= piece;
	}
	return 0;
}

void mem_mark_dirty(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		if (!piece)
			return;
		mark_dirty(region, gpa - region->gpa, piece);
		gpa += piece;
		len -= piece;
	}
}

/* Those pages of a region that the piece holds whole. */
static void discard_piece(const struct mem *mem, const struct mem_region *region, uint64_t offset,
			  uint64_t len)
{
	uint64_t mask = MEM_PAGE_SIZE - 1;
	uint64_t start = (offset + mask) & ~mask, end = (offset + len) & ~mask;

	if (region->readonly || region->is_window || start >= end)
		return;
	if (mem->file >= 0)
		fallocate(mem->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(region->file_offset + start), (off_t)(end - start));
	else
		madvise(region->host + start, end - start, MADV_DONTNEED);
}

void mem_discard(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		if (!piece)
			return;
		discard_piece(mem, region, gpa - region->gpa, piece);
		gpa += piece;
		len -= piece;
	}
}
