/* SPDX-License-Identifier: MIT */
/* The debug-exit port. It has no state. */
#include "legacy/debug_exit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/bus.h"

struct debug_exit {
	struct device dev;
	struct debug_exit_config config;
	struct bus *pio;
};

static uint64_t exit_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)cpu;
	return 0;
}

static void exit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct debug_exit *exit = opaque;

	(void)size;
	(void)cpu;
	if (!offset)
		exit->config.exit(exit->config.opaque, value);
}

static void debug_exit_reset(struct device *dev)
{
	(void)dev;
}

static void debug_exit_destroy(struct device *dev)
{
	struct debug_exit *exit = (struct debug_exit *)dev;

	bus_remove(exit->pio, exit->config.port);
	free(exit);
}

static const struct device_class debug_exit_class = {
	.name = "debug-exit",
	.reset = debug_exit_reset,
	.destroy = debug_exit_destroy,
};

int debug_exit_create(const struct device_env *env, const struct debug_exit_config *config,
		      struct device **dev, struct error *err)
{
	struct debug_exit *exit = calloc(1, sizeof(*exit));
	struct bus_range range = {
		.base = config->port, .size = DEBUG_EXIT_PORTS, .name = "debug-exit",
		.max_width = 4, .opaque = exit, .read = exit_read, .write = exit_write,
	};
	int ret;

	if (!exit)
		return error_set(err, ENOMEM, "debug-exit: out of memory");
	exit->dev.class = &debug_exit_class;
	exit->config = *config;
	exit->pio = env->pio;
	ret = bus_add(env->pio, &range, err);
	if (ret) {
		free(exit);
		return ret;
	}
	*dev = &exit->dev;
	return 0;
}
