/* SPDX-License-Identifier: MIT */
/*
 * A wired OR: several devices on one interrupt wire, which is high while any of them drives it. The
 * owner zeroes it, sets out, and keeps it as long as its lines are used. Machine lock held.
 */
#ifndef RINGLET_DEV_IRQ_SHARE_H
#define RINGLET_DEV_IRQ_SHARE_H

#include <stdint.h>

#include "dev/irq.h"

#define IRQ_SHARE_INPUTS 32u

struct irq_share {
	struct irq_line out;
	uint32_t driven;
};

static inline void irq_share_set(void *opaque, unsigned input, bool level)
{
	struct irq_share *share = opaque;
	uint32_t before = share->driven;

	share->driven = level ? before | 1u << input : before & ~(1u << input);
	if (!before != !share->driven)
		irq_set(&share->out, share->driven);
}

/* input: below IRQ_SHARE_INPUTS, one for each device. */
static inline struct irq_line irq_share_line(struct irq_share *share, unsigned input)
{
	return (struct irq_line){ .set = irq_share_set, .opaque = share, .input = input };
}

#endif
