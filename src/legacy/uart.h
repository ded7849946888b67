/* SPDX-License-Identifier: MIT */
/*
 * A 16550A UART (National Semiconductor PC16550D data sheet) as on a PC: OUT2 opens the way to the
 * interrupt line. Machine lock. Characters take no time to leave; when the back end is full the
 * transmitter stays busy, so that nothing is lost.
 */
#ifndef RINGLET_LEGACY_UART_H
#define RINGLET_LEGACY_UART_H

#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

struct chardev;

#define UART_PORTS 8u

struct uart_config {
	uint16_t port; /* first of 8: COM1 … 4 are 0x3f8, 0x2f8, 0x3e8, 0x2e8 */
	struct irq_line irq;
	struct chardev *chardev; /* borrowed, outlives the UART; NULL: nothing is plugged in */
};

int uart_create(const struct device_env *env, const struct uart_config *config,
		struct device **dev, struct error *err);

#endif
