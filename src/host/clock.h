/* SPDX-License-Identifier: MIT */
/* The host's monotonic clock, the one time base of devices and timers. Any thread. */
#ifndef RINGLET_HOST_CLOCK_H
#define RINGLET_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_S 1000000000ull

static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

#endif
