/* SPDX-License-Identifier: MIT */
/*
 * Requests that may block, answered by threads of the device's: a chain's out part is the request,
 * its in part takes the answer. What has been answered is given back on the loop's thread, in the order
 * in which the answers were ready. Machine lock held, but for the function that answers.
 */
#ifndef RINGLET_VIRTIO_POOL_H
#define RINGLET_VIRTIO_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct virtio_chain;
struct virtio_device;
struct virtio_pool;
struct virtio_queue;

/* Answers chain: bytes of its in part that were written. Any thread, several at once. */
typedef size_t virtio_pool_fn(void *opaque, const struct virtio_chain *chain);

/* name: of the threads, at most 15 bytes; it and dev outlive the pool. */
int virtio_pool_create(struct virtio_pool **pool, struct virtio_device *dev, const char *name,
		       virtio_pool_fn *answer, void *opaque, struct error *err);
/* NULL is allowed. */
void virtio_pool_destroy(struct virtio_pool *pool);

/* Has a thread answer chain, which the guest knows by tag. */
void virtio_pool_submit(struct virtio_pool *pool, struct virtio_queue *queue,
			struct virtio_chain *chain, uint16_t tag);
/* Answers chain once what was submitted last by that tag is given back; at once, if it is. */
void virtio_pool_answer_after(struct virtio_pool *pool, uint16_t tag, struct virtio_queue *queue,
			      struct virtio_chain *chain);

/* A device's quiesce: false while a thread answers. */
bool virtio_pool_quiesce(const struct virtio_pool *pool);
/* In a device's stop: waits for the threads, and drops what is not given back. */
void virtio_pool_stop(struct virtio_pool *pool);

#endif
