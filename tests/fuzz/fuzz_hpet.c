/* SPDX-License-Identifier: MIT */
/* Fuzz target: the HPET, with the wires that pass through it. */
#include "device_target.h"
#include "legacy/hpet.h"

static void msi(void *opaque, uint64_t address, uint32_t data)
{
	(void)opaque;
	(void)address;
	(void)data;
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);
	struct irq_line line = what & 1 ? hpet_pit_line(target->device[0]) :
					  hpet_rtc_line(target->device[0]);

	irq_set(&line, what & 2);
}

static void setup(struct device_target *target)
{
	struct hpet_config config = {
		.irq0 = device_target_line(target, 0), .irq8 = device_target_line(target, 8),
		.msi = msi,
	};

	for (unsigned i = 16; i < HPET_PINS; i++)
		config.pin[i] = device_target_line(target, i);
	target->event = event;
	device_target_keep(target, hpet_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
