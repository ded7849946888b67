/* SPDX-License-Identifier: MIT */
/* Reading: see qcow2_image.h for the locks. */
#include <errno.h>
#include <string.h>

#include "block/qcow2_image.h"
#include "block/qcow2_io.h"

#define ATTEMPT_BYTES (128u << 10)

int qcow2_read_below(struct qcow2 *image, const struct iovec *iov, unsigned count, uint64_t offset,
		     uint64_t length)
{
	uint64_t size = image->backing ? image->backing->info.size_bytes : 0;
	uint64_t there = offset >= size ? 0 : length < size - offset ? length : size - offset;
	const struct block_request request = {
		.op = BLOCK_READ, .offset = offset, .length = there, .iov = iov, .iov_count = count,
	};

	iov_fill(iov, count, there, 0, length - there);
	return there ? block_perform(image->backing, &request) : 0;
}

static int read_mapped(struct qcow2 *image, const struct qcow2_mapping *mapping,
		       const struct iovec *iov, unsigned count, uint64_t offset)
{
	switch (mapping->kind) {
	case QCOW2_IS_ABSENT:
		return qcow2_read_below(image, iov, count, offset, mapping->bytes);
	case QCOW2_IS_ZERO:
		iov_fill(iov, count, 0, 0, mapping->bytes);
		return 0;
	case QCOW2_IS_DATA:
		return block_file_readv(&image->file, iov, count, mapping->host, mapping->bytes);
	case QCOW2_IS_COMPRESSED:
		return qcow2_inflate(image, mapping->entry, offset & (image->cluster_bytes - 1),
				     iov, count, mapping->bytes);
	}
	return -EIO;
}

int qcow2_read_within(struct qcow2 *image, const struct qcow2_mapping *mapping, uint64_t offset,
		      void *data, uint64_t length)
{
	const struct iovec iov = { data, length };
	struct qcow2_mapping part = *mapping;

	/* Before or behind the mapping's first byte, modulo 2^64. */
	part.host += offset - mapping->offset;
	part.bytes = length;
	return length ? read_mapped(image, &part, &iov, 1, offset) : 0;
}

static int read_all(struct qcow2 *image, const struct block_request *request, struct qcow2_io *io)
{
	uint64_t done = 0;

	while (done < request->length) {
		uint64_t offset = request->offset + done;
		struct qcow2_mapping mapping;
		unsigned count;
		int ret;

		pthread_mutex_lock(&image->mutex);
		ret = qcow2_map_find(image, offset, request->length - done, &mapping);
		pthread_mutex_unlock(&image->mutex);
		if (ret)
			return ret;
		count = qcow2_io_cut(io, 0, done, mapping.bytes);
		ret = read_mapped(image, &mapping, io->slice, count, offset);
		if (ret)
			return ret;
		done += mapping.bytes;
	}
	return 0;
}

int qcow2_read(struct qcow2 *image, const struct block_request *request)
{
	struct qcow2_range range = {
		.first = request->offset >> image->cluster_bits,
		.last = (request->offset + request->length - 1) >> image->cluster_bits,
	};
	struct qcow2_io io;
	int ret = qcow2_io_begin(&io, request->iov, request->iov_count);

	if (ret)
		return ret;
	pthread_mutex_lock(&image->mutex);
	qcow2_range_lock(image, &range);
	pthread_mutex_unlock(&image->mutex);
	ret = read_all(image, request, &io);
	pthread_mutex_lock(&image->mutex);
	qcow2_range_unlock(image, &range);
	pthread_mutex_unlock(&image->mutex);
	qcow2_io_end(&io);
	return ret;
}

/* ---- what need not wait ---- */

/* The mutex is held: nothing is remapped meanwhile, so no range need be locked. */
static int attempt(struct qcow2 *image, const struct block_request *request)
{
	struct qcow2_mapping mapping;
	int ret;

	if (!qcow2_map_is_cached(image, request->offset))
		return -EAGAIN;
	ret = qcow2_map_find(image, request->offset, request->length, &mapping);
	if (ret || mapping.bytes < request->length)
		return -EAGAIN;
	if (mapping.kind == QCOW2_IS_DATA)
		return block_file_peek(&image->file, request->iov, request->iov_count,
				       mapping.host, request->length);
	if (mapping.kind == QCOW2_IS_COMPRESSED)
		return -EAGAIN;
	if (mapping.kind == QCOW2_IS_ABSENT && image->backing)
		return request->offset + request->length > image->backing->info.size_bytes ?
			       -EAGAIN : block_attempt(image->backing, request);
	iov_fill(request->iov, request->iov_count, 0, 0, request->length);
	return 0;
}

int qcow2_attempt(struct block *block, const struct block_request *request)
{
	struct qcow2 *image = (struct qcow2 *)block;
	int ret;

	if (request->op != BLOCK_READ || request->length > ATTEMPT_BYTES ||
	    pthread_mutex_trylock(&image->mutex))
		return -EAGAIN;
	ret = attempt(image, request);
	pthread_mutex_unlock(&image->mutex);
	return ret;
}
