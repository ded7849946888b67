/* SPDX-License-Identifier: MIT */
/* Guest memory for devices: see dma.h. */
#include "dev/dma.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "mem/hold.h"
#include "mem/mem.h"

/* What of [gpa, gpa+len) starts at gpa and lies in one region; len 0: gpa is no memory. */
struct piece {
	const struct mem_region *region;
	uint8_t *host;
	uint64_t len;
};

static struct piece piece_at(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	const struct mem_region *region = mem_find(dma->mem, gpa);
	uint64_t left;

	if (!region)
		return (struct piece){ 0 };
	left = region->size_bytes - (gpa - region->gpa);
	return (struct piece){ region, region->host + (gpa - region->gpa),
			       len < left ? len : left };
}

static bool is_memory(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	while (len) {
		struct piece piece = piece_at(dma, gpa, len);

		if (!piece.len)
			return false;
		gpa += piece.len;
		len -= piece.len;
	}
	return true;
}

int dma_read(const struct dma *dma, uint64_t gpa, void *data, uint64_t len)
{
	uint8_t *to = data;

	if (!is_memory(dma, gpa, len))
		return -EFAULT;
	while (len) {
		struct piece piece = piece_at(dma, gpa, len);

		memcpy(to, piece.host, piece.len);
		to += piece.len;
		gpa += piece.len;
		len -= piece.len;
	}
	return 0;
}

/* data NULL: value instead. */
static int put(const struct dma *dma, uint64_t gpa, const uint8_t *data, uint8_t value,
	       uint64_t len)
{
	if (!is_memory(dma, gpa, len))
		return -EFAULT;
	while (len) {
		struct piece piece = piece_at(dma, gpa, len);

		if (!piece.region->readonly) {
			dma_hold(dma, gpa, piece.len);
			if (data)
				memcpy(piece.host, data, piece.len);
			else
				memset(piece.host, value, piece.len);
			dma_wrote(dma, gpa, piece.len);
			dma_release(dma, gpa, piece.len);
		}
		if (data)
			data += piece.len;
		gpa += piece.len;
		len -= piece.len;
	}
	return 0;
}

int dma_write(const struct dma *dma, uint64_t gpa, const void *data, uint64_t len)
{
	return put(dma, gpa, data, 0, len);
}

int dma_fill(const struct dma *dma, uint64_t gpa, uint8_t value, uint64_t len)
{
	return put(dma, gpa, NULL, value, len);
}

int dma_map(const struct dma *dma, uint64_t gpa, uint64_t len, bool write, struct iovec *iov,
	    unsigned max)
{
	unsigned count = 0;

	while (len) {
		struct piece piece = piece_at(dma, gpa, len);

		if (!piece.len || (write && piece.region->readonly))
			return -EFAULT;
		if (count == max)
			return -E2BIG;
		iov[count++] = (struct iovec){ piece.host, piece.len };
		gpa += piece.len;
		len -= piece.len;
	}
	return (int)count;
}

void dma_hold(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	if (!dma->stop_exec || !mem_hold(dma->mem, gpa, len))
		return;
	dma->stop_exec(dma->opaque);
	mem_stopped(dma->mem, gpa, len);
}

void dma_release(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	if (dma->stop_exec)
		mem_release(dma->mem, gpa, len);
}

void dma_wrote(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	if (!len)
		return;
	mem_mark_dirty(dma->mem, gpa, len);
	if (!dma->wrote)
		return;
	/* A CPU that makes code marks the page, then reads it; so do not look for its mark before
	 * the bytes are there to be read. */
	atomic_thread_fence(memory_order_seq_cst);
	dma->wrote(dma->opaque, gpa, len);
}

void dma_discard(const struct dma *dma, uint64_t gpa, uint64_t len)
{
	while (len) {
		struct piece piece = piece_at(dma, gpa, len);

		if (!piece.len)
			return;
		if (!piece.region->readonly) {
			dma_hold(dma, gpa, piece.len);
			mem_discard(dma->mem, gpa, piece.len);
			dma_wrote(dma, gpa, piece.len);
			dma_release(dma, gpa, piece.len);
		}
		gpa += piece.len;
		len -= piece.len;
	}
}

void dma_wrote_anywhere(const struct dma *dma)
{
	for (unsigned i = 0; i < mem_region_count(dma->mem); i++) {
		const struct mem_region *region = mem_region_at(dma->mem, i);

		if (!region->readonly)
			dma_wrote(dma, region->gpa, region->size_bytes);
	}
}
