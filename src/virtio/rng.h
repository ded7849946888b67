/* SPDX-License-Identifier: MIT */
/*
 * The entropy device (virtio 1.2, 5.4): fills what the driver gives it with the host's random
 * bytes, at a bounded rate, so that a guest cannot keep the host busy with it.
 */
#ifndef RINGLET_VIRTIO_RNG_H
#define RINGLET_VIRTIO_RNG_H

#include "virtio/virtio.h"

struct virtio_rng_config {
	unsigned bytes_per_second; /* 0: VIRTIO_RNG_RATE */
};

#define VIRTIO_RNG_RATE (2u << 20)

int virtio_rng_create(const struct device_env *env, const struct virtio_rng_config *config,
		      struct virtio_device **dev, struct error *err);

#endif
