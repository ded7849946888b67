/* SPDX-License-Identifier: MIT */
/*
 * Virtio devices (OASIS virtio 1.2), as their authors see them; docs/VIRTIO.md shows one whole. A
 * device is a file: a state struct that begins with struct virtio_device, a const class, and
 *     int virtio_thing_create(const struct device_env *env,
 *                             const struct virtio_thing_config *config,
 *                             struct virtio_device **dev, struct error *err);
 * It knows its queues and its configuration bytes; registers, rings, negotiation and interrupts are
 * here and in the transport that takes the device over.
 *
 * Every call of the class comes with the machine lock held, on the loop's thread or a CPU's. What
 * takes long goes to threads of the device's own (host/workers.h), which come back by loop_post or
 * loop_timer_arm, for queues may be touched with the lock held only.
 */
#ifndef RINGLET_VIRTIO_VIRTIO_H
#define RINGLET_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "dev/device.h"
#include "virtio/queue.h"

struct error;
struct json;
struct loop_timer;
struct virtio_device;
struct virtio_queue;
struct virtio_transport;

struct virtio_class {
	const char *name;   /* "virtio-rng" */
	uint16_t id;        /* VIRTIO_ID_… of linux/virtio_ids.h */
	uint32_t pci_class; /* class, subclass, interface */
	/*
	 * handle runs on the loop's thread after a notification instead of inside it, on the CPU's:
	 * for what takes long enough that the guest should run meanwhile.
	 */
	bool deferred;
	/* The driver made buffers available. Only while the device runs. */
	void (*handle)(struct virtio_device *dev, struct virtio_queue *queue);
	/* The driver is ready; driver_features are settled. May be NULL. */
	void (*start)(struct virtio_device *dev);
	/*
	 * The driver asks for a reset, and looks until it is done. False: stop would have to wait for
	 * something; virtio_quiet is called when it need not. Meanwhile the device does not run. May be
	 * NULL.
	 */
	bool (*quiesce)(struct virtio_device *dev);
	/*
	 * The device no longer runs (a reset; only after start). On return nothing touches guest
	 * memory any more, chains that were popped are dropped, or pushed if something was written to
	 * them (which then counts as written, and no more), and the state is as it was before start.
	 * May be NULL.
	 */
	void (*stop)(struct virtio_device *dev);
	/*
	 * Whether a queue may be lent (loan.h) can have changed: env's unseen_writes, bus mastering,
	 * what the device broke by. Only between start and stop. May be NULL.
	 */
	void (*settle)(struct virtio_device *dev);
	/* Whom a queue is, or was, lent to says that he cannot go on. Of devices that lend. */
	void (*fault)(struct virtio_device *dev, struct virtio_queue *queue);
	/* The driver wrote size bytes of configuration. NULL: it is read-only. */
	void (*config_write)(struct virtio_device *dev, unsigned offset, unsigned size,
			     uint32_t value);
	/* For --dry-run: members of the object that is open in json. May be NULL. */
	void (*describe)(const struct virtio_device *dev, struct json *json);
	/* Frees the device; stop has been called. */
	void (*destroy)(struct virtio_device *dev);
};

/* Memory that device and driver share (2.10), its number 0: a window of mem/window.h. bytes 0: none. */
struct virtio_window {
	uint64_t gpa, bytes;
};

struct virtio_device {
	const struct virtio_class *class;
	const struct device_env *env;
	uint64_t features;        /* offered; the core adds those of rings and transport */
	uint64_t driver_features; /* taken by the driver */
	const void *config;       /* device-specific configuration, little-endian */
	size_t config_bytes;
	unsigned queue_count;
	struct virtio_window window;
	struct log_limit log_limit;

	/* the core's own */
	struct virtio_queue *queues;
	uint8_t status;
	uint8_t config_generation;
	uint32_t generation; /* counts resets */
	bool resetting;      /* virtio_quiet is awaited, or stop runs */
	const struct virtio_transport *transport;
	void *transport_opaque;
	struct loop_timer *deferral;
	uint64_t deferred_queues; /* a bit each */
};

struct virtio_setup {
	const struct virtio_class *class;
	const struct device_env *env;
	uint64_t features;
	const void *config; /* lives as long as the device */
	size_t config_bytes;
	unsigned queue_count; /* 1 … 64 */
	unsigned queue_size;  /* the largest: a power of two up to VIRTIO_QUEUE_SIZE_MAX */
	struct virtio_window window;
};

/* dev is zeroed memory within the device's own struct. 0 or -errno. */
int virtio_device_init(struct virtio_device *dev, const struct virtio_setup *setup,
		       struct error *err);
/* In destroy, and in a constructor that fails after init. */
void virtio_device_release(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, unsigned feature_bit)
{
	return dev->driver_features >> feature_bit & 1;
}

/* The driver is ready and nothing is broken. */
bool virtio_running(const struct virtio_device *dev);

/* What went through its queues, as members of the object that is open in json. */
void virtio_device_count(const struct virtio_device *dev, struct json *json);

/* What quiesce waited for is over: the reset takes place. */
void virtio_quiet(struct virtio_device *dev);

/* The device changed its configuration bytes: the driver is told. */
void virtio_config_changed(struct virtio_device *dev);

/* The driver broke the rules: log, DEVICE_NEEDS_RESET, nothing moves until the reset. */
void virtio_break(struct virtio_device *dev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
