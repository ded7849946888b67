/* SPDX-License-Identifier: MIT */
/*
 * Virtio over MMIO (virtio 1.2, 4.2), version 2: a page of registers and one interrupt wire a
 * device, for machines that have no PCI bus or whose guest shall not look for one. Machine lock
 * held.
 */
#ifndef RINGLET_VIRTIO_TRANSPORT_MMIO_H
#define RINGLET_VIRTIO_TRANSPORT_MMIO_H

#include "dev/device.h"
#include "dev/irq.h"

#define VIRTIO_MMIO_BYTES 0x1000u

struct virtio_device;

struct virtio_mmio_config {
	uint64_t base;       /* VIRTIO_MMIO_BYTES from here on */
	struct irq_line irq; /* level-triggered */
};

/* Takes over virtio, and destroys it when it fails. */
int virtio_mmio_create(const struct device_env *env, const struct virtio_mmio_config *config,
		       struct virtio_device *virtio, struct device **dev, struct error *err);

#endif
