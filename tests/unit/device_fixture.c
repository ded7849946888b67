/* SPDX-License-Identifier: MIT */
#include "device_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dev/bus.h"
#include "host/clock.h"
#include "host/loop.h"
#include "mem/mem.h"

#define PATIENCE_NS (10 * CLOCK_NS_PER_S)
#define LOOK_NS 1000000u

int device_fixture_open(void **state)
{
	struct device_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(loop_create(&fixture->env.loop, NULL), 0);
	assert_int_equal(mem_create(&fixture->env.mem, NULL), 0);
	fixture->env.dma.mem = fixture->env.mem;
	assert_int_equal(bus_create(&fixture->env.pio, "pio", fixture->env.loop, NULL), 0);
	assert_int_equal(bus_create(&fixture->env.mmio, "mmio", fixture->env.loop, NULL), 0);
	*state = fixture;
	return 0;
}

int device_fixture_close(void **state)
{
	struct device_fixture *fixture = *state;

	/* Every device has taken its ranges with it. */
	assert_null(bus_range_at(fixture->env.pio, 0));
	assert_null(bus_range_at(fixture->env.mmio, 0));
	bus_destroy(fixture->env.mmio);
	bus_destroy(fixture->env.pio);
	mem_destroy(fixture->env.mem);
	loop_destroy(fixture->env.loop);
	free(fixture);
	return 0;
}

uint8_t port_in(struct device_fixture *fixture, uint16_t port)
{
	return bus_read(fixture->env.pio, port, 1, 0);
}

void port_out(struct device_fixture *fixture, uint16_t port, uint8_t value)
{
	bus_write(fixture->env.pio, port, 1, value, 0);
}

uint32_t mmio_read32(struct device_fixture *fixture, uint64_t address, int cpu)
{
	return bus_read(fixture->env.mmio, address, 4, cpu);
}

void mmio_write32(struct device_fixture *fixture, uint64_t address, uint32_t value, int cpu)
{
	bus_write(fixture->env.mmio, address, 4, value, cpu);
}

struct look {
	struct loop *loop;
	struct loop_timer *timer;
	const bool *done;
	uint64_t deadline_ns;
};

static void look_again(void *opaque)
{
	struct look *look = opaque;

	if (*look->done || clock_now_ns() >= look->deadline_ns)
		loop_stop(look->loop);
	else
		loop_timer_arm(look->timer, clock_now_ns() + LOOK_NS);
}

void run_until(struct device_fixture *fixture, const bool *done)
{
	struct look look = { .loop = fixture->env.loop, .done = done,
			     .deadline_ns = clock_now_ns() + PATIENCE_NS };

	assert_int_equal(loop_timer_create(look.loop, look_again, &look, &look.timer), 0);
	loop_timer_arm(look.timer, 0);
	loop_run(look.loop);
	loop_timer_destroy(look.timer);
	assert_true(*done);
}

void device_free(struct device *dev)
{
	dev->class->destroy(dev);
}

static void wire_set(void *opaque, unsigned input, bool level)
{
	struct test_wire *wire = opaque;

	(void)input;
	if (level && !wire->level) {
		wire->rises++;
		wire->done = true;
	}
	wire->level = level;
}

struct irq_line test_wire_line(struct test_wire *wire)
{
	return (struct irq_line){ .set = wire_set, .opaque = wire };
}
