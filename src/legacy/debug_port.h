/* SPDX-License-Identifier: MIT */
/*
 * Ports that exist to be told something: the firmware's console (0x402; reads as 0xe9, which is how
 * firmware finds it), the same as Bochs' and Xen's guests know it (0xe9), and the POST code (0x80,
 * which guests also write to wait a microsecond). Text is logged line by line. Machine lock.
 */
#ifndef RINGLET_LEGACY_DEBUG_PORT_H
#define RINGLET_LEGACY_DEBUG_PORT_H

#include <stdint.h>

#include "dev/device.h"

struct debug_port_config {
	/* A line of printable text, without its end, NUL-terminated. NULL: to the log, as info. */
	void (*line)(void *opaque, const char *text);
	void *opaque;
};

int debug_port_create(const struct device_env *env, const struct debug_port_config *config,
		      struct device **dev, struct error *err);

#endif
