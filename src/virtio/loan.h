/* SPDX-License-Identifier: MIT */
/*
 * Lending: a split queue is served by somebody else (the host's kernel, by vhost) who writes to
 * guest memory without telling us, between two calls of ours. The queue looks empty to its device
 * meanwhile; the driver's notifications go to the borrower's kick, his to us become the queue's
 * interrupt. Machine lock held.
 */
#ifndef RINGLET_VIRTIO_LOAN_H
#define RINGLET_VIRTIO_LOAN_H

#include <stdbool.h>
#include <stdint.h>

struct mem;
struct virtio_device;
struct virtio_queue;

/* What the borrower needs. The areas (virtio 1.2, 2.7) are ours and stay where they are; the event
 * descriptors are the queue's, as long as it is lent. */
struct virtio_loan {
	unsigned size;
	uint16_t position; /* of the first chain that is his, in the available ring */
	uint8_t *desc, *driver, *device;
	int kick;          /* eventfds: there is something new, */
	int call;          /* … something was used, and the driver wants to know, */
	int fault;         /* … he cannot go on: for the class's fault */
};

/* The device runs, and memory may be written unseen: queues may be lent. */
bool virtio_may_lend(const struct virtio_device *dev);

/*
 * 0; -EPERM: virtio_may_lend says no, or the queue is not ready; -ENOTSUP: it is packed;
 * -EBUSY: some of its chains are the device's; -errno. Notifications that came before are repeated
 * once the borrower asks for them: he calls virtio_queue_remind when he is ready.
 */
int virtio_queue_lend(struct virtio_queue *queue, struct virtio_loan *loan);
void virtio_queue_remind(struct virtio_queue *queue);

/*
 * The borrower has ended: he took what is before position, gave back all of it, and forgets the
 * descriptors. Memory may have changed anywhere (dma_wrote_anywhere is the caller's, once for all
 * queues), and the device looks for what has come since.
 */
void virtio_queue_take_back(struct virtio_queue *queue, uint16_t position);

bool virtio_queue_is_lent(const struct virtio_queue *queue);

/* A piece of RAM, for borrowers who see it as it is here. */
struct virtio_memory {
	uint64_t gpa, bytes;
	uint8_t *host;
};

/* All that a driver may have buffers in that are written to: how many pieces; 0: more than max. */
unsigned virtio_lent_memory(const struct mem *mem, struct virtio_memory *memory, unsigned max);

#endif
