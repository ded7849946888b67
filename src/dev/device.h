/* SPDX-License-Identifier: MIT */
/*
 * A device: a state struct that begins with struct device, one const class, and a constructor
 *     int thing_create(const struct device_env *env, const struct thing_config *config,
 *                      struct device **dev, struct error *err);
 * The board creates devices in order, the VM owns them and destroys them in reverse. A device knows
 * its environment only: never the VM, never an accelerator. All calls come with the machine lock
 * held (or before the machine runs).
 */
#ifndef RINGLET_DEV_DEVICE_H
#define RINGLET_DEV_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dev/dma.h"

struct bus;
struct device;
struct error;
struct json;
struct loop;
struct mem;

/* Lent to every device for its whole life. */
struct device_env {
	struct loop *loop;
	struct dma dma; /* guest memory */
	struct mem *mem; /* its regions, for who needs to know them */
	struct bus *pio;
	struct bus *mmio;
	bool doorbells; /* somebody listens to those of the buses' ranges */
	/* Now others than devices may write to memory without saying so: CPUs run, and who runs them
	 * keeps nothing that was made of what was there. */
	bool unseen_writes;
	/* Has the machine stand soon, until its user lets it go on. */
	void (*pause)(void *opaque);
	/* The CPU that accesses a device (its number, as buses tell it) goes no further than this
	 * access, until it is not held any more. */
	void (*hold)(void *opaque, int cpu, bool held);
	void *opaque; /* of these */
};

/* One field of a device's state, for snapshots: where it lies and how long it is. */
struct state_field {
	const char *name;
	size_t offset;
	size_t size_bytes;
};

#define STATE_FIELD(type, member) \
	{ #member, offsetof(type, member), sizeof(((type *)0)->member) }
#define STATE_FIELDS_END { NULL, 0, 0 }

struct device_class {
	const char *name;
	/* Power-on state; also on a machine reset. */
	void (*reset)(struct device *dev);
	void (*destroy)(struct device *dev);
	/* env's unseen_writes has changed: on return nobody whom the device has sent writes any more,
	 * if nobody may. May be NULL. */
	void (*settle)(struct device *dev);
	/* For --dry-run: members of the object that is open in json. May be NULL. */
	void (*describe)(const struct device *dev, struct json *json);
	/* What it has counted since the machine began, likewise, for people. May be NULL. */
	void (*count)(const struct device *dev, struct json *json);
	/* The snapshot's fields, ended by STATE_FIELDS_END; NULL: no state. */
	const struct state_field *fields;
	/* After the fields were overwritten: bring timers and lines in agreement with them; may be NULL. */
	void (*restored)(struct device *dev);
};

struct device {
	const struct device_class *class;
};

#endif
