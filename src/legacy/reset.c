/* SPDX-License-Identifier: MIT */
/* Reset control (0xcf9) and system control port A (0x92). */
#include "legacy/reset.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/ranges.h"

/* Port 0xcf9:  3 full (power cycled)  2 reset, on 0 to 1  1 hard rather than INIT */
#define CF9_RESET 0x04
#define CF9_WRITABLE 0x0e

/* Port 0x92:  1 A20  0 INIT, on 0 to 1 */
#define PORT92_INIT 0x01
#define PORT92_A20 0x02
#define RANGES 2

struct reset {
	struct device dev;
	struct reset_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	unsigned ranges;
	uint8_t cf9, port92;
};

uint8_t reset_control_read(void *opaque)
{
	const struct reset *reset = opaque;

	return reset->cf9;
}

void reset_control_write(void *opaque, uint8_t value)
{
	struct reset *reset = opaque;
	bool rises = value & ~reset->cf9 & CF9_RESET;

	reset->cf9 = value & CF9_WRITABLE;
	if (rises)
		reset->config.reset(reset->config.opaque);
}

static uint64_t cf9_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)offset;
	(void)size;
	(void)cpu;
	return reset_control_read(opaque);
}

static void cf9_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)offset;
	(void)size;
	(void)cpu;
	reset_control_write(opaque, value);
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct reset *reset = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	return reset->port92;
}

static void port92_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct reset *reset = opaque;
	uint8_t changed = value ^ reset->port92;

	(void)offset;
	(void)size;
	(void)cpu;
	reset->port92 = value;
	if (changed & PORT92_A20 && reset->config.a20)
		reset->config.a20(reset->config.opaque, value & PORT92_A20);
	if (changed & value & PORT92_INIT)
		reset->config.reset(reset->config.opaque);
}

static void reset_reset(struct device *dev)
{
	struct reset *reset = (struct reset *)dev;

	reset->cf9 = 0;
	reset->port92 = PORT92_A20;
}

static void reset_destroy(struct device *dev)
{
	struct reset *reset = (struct reset *)dev;

	ranges_remove(reset->pio, reset->range, reset->ranges);
	free(reset);
}

static const struct state_field reset_fields[] = {
	STATE_FIELD(struct reset, cf9),
	STATE_FIELD(struct reset, port92),
	STATE_FIELDS_END,
};

static const struct device_class reset_class = {
	.name = "reset",
	.reset = reset_reset,
	.destroy = reset_destroy,
	.fields = reset_fields,
};

int reset_create(const struct device_env *env, const struct reset_config *config,
		 struct device **dev, struct error *err)
{
	struct reset *reset = calloc(1, sizeof(*reset));
	int ret;

	if (!reset)
		return error_set(err, ENOMEM, "reset: out of memory");
	reset->dev.class = &reset_class;
	reset->config = *config;
	reset->pio = env->pio;
	reset->range[0] = (struct bus_range){
		.base = 0x92, .size = 1, .name = "port 92", .max_width = 1,
		.opaque = reset, .read = port92_read, .write = port92_write,
	};
	reset->range[1] = (struct bus_range){
		.base = 0xcf9, .size = 1, .name = "reset-control", .max_width = 1,
		.opaque = reset, .read = cf9_read, .write = cf9_write,
	};
	reset->ranges = config->map_reset_control ? 2 : 1;
	ret = ranges_add(env->pio, reset->range, reset->ranges, err);
	if (ret) {
		free(reset);
		return ret;
	}
	reset_reset(&reset->dev);
	*dev = &reset->dev;
	return 0;
}
