/* SPDX-License-Identifier: MIT */
/*
 * One counter of an 8254, as a function of time: nothing here runs, each question is answered from
 * when the count was loaded. Times are nanoseconds of the host's monotonic clock. Machine lock.
 */
#ifndef RINGLET_LEGACY_PIT_COUNTER_H
#define RINGLET_LEGACY_PIT_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_NEVER UINT64_MAX

struct pit_counter {
	uint8_t mode;       /* 0 … 5 */
	uint8_t access;     /* 1 low byte, 2 high byte, 3 low then high */
	bool bcd;
	bool gate;
	bool null_count;    /* a count was written but is not in the counting element yet */
	bool loaded;        /* there is a count at all since the mode was set */
	bool triggered;     /* modes 1 and 5: the gate rose since then */
	bool write_high, read_high; /* access 3: the second byte is next */
	uint8_t write_low;  /* access 3: the first byte */
	uint32_t reload;    /* 1 … 0x10000 (10000 in BCD) */
	uint32_t next_reload; /* modes 2 and 3: taken at the end of the running period; 0: none */
	uint64_t start_ns;  /* when the count (or the running period) began */
	uint64_t held_ticks; /* modes 0 and 4, gate low: ticks counted so far */
	bool held;

	uint16_t count_latch;
	uint8_t count_latched;  /* bytes of it still to be read */
	uint8_t status_latch;
	bool status_latched;
};

void pit_counter_set_mode(struct pit_counter *counter, uint8_t control, uint64_t now);
void pit_counter_write(struct pit_counter *counter, uint8_t value, uint64_t now);
uint8_t pit_counter_read(struct pit_counter *counter, uint64_t now);
void pit_counter_latch(struct pit_counter *counter, uint64_t now);
void pit_counter_latch_status(struct pit_counter *counter, uint64_t now);
void pit_counter_set_gate(struct pit_counter *counter, bool gate, uint64_t now);
bool pit_counter_output(struct pit_counter *counter, uint64_t now);

/* When the output next rises, after now; PIT_NEVER when it does not by itself. */
uint64_t pit_counter_next_rise(struct pit_counter *counter, uint64_t now);

/* Ticks of 105/88 MHz (1.193181… MHz), exactly. */
uint64_t pit_ns_to_ticks(uint64_t ns);
/* The first nanosecond at which so many ticks have passed. */
uint64_t pit_ticks_to_ns(uint64_t ticks);

#endif
