/* SPDX-License-Identifier: MIT */
/*
 * Timers in order of their deadlines: a binary heap of nodes that the callers own. Room for a node
 * is made when the heap adopts it, so that putting it in cannot fail. The caller serialises.
 */
#ifndef RINGLET_HOST_TIMER_HEAP_H
#define RINGLET_HOST_TIMER_HEAP_H

#include <stdint.h>

struct timer_node {
	uint64_t deadline_ns;
	unsigned position; /* in the heap, from 1; 0: not in it */
};

struct timer_heap {
	struct timer_node **nodes;
	unsigned count;   /* in the heap */
	unsigned adopted; /* nodes that have a place reserved */
	unsigned capacity;
};

/* Reserves a place for node (zeroed by its owner). 0 or -ENOMEM. */
int timer_heap_adopt(struct timer_heap *heap, struct timer_node *node);
/* Takes node out and gives its place back. */
void timer_heap_abandon(struct timer_heap *heap, struct timer_node *node);
void timer_heap_release(struct timer_heap *heap);

/* Puts an adopted node in, or moves it. */
void timer_heap_put(struct timer_heap *heap, struct timer_node *node, uint64_t deadline_ns);
/* Takes node out; nothing happens when it is not in. */
void timer_heap_take(struct timer_heap *heap, struct timer_node *node);

/* The node with the earliest deadline, or NULL. */
struct timer_node *timer_heap_first(const struct timer_heap *heap);

#endif
