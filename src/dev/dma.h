/* SPDX-License-Identifier: MIT */
/*
 * How devices reach guest memory: RAM alone, never another device; what they write is marked
 * dirty and makes code from it stale. A guest may change memory while a device reads it, so what
 * is judged is copied first and looked at once. Any thread, with or without the machine lock: the
 * regions of memory stay as they are while a machine runs.
 */
#ifndef RINGLET_DEV_DMA_H
#define RINGLET_DEV_DMA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct mem;

struct dma {
	struct mem *mem;
	/* Code made of these bytes is stale. Any thread. NULL: there is no code. */
	void (*wrote)(void *opaque, uint64_t gpa, uint64_t len);
	/*
	 * Pages that were executed as they are are about to be written: returns when they are not any more. Any
	 * thread. NULL: none are.
	 */
	void (*stop_exec)(void *opaque);
	void *opaque;
};

/* Whole ranges: -EFAULT, and nothing done, where a byte is no memory. ROM drops what is written. */
int dma_read(const struct dma *dma, uint64_t gpa, void *data, uint64_t len);
int dma_write(const struct dma *dma, uint64_t gpa, const void *data, uint64_t len);
int dma_fill(const struct dma *dma, uint64_t gpa, uint8_t value, uint64_t len);

/*
 * The range as the host has it, one piece a region (len is not 0). Returns how many pieces;
 * -EFAULT: a byte is no RAM (ROM will do for reading); -E2BIG: more than max. The mapping stays
 * good for the machine's life. Who is going to write through it holds what it is going to write to, and
 * says so with dma_wrote when it did.
 */
int dma_map(const struct dma *dma, uint64_t gpa, uint64_t len, bool write, struct iovec *iov,
	    unsigned max);

/* From before the first byte is written until after dma_wrote. They count, and do not wait for each other. */
void dma_hold(const struct dma *dma, uint64_t gpa, uint64_t len);
void dma_release(const struct dma *dma, uint64_t gpa, uint64_t len);

/* Whole pages of the range go back to the host and read as zeros from then on, as far as they are
 * RAM. */
void dma_discard(const struct dma *dma, uint64_t gpa, uint64_t len);

/* [gpa, gpa+len) was just written through a mapping. */
void dma_wrote(const struct dma *dma, uint64_t gpa, uint64_t len);

/* Somebody wrote who does not say where: it may have been all of RAM. */
void dma_wrote_anywhere(const struct dma *dma);

#endif
