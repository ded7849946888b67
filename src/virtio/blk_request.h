/* SPDX-License-Identifier: MIT */
/* Inside the block device: a driver's request as a back end's. */
#ifndef RINGLET_VIRTIO_BLK_REQUEST_H
#define RINGLET_VIRTIO_BLK_REQUEST_H

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "block/block.h"
#include "virtio/virtio.h"

#define BLK_RANGES_MAX 16u /* of a discard or write-zeroes request */

struct blk_request {
	struct block_request block;
	void *owner;
	struct virtio_queue *queue;
	struct virtio_chain *chain;
	struct blk_request *next;
	uint32_t type; /* VIRTIO_BLK_T_… */
	int result;    /* not 0 from the beginning: there is nothing to carry out */
	struct virtio_blk_discard_write_zeroes range[BLK_RANGES_MAX];
	unsigned ranges, range_at;
	struct iovec iov[];
};

/*
 * Copies and checks what chain asks for. NULL: it is no request at all, and the device is broken.
 * Machine lock held.
 */
struct blk_request *blk_request_make(struct virtio_device *dev, struct virtio_chain *chain);

/* Goes on to the next range, if there is one. Any thread. */
bool blk_request_next(struct blk_request *request);

#endif
