/* SPDX-License-Identifier: MIT */
/*
 * Writing. What may be written in place is, side by side with other requests. Otherwise the range
 * is locked for this one alone, host clusters are taken, filled (with what was there before
 * around what is written) and only then mapped. See qcow2_image.h for the locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_image.h"
#include "block/qcow2_io.h"

/* A piece of a request that goes to new clusters. */
struct placement {
	const struct qcow2_mapping *old; /* of the piece */
	uint64_t offset, bytes;
	uint64_t host;     /* of its first cluster */
	uint64_t clusters;
	bool own;          /* it was the piece's before: zeros until now */
	bool fresh;        /* nobody ever wrote to it: zeros */
};

/* ---- data ---- */

static bool was_zeros(const struct qcow2 *image, const struct qcow2_mapping *old)
{
	return old->kind == QCOW2_IS_ZERO || (old->kind == QCOW2_IS_ABSENT && !image->backing);
}

/* The rest of the first and of the last cluster: what was there before. */
static int fill_around(struct qcow2 *image, const struct placement *place, uint8_t *data,
		       uint64_t head, uint64_t tail)
{
	int ret = qcow2_read_within(image, place->old, place->offset - head, data, head);

	return ret ? ret : qcow2_read_within(image, place->old, place->offset + place->bytes,
					     data + head, tail);
}

/* Without the mutex. */
static int write_placed(struct qcow2 *image, const struct placement *place, struct qcow2_io *io,
			uint64_t skip)
{
	uint64_t head = place->offset & (image->cluster_bytes - 1);
	uint64_t tail = (place->clusters << image->cluster_bits) - head - place->bytes;
	unsigned count = qcow2_io_cut(io, 1, skip, place->bytes);
	uint8_t *around;
	int ret;

	if ((!head && !tail) || (place->fresh && was_zeros(image, place->old)))
		return block_file_writev(&image->file, io->slice + 1, count, place->host + head,
					 place->bytes);
	around = malloc(head + tail);
	if (!around)
		return -ENOMEM;
	ret = fill_around(image, place, around, head, tail);
	if (!ret) {
		io->slice[0] = (struct iovec){ around, head };
		io->slice[count + 1] = (struct iovec){ around + head, tail };
		ret = block_file_writev(&image->file, io->slice, count + 2, place->host,
					place->clusters << image->cluster_bits);
	}
	free(around);
	return ret;
}

/* ---- places ---- */

/* left: bytes from place->offset on. */
static int find_place(struct qcow2 *image, struct placement *place, uint64_t left)
{
	uint64_t head = place->offset & (image->cluster_bytes - 1), first;
	uint64_t wanted = qcow2_clusters(image, head + left);
	int ret;

	if (place->old->kind == QCOW2_IS_ZERO && place->old->entry & QCOW2_OFFSET)
		wanted = 1;
	place->own = wanted == 1 && place->old->kind == QCOW2_IS_ZERO &&
		     place->old->entry & QCOW2_COPIED && place->old->entry & QCOW2_OFFSET;
	if (place->own) {
		first = (place->old->entry & QCOW2_OFFSET) >> image->cluster_bits;
		place->clusters = 1;
		if (place->old->entry & QCOW2_OFFSET & (image->cluster_bytes - 1) ||
		    qcow2_metadata_has(&image->metadata, first, 1))
			return qcow2_corrupt(image, "a zero cluster's place holds metadata");
	} else {
		ret = qcow2_alloc(image, wanted, &first, &place->clusters);
		if (ret)
			return ret;
	}
	place->host = first << image->cluster_bits;
	place->bytes = (place->clusters << image->cluster_bits) - head;
	if (place->bytes > left)
		place->bytes = left;
	place->fresh = !place->own && !image->file.device && place->host >= image->end;
	if (place->host + (place->clusters << image->cluster_bits) > image->end)
		image->end = place->host + (place->clusters << image->cluster_bits);
	return 0;
}

static void free_old(struct qcow2 *image, const struct placement *place)
{
	uint64_t first, count;

	qcow2_entry_clusters(image, place->old->entry, &first, &count);
	if (!place->own && count)
		qcow2_free_later(image, first, place->old->kind == QCOW2_IS_DATA ?
						       place->clusters : count);
}

static int write_new(struct qcow2 *image, const struct qcow2_mapping *old, struct qcow2_io *io,
		     uint64_t skip, uint64_t *done)
{
	struct placement place = { .old = old, .offset = old->offset };
	int ret;

	qcow2_commit_wait(image);
	ret = image->broken ? -EIO : qcow2_map_prepare(image, old->offset);
	if (!ret)
		ret = find_place(image, &place, old->bytes);
	if (ret)
		return ret;
	pthread_mutex_unlock(&image->mutex);
	ret = write_placed(image, &place, io, skip);
	pthread_mutex_lock(&image->mutex);
	qcow2_commit_wait(image);
	if (!ret)
		ret = qcow2_map_set(image, place.offset, place.clusters, place.host | QCOW2_COPIED,
				    image->cluster_bytes);
	if (ret && !place.own)
		qcow2_unalloc(image, place.host >> image->cluster_bits, place.clusters);
	if (ret)
		return ret;
	free_old(image, &place);
	*done = place.bytes;
	return 0;
}

static int write_in_place(struct qcow2 *image, const struct qcow2_mapping *mapping,
			  struct qcow2_io *io, uint64_t skip, uint64_t *done)
{
	uint64_t first = mapping->host >> image->cluster_bits;
	uint64_t last = (mapping->host + mapping->bytes - 1) >> image->cluster_bits;
	unsigned count;
	int ret;

	if (qcow2_metadata_has(&image->metadata, first, last - first + 1))
		return qcow2_corrupt(image, "a data cluster is one with metadata");
	if (mapping->host + mapping->bytes > image->end)
		image->end = mapping->host + mapping->bytes;
	pthread_mutex_unlock(&image->mutex);
	count = qcow2_io_cut(io, 0, skip, mapping->bytes);
	ret = block_file_writev(&image->file, io->slice, count, mapping->host, mapping->bytes);
	pthread_mutex_lock(&image->mutex);
	*done = mapping->bytes;
	return ret;
}

/* Some of what is left, at least one cluster's part of it; the mutex is held. */
static int write_some(struct qcow2 *image, struct qcow2_io *io, uint64_t offset, uint64_t left,
		      uint64_t skip, uint64_t *done)
{
	struct qcow2_range range = {
		.first = offset >> image->cluster_bits,
		.last = (offset + left - 1) >> image->cluster_bits,
	};
	struct qcow2_mapping mapping;
	int ret;

	*done = 0;
	for (unsigned alone = 0; alone < 2 && !*done; alone++) {
		range.alone = alone;
		qcow2_range_lock(image, &range);
		ret = image->broken ? -EIO : qcow2_map_find(image, offset, left, &mapping);
		if (!ret && mapping.kind == QCOW2_IS_DATA && mapping.in_place)
			ret = write_in_place(image, &mapping, io, skip, done);
		else if (!ret && alone)
			ret = write_new(image, &mapping, io, skip, done);
		qcow2_range_unlock(image, &range);
		if (ret)
			return ret;
	}
	return 0;
}

int qcow2_write(struct qcow2 *image, const struct block_request *request)
{
	struct qcow2_io io;
	uint64_t done = 0, some;
	int ret = qcow2_io_begin(&io, request->iov, request->iov_count);

	if (ret)
		return ret;
	pthread_mutex_lock(&image->mutex);
	while (done < request->length && !ret) {
		ret = write_some(image, &io, request->offset + done, request->length - done, done,
				 &some);
		done += some;
	}
	pthread_mutex_unlock(&image->mutex);
	qcow2_io_end(&io);
	return ret;
}
