/* SPDX-License-Identifier: MIT */
/* Copying disks: see copy.h. */
#include "block/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define PIECE_BYTES (1u << 20)
#define GRAIN_BYTES (64u << 10) /* zeros of this size are not written */

static int perform(struct block *block, enum block_op op, uint64_t offset, void *data,
		   uint64_t length)
{
	const struct iovec iov = { data, length };
	const struct block_request request = {
		.op = op, .flags = op == BLOCK_WRITE_ZEROES ? BLOCK_UNMAP : 0, .offset = offset,
		.length = length, .iov = data ? &iov : NULL, .iov_count = data ? 1 : 0,
	};

	return block_perform(block, &request);
}

static bool all_zeros(const uint8_t *data, uint64_t length)
{
	return !data[0] && !memcmp(data, data + 1, length - 1);
}

static int write_zeros(const struct block_copy *copy, uint64_t offset, uint64_t length)
{
	return copy->to_is_zeros ? 0 :
				   perform(copy->to, BLOCK_WRITE_ZEROES, offset, NULL, length);
}

/* Grain by grain alike, as many as there are. */
static int write_data(const struct block_copy *copy, uint64_t offset, uint8_t *data, uint64_t left)
{
	int ret = 0;

	while (left && !ret) {
		uint64_t length = left < GRAIN_BYTES ? left : GRAIN_BYTES, next;
		bool zeros = all_zeros(data, length);

		for (; length < left; length += next) {
			next = left - length < GRAIN_BYTES ? left - length : GRAIN_BYTES;
			if (all_zeros(data + length, next) != zeros)
				break;
		}
		ret = zeros ? write_zeros(copy, offset, length) :
			      perform(copy->to, BLOCK_WRITE, offset, data, length);
		offset += length;
		data += length;
		left -= length;
	}
	return ret;
}

static int copy_some(const struct block_copy *copy, uint64_t offset, uint8_t *data,
		     uint64_t *length, struct error *err)
{
	struct block_extent extent;
	int ret = copy->extent ? copy->extent(copy->from, offset, *length, &extent) :
				 block_extent(copy->from, offset, *length, &extent);

	if (!ret && extent.kind == BLOCK_EXTENT_DATA && extent.length > PIECE_BYTES)
		extent.length = PIECE_BYTES;
	if (!ret && extent.kind == BLOCK_EXTENT_DATA)
		ret = perform(copy->from, BLOCK_READ, offset, data, extent.length);
	if (ret)
		return error_set_errno(err, -ret, "cannot read %s", copy->from_name);
	*length = extent.length;
	if (extent.kind == BLOCK_EXTENT_DATA)
		ret = write_data(copy, offset, data, extent.length);
	else if (extent.kind == BLOCK_EXTENT_ZERO)
		ret = write_zeros(copy, offset, extent.length);
	return ret ? error_set_errno(err, -ret, "cannot write %s", copy->to_name) : 0;
}

int block_copy(const struct block_copy *copy, const struct block_progress *progress,
	       struct error *err)
{
	uint64_t total = copy->from->info.size_bytes, done = 0, length;
	uint8_t *data = aligned_alloc(4096, PIECE_BYTES);
	int ret = data ? 0 : error_set(err, ENOMEM, "no memory to copy a disk");

	for (; done < total && !ret; done += length) {
		length = total - done;
		ret = copy_some(copy, done, data, &length, err);
		if (!ret && progress->report)
			progress->report(progress->opaque, done + length, total);
	}
	free(data);
	if (ret)
		return ret;
	ret = perform(copy->to, BLOCK_FLUSH, 0, NULL, 0);
	return ret ? error_set_errno(err, -ret, "cannot write %s", copy->to_name) : 0;
}
