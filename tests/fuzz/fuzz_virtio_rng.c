/* SPDX-License-Identifier: MIT */
/* Fuzz target: the entropy device, and with it virtio's core and PCI transport. */
#include <stdlib.h>

#include "virtio/rng.h"
#include "virtio_target.h"

static void setup(struct device_target *target)
{
	const struct virtio_rng_config config = { 0 };
	struct virtio_device *virtio;

	virtio_target_open(target, NULL);
	if (virtio_rng_create(&target->env, &config, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
