/* SPDX-License-Identifier: MIT */
/*
 * Requests of the block device (virtio 1.2, 5.2.6): { type, reserved, sector } to read, data, one
 * byte of status to write. Where one piece ends and the next begins means nothing. The header and
 * the ranges are copied before they are looked at.
 */
#include "virtio/blk_request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"

#define HEADER_BYTES sizeof(struct virtio_blk_outhdr)
#define RANGE_BYTES sizeof(struct virtio_blk_discard_write_zeroes)

/* Bytes; too many become a number that no disk has. */
static uint64_t bytes_of(uint64_t sectors)
{
	return sectors <= UINT64_MAX / BLOCK_SECTOR_BYTES ? sectors * BLOCK_SECTOR_BYTES :
							    ~(uint64_t)(BLOCK_SECTOR_BYTES - 1);
}

static void transfer(struct blk_request *request, enum block_op op, uint64_t sector)
{
	const struct virtio_chain *chain = request->chain;
	struct block_request *block = &request->block;

	block->op = op;
	block->offset = bytes_of(sector);
	block->iov = request->iov;
	if (op == BLOCK_READ) {
		block->length = chain->in_bytes - 1;
		block->iov_count = iov_slice(chain->in, chain->in_count, 0, block->length,
					     request->iov);
	} else {
		block->length = chain->out_bytes - HEADER_BYTES;
		block->iov_count = iov_slice(chain->out, chain->out_count, HEADER_BYTES,
					     block->length, request->iov);
	}
}

static void use_range(struct blk_request *request)
{
	const struct virtio_blk_discard_write_zeroes *range = &request->range[request->range_at];

	request->block.offset = bytes_of(range->sector);
	request->block.length = bytes_of(range->num_sectors);
	request->block.flags &= ~(unsigned)BLOCK_UNMAP;
	if (range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
		request->block.flags |= BLOCK_UNMAP;
}

bool blk_request_next(struct blk_request *request)
{
	if (request->range_at + 1 >= request->ranges)
		return false;
	request->range_at++;
	use_range(request);
	return true;
}

static int ranges(struct blk_request *request, enum block_op op)
{
	size_t bytes = request->chain->out_bytes - HEADER_BYTES;
	uint32_t allowed = op == BLOCK_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (!bytes || bytes % RANGE_BYTES || bytes > sizeof(request->range))
		return -EINVAL;
	request->ranges = (unsigned)(bytes / RANGE_BYTES);
	virtio_chain_read(request->chain, HEADER_BYTES, request->range, bytes);
	for (unsigned i = 0; i < request->ranges; i++)
		if (request->range[i].flags & ~allowed)
			return -EOPNOTSUPP;
	request->block.op = op;
	use_range(request);
	return 0;
}

static int parse(struct virtio_device *dev, struct blk_request *request, uint64_t sector)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		transfer(request, BLOCK_READ, sector);
		return 0;
	case VIRTIO_BLK_T_OUT:
		transfer(request, BLOCK_WRITE, sector);
		return 0;
	case VIRTIO_BLK_T_FLUSH:
		request->block.op = BLOCK_FLUSH;
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		return 0;
	case VIRTIO_BLK_T_DISCARD:
		return virtio_has(dev, VIRTIO_BLK_F_DISCARD) ? ranges(request, BLOCK_DISCARD) :
							       -EOPNOTSUPP;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return virtio_has(dev, VIRTIO_BLK_F_WRITE_ZEROES) ?
			       ranges(request, BLOCK_WRITE_ZEROES) : -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

struct blk_request *blk_request_make(struct virtio_device *dev, struct virtio_chain *chain)
{
	unsigned pieces = chain->in_count + chain->out_count;
	struct virtio_blk_outhdr header;
	struct blk_request *request;

	if (virtio_chain_read(chain, 0, &header, sizeof(header)) < sizeof(header) ||
	    !chain->in_bytes) {
		virtio_break(dev, "a request without header or status");
		return NULL;
	}
	request = malloc(sizeof(*request) + pieces * sizeof(struct iovec));
	if (!request) {
		virtio_break(dev, "the host has no memory");
		return NULL;
	}
	*request = (struct blk_request){ .chain = chain, .type = header.type };
	request->block.opaque = request;
	/* A driver that cannot flush takes what is done for durable (5.2.6.2). */
	if (!virtio_has(dev, VIRTIO_BLK_F_FLUSH) && header.type != VIRTIO_BLK_T_IN)
		request->block.flags = BLOCK_FUA;
	request->result = parse(dev, request, header.sector);
	return request;
}
