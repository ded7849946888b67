/* SPDX-License-Identifier: MIT */
/* Fuzz target: the balloon, which throws away whatever memory the guest names. */
#include <stdlib.h>

#include "virtio/balloon.h"
#include "virtio_target.h"

static struct virtio_device *balloon;

static void more(struct device_target *target, struct fuzz_input *input)
{
	struct virtio_balloon_figures figures;

	(void)target;
	if (fuzz_u8(input) & 1)
		virtio_balloon_set_target(balloon, fuzz_u64(input));
	else
		virtio_balloon_figures(balloon, &figures);
}

static void setup(struct device_target *target)
{
	const struct virtio_balloon_options options = { .target_bytes = 1 << 16 };

	virtio_target_open(target, more);
	if (virtio_balloon_create(&target->env, &options, &balloon, NULL))
		abort();
	virtio_target_plug(target, balloon);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
