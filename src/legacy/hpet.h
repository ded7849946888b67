/* SPDX-License-Identifier: MIT */
/*
 * A high precision event timer block (IA-PC HPET specification 1.0a): a 64-bit counter of 10 ns and
 * three comparators, all able to be periodic and 64 bits wide. Machine lock.
 *
 * Legacy replacement takes ISA interrupts 0 and 8 away from the PIT and the RTC. So those two are
 * wired to hpet_pit_line and hpet_rtc_line, and the HPET drives the interrupts themselves.
 */
#ifndef RINGLET_LEGACY_HPET_H
#define RINGLET_LEGACY_HPET_H

#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

#define HPET_DEFAULT_BASE 0xfed00000ull
#define HPET_BYTES 0x400u
#define HPET_COMPARATORS 3u
#define HPET_PERIOD_FS 10000000u
#define HPET_PINS 24u
/* The low half of the capabilities register, as the ACPI HPET table wants it. */
#define HPET_BLOCK_ID 0x8086a201u

struct hpet_config {
	uint64_t base;            /* 0: HPET_DEFAULT_BASE */
	struct irq_line irq0;     /* ISA interrupt 0: PIC 0 and I/O APIC pin 2 */
	struct irq_line irq8;     /* ISA interrupt 8 */
	struct irq_line pin[HPET_PINS]; /* I/O APIC; a comparator can use those that are wired */
	/* Message-signalled interrupts. NULL: none are offered. */
	void (*msi)(void *opaque, uint64_t address, uint32_t data);
	void *opaque;
};

int hpet_create(const struct device_env *env, const struct hpet_config *config,
		struct device **dev, struct error *err);

/* Where the PIT's and the RTC's outputs go. */
struct irq_line hpet_pit_line(struct device *dev);
struct irq_line hpet_rtc_line(struct device *dev);

#endif
