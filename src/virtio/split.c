/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues (virtio 1.2, 2.7). Areas:
 *   desc    struct vring_desc[size]
 *   driver  flags, idx, ring[size], used_event      (16 bits each)
 *   device  flags, idx, { id, len }[size], avail_event
 * Positions count on through 16 bits; the size is a power of two.
 */
#include "virtio/ring.h"

#define AVAIL_IDX 2u
#define AVAIL_RING 4u
#define USED_IDX 2u
#define USED_RING 4u
#define USED_ENTRY_BYTES 8u

static unsigned area_bytes(unsigned size, enum virtio_queue_area area)
{
	switch (area) {
	case VIRTIO_AREA_DESC:
		return size * (unsigned)sizeof(struct vring_desc);
	case VIRTIO_AREA_DRIVER:
		return AVAIL_RING + 2 * size + 2;
	default:
		return USED_RING + USED_ENTRY_BYTES * size + 2;
	}
}

static uint16_t avail_idx(const struct virtio_queue *queue)
{
	return ring_load16(queue->host[VIRTIO_AREA_DRIVER] + AVAIL_IDX);
}

static int gather(struct virtio_queue *queue, struct ring_gather *gather)
{
	const struct ring_table table = { .host = queue->host[VIRTIO_AREA_DESC],
					  .entries = queue->size };
	uint16_t waiting = (uint16_t)(avail_idx(queue) - queue->next_avail);
	unsigned slot = queue->next_avail & (queue->size - 1);

	if (!waiting)
		return 0;
	if (waiting > queue->size) {
		virtio_break(queue->dev, "queue %u: %u chains available in a ring of %u",
			     queue->index, waiting, queue->size);
		return -1;
	}
	gather->id = ring_load16(queue->host[VIRTIO_AREA_DRIVER] + AVAIL_RING + 2 * slot);
	gather->slots = 1;
	queue->next_avail++;
	return ring_gather_linked(queue, gather, &table, gather->id) ? 1 : -1;
}

static void unget(struct virtio_queue *queue, const struct ring_chain *chain)
{
	(void)chain;
	queue->next_avail--;
}

static bool ask(struct virtio_queue *queue)
{
	unsigned event = USED_RING + USED_ENTRY_BYTES * queue->size;

	if (!virtio_has(queue->dev, VIRTIO_RING_F_EVENT_IDX))
		return true;
	ring_store16(queue->host[VIRTIO_AREA_DEVICE] + event, queue->next_avail);
	ring_wrote(queue, VIRTIO_AREA_DEVICE, event, 2);
	/* The driver adds, then looks at the event; we write the event, then look for more. */
	atomic_thread_fence(memory_order_seq_cst);
	return avail_idx(queue) == queue->next_avail;
}

static void push(struct virtio_queue *queue, struct virtio_chain *const *chains,
		 const size_t *written, unsigned count)
{
	uint8_t *used = queue->host[VIRTIO_AREA_DEVICE];

	for (unsigned i = 0; i < count; i++) {
		const struct ring_chain *chain = (const struct ring_chain *)chains[i];
		unsigned slot = (queue->next_used + i) & (queue->size - 1);
		unsigned offset = USED_RING + USED_ENTRY_BYTES * slot;

		*(volatile uint32_t *)(used + offset) = chain->id;
		*(volatile uint32_t *)(used + offset + 4) = (uint32_t)written[i];
		ring_wrote(queue, VIRTIO_AREA_DEVICE, offset, USED_ENTRY_BYTES);
	}
	queue->next_used = (uint16_t)(queue->next_used + count);
	ring_store16(used + USED_IDX, queue->next_used);
	ring_wrote(queue, VIRTIO_AREA_DEVICE, USED_IDX, 2);
}

static bool wants_interrupt(struct virtio_queue *queue)
{
	const uint8_t *driver = queue->host[VIRTIO_AREA_DRIVER];

	if (!virtio_has(queue->dev, VIRTIO_RING_F_EVENT_IDX))
		return !(ring_load16(driver) & VRING_AVAIL_F_NO_INTERRUPT);
	return !queue->signalled_valid ||
	       vring_need_event(ring_load16(driver + AVAIL_RING + 2 * queue->size),
				queue->next_used, queue->signalled);
}

const struct ring_format ring_split = {
	.area_bytes = area_bytes,
	.gather = gather,
	.unget = unget,
	.ask = ask,
	.push = push,
	.wants_interrupt = wants_interrupt,
};
