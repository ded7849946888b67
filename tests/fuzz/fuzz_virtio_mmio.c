/* SPDX-License-Identifier: MIT */
/* Fuzz target: virtio's MMIO transport around an entropy device; the input is driver and memory. */
#include <stdlib.h>

#include "device_target.h"
#include "mem/mem.h"
#include "virtio/rng.h"
#include "virtio/transport_mmio.h"

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t data[32];
	uint64_t gpa = 0x10ull * fuzz_u16(input) % (TARGET_RAM - sizeof(data));

	fuzz_take(input, data, sizeof(data));
	mem_write(target->env.mem, gpa, data, sizeof(data));
}

static void setup(struct device_target *target)
{
	const struct virtio_rng_config rng = { 0 };
	const struct virtio_mmio_config config = {
		.base = 0xfed80000, .irq = device_target_line(target, 16),
	};
	struct virtio_device *virtio;

	if (virtio_rng_create(&target->env, &rng, &virtio, NULL))
		abort();
	device_target_keep(target, virtio_mmio_create(&target->env, &config, virtio,
						      &target->device[0], NULL));
	target->event = event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
