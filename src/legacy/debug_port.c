/* SPDX-License-Identifier: MIT */
/* Debug console ports 0x402 and 0xe9, POST code port 0x80. */
#include "legacy/debug_port.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "dev/ranges.h"

#define PRESENT 0xe9
#define LINE_MAX_BYTES 256
#define RANGES 3

struct debug_port {
	struct device dev;
	struct debug_port_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	char line[LINE_MAX_BYTES];
	uint32_t length;
	uint8_t post_code;
};

static void flush_line(struct debug_port *port)
{
	port->line[port->length] = '\0';
	port->length = 0;
	if (port->config.line)
		port->config.line(port->config.opaque, port->line);
	else
		log_info("guest: %s", port->line);
}

static uint64_t console_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)cpu;
	return PRESENT;
}

static void console_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct debug_port *port = opaque;
	uint8_t byte = value;

	(void)offset;
	(void)size;
	(void)cpu;
	if (byte == '\n') {
		flush_line(port);
		return;
	}
	if (byte == '\r')
		return;
	/* The text ends on somebody's terminal: no control characters from a guest. */
	port->line[port->length++] = byte == '\t' || (byte >= ' ' && byte < 0x7f) ? byte : '.';
	if (port->length == LINE_MAX_BYTES - 1)
		flush_line(port);
}

static uint64_t post_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct debug_port *port = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	return port->post_code;
}

static void post_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct debug_port *port = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	port->post_code = value;
}

static void debug_port_reset(struct device *dev)
{
	struct debug_port *port = (struct debug_port *)dev;

	if (port->length)
		flush_line(port);
	port->post_code = 0;
}

static void debug_port_restored(struct device *dev)
{
	struct debug_port *port = (struct debug_port *)dev;

	if (port->length >= LINE_MAX_BYTES)
		port->length = 0;
}

static void debug_port_destroy(struct device *dev)
{
	struct debug_port *port = (struct debug_port *)dev;

	if (port->length)
		flush_line(port);
	ranges_remove(port->pio, port->range, RANGES);
	free(port);
}

static const struct state_field debug_port_fields[] = {
	STATE_FIELD(struct debug_port, line),
	STATE_FIELD(struct debug_port, length),
	STATE_FIELD(struct debug_port, post_code),
	STATE_FIELDS_END,
};

static const struct device_class debug_port_class = {
	.name = "debug-port",
	.reset = debug_port_reset,
	.destroy = debug_port_destroy,
	.fields = debug_port_fields,
	.restored = debug_port_restored,
};

static void describe_ranges(struct debug_port *port)
{
	static const uint16_t consoles[] = { 0x402, 0xe9 };

	for (unsigned i = 0; i < 2; i++)
		port->range[i] = (struct bus_range){
			.base = consoles[i], .size = 1, .name = "debug-console", .max_width = 1,
			.opaque = port, .read = console_read, .write = console_write,
		};
	port->range[2] = (struct bus_range){
		.base = 0x80, .size = 1, .name = "post-code", .max_width = 1,
		.opaque = port, .read = post_read, .write = post_write,
	};
}

int debug_port_create(const struct device_env *env, const struct debug_port_config *config,
		      struct device **dev, struct error *err)
{
	struct debug_port *port = calloc(1, sizeof(*port));
	int ret;

	if (!port)
		return error_set(err, ENOMEM, "debug-port: out of memory");
	port->dev.class = &debug_port_class;
	port->config = *config;
	port->pio = env->pio;
	describe_ranges(port);
	ret = ranges_add(env->pio, port->range, RANGES, err);
	if (ret) {
		free(port);
		return ret;
	}
	*dev = &port->dev;
	return 0;
}
