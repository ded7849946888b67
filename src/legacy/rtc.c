/* SPDX-License-Identifier: MIT */
/*
 * MC146818. Time is the host's plus an offset, computed when it is asked for; while the guest holds
 * the clock (SET, or a stopped divider) the time cells are plain memory and become the new offset
 * when it lets go. Flags that time should have set are brought up to date before they are looked at
 * (catch_up); a host timer runs only while an interrupt is enabled.
 *
 * The year is cells 9 and 0x32 (century), and the clock counts from 1970 on; earlier years that a
 * guest sets are taken for this century's.
 */
#include "legacy/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "dev/bus.h"
#include "host/clock.h"
#include "host/loop.h"

#define CELLS 128
#define NMI_MASK 0x80

enum cell {
	CELL_SECONDS, CELL_SECONDS_ALARM, CELL_MINUTES, CELL_MINUTES_ALARM, CELL_HOURS,
	CELL_HOURS_ALARM, CELL_WEEKDAY, CELL_DAY, CELL_MONTH, CELL_YEAR,
	CELL_A, CELL_B, CELL_C, CELL_D,
	CELL_BASE_LOW = 0x15, CELL_BASE_HIGH, CELL_EXT_LOW, CELL_EXT_HIGH,
	CELL_EXT2_LOW = 0x30, CELL_EXT2_HIGH, CELL_CENTURY,
	CELL_ABOVE_16M_LOW = 0x34, CELL_ABOVE_16M_HIGH,
	CELL_HIGH_MEM = 0x5b, /* three cells */
	CELL_CPUS = 0x5f,
};

#define A_UIP 0x80
#define A_DIVIDER 0x70
#define A_DIVIDER_RUN 0x20 /* 32.768 kHz crystal */
#define A_RATE 0x0f
#define B_SET 0x80
#define B_PERIODIC 0x40
#define B_ALARM 0x20
#define B_UPDATE 0x10
#define B_BINARY 0x04
#define B_24H 0x02
#define C_IRQ 0x80
#define C_FLAGS 0x70 /* the bits of B that enable them */
#define D_VALID 0x80
#define HOURS_PM 0x80
#define ALARM_ANY 0xc0 /* both bits set: matches every value */

#define UIP_NS 244000u
#define SECONDS_A_DAY 86400u
#define PERIODIC_MIN_NS 100000ull

struct rtc {
	struct device dev;
	struct rtc_config config;
	struct bus *pio;
	struct loop_timer *timer;
	uint8_t index;
	bool nmi_masked;
	uint8_t cells[CELLS];
	uint64_t offset_ns;     /* the guest's clock less the host's, modulo 2^64 */
	uint64_t checked_s;     /* the guest's second up to which UF and AF are done */
	uint64_t periodic_tick; /* … and the periodic tick for PF */
};

static uint64_t host_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t guest_now_ns(const struct rtc *rtc)
{
	uint64_t now = rtc->config.now_ns ? rtc->config.now_ns(rtc->config.opaque) : host_now_ns();

	return now + rtc->offset_ns;
}

/* Does the guest hold the clock? */
static bool is_held(const struct rtc *rtc)
{
	return rtc->cells[CELL_B] & B_SET || (rtc->cells[CELL_A] & A_DIVIDER) != A_DIVIDER_RUN;
}

/* ---- formats ---- */

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
	return rtc->cells[CELL_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static unsigned decode(const struct rtc *rtc, uint8_t cell)
{
	return rtc->cells[CELL_B] & B_BINARY ? cell : (cell >> 4) * 10u + (cell & 15);
}

static uint8_t encode_hours(const struct rtc *rtc, unsigned hours)
{
	unsigned twelve = hours % 12 ? hours % 12 : 12;

	if (rtc->cells[CELL_B] & B_24H)
		return encode(rtc, hours);
	return encode(rtc, twelve) | (hours >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hours(const struct rtc *rtc, uint8_t cell)
{
	if (rtc->cells[CELL_B] & B_24H)
		return decode(rtc, cell);
	return decode(rtc, cell & ~HOURS_PM) % 12 + (cell & HOURS_PM ? 12 : 0);
}

/* ---- time cells ---- */

static void time_to_cells(struct rtc *rtc, uint64_t seconds)
{
	time_t time = seconds;
	struct tm tm;

	gmtime_r(&time, &tm);
	rtc->cells[CELL_SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cells[CELL_MINUTES] = encode(rtc, tm.tm_min);
	rtc->cells[CELL_HOURS] = encode_hours(rtc, tm.tm_hour);
	rtc->cells[CELL_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cells[CELL_DAY] = encode(rtc, tm.tm_mday);
	rtc->cells[CELL_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cells[CELL_YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->cells[CELL_CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100);
}

static uint64_t cells_to_time(const struct rtc *rtc)
{
	unsigned century = decode(rtc, rtc->cells[CELL_CENTURY]);
	unsigned year = century * 100 + decode(rtc, rtc->cells[CELL_YEAR]);
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cells[CELL_SECONDS]),
		.tm_min = decode(rtc, rtc->cells[CELL_MINUTES]),
		.tm_hour = decode_hours(rtc, rtc->cells[CELL_HOURS]),
		.tm_mday = decode(rtc, rtc->cells[CELL_DAY]),
		.tm_mon = (int)decode(rtc, rtc->cells[CELL_MONTH]) - 1,
	};
	time_t time;

	if (year < 1970)
		year = 2000 + year % 100;
	tm.tm_year = (int)year - 1900;
	time = timegm(&tm);
	return time < 0 ? 0 : time;
}

static uint64_t now_seconds(const struct rtc *rtc)
{
	return guest_now_ns(rtc) / CLOCK_NS_PER_S;
}

static bool alarm_cell_matches(uint8_t alarm, uint8_t cell)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == cell;
}

static bool alarm_matches(const struct rtc *rtc, uint64_t second_of_day)
{
	const uint8_t *cells = rtc->cells;

	return alarm_cell_matches(cells[CELL_SECONDS_ALARM], encode(rtc, second_of_day % 60)) &&
	       alarm_cell_matches(cells[CELL_MINUTES_ALARM],
				  encode(rtc, second_of_day / 60 % 60)) &&
	       alarm_cell_matches(cells[CELL_HOURS_ALARM],
				  encode_hours(rtc, second_of_day / 3600));
}

/* ---- flags and interrupt ---- */

/* Periodic rate: 0 none, 1 and 2 as 8 and 9, else 32768 Hz >> (rate - 1). In 2^-15 s. */
static uint64_t periodic_units(const struct rtc *rtc)
{
	unsigned rate = rtc->cells[CELL_A] & A_RATE;

	if (!rate || (rtc->cells[CELL_A] & A_DIVIDER) != A_DIVIDER_RUN)
		return 0;
	return 1ull << ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint64_t periodic_tick(const struct rtc *rtc, uint64_t units)
{
	return (uint64_t)((unsigned __int128)guest_now_ns(rtc) * 32768 / CLOCK_NS_PER_S) / units;
}

static void update_irq(struct rtc *rtc)
{
	bool irq = rtc->cells[CELL_C] & rtc->cells[CELL_B] & C_FLAGS;

	rtc->cells[CELL_C] = (rtc->cells[CELL_C] & C_FLAGS) | (irq ? C_IRQ : 0);
	irq_set(&rtc->config.irq, irq);
}

static void catch_up_seconds(struct rtc *rtc)
{
	uint64_t now = now_seconds(rtc);
	uint64_t second = rtc->checked_s + 1;

	if (is_held(rtc) || now == rtc->checked_s)
		return;
	rtc->cells[CELL_C] |= B_UPDATE;
	/* The host's clock may have gone back, or on for weeks: one day has all alarms. */
	if (now < second || now - second >= SECONDS_A_DAY)
		second = now - SECONDS_A_DAY + 1;
	for (; second <= now && !(rtc->cells[CELL_C] & B_ALARM); second++)
		if (alarm_matches(rtc, second % SECONDS_A_DAY))
			rtc->cells[CELL_C] |= B_ALARM;
	rtc->checked_s = now;
}

static void catch_up(struct rtc *rtc)
{
	uint64_t units = periodic_units(rtc);

	catch_up_seconds(rtc);
	if (units) {
		uint64_t tick = periodic_tick(rtc, units);

		if (tick != rtc->periodic_tick)
			rtc->cells[CELL_C] |= B_PERIODIC;
		rtc->periodic_tick = tick;
	}
	update_irq(rtc);
}

/* From now on: no flags for the time that has passed. */
static void forget_past(struct rtc *rtc)
{
	uint64_t units = periodic_units(rtc);

	rtc->checked_s = now_seconds(rtc);
	rtc->periodic_tick = units ? periodic_tick(rtc, units) : 0;
}

/* The host timer for the next event that can interrupt and has not yet. */
static void arm(struct rtc *rtc)
{
	uint8_t wanted = rtc->cells[CELL_B] & ~rtc->cells[CELL_C] & C_FLAGS;
	uint64_t units = periodic_units(rtc);
	uint64_t now = guest_now_ns(rtc);
	uint64_t wait = UINT64_MAX;

	if (wanted & (B_ALARM | B_UPDATE) && !is_held(rtc))
		wait = CLOCK_NS_PER_S - now % CLOCK_NS_PER_S;
	if (wanted & B_PERIODIC && units) {
		uint64_t period = (units * CLOCK_NS_PER_S + 32767) / 32768;
		unsigned __int128 next = (periodic_tick(rtc, units) + 1) * (unsigned __int128)units;
		uint64_t due = next * CLOCK_NS_PER_S / 32768 + 1;
		uint64_t periodic = due > now ? due - now : period;

		wait = periodic < wait ? periodic : wait;
	}
	if (wait == UINT64_MAX)
		loop_timer_disarm(rtc->timer);
	else
		loop_timer_arm(rtc->timer, clock_now_ns() +
					   (wait < PERIODIC_MIN_NS ? PERIODIC_MIN_NS : wait));
}

static void timer_expired(void *opaque)
{
	struct rtc *rtc = opaque;

	catch_up(rtc);
	arm(rtc);
}

/* ---- registers ---- */

static bool is_time_cell(uint8_t cell)
{
	switch (cell) {
	case CELL_SECONDS:
	case CELL_MINUTES:
	case CELL_HOURS:
	case CELL_WEEKDAY:
	case CELL_DAY:
	case CELL_MONTH:
	case CELL_YEAR:
	case CELL_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t read_a(const struct rtc *rtc)
{
	uint64_t left = CLOCK_NS_PER_S - guest_now_ns(rtc) % CLOCK_NS_PER_S;
	bool updating = !is_held(rtc) && left <= UIP_NS;

	return (rtc->cells[CELL_A] & ~A_UIP) | (updating ? A_UIP : 0);
}

/* Reading C clears its flags and lets go of the interrupt line. */
static uint8_t read_c(struct rtc *rtc)
{
	uint8_t value;

	catch_up(rtc);
	value = rtc->cells[CELL_C];
	rtc->cells[CELL_C] = 0;
	update_irq(rtc);
	arm(rtc);
	return value;
}

static uint8_t read_cell(struct rtc *rtc, uint8_t cell)
{
	if (is_time_cell(cell) && !is_held(rtc))
		time_to_cells(rtc, now_seconds(rtc));
	switch (cell) {
	case CELL_A:
		return read_a(rtc);
	case CELL_C:
		return read_c(rtc);
	case CELL_D:
		return D_VALID;
	default:
		return rtc->cells[cell];
	}
}

/* The time cells become the clock; the fraction of the second goes on. */
static void set_clock(struct rtc *rtc)
{
	uint64_t now = guest_now_ns(rtc);
	uint64_t wanted = cells_to_time(rtc) * CLOCK_NS_PER_S + now % CLOCK_NS_PER_S;

	rtc->offset_ns += wanted - now;
}

static void write_time(struct rtc *rtc, uint8_t cell, uint8_t value)
{
	bool running = !is_held(rtc);

	if (running)
		time_to_cells(rtc, now_seconds(rtc));
	rtc->cells[cell] = value;
	if (!running)
		return;
	set_clock(rtc);
	forget_past(rtc);
}

/* Writes A or B; a change of "held" stops the clock in the cells or starts it from them. */
static void write_control(struct rtc *rtc, uint8_t cell, uint8_t value)
{
	bool was_held = is_held(rtc);

	catch_up(rtc);
	if (!was_held)
		time_to_cells(rtc, now_seconds(rtc));
	rtc->cells[cell] = value;
	if (cell == CELL_B && value & B_SET)
		rtc->cells[CELL_B] &= ~B_UPDATE;
	if (was_held && !is_held(rtc))
		set_clock(rtc);
	if (was_held != is_held(rtc) || cell == CELL_A)
		forget_past(rtc);
	update_irq(rtc);
	arm(rtc);
}

static void write_cell(struct rtc *rtc, uint8_t cell, uint8_t value)
{
	if (cell == CELL_A)
		write_control(rtc, cell, value & ~A_UIP);
	else if (cell == CELL_B)
		write_control(rtc, cell, value);
	else if (is_time_cell(cell))
		write_time(rtc, cell, value);
	else if (cell != CELL_C && cell != CELL_D)
		rtc->cells[cell] = value;
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct rtc *rtc = opaque;

	(void)size;
	(void)cpu;
	return offset ? read_cell(rtc, rtc->index) : 0xff;
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct rtc *rtc = opaque;

	(void)size;
	(void)cpu;
	if (offset) {
		write_cell(rtc, rtc->index, value);
		return;
	}
	rtc->index = value & (CELLS - 1);
	rtc->nmi_masked = value & NMI_MASK;
}

/* ---- life ---- */

static void set_word(struct rtc *rtc, unsigned cell, uint64_t value)
{
	uint16_t word = value > 0xffff ? 0xffff : value;

	rtc->cells[cell] = word;
	rtc->cells[cell + 1] = word >> 8;
}

/* Sizes in KiB: below 1 MiB, above it; in 64 KiB: above 16 MiB, above 4 GiB. */
static void fill_memory_cells(struct rtc *rtc)
{
	uint64_t low = rtc->config.mem_low_bytes;
	uint64_t high = rtc->config.mem_high_bytes >> 16;
	uint64_t above_1m = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;

	set_word(rtc, CELL_BASE_LOW, 640);
	set_word(rtc, CELL_EXT_LOW, above_1m);
	set_word(rtc, CELL_EXT2_LOW, above_1m);
	set_word(rtc, CELL_ABOVE_16M_LOW, low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0);
	for (unsigned i = 0; i < 3; i++)
		rtc->cells[CELL_HIGH_MEM + i] = high >> 8 * i;
	rtc->cells[CELL_CPUS] = rtc->config.cpus ? rtc->config.cpus - 1 : 0;
}

/* The battery keeps time and cells; RESET clears interrupt enables and flags. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	rtc->index = 0;
	rtc->nmi_masked = false;
	rtc->cells[CELL_B] &= ~C_FLAGS;
	rtc->cells[CELL_C] = 0;
	update_irq(rtc);
	arm(rtc);
}

static void rtc_restored(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	rtc->index &= CELLS - 1;
	update_irq(rtc);
	arm(rtc);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	bus_remove(rtc->pio, 0x70);
	loop_timer_destroy(rtc->timer);
	free(rtc);
}

static const struct state_field rtc_fields[] = {
	STATE_FIELD(struct rtc, index),
	STATE_FIELD(struct rtc, nmi_masked),
	STATE_FIELD(struct rtc, cells),
	STATE_FIELD(struct rtc, offset_ns),
	STATE_FIELD(struct rtc, checked_s),
	STATE_FIELD(struct rtc, periodic_tick),
	STATE_FIELDS_END,
};

static const struct device_class rtc_class = {
	.name = "rtc",
	.reset = rtc_reset,
	.destroy = rtc_destroy,
	.fields = rtc_fields,
	.restored = rtc_restored,
};

int rtc_create(const struct device_env *env, const struct rtc_config *config, struct device **dev,
	       struct error *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	struct bus_range range = {
		.base = 0x70, .size = 2, .name = "rtc", .max_width = 1,
		.opaque = rtc, .read = rtc_read, .write = rtc_write,
	};
	int ret;

	if (!rtc)
		return error_set(err, ENOMEM, "rtc: out of memory");
	rtc->dev.class = &rtc_class;
	rtc->config = *config;
	rtc->pio = env->pio;
	rtc->cells[CELL_A] = A_DIVIDER_RUN | 6;
	rtc->cells[CELL_B] = B_24H;
	fill_memory_cells(rtc);
	forget_past(rtc);
	ret = loop_timer_create(env->loop, timer_expired, rtc, &rtc->timer);
	if (ret) {
		error_set_errno(err, -ret, "rtc: timer");
		goto free_rtc;
	}
	ret = bus_add(env->pio, &range, err);
	if (ret)
		goto free_timer;
	rtc_reset(&rtc->dev);
	*dev = &rtc->dev;
	return 0;

free_timer:
	loop_timer_destroy(rtc->timer);
free_rtc:
	free(rtc);
	return ret;
}

void rtc_cmos_set(struct device *dev, uint8_t cell, uint8_t value)
{
	if (cell > CELL_D && cell < CELLS)
		((struct rtc *)dev)->cells[cell] = value;
}

uint8_t rtc_cmos_get(struct device *dev, uint8_t cell)
{
	return cell < CELLS ? ((struct rtc *)dev)->cells[cell] : 0xff;
}

bool rtc_nmi_masked(const struct device *dev)
{
	return ((const struct rtc *)dev)->nmi_masked;
}
