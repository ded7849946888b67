/* SPDX-License-Identifier: MIT */
/*
 * See window.h. A signal's handler has no machine, so the process keeps a list of all windows: slots that
 * are taken and left by atomics alone.
 */
#include "mem/window.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/error.h"
#include "mem/mem.h"

#define WINDOWS_MAX 64
#define CHUNK_BYTES (2u << 20)
/* That a window replaces one by one. */
#define PAGES_MAX 4096u

static struct window {
	_Atomic uintptr_t start; /* 0: free */
	_Atomic size_t size;     /* 0: not in use yet */
	_Atomic unsigned replaced;
} windows[WINDOWS_MAX];

static int map_zeros(uintptr_t start, size_t size)
{
	void *at = mmap((void *)start, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

/* ---- all windows of the process ---- */

int mem_window_enter(const struct mem_region *region, struct error *err)
{
	for (unsigned i = 0; i < WINDOWS_MAX; i++) {
		uintptr_t none = 0;

		if (!atomic_compare_exchange_strong(&windows[i].start, &none, (uintptr_t)region->host))
			continue;
		atomic_store(&windows[i].replaced, 0);
		atomic_store(&windows[i].size, region->size_bytes);
		return 0;
	}
	return error_set(err, ENOSPC, "guest memory %s: too many windows", region->name);
}

void mem_window_leave(const struct mem_region *region)
{
	for (unsigned i = 0; i < WINDOWS_MAX; i++) {
		if (atomic_load(&windows[i].start) != (uintptr_t)region->host)
			continue;
		atomic_store(&windows[i].size, 0);
		atomic_store(&windows[i].start, 0);
	}
}

/*
 * Each page that is replaced may cost the host a mapping, of which a process has some ten thousand for
 * everything. A guest that wants many loses sight of more than the page.
 */
static bool replace(struct window *window, uintptr_t page)
{
	const uintptr_t start = atomic_load(&window->start), chunk = page & ~(uintptr_t)(CHUNK_BYTES - 1);

	if (atomic_fetch_add(&window->replaced, 1) < PAGES_MAX && !map_zeros(page, MEM_PAGE_SIZE))
		return true;
	if (chunk >= start && chunk + CHUNK_BYTES <= start + atomic_load(&window->size) &&
	    !map_zeros(chunk, CHUNK_BYTES))
		return true;
	return !map_zeros(start, atomic_load(&window->size));
}

bool mem_window_fault(void *address)
{
	const uintptr_t page = (uintptr_t)address & ~(uintptr_t)(MEM_PAGE_SIZE - 1);
	int saved = errno;
	bool done = false;

	for (unsigned i = 0; i < WINDOWS_MAX && !done; i++)
		if (page - atomic_load(&windows[i].start) < atomic_load(&windows[i].size))
			done = replace(&windows[i], page);
	errno = saved;
	return done;
}

/* ---- one ---- */

/* Where the host has it; 0: it is not within a window. */
static uintptr_t find(const struct mem *mem, uint64_t gpa, uint64_t length)
{
	const struct mem_region *region = mem_find(mem, gpa);

	if (!region || !region->is_window || !length || (gpa | length) & (MEM_PAGE_SIZE - 1) ||
	    length > region->size_bytes - (gpa - region->gpa))
		return 0;
	return (uintptr_t)region->host + (gpa - region->gpa);
}

int mem_window_map(const struct mem *mem, uint64_t gpa, uint64_t length, int fd, uint64_t offset,
		   bool shared)
{
	const uintptr_t host = find(mem, gpa, length);
	void *at;

	if (!host || offset & (MEM_PAGE_SIZE - 1) || offset > INT64_MAX - length)
		return -EINVAL;
	at = mmap((void *)host, length, PROT_READ | PROT_WRITE,
		  (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE | MAP_FIXED, fd, (off_t)offset);
	if (at == MAP_FAILED) {
		int ret = -errno;

		/* What was there may be gone. */
		map_zeros(host, length);
		return ret;
	}
	return 0;
}

int mem_window_unmap(const struct mem *mem, uint64_t gpa, uint64_t length)
{
	const uintptr_t host = find(mem, gpa, length);

	return host ? map_zeros(host, length) : -EINVAL;
}
