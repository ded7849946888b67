/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues (virtio 1.2, 2.6-2.8) as devices use them: take a chain of buffers that the driver
 * made available, read its out part, write its in part, give it back. Split or packed, direct or
 * indirect: a device does not see it. Whatever is wrong with a ring or a chain stops the device
 * with DEVICE_NEEDS_RESET, and the queue looks empty from then on until the driver resets the
 * device.
 *
 * The buffers are the guest's memory itself, which the guest may change at any time: copy what
 * you judge, once. Machine lock held; only a chain's buffers may be used by other threads, too,
 * as long as the device's stop waits for them.
 */
#ifndef RINGLET_VIRTIO_QUEUE_H
#define RINGLET_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct virtio_device;
struct virtio_queue;

#define VIRTIO_QUEUE_SIZE_MAX 1024u
#define VIRTIO_CHAIN_MAX 1024u /* descriptors */

/* A chain is the device's from pop until push or drop. */
struct virtio_chain {
	struct iovec *out; /* what the driver wrote for the device to read */
	unsigned out_count;
	size_t out_bytes;
	struct iovec *in;  /* what the device shall write; follows out's pieces in memory */
	unsigned in_count;
	size_t in_bytes;
	void *opaque;      /* the device's own */
};

/* The device's queue number index. */
struct virtio_queue *virtio_queue(struct virtio_device *dev, unsigned index);
unsigned virtio_queue_index(const struct virtio_queue *queue);

/* The driver has enabled it, the device runs, and it is not lent. */
bool virtio_queue_ready(const struct virtio_queue *queue);

/*
 * The next chain, or NULL: there is none, and the driver will notify when there is. A device that
 * has enough looks no further; it is not notified again before it has seen the end.
 */
struct virtio_chain *virtio_queue_pop(struct virtio_queue *queue);

/*
 * Takes back the last pop that was not taken back; in reverse order, before any push. Nothing was
 * written to it.
 */
void virtio_queue_unpop(struct virtio_queue *queue, struct virtio_chain *chain);

/*
 * Gives chain back; the driver is told of the first written bytes of its in part. All of that may have
 * changed, for dirty pages and stale code. After a reset the driver has forgotten it, and only its memory
 * is released.
 * virtio_queue_notify tells the driver, once for any number of chains.
 */
void virtio_queue_push(struct virtio_queue *queue, struct virtio_chain *chain, size_t written);

/* Several at once: the driver sees all of them or none. */
void virtio_queue_push_all(struct virtio_queue *queue, struct virtio_chain *const *chains,
			   const size_t *written, unsigned count);

/* Sends an interrupt if the driver wants one for what was pushed since the last. */
void virtio_queue_notify(struct virtio_queue *queue);

/* Releases a chain's memory without giving it back: in a device's stop. Its in part counts as written. */
void virtio_chain_drop(struct virtio_queue *queue, struct virtio_chain *chain);

/* The guest's address of in[piece]. */
uint64_t virtio_chain_in_gpa(const struct virtio_chain *chain, unsigned piece);

/* Copies at an offset of the out or in part; return how many bytes there were. */
size_t virtio_chain_read(const struct virtio_chain *chain, size_t offset, void *data, size_t len);
size_t virtio_chain_write(const struct virtio_chain *chain, size_t offset, const void *data,
			  size_t len);

#endif
