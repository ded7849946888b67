/* SPDX-License-Identifier: MIT */
/* One interrupt wire: a device drives it, an interrupt controller (or a router) listens. */
#ifndef RINGLET_DEV_IRQ_H
#define RINGLET_DEV_IRQ_H

#include <stdbool.h>
#include <stddef.h>

struct irq_line {
	void (*set)(void *opaque, unsigned input, bool level);
	void *opaque;
	unsigned input;
};

/* Drives the wire; a line that is connected to nothing swallows it. Machine lock held. */
static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->opaque, line->input, level);
}

#endif
