/* SPDX-License-Identifier: MIT */
/*
 * What transports (PCI, MMIO) use: the registers behind their registers. A transport is a struct
 * device that owns a struct virtio_device, destroys it with itself, and translates addresses into
 * these calls. Machine lock held.
 */
#ifndef RINGLET_VIRTIO_TRANSPORT_H
#define RINGLET_VIRTIO_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio.h"

/* What the core needs of a transport. */
struct virtio_transport {
	void (*queue_interrupt)(void *opaque, unsigned queue);
	void (*config_interrupt)(void *opaque);
	/* A reset that had to wait can take place: registers, and virtio_reset. */
	void (*reset)(void *opaque);
	/* The device may access memory. */
	bool (*is_master)(void *opaque);
	/*
	 * The eventfd that is signalled when the driver notifies a queue, and from now on is ours to
	 * wait for, or not. -1: there is none, virtio_kick alone is called. NULL: nor is there ever.
	 */
	int (*queue_doorbell)(void *opaque, unsigned queue, bool ours);
};

void virtio_attach(struct virtio_device *dev, const struct virtio_transport *transport,
		   void *opaque);

/* 32 bits of the features offered, taken; select counts from the lowest. */
uint32_t virtio_features_read(const struct virtio_device *dev, uint32_t select);
uint32_t virtio_driver_features_read(const struct virtio_device *dev, uint32_t select);
void virtio_driver_features_write(struct virtio_device *dev, uint32_t select, uint32_t value);

/* Status 0 is a reset: the transport resets its own registers, too. */
void virtio_status_write(struct virtio_device *dev, uint8_t value);
void virtio_reset(struct virtio_device *dev);
/*
 * Before a reset whose end the driver waits for. False: it cannot take place yet, and the
 * transport's reset is called when it can. Until then the status stays what it was.
 */
bool virtio_reset_begin(struct virtio_device *dev);

/* size: 1, 2 or 4. What lies outside reads as zeros. */
uint32_t virtio_config_read(const struct virtio_device *dev, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio_device *dev, uint64_t offset, unsigned size,
			 uint32_t value);

/* A queue's registers. Which one is not there reads as zeros and swallows writes. */
enum virtio_queue_area { VIRTIO_AREA_DESC, VIRTIO_AREA_DRIVER, VIRTIO_AREA_DEVICE, VIRTIO_AREAS };

unsigned virtio_queue_size_max(const struct virtio_device *dev, unsigned queue);
unsigned virtio_queue_size_read(const struct virtio_device *dev, unsigned queue);
void virtio_queue_size_write(struct virtio_device *dev, unsigned queue, unsigned size);
uint64_t virtio_queue_area_read(const struct virtio_device *dev, unsigned queue,
				enum virtio_queue_area area);
/* Replaces the bits of mask. */
void virtio_queue_area_write(struct virtio_device *dev, unsigned queue,
			     enum virtio_queue_area area, uint64_t mask, uint64_t value);
bool virtio_queue_enabled(const struct virtio_device *dev, unsigned queue);
void virtio_queue_enable(struct virtio_device *dev, unsigned queue);
/* For drivers that take back what they have set up; a device that runs breaks. */
void virtio_queue_disable(struct virtio_device *dev, unsigned queue);

/* The driver's notification. */
void virtio_kick(struct virtio_device *dev, unsigned queue);
/* All queues, since notifications may have been missed (bus mastering was off). */
void virtio_kick_all(struct virtio_device *dev);

/* For the class's settle, at any time. */
void virtio_settle(struct virtio_device *dev);

#endif
