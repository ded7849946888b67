/* SPDX-License-Identifier: MIT */
/*
 * For devices with several ranges on a bus: all of them or none, so that a constructor that fails
 * half-way takes nothing away from others. Machine lock held, or before the machine runs.
 */
#ifndef RINGLET_DEV_RANGES_H
#define RINGLET_DEV_RANGES_H

#include "dev/bus.h"

/* Adds count ranges; on failure none stays. -EEXIST, -ENOMEM. */
int ranges_add(struct bus *bus, const struct bus_range *ranges, unsigned count, struct error *err);

void ranges_remove(struct bus *bus, const struct bus_range *ranges, unsigned count);

#endif
