/* SPDX-License-Identifier: MIT */
/* Buses: whole and split accesses, what nobody answers, ranges that come and go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dev/bus.h"
#include "host/loop.h"

struct probe {
	uint8_t bytes[64];
	unsigned accesses, last_size;
	uint64_t last_offset;
	int last_cpu;
	struct bus *bus; /* non-NULL: a write removes the range itself */
	uint64_t base;
};

struct fixture {
	struct loop *loop;
	struct bus *bus;
	struct probe probe[2];
};

static void note(struct probe *probe, uint64_t offset, unsigned size, int cpu)
{
	probe->accesses++;
	probe->last_offset = offset;
	probe->last_size = size;
	probe->last_cpu = cpu;
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct probe *probe = opaque;
	uint64_t value = 0;

	note(probe, offset, size, cpu);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)probe->bytes[offset + i] << i * 8;
	/* A careless device: bits above the size are the bus's to drop. */
	return size < 8 ? value | ~0ull << size * 8 : value;
}

static void probe_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct probe *probe = opaque;

	note(probe, offset, size, cpu);
	if (size < 8)
		assert_int_equal(value >> size * 8, 0);
	for (unsigned i = 0; i < size; i++)
		probe->bytes[offset + i] = (uint8_t)(value >> i * 8);
	if (probe->bus)
		bus_remove(probe->bus, probe->base);
}

static int add(struct fixture *f, unsigned which, uint64_t base, uint64_t size, unsigned width)
{
	struct bus_range range = {
		.base = base, .size = size, .name = which ? "second" : "first",
		.opaque = &f->probe[which], .max_width = width, .read = probe_read,
		.write = probe_write,
	};

	return bus_add(f->bus, &range, NULL);
}

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){ 0 };
	*state = &fixture;
	return loop_create(&fixture.loop, NULL) ||
	       bus_create(&fixture.bus, "pio", fixture.loop, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(f->bus);
	loop_destroy(f->loop);
	return 0;
}

static void test_nobody_answers(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bus_read(f->bus, 0x60, 1, 0), 0xff);
	assert_int_equal(bus_read(f->bus, 0x60, 4, 0), 0xffffffff);
	assert_true(bus_read(f->bus, ~0ull - 7, 8, 0) == ~0ull);
	bus_write(f->bus, 0x60, 4, 1, 0);
	assert_null(bus_range_at(f->bus, 0));
}

static void test_whole_accesses(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, 0, 0x100, 16, 0), 0);
	bus_write(f->bus, 0x104, 4, 0xaabbccdd11223344ull, 3);
	assert_int_equal(f->probe[0].accesses, 1);
	assert_int_equal(f->probe[0].last_offset, 4);
	assert_int_equal(f->probe[0].last_size, 4);
	assert_int_equal(f->probe[0].last_cpu, 3);
	assert_int_equal(bus_read(f->bus, 0x104, 4, -1), 0x11223344);
	assert_int_equal(bus_read(f->bus, 0x106, 2, -1), 0x1122);
	assert_int_equal(bus_read(f->bus, 0x100, 8, -1), 0x1122334400000000);
	assert_int_equal(f->probe[0].accesses, 4);
}

static void test_splitting(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, 0, 0x100, 4, 1), 0);
	bus_write(f->bus, 0x100, 4, 0x11223344, 0);
	assert_int_equal(f->probe[0].accesses, 4);
	assert_int_equal(f->probe[0].last_size, 1);
	assert_int_equal(bus_read(f->bus, 0x100, 4, 0), 0x11223344);
	/* Past the end: nobody. Into the beginning from before: nobody, then the device. */
	assert_int_equal(bus_read(f->bus, 0x102, 4, 0), 0xffff1122);
	assert_int_equal(bus_read(f->bus, 0xfe, 4, 0), 0x3344ffff);
	/* Over the end of one into another. */
	assert_int_equal(add(f, 1, 0x104, 4, 0), 0);
	bus_write(f->bus, 0x104, 4, 0x55667788, 0);
	assert_int_equal(f->probe[1].accesses, 1);
	assert_int_equal(bus_read(f->bus, 0x102, 4, 0), 0x77881122);
	assert_int_equal(bus_read(f->bus, 0x105, 3, 0), 0x556677);
}

static void test_overlaps_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, 0, 0x100, 16, 0), 0);
	assert_int_equal(add(f, 1, 0x10f, 16, 0), -EEXIST);
	assert_int_equal(add(f, 1, 0xf1, 16, 0), -EEXIST);
	assert_int_equal(add(f, 1, 0x0, 0x1000, 0), -EEXIST);
	assert_int_equal(add(f, 1, 0x200, 0, 0), -EINVAL);
	assert_int_equal(add(f, 1, ~0ull, 2, 0), -EINVAL);
	assert_int_equal(add(f, 1, 0xf0, 16, 0), 0);
	assert_int_equal(bus_range_at(f->bus, 0)->base, 0xf0);
	assert_int_equal(bus_range_at(f->bus, 1)->base, 0x100);
	assert_null(bus_range_at(f->bus, 2));
}

static void test_ranges_go(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, 0, 0x100, 16, 0), 0);
	assert_int_equal(add(f, 1, 0x200, 16, 0), 0);
	bus_remove(f->bus, 0x104);
	assert_int_equal(bus_read(f->bus, 0x100, 1, 0), 0);
	bus_remove(f->bus, 0x100);
	assert_int_equal(bus_read(f->bus, 0x100, 1, 0), 0xff);
	assert_int_equal(bus_read(f->bus, 0x200, 1, 0), 0);
}

/* As a device's range register does; over and over, which must not cost memory (a leak checker
 * sees to that when this runs under one). */
static void test_a_device_removes_itself(void **state)
{
	struct fixture *f = *state;

	f->probe[0].bus = f->bus;
	f->probe[0].base = 0x100;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(add(f, 0, 0x100, 16, 0), 0);
		bus_write(f->bus, 0x100, 4, i, 0);
		assert_int_equal(bus_read(f->bus, 0x100, 1, 0), 0xff);
	}
	assert_int_equal(f->probe[0].accesses, 1000);
}

/* By address: how often it came less how often it went. */
struct heard {
	uint64_t address[4];
	int there[4];
	unsigned count;
};

static void hear(void *opaque, uint64_t address, const struct bus_doorbell *doorbell, bool there)
{
	struct heard *heard = opaque;
	unsigned at = 0;

	assert_int_equal(doorbell->fd, 42);
	while (at < heard->count && heard->address[at] != address)
		at++;
	assert_in_range(at, 0, 3);
	heard->count += at == heard->count;
	heard->address[at] = address;
	heard->there[at] += there ? 1 : -1;
}

static void test_listener(void **state)
{
	static const struct bus_doorbell bells[] = { { 4, 2, 42 }, { 8, 2, 42 } };
	struct fixture *f = *state;
	struct heard heard = { 0 };
	const struct bus_listener listener = { &heard, hear };
	struct bus_range range = { .base = 0x100, .size = 16, .name = "bells", .doorbells = bells,
				   .doorbell_count = 2 };

	assert_int_equal(bus_add(f->bus, &range, NULL), 0);
	bus_listen(f->bus, &listener);
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.address[1], 0x108);
	assert_int_equal(bus_add(f->bus, &range, NULL), -EEXIST);
	assert_int_equal(heard.there[0], 1);
	bus_remove(f->bus, 0x100);
	assert_int_equal(heard.there[0], 0);
	range.base = 0x200;
	assert_int_equal(bus_add(f->bus, &range, NULL), 0);
	assert_int_equal(heard.address[2], 0x204);
	bus_listen(f->bus, NULL);
	bus_remove(f->bus, 0x200);
	assert_int_equal(heard.there[2], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whole_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_splitting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlaps_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listener, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_device_removes_itself, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
