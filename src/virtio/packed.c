/* SPDX-License-Identifier: MIT */
/*
 * Packed virtqueues (virtio 1.2, 2.8). Areas:
 *   desc    { address, length, id, flags }[size], which driver and device write in turn
 *   driver  when the driver wants interrupts: offset and wrap counter, flags
 *   device  when we want notifications: the same
 * A descriptor is available when its AVAIL flag equals the driver's wrap counter and its USED flag
 * does not; it is used when both equal the device's. Positions are slots below size.
 */
#include "virtio/ring.h"

#define DESC_BYTES 16u
#define DESC_ID 12u
#define DESC_FLAGS 14u
#define EVENT_FLAGS 2u
#define EVENT_BYTES 4u

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)
#define EVENT_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static unsigned area_bytes(unsigned size, enum virtio_queue_area area)
{
	return area == VIRTIO_AREA_DESC ? size * DESC_BYTES : EVENT_BYTES;
}

static uint8_t *slot_at(const struct virtio_queue *queue, unsigned slot)
{
	return queue->host[VIRTIO_AREA_DESC] + slot * DESC_BYTES;
}

static bool is_available(const struct virtio_queue *queue)
{
	uint16_t flags = ring_load16(slot_at(queue, queue->next_avail) + DESC_FLAGS);

	return !!(flags & AVAIL) == queue->avail_wrap && !!(flags & USED) != queue->avail_wrap;
}

static void go_on(struct virtio_queue *queue, unsigned slots)
{
	unsigned next = queue->next_avail + slots;

	queue->avail_wrap ^= next >= queue->size;
	queue->next_avail = (uint16_t)(next >= queue->size ? next - queue->size : next);
}

static bool gather_one(struct virtio_queue *queue, struct ring_gather *gather,
		       const struct ring_desc *desc)
{
	if (!(desc->flags & VRING_DESC_F_INDIRECT))
		return ring_gather_add(queue, gather, desc);
	if (gather->slots == 1 && !(desc->flags & VRING_DESC_F_NEXT) &&
	    virtio_has(queue->dev, VIRTIO_RING_F_INDIRECT_DESC))
		return ring_gather_indirect(queue, gather, desc, false);
	virtio_break(queue->dev, "queue %u: an indirect descriptor where none may be",
		     queue->index);
	return false;
}

static int gather(struct virtio_queue *queue, struct ring_gather *gather)
{
	unsigned slot = queue->next_avail;
	struct ring_desc desc;

	if (!is_available(queue))
		return 0;
	do {
		if (gather->slots == queue->size) {
			virtio_break(queue->dev, "queue %u: a chain longer than the ring",
				     queue->index);
			return -1;
		}
		desc = ring_load_packed_desc(slot_at(queue, slot));
		gather->slots++;
		gather->id = desc.next;
		if (!gather_one(queue, gather, &desc))
			return -1;
		slot = slot + 1 == queue->size ? 0 : slot + 1;
	} while (desc.flags & VRING_DESC_F_NEXT);
	go_on(queue, gather->slots);
	return 1;
}

static void unget(struct virtio_queue *queue, const struct ring_chain *chain)
{
	bool wraps = queue->next_avail < chain->slots;

	queue->avail_wrap ^= wraps;
	queue->next_avail = (uint16_t)(queue->next_avail + (wraps ? queue->size : 0) -
				       chain->slots);
}

static bool ask(struct virtio_queue *queue)
{
	uint8_t *event = queue->host[VIRTIO_AREA_DEVICE];

	if (!virtio_has(queue->dev, VIRTIO_RING_F_EVENT_IDX))
		return true;
	ring_store16(event, queue->next_avail | (queue->avail_wrap ? EVENT_WRAP : 0));
	ring_store16(event + EVENT_FLAGS, VRING_PACKED_EVENT_FLAG_DESC);
	ring_wrote(queue, VIRTIO_AREA_DEVICE, 0, EVENT_BYTES);
	/* The driver adds, then looks at the event; we write the event, then look for more. */
	atomic_thread_fence(memory_order_seq_cst);
	return !is_available(queue);
}

static uint16_t used_flags(const struct virtio_queue *queue, size_t written)
{
	return (uint16_t)((queue->used_wrap ? AVAIL | USED : 0) |
			  (written ? VRING_DESC_F_WRITE : 0));
}

static void use_slots(struct virtio_queue *queue, unsigned slots)
{
	unsigned next = queue->next_used + slots;

	if (next >= queue->size) {
		next -= queue->size;
		queue->used_wrap = !queue->used_wrap;
		/* Whether the position that was signalled is passed can no longer be told. */
		queue->signalled_valid = false;
	}
	queue->next_used = (uint16_t)next;
}

/* The flags of the first entry come last: they make all of them visible. */
static void push(struct virtio_queue *queue, struct virtio_chain *const *chains,
		 const size_t *written, unsigned count)
{
	unsigned first = queue->next_used;
	uint16_t first_flags = used_flags(queue, written[0]);

	for (unsigned i = 0; i < count; i++) {
		const struct ring_chain *chain = (const struct ring_chain *)chains[i];
		uint8_t *entry = slot_at(queue, queue->next_used);

		*(volatile uint32_t *)(entry + 8) = (uint32_t)written[i];
		*(volatile uint16_t *)(entry + DESC_ID) = chain->id;
		if (i)
			ring_store16(entry + DESC_FLAGS, used_flags(queue, written[i]));
		ring_wrote(queue, VIRTIO_AREA_DESC, queue->next_used * DESC_BYTES, DESC_BYTES);
		use_slots(queue, chain->slots);
	}
	ring_store16(slot_at(queue, first) + DESC_FLAGS, first_flags);
	ring_wrote(queue, VIRTIO_AREA_DESC, first * DESC_BYTES, DESC_BYTES);
}

static bool wants_interrupt(struct virtio_queue *queue)
{
	const uint8_t *event = queue->host[VIRTIO_AREA_DRIVER];
	uint16_t flags = ring_load16(event + EVENT_FLAGS), position = ring_load16(event);
	uint16_t at = position & (uint16_t)~EVENT_WRAP;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC ||
	    !virtio_has(queue->dev, VIRTIO_RING_F_EVENT_IDX))
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (!!(position & EVENT_WRAP) != queue->used_wrap)
		at = (uint16_t)(at - queue->size);
	return !queue->signalled_valid ||
	       vring_need_event(at, queue->next_used, queue->signalled);
}

const struct ring_format ring_packed = {
	.area_bytes = area_bytes,
	.gather = gather,
	.unget = unget,
	.ask = ask,
	.push = push,
	.wants_interrupt = wants_interrupt,
};
