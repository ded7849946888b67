/* SPDX-License-Identifier: MIT */
/* Fuzz target: reset control, the debug console and the debug exit. */
#include "device_target.h"
#include "legacy/debug_exit.h"
#include "legacy/debug_port.h"
#include "legacy/reset.h"

static void reset(void *opaque)
{
	(void)opaque;
}

static void line(void *opaque, const char *text)
{
	volatile size_t length = strlen(text);

	(void)opaque;
	(void)length;
}

static void leave(void *opaque, uint32_t value)
{
	(void)opaque;
	(void)value;
}

static void setup(struct device_target *target)
{
	struct reset_config reset_control = { .map_reset_control = true, .reset = reset };
	struct debug_port_config port = { .line = line };
	struct debug_exit_config debug_exit = { .port = 0xf4, .exit = leave };
	const struct device_env *env = &target->env;

	device_target_keep(target, reset_create(env, &reset_control, &target->device[0], NULL));
	device_target_keep(target, debug_port_create(env, &port, &target->device[1], NULL));
	device_target_keep(target, debug_exit_create(env, &debug_exit, &target->device[2], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
