/* SPDX-License-Identifier: MIT */
#include "device_target.h"

#include <stdlib.h>

#include "base/log.h"
#include "clock.h"
#include "dev/bus.h"
#include "host/clock.h"
#include "host/loop.h"
#include "mem/mem.h"

#define START_NS (1000 * CLOCK_NS_PER_S)
#define STEPS_MAX 4096

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* What a device says it wrote is memory. */
static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	const struct device_target *target = opaque;

	must(len && mem_ptr(target->env.mem, gpa, len));
}

static void open_target(struct device_target *target)
{
	struct device_env *env = &target->env;

	*target = (struct device_target){ .cpus = 1 };
	log_set_level(LOG_LEVEL_ERROR);
	fuzz_clock_set(START_NS);
	must(!loop_create(&env->loop, NULL));
	must(!mem_create(&env->mem, NULL));
	must(!mem_add(env->mem, 0, TARGET_RAM, false, "ram", NULL));
	env->dma = (struct dma){ .mem = env->mem, .wrote = wrote, .opaque = target };
	must(!bus_create(&env->pio, "pio", env->loop, NULL));
	must(!bus_create(&env->mmio, "mmio", env->loop, NULL));
}

void device_target_keep(struct device_target *target, int ret)
{
	must(!ret && target->devices < TARGET_DEVICES);
	target->devices++;
}

static void close_target(struct device_target *target)
{
	while (target->devices) {
		struct device *dev = target->device[--target->devices];

		dev->class->destroy(dev);
	}
	/* Every device has taken its ranges with it. */
	must(!bus_range_at(target->env.pio, 0) && !bus_range_at(target->env.mmio, 0));
	bus_destroy(target->env.mmio);
	bus_destroy(target->env.pio);
	mem_destroy(target->env.mem);
	loop_destroy(target->env.loop);
}

static void line_set(void *opaque, unsigned number, bool level)
{
	struct device_target *target = opaque;

	must(number < 64);
	target->lines = (target->lines & ~(1ull << number)) | (uint64_t)level << number;
}

struct irq_line device_target_line(struct device_target *target, unsigned number)
{
	return (struct irq_line){ .set = line_set, .opaque = target, .input = number };
}

/* ---- the steps of a life ---- */

/* The number-th of all ranges on both buses, modulo their count; NULL: there are none now. */
static const struct bus_range *pick_range(const struct device_target *target, unsigned number,
					  struct bus **bus)
{
	unsigned ports = 0, windows = 0;

	while (bus_range_at(target->env.pio, ports))
		ports++;
	while (bus_range_at(target->env.mmio, windows))
		windows++;
	if (!ports && !windows)
		return NULL;
	number %= ports + windows;
	*bus = number < ports ? target->env.pio : target->env.mmio;
	return bus_range_at(*bus, number < ports ? number : number - ports);
}

static void access_device(struct device_target *target, unsigned number, bool write,
			  struct fuzz_input *input)
{
	struct bus *bus;
	const struct bus_range *range = pick_range(target, number, &bus);
	unsigned how = fuzz_u8(input), size = 1u << (how & 3), offset_bytes;
	int cpu = (int)((how >> 2 & 15) % target->cpus);
	uint64_t address;

	if (!range)
		return;
	offset_bytes = range->size <= 256 ? 1 : range->size <= 65536 ? 2 : 4;
	address = range->base + fuzz_uint(input, offset_bytes) % range->size;
	if (write)
		bus_write(bus, address, size, fuzz_uint(input, size), cpu);
	else
		bus_read(bus, address, size, cpu);
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* One round of the loop: every timer that is due by now. */
static void pass_time(struct device_target *target, struct fuzz_input *input)
{
	unsigned shift = fuzz_u8(input) & 63;
	uint64_t delta = (uint64_t)fuzz_u8(input) << shift;

	fuzz_clock_advance(delta);
	must(!loop_post(target->env.loop, stop, target->env.loop));
	loop_run(target->env.loop);
}

/* A snapshot that is loaded at once: nothing may have changed but host timers set anew. */
static void restore(struct device *dev)
{
	if (dev->class->restored)
		dev->class->restored(dev);
}

static void happen(struct device_target *target, struct fuzz_input *input)
{
	if (!target->event)
		return;
	if (!target->event_unlocked)
		loop_lock(target->env.loop);
	target->event(target, input);
	if (!target->event_unlocked)
		loop_unlock(target->env.loop);
}

static void step(struct device_target *target, struct fuzz_input *input)
{
	unsigned op = fuzz_u8(input);
	struct device *dev = target->device[(op >> 3) % target->devices];

	switch (op & 7) {
	case 0: case 1: case 2:
		access_device(target, op >> 3, true, input);
		break;
	case 3: case 4:
		access_device(target, op >> 3, false, input);
		break;
	case 5:
		pass_time(target, input);
		break;
	case 6:
		happen(target, input);
		break;
	default:
		loop_lock(target->env.loop);
		if (fuzz_u8(input) & 1)
			dev->class->reset(dev);
		else
			restore(dev);
		loop_unlock(target->env.loop);
	}
}

int device_target_fuzz(const uint8_t *data, size_t size,
		       void (*setup)(struct device_target *target))
{
	struct fuzz_input input = { data, size };
	struct device_target target;

	open_target(&target);
	setup(&target);
	for (unsigned i = 0; input.left && i < STEPS_MAX; i++)
		step(&target, &input);
	close_target(&target);
	return 0;
}
