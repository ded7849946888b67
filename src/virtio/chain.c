/* SPDX-License-Identifier: MIT */
/*
 * From descriptors to buffers. Invariants: a descriptor is read once; a table's descriptor is
 * visited once at most, or the chain loops; out pieces come before in pieces; all of them lie in
 * RAM.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "virtio/ring.h"

#define SPARE_PIECES 16u /* for buffers that lie across the borders of regions */

bool ring_gather_add(struct virtio_queue *queue, struct ring_gather *gather,
		     const struct ring_desc *desc)
{
	if (gather->count == VIRTIO_CHAIN_MAX) {
		virtio_break(queue->dev, "queue %u: a chain of more than %u descriptors",
			     queue->index, VIRTIO_CHAIN_MAX);
		return false;
	}
	queue->scratch[gather->count++] = *desc;
	return true;
}

static bool load(struct virtio_queue *queue, const struct ring_table *table, unsigned index,
		 struct ring_desc *desc)
{
	_Alignas(16) uint8_t copy[sizeof(struct vring_desc)];

	if (index >= table->entries) {
		virtio_break(queue->dev, "queue %u: descriptor %u of %u", queue->index, index,
			     table->entries);
		return false;
	}
	if (table->host) {
		*desc = ring_load_desc(table->host + index * sizeof(copy));
		return true;
	}
	if (dma_read(&queue->dev->env->dma, table->gpa + index * sizeof(copy), copy,
		     sizeof(copy))) {
		virtio_break(queue->dev, "queue %u: an indirect table outside memory",
			     queue->index);
		return false;
	}
	*desc = queue->packed ? ring_load_packed_desc(copy) : ring_load_desc(copy);
	return true;
}

/* Whether desc may lead to an indirect table. */
static bool check_indirect(struct virtio_queue *queue, const struct ring_table *table,
			   const struct ring_desc *desc)
{
	if (table->host && !(desc->flags & VRING_DESC_F_NEXT) &&
	    virtio_has(queue->dev, VIRTIO_RING_F_INDIRECT_DESC))
		return true;
	virtio_break(queue->dev, "queue %u: an indirect descriptor where none may be",
		     queue->index);
	return false;
}

bool ring_gather_linked(struct virtio_queue *queue, struct ring_gather *gather,
			const struct ring_table *table, unsigned first)
{
	for (unsigned visited = 0, index = first; visited < table->entries; visited++) {
		struct ring_desc desc;

		if (!load(queue, table, index, &desc))
			return false;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return check_indirect(queue, table, &desc) &&
			       ring_gather_indirect(queue, gather, &desc, true);
		if (!ring_gather_add(queue, gather, &desc))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		index = desc.next;
	}
	virtio_break(queue->dev, "queue %u: a chain that loops", queue->index);
	return false;
}

bool ring_gather_indirect(struct virtio_queue *queue, struct ring_gather *gather,
			  const struct ring_desc *desc, bool linked)
{
	const struct ring_table table = {
		.gpa = desc->gpa, .entries = desc->len / sizeof(struct vring_desc),
	};

	if (!desc->len || desc->len % sizeof(struct vring_desc) ||
	    (!linked && table.entries > VIRTIO_CHAIN_MAX)) {
		virtio_break(queue->dev, "queue %u: an indirect table of %u bytes", queue->index,
			     desc->len);
		return false;
	}
	if (linked)
		return ring_gather_linked(queue, gather, &table, 0);
	for (unsigned i = 0; i < table.entries; i++) {
		struct ring_desc inner;

		if (!load(queue, &table, i, &inner) || !ring_gather_add(queue, gather, &inner))
			return false;
	}
	return true;
}

/* ---- chains ---- */

static struct ring_chain *allocate(unsigned pieces)
{
	struct ring_chain *chain;
	size_t bytes = sizeof(*chain) + pieces * (sizeof(struct iovec) + sizeof(uint64_t));

	chain = malloc(bytes);
	if (!chain)
		return NULL;
	*chain = (struct ring_chain){ .in_gpa = (uint64_t *)(chain->pieces + pieces) };
	chain->chain.out = chain->chain.in = chain->pieces;
	return chain;
}

/* Appends the pieces of one descriptor; false: what is wrong with it is in *wrong. */
static bool append(struct virtio_queue *queue, struct ring_chain *ring_chain,
		   const struct ring_desc *desc, unsigned room, const char **wrong)
{
	struct virtio_chain *chain = &ring_chain->chain;
	bool write = desc->flags & VRING_DESC_F_WRITE;
	unsigned have = chain->out_count + chain->in_count;
	uint64_t gpa = desc->gpa;
	int count;

	if (!write && chain->in_count) {
		*wrong = "a buffer to read behind one to write";
		return false;
	}
	/* Lengths are told to the driver in 32 bits. */
	if (chain->out_bytes + chain->in_bytes + desc->len > UINT32_MAX) {
		*wrong = "a chain of more than 4 GiB";
		return false;
	}
	count = dma_map(&queue->dev->env->dma, gpa, desc->len, write, ring_chain->pieces + have,
			room - have);
	if (count < 0) {
		*wrong = count == -EFAULT ? "a buffer outside memory" : "a buffer in many pieces";
		return false;
	}
	if (!write) {
		chain->out_count += (unsigned)count;
		chain->out_bytes += desc->len;
		chain->in = chain->out + chain->out_count;
		return true;
	}
	for (int i = 0; i < count; i++) {
		ring_chain->in_gpa[chain->in_count] = gpa;
		dma_hold(&queue->dev->env->dma, gpa, chain->in[chain->in_count].iov_len);
		gpa += chain->in[chain->in_count++].iov_len;
	}
	chain->in_bytes += desc->len;
	return true;
}

void ring_chain_free(struct virtio_queue *queue, struct ring_chain *ring_chain)
{
	const struct virtio_chain *chain = &ring_chain->chain;

	for (unsigned i = 0; i < chain->in_count; i++)
		dma_release(&queue->dev->env->dma, ring_chain->in_gpa[i], chain->in[i].iov_len);
	free(ring_chain);
}

struct ring_chain *ring_chain_make(struct virtio_queue *queue, const struct ring_gather *gather)
{
	unsigned room = gather->count + SPARE_PIECES;
	struct ring_chain *chain = allocate(room);
	const char *wrong = "the host has no memory";

	for (unsigned i = 0; chain && i < gather->count; i++) {
		if (append(queue, chain, &queue->scratch[i], room, &wrong))
			continue;
		ring_chain_free(queue, chain);
		chain = NULL;
	}
	if (!chain) {
		virtio_break(queue->dev, "queue %u: %s", queue->index, wrong);
		return NULL;
	}
	chain->id = gather->id;
	chain->slots = gather->slots;
	chain->generation = queue->dev->generation;
	return chain;
}

size_t virtio_chain_read(const struct virtio_chain *chain, size_t offset, void *data, size_t len)
{
	return iov_read(chain->out, chain->out_count, offset, data, len);
}

size_t virtio_chain_write(const struct virtio_chain *chain, size_t offset, const void *data,
			  size_t len)
{
	return iov_write(chain->in, chain->in_count, offset, data, len);
}

uint64_t virtio_chain_in_gpa(const struct virtio_chain *chain, unsigned piece)
{
	return ((const struct ring_chain *)chain)->in_gpa[piece];
}
