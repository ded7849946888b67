/* SPDX-License-Identifier: MIT */
/*
 * The chipset's ways to a reset: the reset control register (port 0xcf9, as in Intel's I/O hubs)
 * and system control port A (port 0x92: fast INIT and the A20 gate). Machine lock.
 *
 * Port 0xcf9 lies among the PCI configuration ports, so the host bridge hands it on through
 * reset_control_read and reset_control_write; a board without PCI lets this device map it.
 */
#ifndef RINGLET_LEGACY_RESET_H
#define RINGLET_LEGACY_RESET_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"

struct reset_config {
	bool map_reset_control; /* take port 0xcf9 itself */
	/* The guest resets the machine; called once a request. */
	void (*reset)(void *opaque);
	/* The A20 gate moves. May be NULL. */
	void (*a20)(void *opaque, bool open);
	void *opaque;
};

int reset_create(const struct device_env *env, const struct reset_config *config,
		 struct device **dev, struct error *err);

/* Port 0xcf9. opaque: the device. */
uint8_t reset_control_read(void *opaque);
void reset_control_write(void *opaque, uint8_t value);

#endif
