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
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#define MEM_REGIONS_MAX 64
#define MEM_HUGE_BYTES (2ull << 20)

struct mem {
	unsigned count;
	struct mem_region *order[MEM_REGIONS_MAX]; /* by gpa */
	struct mem_region region[MEM_REGIONS_MAX];
};

int mem_create(struct mem **mem, struct error *err)
{
	*mem = calloc(1, sizeof(**mem));
	return *mem ? 0 : error_set(err, ENOMEM, "guest memory: out of host memory");
}

static void region_unmap(struct mem_region *region)
{
	if (region->host)
		munmap(region->host, region->size_bytes);
	if (region->page_flags)
		munmap((void *)region->page_flags, region->size_bytes >> MEM_PAGE_SHIFT);
}

void mem_destroy(struct mem *mem)
{
	if (!mem)
		return;
	for (unsigned i = 0; i < mem->count; i++)
		region_unmap(&mem->region[i]);
	free(mem);
}

/*
 * 0 or -errno. Private memory, because hosts give it huge pages when asked, as they rarely do for a
 * memfd: a guest that uses much of its memory runs up to twice as fast on them.
 */
static int map_host(struct mem_region *region)
{
	const uint64_t huge = MEM_HUGE_BYTES;
	uint64_t room = region->size_bytes + huge;
	uint8_t *all = mmap(NULL, room, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *host;

	if (all == MAP_FAILED)
		return -errno;
	/* At the offset in a huge page that it has in the guest: so may both use such pages. */
	host = all + ((region->gpa - (uintptr_t)all) & (huge - 1));
	if (host > all)
		munmap(all, (size_t)(host - all));
	if (all + room > host + region->size_bytes)
		munmap(host + region->size_bytes, (size_t)(all + room - host - region->size_bytes));
	/* Wishes: a host without huge pages does as well, only slower. */
	madvise(host, region->size_bytes, MADV_HUGEPAGE);
	madvise(host, region->size_bytes, MADV_DONTDUMP);
	region->host = host;
	return 0;
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

int mem_add(struct mem *mem, uint64_t gpa, uint64_t size_bytes, bool readonly, const char *name,
	    struct error *err)
{
	struct mem_region *region;
	unsigned at;
	int result = check_range(mem, gpa, size_bytes, name, err);

	if (result)
		return result;
	region = &mem->region[mem->count];
	*region = (struct mem_region){
		.gpa = gpa, .size_bytes = size_bytes, .readonly = readonly, .name = name,
	};
	result = map_host(region);
	if (!result)
		result = map_flags(region);
	if (result) {
		region_unmap(region);
		return error_set_errno(err, -result, "guest memory %s: cannot map %llu MiB", name,
				       (unsigned long long)(size_bytes >> 20));
	}
	for (at = mem->count; at > 0 && mem->order[at - 1]->gpa > gpa; at--)
		mem->order[at] = mem->order[at - 1];
	mem->order[at] = region;
	mem->count++;
	return 0;
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
static void discard_piece(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t mask = MEM_PAGE_SIZE - 1;
	uint64_t start = (offset + mask) & ~mask, end = (offset + len) & ~mask;

	if (!region->readonly && start < end)
		madvise(region->host + start, end - start, MADV_DONTNEED);
}

void mem_discard(const struct mem *mem, uint64_t gpa, uint64_t len)
{
	while (len) {
		const struct mem_region *region;
		uint64_t piece = piece_at(mem, gpa, len, &region);

		if (!piece)
			return;
		discard_piece(region, gpa - region->gpa, piece);
		gpa += piece;
		len -= piece;
	}
}
