/* SPDX-License-Identifier: MIT */
/*
 * An I/O APIC with 24 pins (Intel 82093AA, with the EOI register of later ones: version 0x20).
 * Machine lock. A pin's wire carries "asserted", not a voltage: the polarity bit is kept but means
 * nothing here. Which source hangs on which pin is the board's.
 */
#ifndef RINGLET_IRQCHIP_IOAPIC_H
#define RINGLET_IRQCHIP_IOAPIC_H

#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

struct apic_message;

#define IOAPIC_DEFAULT_BASE 0xfec00000ull
#define IOAPIC_PINS 24u

struct ioapic_config {
	uint64_t base;
	uint8_t id; /* at reset; 4 bits, the guest may change it */
	/* Sends a message to the local APICs; the message is lent for the call. */
	void (*deliver)(void *opaque, const struct apic_message *message);
	/* What pin would send while it is unmasked and level-triggered has changed; NULL: nothing.
	 * May be NULL itself. */
	void (*level_changed)(void *opaque, unsigned pin, const struct apic_message *message);
	void *opaque;
};

int ioapic_create(const struct device_env *env, const struct ioapic_config *config,
		  struct device **dev, struct error *err);

struct irq_line ioapic_line(struct device *dev, unsigned pin);

/* Has level_changed called for all pins. */
void ioapic_announce(struct device *dev);

/* A local APIC ended a level-triggered interrupt with this vector. */
void ioapic_eoi(struct device *dev, uint8_t vector);

#endif
