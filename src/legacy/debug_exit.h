/* SPDX-License-Identifier: MIT */
/*
 * A port through which a test ends its machine: writing V reports V, from which the process's exit
 * status V << 1 | 1 is made. Machine lock.
 */
#ifndef RINGLET_LEGACY_DEBUG_EXIT_H
#define RINGLET_LEGACY_DEBUG_EXIT_H

#include <stdint.h>

#include "dev/device.h"

#define DEBUG_EXIT_PORTS 4u

struct debug_exit_config {
	uint16_t port; /* first of 4; usually 0xf4 */
	void (*exit)(void *opaque, uint32_t value);
	void *opaque;
};

int debug_exit_create(const struct device_env *env, const struct debug_exit_config *config,
		      struct device **dev, struct error *err);

#endif
