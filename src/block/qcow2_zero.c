/* SPDX-License-Identifier: MIT */
/*
 * Zeros and discards: whole clusters by what their L2 entries say, the rest by writing zeros.
 * Version 2 cannot say "zeros"; an absent cluster is zeros where there is no backing file.
 */
#include <errno.h>

#include "block/qcow2_image.h"

#define ZEROS_BYTES (64u << 10)
#define ZEROS_PIECES 32u
#define FREES_MAX (1u << 16)

static const uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));

enum mode {
	ZERO_KEEP, /* zeros; what has a place keeps it */
	ZERO_FREE, /* zeros */
	DROP,      /* absent */
};

/* ---- whole clusters ---- */

/* What the clusters of a mapping become. *free_old: what they refer to loses a reference. */
static uint64_t next_entry(const struct qcow2 *image, const struct qcow2_mapping *mapping,
			   enum mode mode, bool *free_old)
{
	uint64_t bare = image->backing ? QCOW2_ZERO : 0;

	*free_old = true;
	if (mode == DROP)
		return 0;
	if (mode == ZERO_KEEP && mapping->kind == QCOW2_IS_ZERO)
		return mapping->entry;
	if (mode == ZERO_KEEP && mapping->kind == QCOW2_IS_DATA && mapping->in_place) {
		*free_old = false;
		return mapping->entry | QCOW2_ZERO;
	}
	return mapping->kind == QCOW2_IS_ZERO && !(mapping->entry & QCOW2_OFFSET) ?
		       mapping->entry : bare;
}

static int change(struct qcow2 *image, uint64_t offset, const struct qcow2_mapping *mapping,
		  uint64_t entry, bool free_old)
{
	uint64_t count = qcow2_clusters(image, mapping->bytes), first, referred;
	int ret;

	qcow2_commit_wait(image);
	ret = image->broken ? -EIO : qcow2_map_prepare(image, offset);
	if (!ret)
		ret = qcow2_map_set(image, offset, count, entry,
				    entry & QCOW2_OFFSET ? image->cluster_bytes : 0);
	if (ret || !free_old)
		return ret;
	qcow2_entry_clusters(image, mapping->entry, &first, &referred);
	qcow2_free_later(image, first, mapping->kind == QCOW2_IS_DATA ? count : referred);
	return 0;
}

/* As many clusters as are alike; the mutex is held, and the range locked. */
static int set_some(struct qcow2 *image, uint64_t offset, uint64_t left, enum mode mode,
		    uint64_t *done)
{
	struct qcow2_mapping mapping;
	uint64_t entry;
	bool free_old;
	int ret = image->broken ? -EIO : qcow2_map_find(image, offset, left, &mapping);

	if (ret)
		return ret;
	/* Places of zero clusters need not follow each other. */
	if (mapping.kind == QCOW2_IS_ZERO && mapping.entry & QCOW2_OFFSET &&
	    mapping.bytes > image->cluster_bytes)
		mapping.bytes = image->cluster_bytes;
	*done = mapping.bytes;
	entry = next_entry(image, &mapping, mode, &free_old);
	if (entry == mapping.entry)
		return 0;
	ret = change(image, offset, &mapping, entry, free_old);
	return !ret && image->free_count > FREES_MAX ? qcow2_commit_changes(image) : ret;
}

/* From a cluster's begin to one's end, or the disk's. */
static int set_whole(struct qcow2 *image, uint64_t offset, uint64_t left, enum mode mode)
{
	int ret = 0;

	while (left && !ret) {
		struct qcow2_range range = {
			.first = offset >> image->cluster_bits,
			.last = (offset + left - 1) >> image->cluster_bits,
			.alone = true,
		};
		uint64_t done = 0;

		pthread_mutex_lock(&image->mutex);
		qcow2_range_lock(image, &range);
		ret = set_some(image, offset, left, mode, &done);
		qcow2_range_unlock(image, &range);
		pthread_mutex_unlock(&image->mutex);
		offset += done;
		left -= done;
	}
	return ret;
}

/* ---- any bytes ---- */

static int write_zeros(struct qcow2 *image, uint64_t offset, uint64_t length)
{
	struct iovec iov[ZEROS_PIECES];
	struct block_request request = {
		.op = BLOCK_WRITE, .offset = offset, .length = length, .iov = iov,
	};

	for (; length; request.iov_count++) {
		uint64_t piece = length < ZEROS_BYTES ? length : ZEROS_BYTES;

		iov[request.iov_count] = (struct iovec){ (void *)zeros, piece };
		length -= piece;
	}
	return qcow2_write(image, &request);
}

/* Writes zeros where there are none yet. */
static int fill_zeros(struct qcow2 *image, uint64_t offset, uint64_t left)
{
	while (left) {
		uint64_t piece = left < ZEROS_BYTES * ZEROS_PIECES ? left :
								     ZEROS_BYTES * ZEROS_PIECES;
		struct qcow2_mapping mapping;
		int ret;

		pthread_mutex_lock(&image->mutex);
		ret = qcow2_map_find(image, offset, piece, &mapping);
		pthread_mutex_unlock(&image->mutex);
		if (!ret && mapping.kind != QCOW2_IS_ZERO &&
		    (mapping.kind != QCOW2_IS_ABSENT || image->backing))
			ret = write_zeros(image, offset, mapping.bytes);
		if (ret)
			return ret;
		offset += mapping.bytes;
		left -= mapping.bytes;
	}
	return 0;
}

/* The whole clusters within a request; the last of the disk need not be one. */
static void find_whole(const struct qcow2 *image, const struct block_request *request,
		       uint64_t *from, uint64_t *to)
{
	uint64_t mask = image->cluster_bytes - 1, end = request->offset + request->length;

	*from = (request->offset + mask) & ~mask;
	*to = end == image->block.info.size_bytes ? end : end & ~mask;
	if (*from >= *to)
		*from = *to = end;
}

int qcow2_write_zeroes(struct qcow2 *image, const struct block_request *request)
{
	bool free_them = request->flags & BLOCK_UNMAP && image->block.info.discard;
	bool by_entries = image->header.version >= 3 || (free_them && !image->backing);
	uint64_t end = request->offset + request->length, from, to;
	int ret;

	if (!by_entries)
		return fill_zeros(image, request->offset, request->length);
	find_whole(image, request, &from, &to);
	ret = fill_zeros(image, request->offset, from - request->offset);
	if (!ret)
		ret = set_whole(image, from, to - from, free_them ? ZERO_FREE : ZERO_KEEP);
	return ret ? ret : fill_zeros(image, to, end - to);
}

int qcow2_discard(struct qcow2 *image, const struct block_request *request)
{
	uint64_t from, to;

	/* What a backing file holds must not come to light again. */
	if (!image->block.info.discard || (image->header.version < 3 && image->backing))
		return 0;
	find_whole(image, request, &from, &to);
	return set_whole(image, from, to - from, ZERO_FREE);
}

int qcow2_drop(struct qcow2 *image, uint64_t offset, uint64_t length)
{
	return set_whole(image, offset, length, DROP);
}
