/* SPDX-License-Identifier: MIT */
/*
 * The pair of 8259A interrupt controllers of a PC (Intel 8259A data sheet; edge/level control
 * registers as in the 82371): ports 0x20, 0xa0 and 0x4d0. The slave is on the master's input 2.
 * Machine lock.
 */
#ifndef RINGLET_IRQCHIP_PIC_H
#define RINGLET_IRQCHIP_PIC_H

#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

#define PIC_INPUTS 16u

struct pic_config {
	struct irq_line intr; /* the processor's INTR, or LINT0 of its APIC */
};

int pic_create(const struct device_env *env, const struct pic_config *config, struct device **dev,
	       struct error *err);

/* ISA interrupt 0 … 15, but 2, which is the cascade. */
struct irq_line pic_line(struct device *dev, unsigned input);

/* The processor's INTA cycles: returns the vector, a spurious one when nothing is pending. */
int pic_acknowledge(struct device *dev);

#endif
