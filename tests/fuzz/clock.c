/* SPDX-License-Identifier: MIT */
/*
 * Stands in for the host's clock (the linker's --wrap), so that an input does the same each time it
 * is run, and hours pass in no time.
 */
#include "clock.h"

#include <time.h>

#include "host/clock.h"

#define LOOK_NS 1000u
#define LAST_NS (1ull << 62)

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

static uint64_t clock_ns;

void fuzz_clock_set(uint64_t now_ns)
{
	clock_ns = now_ns;
}

void fuzz_clock_advance(uint64_t delta_ns)
{
	clock_ns = delta_ns < LAST_NS - clock_ns ? clock_ns + delta_ns : LAST_NS;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	fuzz_clock_advance(LOOK_NS);
	now->tv_sec = (time_t)(clock_ns / CLOCK_NS_PER_S);
	now->tv_nsec = (long)(clock_ns % CLOCK_NS_PER_S);
	return 0;
}
