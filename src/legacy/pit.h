/* SPDX-License-Identifier: MIT */
/*
 * The 8254 interval timer of a PC (Intel 8254 data sheet), ports 0x40 … 0x43, and port 0x61, which
 * gates its channel 2 and shows its output. Machine lock.
 */
#ifndef RINGLET_LEGACY_PIT_H
#define RINGLET_LEGACY_PIT_H

#include "dev/device.h"
#include "dev/irq.h"

struct pit_config {
	struct irq_line irq; /* channel 0's output: rises at each tick */
};

int pit_create(const struct device_env *env, const struct pit_config *config, struct device **dev,
	       struct error *err);

#endif
