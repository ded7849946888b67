/* SPDX-License-Identifier: MIT */
/*
 * Locks on ranges of guest clusters: a queue in the order of arrival. A range is locked when
 * nothing before it in the queue conflicts with it, so nobody waits for ever. The image's mutex
 * is held, and let go while waiting.
 */
#include "block/qcow2_image.h"

static bool conflict(const struct qcow2_range *a, const struct qcow2_range *b)
{
	return (a->alone || b->alone) && a->first <= b->last && b->first <= a->last;
}

static bool blocked(const struct qcow2 *image, const struct qcow2_range *range)
{
	for (const struct qcow2_range *r = image->ranges; r && r != range; r = r->next)
		if (conflict(r, range))
			return true;
	return false;
}

void qcow2_range_lock(struct qcow2 *image, struct qcow2_range *range)
{
	range->next = NULL;
	*image->last_range = range;
	image->last_range = &range->next;
	while (blocked(image, range))
		pthread_cond_wait(&image->range_left, &image->mutex);
}

void qcow2_range_unlock(struct qcow2 *image, struct qcow2_range *range)
{
	struct qcow2_range **link = &image->ranges;

	while (*link != range)
		link = &(*link)->next;
	*link = range->next;
	if (image->last_range == &range->next)
		image->last_range = link;
	pthread_cond_broadcast(&image->range_left);
}
