/* SPDX-License-Identifier: MIT */
/* Fuzz target: the pair of 8259A interrupt controllers. */
#include "device_target.h"
#include "irqchip/pic.h"

static void event(struct device_target *target, struct fuzz_input *input)
{
	unsigned what = fuzz_u8(input), number = what & (PIC_INPUTS - 1);
	struct irq_line line = pic_line(target->device[0], number);

	if (what & 0x40)
		pic_acknowledge(target->device[0]);
	else
		irq_set(&line, what & 0x80);
}

static void setup(struct device_target *target)
{
	struct pic_config config = { .intr = device_target_line(target, 0) };

	target->event = event;
	device_target_keep(target, pic_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
