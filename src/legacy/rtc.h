/* SPDX-License-Identifier: MIT */
/*
 * The MC146818 real-time clock and CMOS memory of a PC (Motorola MC146818A data sheet), ports 0x70
 * and 0x71. It shows the host's time in UTC; a guest that sets it moves only its own. CMOS cells
 * are filled in as PC firmware reads them. Machine lock.
 */
#ifndef RINGLET_LEGACY_RTC_H
#define RINGLET_LEGACY_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

struct rtc_config {
	struct irq_line irq;       /* ISA interrupt 8 */
	uint64_t mem_low_bytes;    /* RAM below 4 GiB, from address 0 */
	uint64_t mem_high_bytes;   /* RAM from 4 GiB on */
	unsigned cpus;             /* for cell 0x5f: CPUs but the first */
	/* Nanoseconds since 1970 UTC; NULL: the host's clock. */
	uint64_t (*now_ns)(void *opaque);
	void *opaque;
};

int rtc_create(const struct device_env *env, const struct rtc_config *config, struct device **dev,
	       struct error *err);

/* A CMOS cell, for boards: boot order, floppies … 0x0e … 0x7f; kept over resets. */
void rtc_cmos_set(struct device *dev, uint8_t cell, uint8_t value);
uint8_t rtc_cmos_get(struct device *dev, uint8_t cell);

/* Port 0x70 bit 7: the board's NMI sources are cut off. */
bool rtc_nmi_masked(const struct device *dev);

#endif
