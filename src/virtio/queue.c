/* SPDX-License-Identifier: MIT */
/* Virtqueues: what both formats share. See queue.h and ring.h. */
#include <errno.h>
#include <stdlib.h>

#include "virtio/ring.h"

static const struct ring_format *format_of(const struct virtio_queue *queue)
{
	return queue->packed ? &ring_packed : &ring_split;
}

/* ---- registers ---- */

static struct virtio_queue *find(const struct virtio_device *dev, unsigned index)
{
	return index < dev->queue_count ? &dev->queues[index] : NULL;
}

unsigned virtio_queue_size_max(const struct virtio_device *dev, unsigned index)
{
	const struct virtio_queue *queue = find(dev, index);

	return queue ? queue->size_max : 0;
}

unsigned virtio_queue_size_read(const struct virtio_device *dev, unsigned index)
{
	const struct virtio_queue *queue = find(dev, index);

	return queue ? queue->size : 0;
}

void virtio_queue_size_write(struct virtio_device *dev, unsigned index, unsigned size)
{
	struct virtio_queue *queue = find(dev, index);

	if (!queue || size == queue->size)
		return;
	if (queue->enabled)
		virtio_break(dev, "queue %u: its size changed while it was live", index);
	else
		queue->size = size;
}

uint64_t virtio_queue_area_read(const struct virtio_device *dev, unsigned index,
				enum virtio_queue_area area)
{
	const struct virtio_queue *queue = find(dev, index);

	return queue ? queue->gpa[area] : 0;
}

void virtio_queue_area_write(struct virtio_device *dev, unsigned index,
			     enum virtio_queue_area area, uint64_t mask, uint64_t value)
{
	struct virtio_queue *queue = find(dev, index);
	uint64_t gpa;

	if (!queue)
		return;
	gpa = (queue->gpa[area] & ~mask) | (value & mask);
	if (gpa == queue->gpa[area])
		return;
	if (queue->enabled)
		virtio_break(dev, "queue %u moved while it was live", index);
	else
		queue->gpa[area] = gpa;
}

bool virtio_queue_enabled(const struct virtio_device *dev, unsigned index)
{
	const struct virtio_queue *queue = find(dev, index);

	return queue && queue->enabled;
}

static bool is_written(const struct virtio_queue *queue, enum virtio_queue_area area)
{
	return area == VIRTIO_AREA_DEVICE || (queue->packed && area == VIRTIO_AREA_DESC);
}

/* What we write of a ring is held for as long as that is live. */
static void each_written(struct virtio_queue *queue,
			 void (*act)(const struct dma *dma, uint64_t gpa, uint64_t len))
{
	for (enum virtio_queue_area area = 0; area < VIRTIO_AREAS; area++)
		if (is_written(queue, area))
			act(&queue->dev->env->dma, queue->gpa[area],
			    format_of(queue)->area_bytes(queue->size, area));
}

/* Areas must be aligned, and each in one region of RAM; the driver's may be ROM for all we care. */
static bool map_areas(struct virtio_queue *queue)
{
	static const unsigned split_align[] = { VRING_DESC_ALIGN_SIZE, VRING_AVAIL_ALIGN_SIZE,
						VRING_USED_ALIGN_SIZE };

	for (enum virtio_queue_area area = 0; area < VIRTIO_AREAS; area++) {
		unsigned bytes = format_of(queue)->area_bytes(queue->size, area);
		unsigned align = queue->packed && area ? 4 : split_align[area];
		struct iovec iov;

		if (queue->gpa[area] & (align - 1) ||
		    dma_map(&queue->dev->env->dma, queue->gpa[area], bytes,
			    is_written(queue, area), &iov, 1) != 1)
			return false;
		queue->host[area] = iov.iov_base;
	}
	return true;
}

static bool size_is_good(const struct virtio_queue *queue)
{
	return queue->size && queue->size <= queue->size_max &&
	       (queue->packed || !(queue->size & (queue->size - 1)));
}

void virtio_queue_enable(struct virtio_device *dev, unsigned index)
{
	struct virtio_queue *queue = find(dev, index);

	if (!queue || queue->enabled)
		return;
	queue->packed = virtio_has(dev, VIRTIO_F_RING_PACKED);
	if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		virtio_break(dev, "queue %u enabled before the features are settled", index);
		return;
	}
	if (!size_is_good(queue)) {
		virtio_break(dev, "queue %u: a ring of %u", index, queue->size);
		return;
	}
	if (!map_areas(queue)) {
		virtio_break(dev, "queue %u: its ring is not in memory", index);
		return;
	}
	if (!queue->scratch)
		queue->scratch = calloc(VIRTIO_CHAIN_MAX, sizeof(*queue->scratch));
	if (!queue->scratch) {
		virtio_break(dev, "queue %u: the host has no memory", index);
		return;
	}
	each_written(queue, dma_hold);
	queue->avail_wrap = queue->used_wrap = true;
	queue->enabled = true;
}

/* ---- life ---- */

static void queue_reset(struct virtio_queue *queue)
{
	if (queue->enabled)
		each_written(queue, dma_release);
	*queue = (struct virtio_queue){
		.dev = queue->dev, .index = queue->index, .size_max = queue->size_max,
		.size = queue->size_max, .scratch = queue->scratch,
		.counts = queue->counts,
	};
}

void virtio_queue_disable(struct virtio_device *dev, unsigned index)
{
	struct virtio_queue *queue = find(dev, index);

	if (!queue || !queue->enabled)
		return;
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_break(dev, "queue %u was taken away while it was live", index);
	else
		queue_reset(queue);
}

int ring_queues_create(struct virtio_device *dev, unsigned size)
{
	dev->queues = calloc(dev->queue_count, sizeof(*dev->queues));
	for (unsigned i = 0; dev->queues && i < dev->queue_count; i++)
		dev->queues[i] = (struct virtio_queue){ .dev = dev, .index = i, .size = size,
							.size_max = size };
	return dev->queues ? 0 : -ENOMEM;
}

void ring_queues_reset(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		queue_reset(&dev->queues[i]);
}

void ring_queues_destroy(struct virtio_device *dev)
{
	for (unsigned i = 0; dev->queues && i < dev->queue_count; i++)
		free(dev->queues[i].scratch);
	free(dev->queues);
}

/* ---- what devices call ---- */

struct virtio_queue *virtio_queue(struct virtio_device *dev, unsigned index)
{
	return find(dev, index);
}

unsigned virtio_queue_index(const struct virtio_queue *queue)
{
	return queue->index;
}

bool virtio_queue_ready(const struct virtio_queue *queue)
{
	const struct virtio_device *dev = queue->dev;

	return queue->enabled && !queue->loan && virtio_running(dev) &&
	       dev->transport->is_master(dev->transport_opaque);
}

/* A gathered chain to a struct; the ring cannot hold more than its size of them. */
static struct virtio_chain *take(struct virtio_queue *queue, const struct ring_gather *gather)
{
	struct ring_chain *chain;

	if (queue->in_flight == queue->size) {
		virtio_break(queue->dev, "queue %u: more chains than the ring has room for",
			     queue->index);
		return NULL;
	}
	chain = ring_chain_make(queue, gather);
	if (!chain)
		return NULL;
	queue->in_flight++;
	return &chain->chain;
}

struct virtio_chain *virtio_queue_pop(struct virtio_queue *queue)
{
	if (!virtio_queue_ready(queue))
		return NULL;
	/* What ask saw come is there the second time, unless the driver plays with us. */
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		struct ring_gather gather = { .count = 0 };
		int found = format_of(queue)->gather(queue, &gather);

		if (found > 0)
			return take(queue, &gather);
		if (found < 0 || format_of(queue)->ask(queue))
			return NULL;
	}
	return NULL;
}

static bool is_stale(const struct virtio_queue *queue, const struct virtio_chain *chain)
{
	return ((const struct ring_chain *)chain)->generation != queue->dev->generation;
}

/*
 * A chain's in part may have changed, all of it: what a device says that it wrote is what the driver is told, and an
 * attempt that was given up, or that found less the second time, may have written more.
 */
static void mark_written(struct virtio_queue *queue, const struct virtio_chain *chain)
{
	const uint64_t *gpa = ((const struct ring_chain *)chain)->in_gpa;

	for (unsigned i = 0; i < chain->in_count; i++)
		dma_wrote(&queue->dev->env->dma, gpa[i], chain->in[i].iov_len);
}

static void give_up(struct virtio_queue *queue, struct virtio_chain *chain)
{
	if (!is_stale(queue, chain))
		queue->in_flight--;
	ring_chain_free(queue, (struct ring_chain *)chain);
}

void virtio_chain_drop(struct virtio_queue *queue, struct virtio_chain *chain)
{
	mark_written(queue, chain);
	give_up(queue, chain);
}

void virtio_queue_unpop(struct virtio_queue *queue, struct virtio_chain *chain)
{
	if (!is_stale(queue, chain))
		format_of(queue)->unget(queue, (const struct ring_chain *)chain);
	give_up(queue, chain);
}

void virtio_queue_push_all(struct virtio_queue *queue, struct virtio_chain *const *chains,
			   const size_t *written, unsigned count)
{
	bool stale = count && is_stale(queue, chains[0]);

	for (unsigned i = 0; i < count; i++) {
		mark_written(queue, chains[i]);
		queue->counts.chains++;
		queue->counts.out_bytes += chains[i]->out_bytes;
		queue->counts.in_bytes += written[i];
	}
	if (count && !stale && virtio_queue_ready(queue)) {
		format_of(queue)->push(queue, chains, written, count);
		queue->unsignalled = true;
	}
	for (unsigned i = 0; i < count; i++)
		give_up(queue, chains[i]);
}

void virtio_queue_push(struct virtio_queue *queue, struct virtio_chain *chain, size_t written)
{
	virtio_queue_push_all(queue, &chain, &written, 1);
}

void virtio_queue_notify(struct virtio_queue *queue)
{
	struct virtio_device *dev = queue->dev;
	bool wanted;

	if (!queue->unsignalled || !virtio_queue_ready(queue))
		return;
	/* The driver writes its wish, then looks at what is used; we do it the other way about. */
	atomic_thread_fence(memory_order_seq_cst);
	wanted = format_of(queue)->wants_interrupt(queue);
	queue->unsignalled = false;
	queue->signalled = queue->next_used;
	queue->signalled_valid = true;
	if (!wanted)
		return;
	queue->counts.interrupts++;
	dev->transport->queue_interrupt(dev->transport_opaque, queue->index);
}
