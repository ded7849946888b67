/* SPDX-License-Identifier: MIT */
/* Fuzz target: the 8254 interval timer. */
#include "device_target.h"
#include "legacy/pit.h"

static void setup(struct device_target *target)
{
	struct pit_config config = { .irq = device_target_line(target, 0) };

	device_target_keep(target, pit_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
