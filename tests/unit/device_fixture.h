/* SPDX-License-Identifier: MIT */
/*
 * What a device stands on, for tests: a loop, memory and buses of its own, and a wire that counts.
 * The test's only thread is the loop's and the CPU's in turn.
 */
#ifndef RINGLET_TESTS_UNIT_DEVICE_FIXTURE_H
#define RINGLET_TESTS_UNIT_DEVICE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

struct device_fixture {
	struct device_env env;
};

/* cmocka set-up and tear-down: *state is a struct device_fixture. */
int device_fixture_open(void **state);
int device_fixture_close(void **state);

uint8_t port_in(struct device_fixture *fixture, uint16_t port);
void port_out(struct device_fixture *fixture, uint16_t port, uint8_t value);
uint32_t mmio_read32(struct device_fixture *fixture, uint64_t address, int cpu);
void mmio_write32(struct device_fixture *fixture, uint64_t address, uint32_t value, int cpu);

/* Runs the loop until *done (looked at each millisecond) or some seconds have passed. */
void run_until(struct device_fixture *fixture, const bool *done);

void device_free(struct device *dev);

/* A wire's far end. done is set at each rising edge. */
struct test_wire {
	bool level, done;
	unsigned rises;
};

struct irq_line test_wire_line(struct test_wire *wire);

#endif
