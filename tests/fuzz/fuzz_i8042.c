/* SPDX-License-Identifier: MIT */
/* Fuzz target: the keyboard controller, its keyboard and its mouse. */
#include "device_target.h"
#include "legacy/i8042.h"

static void reset(void *opaque)
{
	(void)opaque;
}

static void a20(void *opaque, bool open)
{
	struct irq_line line = device_target_line(opaque, 20);

	irq_set(&line, open);
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);

	if (what & 1) {
		i8042_key(target->device[0], fuzz_u16(input), what & 2);
	} else {
		int dx = (int)fuzz_u32(input), dy = (int)fuzz_u32(input);

		i8042_mouse(target->device[0], dx, dy, (int8_t)fuzz_u8(input), what >> 1);
	}
}

static void setup(struct device_target *target)
{
	struct i8042_config config = {
		.keyboard_irq = device_target_line(target, 1),
		.mouse_irq = device_target_line(target, 12),
		.reset = reset, .a20 = a20, .opaque = target,
	};

	target->event = event;
	device_target_keep(target, i8042_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
