/* SPDX-License-Identifier: MIT */
/*
 * What the devices' fuzz targets share: buses, memory and a loop for the device under test, and an
 * interpreter that reads an input as the life of a machine: accesses to whatever the
 * device has on the buses, time that passes, what the host does, resets, snapshots.
 */
#ifndef RINGLET_TESTS_FUZZ_DEVICE_TARGET_H
#define RINGLET_TESTS_FUZZ_DEVICE_TARGET_H

#include <stdbool.h>

#include "dev/device.h"
#include "dev/irq.h"
#include "input.h"

#define TARGET_RAM (1u << 20)
#define TARGET_DEVICES 4

struct device_target {
	struct device_env env; /* 1 MiB of RAM at 0 */
	unsigned cpus;         /* that access devices */
	struct device *device[TARGET_DEVICES]; /* destroyed in reverse */
	unsigned devices;
	uint64_t lines; /* levels, by the line's number below 64 */
	/* The host's side of the device; may be NULL. Machine lock held, unless event_unlocked. */
	void (*event)(struct device_target *target, struct fuzz_input *input);
	bool event_unlocked;
};

/* One input: setup creates the device, the rest is done here. Returns 0. */
int device_target_fuzz(const uint8_t *data, size_t size,
		       void (*setup)(struct device_target *target));

/* In setup: ret is what the constructor of device[devices] returned. Aborts when it failed. */
void device_target_keep(struct device_target *target, int ret);

/* A wire whose far end only remembers its level. */
struct irq_line device_target_line(struct device_target *target, unsigned number);

#endif
