/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the 9P device, with messages that are whole, beside chains that are anything. The
 * target's own event is "how, type, tag, length, bytes": the bytes follow the header.
 */
#include <stdlib.h>

#include "fs/p9_proto.h"
#include "tree_target.h"
#include "virtio/p9.h"
#include "virtio_target.h"

static char shared[64];

static void more(struct device_target *target, struct fuzz_input *input)
{
	uint8_t message[P9_HEADER_BYTES + 256] = { 0 }, how = fuzz_u8(input), length;
	uint32_t size;

	(void)target;
	message[4] = fuzz_u8(input) & 0x7f;
	message[5] = fuzz_u8(input);
	length = fuzz_u8(input);
	fuzz_take(input, message + P9_HEADER_BYTES, length);
	size = P9_HEADER_BYTES + length + (how & 1);
	message[0] = (uint8_t)size;
	message[1] = (uint8_t)(size >> 8);
	virtio_target_ask(0, message, P9_HEADER_BYTES + length, how & 2 ? 64 : 0x1000,
			  1 + (how >> 2) % (P9_HEADER_BYTES - 1));
}

static void setup(struct device_target *target)
{
	struct virtio_p9_config_host config = { .tag = "fuzz", .tree.path = shared };
	struct virtio_device *virtio;

	virtio_target_open(target, more);
	if (virtio_p9_create(&target->env, &config, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return tree_target_fuzz_device(shared, data, size, setup);
}
