/* SPDX-License-Identifier: MIT */
/*
 * 8254 counters. Counting is from the moment of the load; the one clock between a write and the
 * load is left out. After the end of a count, modes 0, 1, 4 and 5 count on from the top.
 */
#include "legacy/pit_counter.h"

/* Control word:  7:6 channel  5:4 access  3:1 mode (6, 7 are 2, 3)  0 BCD */
#define CONTROL_ACCESS_SHIFT 4
#define CONTROL_MODE_SHIFT 1
#define CONTROL_BCD 1

#define STATUS_OUTPUT 0x80
#define STATUS_NULL_COUNT 0x40

uint64_t pit_ns_to_ticks(uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * 105 / 88000);
}

uint64_t pit_ticks_to_ns(uint64_t ticks)
{
	return (uint64_t)(((unsigned __int128)ticks * 88000 + 104) / 105);
}

static uint32_t top(const struct pit_counter *counter)
{
	return counter->bcd ? 10000 : 0x10000;
}

static bool is_periodic(const struct pit_counter *counter)
{
	return counter->mode == 2 || counter->mode == 3;
}

static bool is_triggered_by_gate(const struct pit_counter *counter)
{
	return counter->mode == 1 || counter->mode == 5;
}

/* Does the count go on now? */
static bool is_counting(const struct pit_counter *counter)
{
	if (!counter->loaded)
		return false;
	return is_triggered_by_gate(counter) ? counter->triggered : !counter->held;
}

static uint64_t elapsed_ticks(const struct pit_counter *counter, uint64_t now)
{
	if (counter->held)
		return counter->held_ticks;
	return now > counter->start_ns ? pit_ns_to_ticks(now - counter->start_ns) : 0;
}

/* A count written during a period of modes 2 and 3 replaces the old one at the period's end. */
static void advance(struct pit_counter *counter, uint64_t now)
{
	uint64_t period_end;

	if (!counter->next_reload || !is_counting(counter))
		return;
	period_end = counter->start_ns + pit_ticks_to_ns(counter->reload);
	if (now < period_end)
		return;
	counter->start_ns = period_end;
	counter->reload = counter->next_reload;
	counter->next_reload = 0;
	counter->null_count = false;
}

static void restart(struct pit_counter *counter, uint64_t now)
{
	if (counter->next_reload)
		counter->reload = counter->next_reload;
	counter->next_reload = 0;
	counter->null_count = false;
	counter->start_ns = now;
	counter->held_ticks = 0;
	counter->held = !counter->gate && !is_triggered_by_gate(counter);
}

static void load(struct pit_counter *counter, uint32_t value, uint64_t now)
{
	bool running = is_counting(counter);

	if (counter->bcd)
		value = (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 +
			(value & 15);
	if (!value)
		value = top(counter);
	if (is_periodic(counter) && running) {
		/* Move the start into the running period, where the new count will follow. */
		uint64_t period = elapsed_ticks(counter, now) / counter->reload;

		counter->start_ns += pit_ticks_to_ns(period * counter->reload);
		counter->next_reload = value;
		counter->null_count = true;
	} else if (is_triggered_by_gate(counter)) {
		counter->next_reload = value;
		counter->null_count = true;
		counter->loaded = true;
	} else {
		counter->reload = value;
		counter->next_reload = 0;
		counter->loaded = true;
		restart(counter, now);
	}
}

void pit_counter_set_mode(struct pit_counter *counter, uint8_t control, uint64_t now)
{
	uint8_t mode = control >> CONTROL_MODE_SHIFT & 7;

	counter->mode = mode > 5 ? mode - 4 : mode;
	counter->access = control >> CONTROL_ACCESS_SHIFT & 3;
	counter->bcd = control & CONTROL_BCD;
	counter->null_count = true;
	counter->loaded = counter->triggered = false;
	counter->write_high = counter->read_high = false;
	counter->next_reload = 0;
	counter->count_latched = 0;
	counter->status_latched = false;
	counter->start_ns = now;
	counter->held = false;
	counter->held_ticks = 0;
}

void pit_counter_write(struct pit_counter *counter, uint8_t value, uint64_t now)
{
	switch (counter->access) {
	case 1:
		load(counter, value, now);
		break;
	case 2:
		load(counter, value << 8, now);
		break;
	default:
		if (counter->write_high) {
			load(counter, counter->write_low | value << 8, now);
		} else {
			counter->write_low = value;
			/* In mode 0 the first byte of a new count stops the old one. */
			if (counter->mode == 0)
				counter->loaded = false;
		}
		counter->write_high = !counter->write_high;
		break;
	}
}

/* What the counting element holds, in binary. */
static uint32_t current(struct pit_counter *counter, uint64_t now)
{
	uint64_t ticks;

	advance(counter, now);
	if (!counter->reload)
		return 0;
	if (!counter->loaded || (is_triggered_by_gate(counter) && !counter->triggered))
		return counter->reload % top(counter);
	ticks = elapsed_ticks(counter, now);
	switch (counter->mode) {
	case 2:
		return (counter->reload - ticks % counter->reload) % top(counter);
	case 3: {
		/* Steps of two, twice a period; an odd count has one step more in the high half. */
		uint32_t even = counter->reload & ~1u;
		uint32_t phase = ticks % counter->reload;
		uint32_t half = (counter->reload + 1) / 2;

		if (phase >= half)
			phase -= half;
		return even > 2 * phase ? (even - 2 * phase) % top(counter) : 0;
	}
	default:
		return (counter->reload + top(counter) - ticks % top(counter)) % top(counter);
	}
}

static uint16_t visible(struct pit_counter *counter, uint64_t now)
{
	uint32_t value = current(counter, now);

	if (!counter->bcd)
		return value;
	return value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

bool pit_counter_output(struct pit_counter *counter, uint64_t now)
{
	uint64_t ticks;

	advance(counter, now);
	ticks = elapsed_ticks(counter, now);
	switch (counter->mode) {
	case 0:
		return counter->loaded && ticks >= counter->reload;
	case 1:
		return !counter->triggered || ticks >= counter->reload;
	case 2:
		return !is_counting(counter) || ticks % counter->reload != counter->reload - 1;
	case 3:
		return !is_counting(counter) ||
		       ticks % counter->reload < (counter->reload + 1) / 2;
	case 4:
		return !counter->loaded || ticks != counter->reload;
	default:
		return !counter->triggered || ticks != counter->reload;
	}
}

uint64_t pit_counter_next_rise(struct pit_counter *counter, uint64_t now)
{
	uint64_t ticks, rise;

	advance(counter, now);
	if (!is_counting(counter))
		return PIT_NEVER;
	ticks = elapsed_ticks(counter, now);
	switch (counter->mode) {
	case 0:
	case 1:
		rise = counter->reload;
		break;
	case 2:
	case 3:
		rise = (ticks / counter->reload + 1) * counter->reload;
		break;
	default: /* the strobe lasts one clock */
		rise = counter->reload + 1ull;
		break;
	}
	return rise > ticks ? counter->start_ns + pit_ticks_to_ns(rise) : PIT_NEVER;
}

void pit_counter_set_gate(struct pit_counter *counter, bool gate, uint64_t now)
{
	bool rises = gate && !counter->gate;
	uint64_t ticks = elapsed_ticks(counter, now);

	if (gate == counter->gate)
		return;
	counter->gate = gate;
	if (!counter->loaded)
		return;
	if (is_triggered_by_gate(counter)) {
		if (!rises)
			return;
		counter->triggered = true;
		restart(counter, now);
	} else if (is_periodic(counter) && rises) {
		restart(counter, now);
	} else if (rises) {
		counter->held = false;
		counter->start_ns = now - pit_ticks_to_ns(counter->held_ticks);
	} else {
		counter->held = true;
		counter->held_ticks = ticks;
	}
}

/* A latch that was not read yet stays. */
void pit_counter_latch(struct pit_counter *counter, uint64_t now)
{
	if (counter->count_latched)
		return;
	counter->count_latch = visible(counter, now);
	counter->count_latched = counter->access == 3 ? 2 : 1;
}

void pit_counter_latch_status(struct pit_counter *counter, uint64_t now)
{
	if (counter->status_latched)
		return;
	counter->status_latched = true;
	counter->status_latch = (pit_counter_output(counter, now) ? STATUS_OUTPUT : 0) |
				(counter->null_count ? STATUS_NULL_COUNT : 0) |
				counter->access << CONTROL_ACCESS_SHIFT |
				counter->mode << CONTROL_MODE_SHIFT | counter->bcd;
}

uint8_t pit_counter_read(struct pit_counter *counter, uint64_t now)
{
	uint16_t value;
	bool high = counter->access == 2;

	if (counter->status_latched) {
		counter->status_latched = false;
		return counter->status_latch;
	}
	if (counter->count_latched) {
		value = counter->count_latch;
		counter->count_latched--;
	} else {
		value = visible(counter, now);
	}
	if (counter->access == 3) {
		high = counter->read_high;
		counter->read_high = !counter->read_high;
	}
	return high ? value >> 8 : value;
}
