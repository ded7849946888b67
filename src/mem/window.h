/* SPDX-License-Identifier: MIT */
/*
 * Windows: regions of guest memory (mem.h) that show pieces of the host's files, as a device's driver
 * asks for. The region is there as long as the machine, at one place; where no file is mapped it reads as
 * zeros and keeps what is written, as RAM does. Who changes what a window shows says so to code
 * caches (dev/dma.h). Any thread.
 *
 * A file that became shorter, or a disk that is full, has the host raise SIGBUS on access. Then that
 * page is the guest's own from then on: mem_window_fault.
 */
#ifndef RINGLET_MEM_WINDOW_H
#define RINGLET_MEM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct mem;
struct mem_region;

/* The errors of mem_add; -ENOSPC: too many in the process. */
int mem_add_window(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const char *name,
		   struct error *err);

/*
 * Shows length bytes of fd from offset on (multiples of the page size) at gpa, within one window. What
 * the guest writes goes to the file (shared: fd is open for both), or to a copy. 0 or -errno.
 */
int mem_window_map(const struct mem *mem, uint64_t gpa, uint64_t length, int fd, uint64_t offset,
		   bool shared);
/* Back to zeros. */
int mem_window_unmap(const struct mem *mem, uint64_t gpa, uint64_t length);

/* mem.c's: the region was added; it is about to go. */
int mem_window_enter(const struct mem_region *region, struct error *err);
void mem_window_leave(const struct mem_region *region);

/*
 * In a handler of SIGBUS: whether address is in a window of any machine, and the access may be tried
 * again.
 */
bool mem_window_fault(void *address);

#endif
