/* SPDX-License-Identifier: MIT */
/*
 * Inside a virtqueue, for the files that implement it: queue.c (what both formats share), split.c,
 * packed.c, chain.c. Machine lock held.
 *
 * A ring's three areas are mapped when the driver enables the queue and stay where they are until
 * the reset. Everything in them may change under our eyes: the functions below read each field
 * once.
 */
#ifndef RINGLET_VIRTIO_RING_H
#define RINGLET_VIRTIO_RING_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>

#include "virtio/transport.h"

/* A descriptor as it was when we read it. */
struct ring_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* packed: the buffer's ID */
};

/* A chain with what the core remembers of it. */
struct ring_chain {
	struct virtio_chain chain; /* must be first */
	uint16_t id;
	uint16_t slots;      /* packed: descriptors it takes in the ring */
	uint32_t generation; /* of the device, when it was popped */
	uint64_t *in_gpa;    /* of each piece of in */
	struct iovec pieces[];
};

/* Of chains that were given back, by us: who borrows a queue tells of its interrupts alone. */
struct virtio_counts {
	uint64_t chains, out_bytes, in_bytes, interrupts, loans;
};

struct virtio_queue {
	struct virtio_device *dev;
	unsigned index;
	unsigned size_max;
	unsigned size; /* chosen by the driver */
	bool enabled;
	bool packed;
	uint64_t gpa[VIRTIO_AREAS];
	uint8_t *host[VIRTIO_AREAS];
	unsigned in_flight; /* chains that are the device's */

	/* Positions; packed: slots of the ring, with the wrap counters below. */
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap;
	bool unsignalled;      /* something was pushed since the driver was last told */
	uint16_t signalled;    /* next_used then … */
	bool signalled_valid;  /* … if that is known */

	struct ring_loan *loan;    /* loan.c's, while it is lent; else NULL */
	struct ring_desc *scratch; /* VIRTIO_CHAIN_MAX, of the chain being read */
	struct virtio_counts counts; /* outlive resets */
};

/* Descriptors that have been gathered into queue->scratch. */
struct ring_gather {
	unsigned count;
	uint16_t id, slots;
};

/* ---- a format's functions; those that return int: 1 found, 0 nothing there, < 0 broken ---- */

struct ring_format {
	unsigned (*area_bytes)(unsigned size, enum virtio_queue_area area);
	/* Reads the next chain's descriptors and goes past it. */
	int (*gather)(struct virtio_queue *queue, struct ring_gather *gather);
	void (*unget)(struct virtio_queue *queue, const struct ring_chain *chain);
	/* Asks for a notification; false: something has come meanwhile. */
	bool (*ask)(struct virtio_queue *queue);
	/* Gives chains back, all visible at once. */
	void (*push)(struct virtio_queue *queue, struct virtio_chain *const *chains,
		     const size_t *written, unsigned count);
	bool (*wants_interrupt)(struct virtio_queue *queue);
};

extern const struct ring_format ring_split, ring_packed;

/* ---- for the formats ---- */

/* A table of descriptors: a split ring's own or, with host NULL, an indirect one. */
struct ring_table {
	const uint8_t *host;
	uint64_t gpa;
	unsigned entries;
};

/* One more descriptor; false: broken. */
bool ring_gather_add(struct virtio_queue *queue, struct ring_gather *gather,
		     const struct ring_desc *desc);
/* The descriptors from first on, each naming the next; false: broken. */
bool ring_gather_linked(struct virtio_queue *queue, struct ring_gather *gather,
			const struct ring_table *table, unsigned first);
/* Those of the indirect table that desc describes, linked or in sequence; false: broken. */
bool ring_gather_indirect(struct virtio_queue *queue, struct ring_gather *gather,
			  const struct ring_desc *desc, bool linked);

/* The descriptor at host, which is 16-byte aligned guest memory. */
static inline struct ring_desc ring_load_desc(const uint8_t *host)
{
	const volatile uint64_t *words = (const volatile uint64_t *)host;
	uint64_t gpa = words[0], rest = words[1];

	return (struct ring_desc){ .gpa = gpa, .len = (uint32_t)rest,
				   .flags = (uint16_t)(rest >> 32),
				   .next = (uint16_t)(rest >> 48) };
}

/* The same in a packed ring, where the buffer's ID comes before the flags. */
static inline struct ring_desc ring_load_packed_desc(const uint8_t *host)
{
	struct ring_desc desc = ring_load_desc(host);

	return (struct ring_desc){ .gpa = desc.gpa, .len = desc.len, .flags = desc.next,
				   .next = desc.flags };
}

static inline uint16_t ring_load16(const uint8_t *host)
{
	return atomic_load_explicit((const _Atomic uint16_t *)host, memory_order_acquire);
}

static inline void ring_store16(uint8_t *host, uint16_t value)
{
	atomic_store_explicit((_Atomic uint16_t *)host, value, memory_order_release);
}

/* Our write at offset of an area: for dirty pages and code. */
static inline void ring_wrote(struct virtio_queue *queue, enum virtio_queue_area area,
			      uint64_t offset, uint64_t len)
{
	dma_wrote(&queue->dev->env->dma, queue->gpa[area] + offset, len);
}

/* Makes the chain of what was gathered; NULL: broken, or no memory. */
struct ring_chain *ring_chain_make(struct virtio_queue *queue, const struct ring_gather *gather);
void ring_chain_free(struct virtio_queue *queue, struct ring_chain *chain);

/* ---- loan.c ---- */

/* The driver notifies a queue that is lent, by way of us. */
void ring_loan_kick(struct virtio_queue *queue);

/* ---- for device.c ---- */

/* 0, or -ENOMEM. */
int ring_queues_create(struct virtio_device *dev, unsigned size);
void ring_queues_reset(struct virtio_device *dev);
void ring_queues_destroy(struct virtio_device *dev);

#endif
