/* SPDX-License-Identifier: MIT */
/*
 * The 8254's ports, its interrupt, and port 0x61. Channel 0 is always gated on; channel 1 refreshed
 * memory once and now shows as a toggling bit; channel 2 drives the speaker.
 *
 * A host timer stands at channel 0's next rising edge. Edges that come late or too fast for the
 * host become one, as an edge does in an interrupt controller that has not seen the last one
 * served.
 */
#include "legacy/pit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/ranges.h"
#include "host/loop.h"
#include "legacy/pit_counter.h"

#define CHANNELS 3
#define SPEAKER 2
#define CONTROL 3
#define RANGES 2
#define EDGE_MIN_NS 20000ull
/* Memory refresh: one every 18 ticks, bit 4 changes at each. */
#define REFRESH_TICKS 18

/* Control port: read-back commands have both channel bits set. */
#define READ_BACK 3
#define READ_BACK_NO_COUNT 0x20
#define READ_BACK_NO_STATUS 0x10

#define PORT61_GATE 0x01
#define PORT61_WRITABLE 0x0f
#define PORT61_REFRESH 0x10
#define PORT61_OUTPUT 0x20

struct pit {
	struct device dev;
	struct pit_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	struct loop_timer *timer;
	struct pit_counter counter[CHANNELS];
	uint8_t port61;
	bool level; /* of the interrupt line */
};

static void set_level(struct pit *pit, bool level)
{
	if (level == pit->level)
		return;
	pit->level = level;
	irq_set(&pit->config.irq, level);
}

static void arm(struct pit *pit, uint64_t now)
{
	uint64_t rise = pit_counter_next_rise(&pit->counter[0], now);

	if (rise == PIT_NEVER)
		loop_timer_disarm(pit->timer);
	else
		loop_timer_arm(pit->timer, rise < now + EDGE_MIN_NS ? now + EDGE_MIN_NS : rise);
}

static void edge_due(void *opaque)
{
	struct pit *pit = opaque;

	set_level(pit, false);
	set_level(pit, true);
	arm(pit, loop_timer_now(pit->timer));
}

/* After the guest changed channel 0. */
static void reprogrammed(struct pit *pit, uint64_t now)
{
	set_level(pit, pit_counter_output(&pit->counter[0], now));
	arm(pit, now);
}

static void read_back(struct pit *pit, uint8_t command, uint64_t now)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		if (!(command >> (i + 1) & 1))
			continue;
		if (!(command & READ_BACK_NO_COUNT))
			pit_counter_latch(&pit->counter[i], now);
		if (!(command & READ_BACK_NO_STATUS))
			pit_counter_latch_status(&pit->counter[i], now);
	}
}

static void write_control(struct pit *pit, uint8_t value, uint64_t now)
{
	unsigned channel = value >> 6;

	if (channel == READ_BACK) {
		read_back(pit, value, now);
	} else if (!(value & 0x30)) {
		pit_counter_latch(&pit->counter[channel], now);
	} else {
		pit_counter_set_mode(&pit->counter[channel], value, now);
		if (!channel)
			reprogrammed(pit, now);
	}
}

static void pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pit *pit = opaque;
	uint64_t now = loop_timer_now(pit->timer);

	(void)size;
	(void)cpu;
	if (offset == CONTROL) {
		write_control(pit, value, now);
		return;
	}
	pit_counter_write(&pit->counter[offset], value, now);
	if (!offset)
		reprogrammed(pit, now);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pit *pit = opaque;

	(void)size;
	(void)cpu;
	return offset == CONTROL ? 0xff : pit_counter_read(&pit->counter[offset],
							   loop_timer_now(pit->timer));
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pit *pit = opaque;
	uint64_t now = loop_timer_now(pit->timer);
	bool refresh = pit_ns_to_ticks(now) / REFRESH_TICKS & 1;

	(void)offset;
	(void)size;
	(void)cpu;
	return pit->port61 | (refresh ? PORT61_REFRESH : 0) |
	       (pit_counter_output(&pit->counter[SPEAKER], now) ? PORT61_OUTPUT : 0);
}

static void port61_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pit *pit = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	pit->port61 = value & PORT61_WRITABLE;
	pit_counter_set_gate(&pit->counter[SPEAKER], value & PORT61_GATE, loop_timer_now(pit->timer));
}

static void pit_reset(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	for (unsigned i = 0; i < CHANNELS; i++)
		pit->counter[i] = (struct pit_counter){ .access = 3, .mode = 3, .reload = 0x10000,
							.gate = i != SPEAKER };
	pit->port61 = 0;
	loop_timer_disarm(pit->timer);
	set_level(pit, false);
}

static void pit_restored(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	for (unsigned i = 0; i < CHANNELS; i++)
		if (!pit->counter[i].reload)
			pit->counter[i].reload = 0x10000;
	arm(pit, loop_timer_now(pit->timer));
}

static void pit_destroy(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	ranges_remove(pit->pio, pit->range, RANGES);
	loop_timer_destroy(pit->timer);
	free(pit);
}

static const struct state_field pit_fields[] = {
	STATE_FIELD(struct pit, counter),
	STATE_FIELD(struct pit, port61),
	STATE_FIELD(struct pit, level),
	STATE_FIELDS_END,
};

static const struct device_class pit_class = {
	.name = "pit",
	.reset = pit_reset,
	.destroy = pit_destroy,
	.fields = pit_fields,
	.restored = pit_restored,
};

int pit_create(const struct device_env *env, const struct pit_config *config, struct device **dev,
	       struct error *err)
{
	struct pit *pit = calloc(1, sizeof(*pit));
	int ret;

	if (!pit)
		return error_set(err, ENOMEM, "pit: out of memory");
	pit->dev.class = &pit_class;
	pit->config = *config;
	pit->pio = env->pio;
	pit->range[0] = (struct bus_range){
		.base = 0x40, .size = 4, .name = "pit", .max_width = 1,
		.opaque = pit, .read = pit_read, .write = pit_write,
	};
	pit->range[1] = (struct bus_range){
		.base = 0x61, .size = 1, .name = "port 61", .max_width = 1,
		.opaque = pit, .read = port61_read, .write = port61_write,
	};
	ret = loop_guest_timer_create(env->loop, edge_due, pit, &pit->timer);
	if (ret) {
		error_set_errno(err, -ret, "pit: timer");
		goto free_pit;
	}
	ret = ranges_add(env->pio, pit->range, RANGES, err);
	if (ret)
		goto free_timer;
	pit_reset(&pit->dev);
	*dev = &pit->dev;
	return 0;

free_timer:
	loop_timer_destroy(pit->timer);
free_pit:
	free(pit);
	return ret;
}
