/* SPDX-License-Identifier: MIT */
/*
 * The memory balloon (virtio 1.2, 5.5): takes memory from the guest and gives it to the host, gives
 * the host what the guest reports as free, and asks for the guest's statistics. Machine lock held.
 */
#ifndef RINGLET_VIRTIO_BALLOON_H
#define RINGLET_VIRTIO_BALLOON_H

#include "virtio/virtio.h"

struct virtio_balloon_options {
	uint64_t target_bytes; /* what the guest is asked for from the beginning */
};

/* The guest's own figures, as it last told them; UINT64_MAX: it has not. */
struct virtio_balloon_figures {
	uint64_t target_bytes, actual_bytes; /* asked for, given */
	uint64_t stat[16]; /* by VIRTIO_BALLOON_S_… of linux/virtio_balloon.h */
};

int virtio_balloon_create(const struct device_env *env,
			  const struct virtio_balloon_options *options,
			  struct virtio_device **dev, struct error *err);

/* Asks the guest for so much of its memory in all, as far as the interface can tell it. */
void virtio_balloon_set_target(struct virtio_device *dev, uint64_t bytes);

/* What is known now; the guest is asked for newer figures, for the next time. */
void virtio_balloon_figures(struct virtio_device *dev, struct virtio_balloon_figures *figures);

#endif
