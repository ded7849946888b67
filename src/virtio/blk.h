/* SPDX-License-Identifier: MIT */
/*
 * The block device (virtio 1.2, 5.2): several queues, flush, discard, write zeroes, a serial
 * number. What the host has in memory is read at once; everything else by the back end's threads.
 */
#ifndef RINGLET_VIRTIO_BLK_H
#define RINGLET_VIRTIO_BLK_H

#include "block/block.h"
#include "virtio/virtio.h"

struct virtio_blk_options {
	struct block *block; /* the device closes it, also when it cannot be created */
	const char *serial;  /* at most 20 bytes; NULL: none */
	const char *file;    /* for --dry-run and log lines */
	unsigned queues;     /* 1 … VIRTIO_BLK_QUEUES_MAX */
	enum block_errors errors;
	unsigned retry_ms;   /* how often what waits is tried again; 0: VIRTIO_BLK_RETRY_MS */
};

#define VIRTIO_BLK_QUEUES_MAX 8u
#define VIRTIO_BLK_RETRY_MS 1000u

int virtio_blk_create(const struct device_env *env, const struct virtio_blk_options *options,
		      struct virtio_device **dev, struct error *err);

#endif
