/* SPDX-License-Identifier: MIT */
/* nodes[1 … count] is a heap: no node is due before its parent, nodes[position / 2]. */
#include "host/timer_heap.h"

#include <errno.h>
#include <stdlib.h>

int timer_heap_adopt(struct timer_heap *heap, struct timer_node *node)
{
	if (heap->adopted + 1 >= heap->capacity) {
		unsigned capacity = heap->capacity ? heap->capacity * 2 : 16;
		struct timer_node **nodes;

		nodes = reallocarray(heap->nodes, capacity, sizeof(struct timer_node *));
		if (!nodes)
			return -ENOMEM;
		heap->nodes = nodes;
		heap->capacity = capacity;
	}
	heap->adopted++;
	node->position = 0;
	return 0;
}

void timer_heap_abandon(struct timer_heap *heap, struct timer_node *node)
{
	timer_heap_take(heap, node);
	heap->adopted--;
}

void timer_heap_release(struct timer_heap *heap)
{
	free(heap->nodes);
	*heap = (struct timer_heap){ 0 };
}

static void place(struct timer_heap *heap, struct timer_node *node, unsigned position)
{
	heap->nodes[position] = node;
	node->position = position;
}

/* Finds node's place at or above position, moving what is due later down. */
static void rise(struct timer_heap *heap, struct timer_node *node, unsigned position)
{
	while (position > 1 && node->deadline_ns < heap->nodes[position / 2]->deadline_ns) {
		place(heap, heap->nodes[position / 2], position);
		position /= 2;
	}
	place(heap, node, position);
}

/* Finds node's place at or below position, moving what is due earlier up. */
static void sink(struct timer_heap *heap, struct timer_node *node, unsigned position)
{
	unsigned child;

	while ((child = position * 2) <= heap->count) {
		if (child < heap->count &&
		    heap->nodes[child + 1]->deadline_ns < heap->nodes[child]->deadline_ns)
			child++;
		if (node->deadline_ns <= heap->nodes[child]->deadline_ns)
			break;
		place(heap, heap->nodes[child], position);
		position = child;
	}
	place(heap, node, position);
}

static void settle(struct timer_heap *heap, struct timer_node *node, unsigned position)
{
	rise(heap, node, position);
	sink(heap, node, node->position);
}

void timer_heap_put(struct timer_heap *heap, struct timer_node *node, uint64_t deadline_ns)
{
	node->deadline_ns = deadline_ns;
	settle(heap, node, node->position ? node->position : ++heap->count);
}

void timer_heap_take(struct timer_heap *heap, struct timer_node *node)
{
	unsigned position = node->position;
	struct timer_node *last;

	if (!position)
		return;
	last = heap->nodes[heap->count--];
	node->position = 0;
	if (last != node)
		settle(heap, last, position);
}

struct timer_node *timer_heap_first(const struct timer_heap *heap)
{
	return heap->count ? heap->nodes[1] : NULL;
}
