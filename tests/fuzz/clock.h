/* SPDX-License-Identifier: MIT */
/* Time in a fuzz target: it goes on when the input says so, and a little each time one looks. */
#ifndef RINGLET_TESTS_FUZZ_CLOCK_H
#define RINGLET_TESTS_FUZZ_CLOCK_H

#include <stdint.h>

void fuzz_clock_set(uint64_t now_ns);
/* Stops long before the clock wraps. */
void fuzz_clock_advance(uint64_t delta_ns);

#endif
