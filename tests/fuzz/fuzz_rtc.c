/* SPDX-License-Identifier: MIT */
/* Fuzz target: the real-time clock, at any date that 64 bits of nanoseconds can tell. */
#include "device_target.h"
#include "legacy/rtc.h"

static uint64_t date_ns;

static uint64_t now_ns(void *opaque)
{
	(void)opaque;
	return date_ns;
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input), cell = fuzz_u8(input) & 0x7f;

	if (what & 1)
		date_ns = fuzz_u64(input);
	else if (cell >= 0x0e)
		rtc_cmos_set(target->device[0], cell, rtc_cmos_get(target->device[0], cell) ^ what);
}

static void setup(struct device_target *target)
{
	struct rtc_config config = {
		.irq = device_target_line(target, 0), .mem_low_bytes = 1u << 31,
		.mem_high_bytes = 1ull << 33, .cpus = 2, .now_ns = now_ns,
	};

	date_ns = 1700000000ull * 1000000000;
	target->event = event;
	device_target_keep(target, rtc_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
