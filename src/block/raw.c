/* SPDX-License-Identifier: MIT */
/*
 * The raw format: see raw.h. Stateless, so perform needs no lock. A file whose size is no multiple
 * of the block size is padded with zeros, which a write to its last block makes real.
 */
#include "block/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "block/block.h"
#include "block/file.h"

#define ZEROS_BYTES (64u << 10)
#define ATTEMPT_BYTES (128u << 10) /* more is worth another thread */

struct raw {
	struct block block; /* must be first */
	struct block_file file;
};

/* Aligned, so that direct I/O takes them as they are. */
static const uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));

static int write_zeros(const struct raw *raw, uint64_t offset, uint64_t left)
{
	while (left) {
		uint64_t piece = left < ZEROS_BYTES ? left : ZEROS_BYTES;
		int ret = block_file_write(&raw->file, zeros, offset, piece);

		if (ret)
			return ret;
		offset += piece;
		left -= piece;
	}
	return 0;
}

static int zero(const struct raw *raw, const struct block_request *request)
{
	bool punch = request->flags & BLOCK_UNMAP && raw->block.info.discard;
	int ret = block_file_zero(&raw->file, request->offset, request->length, punch);

	return ret == -EOPNOTSUPP ? write_zeros(raw, request->offset, request->length) : ret;
}

static int discard(const struct raw *raw, const struct block_request *request)
{
	int ret;

	if (!raw->block.info.discard)
		return 0;
	ret = block_file_discard(&raw->file, request->offset, request->length);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

static int raw_perform(struct block *block, const struct block_request *request)
{
	const struct raw *raw = (const struct raw *)block;

	switch (request->op) {
	case BLOCK_READ:
		return block_file_readv(&raw->file, request->iov, request->iov_count,
					request->offset, request->length);
	case BLOCK_WRITE:
		return block_file_writev(&raw->file, request->iov, request->iov_count,
					 request->offset, request->length);
	case BLOCK_FLUSH:
		return raw->block.info.readonly ? 0 : block_file_flush(&raw->file);
	case BLOCK_DISCARD:
		return discard(raw, request);
	case BLOCK_WRITE_ZEROES:
		return zero(raw, request);
	}
	return -EINVAL;
}

/* Reads of what the host's page cache holds. */
static int raw_attempt(struct block *block, const struct block_request *request)
{
	const struct raw *raw = (const struct raw *)block;

	if (request->op != BLOCK_READ || request->length > ATTEMPT_BYTES)
		return -EAGAIN;
	return block_file_peek(&raw->file, request->iov, request->iov_count, request->offset,
			       request->length);
}

/* In whole blocks: what is no whole one is data. */
static int raw_extent(struct block *block, uint64_t offset, uint64_t length,
		      struct block_extent *extent)
{
	const struct raw *raw = (const struct raw *)block;
	uint64_t mask = block->info.block_bytes - 1, bytes;

	if (block_file_hole(&raw->file, offset, length, &bytes) && bytes & ~mask) {
		*extent = (struct block_extent){ BLOCK_EXTENT_ZERO, bytes & ~mask };
		return 0;
	}
	bytes = (bytes + mask) & ~mask;
	*extent = (struct block_extent){ BLOCK_EXTENT_DATA, bytes < length ? bytes : length };
	return 0;
}

static const struct block_file *raw_file(const struct block *block)
{
	return &((const struct raw *)block)->file;
}

static void raw_close(struct block *block)
{
	struct raw *raw = (struct raw *)block;

	block_file_close(&raw->file);
	free(raw);
}

static const struct block_class raw_class = {
	.name = "raw",
	.perform = raw_perform,
	.attempt = raw_attempt,
	.extent = raw_extent,
	.file = raw_file,
	.close = raw_close,
};

/* A word to who forgot format=: the guest would see the container instead of the disk in it. */
static void look_for_container(const struct raw *raw, const struct block_options *options)
{
	static const uint8_t qcow_magic[4] = { 'Q', 'F', 'I', 0xfb };
	uint8_t head[BLOCK_SECTOR_BYTES];

	if (options->format || raw->file.direct ||
	    block_file_read(&raw->file, head, 0, sizeof(head)))
		return;
	if (!memcmp(head, qcow_magic, sizeof(qcow_magic)))
		log_warn("%s looks like a qcow2 image, and is used as a raw disk for want of a "
			 "format=: format=raw if that is meant", options->file);
}

int raw_open(const struct block_options *options, struct block **block, struct error *err)
{
	struct raw *raw = calloc(1, sizeof(*raw));
	struct block_info *info;
	int ret;

	if (!raw)
		return error_set(err, ENOMEM, "no memory for the disk %s", options->file);
	ret = block_file_open(&raw->file, options->file, options->readonly, options->direct, err);
	if (ret) {
		free(raw);
		return ret;
	}
	raw->block.class = &raw_class;
	info = &raw->block.info;
	info->block_bytes = raw->file.align_bytes;
	info->size_bytes = (raw->file.size_bytes + info->block_bytes - 1) &
			   ~(uint64_t)(info->block_bytes - 1);
	info->readonly = options->readonly;
	info->discard = options->discard && !options->readonly;
	info->write_zeroes = !options->readonly;
	look_for_container(raw, options);
	*block = &raw->block;
	return 0;
}
