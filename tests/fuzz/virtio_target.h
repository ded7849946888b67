/* SPDX-License-Identifier: MIT */
/*
 * What the virtio devices' fuzz targets share: a PCI bus with the device on it and its BARs mapped,
 * and as events (device_target.h) a driver that is half-way sane: it negotiates, enables queues
 * of either format where there is memory, and offers chains whose buffers are the input's.
 */
#ifndef RINGLET_TESTS_FUZZ_VIRTIO_TARGET_H
#define RINGLET_TESTS_FUZZ_VIRTIO_TARGET_H

#include "device_target.h"
#include "virtio/virtio.h"

/*
 * In setup, before any device: makes the bus. more: a further event of the target's own, or NULL;
 * machine lock held.
 */
void virtio_target_open(struct device_target *target,
			void (*more)(struct device_target *target, struct fuzz_input *input));
void virtio_target_plug(struct device_target *target, struct virtio_device *virtio);

/*
 * In more: a whole request of size bytes (8 KiB at most), with room for an answer; both are cut in two
 * after cut bytes (1 to size - 1).
 */
void virtio_target_ask(unsigned queue, const void *request, uint32_t size, uint32_t room,
		       uint32_t cut);

#endif
