/* SPDX-License-Identifier: MIT */
/*
 * HPET. The counter is computed from the host's clock; a comparator's host timer stands at its
 * next match. A comparator in one-shot mode matches once; it would again when the counter has gone
 * round, 43 seconds later at the earliest, which nobody uses and is left out. Periods faster than
 * the host can serve are thinned out.
 */
#include "legacy/hpet.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/bus.h"
#include "host/loop.h"

#define TICK_NS (HPET_PERIOD_FS / 1000000u)
#define MATCH_MIN_NS 20000ull
/* Beyond what the host's clock can express, a match is as good as never. */
#define MATCH_MAX_TICKS (UINT64_MAX / 4 / TICK_NS)

enum {
	REG_CAPABILITIES = 0x00,
	REG_CONFIG = 0x10,
	REG_STATUS = 0x20,
	REG_COUNTER = 0xf0,
	REG_COMPARATORS = 0x100,
	COMPARATOR_BYTES = 0x20,
};
/* In a comparator's block. */
enum { CMP_CONFIG = 0x00, CMP_VALUE = 0x08, CMP_MSI = 0x10 };

#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u

/*
 * Comparator: 63:32 possible pins  15 can MSI  14 MSI  13:9 pin  8 force 32 bits  6 set accumulator
 *             5 is 64 bits  4 can be periodic  3 periodic  2 interrupts  1 level
 */
#define CMP_LEVEL (1u << 1)
#define CMP_ENABLE (1u << 2)
#define CMP_PERIODIC (1u << 3)
#define CMP_CAN_PERIODIC (1u << 4)
#define CMP_64BIT (1u << 5)
#define CMP_SET_VALUE (1u << 6)
#define CMP_FORCE_32BIT (1u << 8)
#define CMP_PIN_SHIFT 9
#define CMP_MSI_ENABLE (1u << 14)
#define CMP_CAN_MSI (1u << 15)
#define CMP_WRITABLE                                                                               \
	(CMP_LEVEL | CMP_ENABLE | CMP_PERIODIC | CMP_FORCE_32BIT | 0x1fu << CMP_PIN_SHIFT |        \
	 CMP_MSI_ENABLE)

struct hpet_comparator {
	struct hpet *hpet;
	struct loop_timer *timer;
	uint32_t config;
	bool set_value;   /* the next write to the value goes to the accumulator */
	uint64_t value;   /* next match */
	uint64_t period;
	uint64_t msi;     /* 63:32 address  31:0 data */
};

struct hpet {
	struct device dev;
	struct hpet_config config;
	struct bus *mmio;
	struct hpet_comparator comparator[HPET_COMPARATORS];
	uint32_t control;
	uint32_t status;         /* level-triggered comparators that interrupt */
	uint64_t counter;        /* while stopped; else its value at start_ns */
	uint64_t start_ns;
	bool pit_level, rtc_level;
};

static uint64_t now_ns(const struct hpet *hpet)
{
	return loop_timer_now(hpet->comparator[0].timer);
}

static uint64_t counter_now(const struct hpet *hpet)
{
	if (!(hpet->control & CONFIG_ENABLE))
		return hpet->counter;
	return hpet->counter + (now_ns(hpet) - hpet->start_ns) / TICK_NS;
}

static unsigned comparator_index(const struct hpet_comparator *cmp)
{
	return cmp - cmp->hpet->comparator;
}

static uint64_t width_mask(const struct hpet_comparator *cmp)
{
	return cmp->config & CMP_FORCE_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* ---- interrupts ---- */

static bool is_legacy(const struct hpet_comparator *cmp)
{
	return cmp->hpet->control & CONFIG_LEGACY && comparator_index(cmp) < 2;
}

static const struct irq_line *output_line(const struct hpet_comparator *cmp)
{
	static const struct irq_line nowhere;
	const struct hpet_config *config = &cmp->hpet->config;
	unsigned pin = cmp->config >> CMP_PIN_SHIFT & 0x1f;

	if (is_legacy(cmp))
		return comparator_index(cmp) ? &config->irq8 : &config->irq0;
	return pin < HPET_PINS ? &config->pin[pin] : &nowhere;
}

static bool is_level(const struct hpet_comparator *cmp)
{
	return cmp->config & CMP_LEVEL && !(cmp->config & CMP_MSI_ENABLE);
}

/* Does a comparator hold line at its level? Several may have chosen the same pin. */
static bool is_held(const struct hpet *hpet, const struct irq_line *line)
{
	for (unsigned i = 0; i < HPET_COMPARATORS; i++) {
		const struct hpet_comparator *cmp = &hpet->comparator[i];

		if (hpet->status >> i & 1 && cmp->config & CMP_ENABLE && output_line(cmp) == line)
			return true;
	}
	return false;
}

/* A level stays until the guest clears its status bit, or turns the comparator away. */
static void drop_level(struct hpet_comparator *cmp)
{
	uint32_t bit = 1u << comparator_index(cmp);

	if (!(cmp->hpet->status & bit))
		return;
	cmp->hpet->status &= ~bit;
	irq_set(output_line(cmp), is_held(cmp->hpet, output_line(cmp)));
}

static void raise(struct hpet_comparator *cmp)
{
	struct hpet *hpet = cmp->hpet;
	bool enabled = cmp->config & CMP_ENABLE;

	if (is_level(cmp)) {
		hpet->status |= 1u << comparator_index(cmp);
		if (enabled)
			irq_set(output_line(cmp), true);
		return;
	}
	if (!enabled)
		return;
	if (cmp->config & CMP_MSI_ENABLE && !is_legacy(cmp)) {
		hpet->config.msi(hpet->config.opaque, cmp->msi >> 32, cmp->msi);
		return;
	}
	irq_set(output_line(cmp), true);
	irq_set(output_line(cmp), is_held(hpet, output_line(cmp)));
}

/* ---- matches ---- */

static bool is_running(const struct hpet_comparator *cmp)
{
	return cmp->hpet->control & CONFIG_ENABLE;
}

/* Ticks since the match that is due next; more than half the width: it is still to come. */
static uint64_t lateness(const struct hpet_comparator *cmp)
{
	return (counter_now(cmp->hpet) - cmp->value) & width_mask(cmp);
}

/* A periodic comparator goes on while nobody waits for it: moves the next match past now. */
static void catch_up(struct hpet_comparator *cmp)
{
	uint64_t late = lateness(cmp);

	if (!is_running(cmp) || !(cmp->config & CMP_PERIODIC) || !cmp->period ||
	    late > width_mask(cmp) / 2)
		return;
	cmp->value = (cmp->value + (late / cmp->period + 1) * cmp->period) & width_mask(cmp);
}

/* Does a match change anything that the guest can see at once? */
static bool is_awaited(const struct hpet_comparator *cmp)
{
	return is_running(cmp) && (cmp->config & CMP_ENABLE || is_level(cmp));
}

/* now: the counter. What lies behind it is a match that will not come again. */
static void arm_from(struct hpet_comparator *cmp, uint64_t now)
{
	uint64_t ticks = (cmp->value - now) & width_mask(cmp);
	uint64_t wait;

	if (!is_awaited(cmp) || ticks > MATCH_MAX_TICKS) {
		loop_timer_disarm(cmp->timer);
		return;
	}
	wait = ticks * TICK_NS;
	if (cmp->config & CMP_PERIODIC && wait < MATCH_MIN_NS)
		wait = MATCH_MIN_NS;
	loop_timer_arm(cmp->timer, loop_timer_now(cmp->timer) + wait);
}

static void arm(struct hpet_comparator *cmp)
{
	arm_from(cmp, counter_now(cmp->hpet));
}

/*
 * The counter was set to now, or started from there, a moment ago: what it has passed since then is
 * still to match.
 */
static void arm_all_from(struct hpet *hpet, uint64_t now)
{
	for (unsigned i = 0; i < HPET_COMPARATORS; i++)
		arm_from(&hpet->comparator[i], now);
}

static void matched(void *opaque)
{
	struct hpet_comparator *cmp = opaque;

	if (!is_awaited(cmp))
		return;
	/* Too early: the counter was set back, or this expiry was under way when it was moved. */
	if (lateness(cmp) > width_mask(cmp) / 2) {
		arm(cmp);
		return;
	}
	raise(cmp);
	if (cmp->config & CMP_PERIODIC && cmp->period) {
		catch_up(cmp);
		arm(cmp);
	}
}

/* ---- registers ---- */

static uint64_t merge(uint64_t old, uint64_t value, unsigned shift, unsigned size)
{
	uint64_t mask = (size == 8 ? UINT64_MAX : UINT32_MAX) << shift;

	return (old & ~mask) | (value << shift & mask);
}

/* The pins that the board has wired. */
static uint64_t possible_pins(const struct hpet *hpet)
{
	uint64_t pins = 0;

	for (unsigned i = 0; i < HPET_PINS; i++)
		if (hpet->config.pin[i].set)
			pins |= 1ull << i;
	return pins;
}

static uint64_t read_comparator(struct hpet_comparator *cmp, unsigned reg)
{
	const struct hpet *hpet = cmp->hpet;

	switch (reg) {
	case CMP_CONFIG:
		return possible_pins(hpet) << 32 | cmp->config | CMP_CAN_PERIODIC | CMP_64BIT |
		       (hpet->config.msi ? CMP_CAN_MSI : 0);
	case CMP_VALUE:
		catch_up(cmp);
		return cmp->value;
	case CMP_MSI:
		return cmp->msi;
	default:
		return 0;
	}
}

static uint64_t read_register(struct hpet *hpet, unsigned reg)
{
	unsigned index = (reg - REG_COMPARATORS) / COMPARATOR_BYTES;

	switch (reg) {
	case REG_CAPABILITIES:
		return (uint64_t)HPET_PERIOD_FS << 32 | HPET_BLOCK_ID;
	case REG_CONFIG:
		return hpet->control;
	case REG_STATUS:
		return hpet->status;
	case REG_COUNTER:
		return counter_now(hpet);
	default:
		if (reg < REG_COMPARATORS || index >= HPET_COMPARATORS)
			return 0;
		return read_comparator(&hpet->comparator[index], reg % COMPARATOR_BYTES);
	}
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	uint64_t value = read_register(opaque, offset & ~7u);

	(void)size;
	(void)cpu;
	return value >> 8 * (offset & 7);
}

/* Only the HPET's own lines change hands; the PIT's and the RTC's levels come through again. */
static void write_control(struct hpet *hpet, uint32_t value)
{
	uint32_t changed = hpet->control ^ value;
	uint64_t now = counter_now(hpet);

	if (changed & CONFIG_LEGACY)
		for (unsigned i = 0; i < 2; i++)
			drop_level(&hpet->comparator[i]);
	hpet->control = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	if (changed & CONFIG_LEGACY) {
		bool through = !(value & CONFIG_LEGACY);

		irq_set(&hpet->config.irq0, through && hpet->pit_level);
		irq_set(&hpet->config.irq8, through && hpet->rtc_level);
	}
	if (changed & CONFIG_ENABLE) {
		hpet->counter = now;
		hpet->start_ns = now_ns(hpet);
		arm_all_from(hpet, now);
	}
}

static void write_status(struct hpet *hpet, uint32_t value)
{
	for (unsigned i = 0; i < HPET_COMPARATORS; i++)
		if (value >> i & 1)
			drop_level(&hpet->comparator[i]);
}

static void write_comparator_config(struct hpet_comparator *cmp, uint64_t value)
{
	if (!cmp->hpet->config.msi)
		value &= ~(uint64_t)CMP_MSI_ENABLE;
	drop_level(cmp);
	catch_up(cmp);
	cmp->config = value & CMP_WRITABLE;
	cmp->set_value = value & CMP_SET_VALUE;
	cmp->value &= width_mask(cmp);
	cmp->period &= width_mask(cmp);
	arm(cmp);
}

/*
 * In periodic mode a write sets the period, and the next match too if "set accumulator" was written
 * before it. A 64-bit value that is written in halves keeps that right until its high half.
 */
static void write_value(struct hpet_comparator *cmp, uint64_t value, unsigned shift, unsigned size)
{
	bool periodic = cmp->config & CMP_PERIODIC;
	bool last_half = size == 8 || shift || cmp->config & CMP_FORCE_32BIT;

	if (!periodic || cmp->set_value)
		cmp->value = merge(cmp->value, value, shift, size) & width_mask(cmp);
	if (periodic)
		cmp->period = merge(cmp->period, value, shift, size) & width_mask(cmp);
	if (periodic && last_half)
		cmp->set_value = false;
	arm(cmp);
}

static void write_comparator(struct hpet_comparator *cmp, unsigned reg, uint64_t value,
			     unsigned shift, unsigned size)
{
	switch (reg) {
	case CMP_CONFIG:
		if (!shift)
			write_comparator_config(cmp, value);
		break;
	case CMP_VALUE:
		write_value(cmp, value, shift, size);
		break;
	case CMP_MSI:
		cmp->msi = merge(cmp->msi, value, shift, size);
		break;
	default:
		break;
	}
}

static void write_counter(struct hpet *hpet, uint64_t value, unsigned shift, unsigned size)
{
	hpet->counter = merge(counter_now(hpet), value, shift, size);
	hpet->start_ns = now_ns(hpet);
	arm_all_from(hpet, hpet->counter);
}

static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct hpet *hpet = opaque;
	unsigned reg = offset & ~7u;
	unsigned shift = 8 * (offset & 7);
	unsigned index = (reg - REG_COMPARATORS) / COMPARATOR_BYTES;

	(void)cpu;
	/* The specification knows aligned accesses of 4 and 8 bytes only. */
	if (size < 4 || offset % size)
		return;
	if (reg == REG_COUNTER)
		write_counter(hpet, value, shift, size);
	else if (reg >= REG_COMPARATORS && index < HPET_COMPARATORS)
		write_comparator(&hpet->comparator[index], reg % COMPARATOR_BYTES, value, shift,
				 size);
	else if (reg == REG_CONFIG && !shift)
		write_control(hpet, value);
	else if (reg == REG_STATUS && !shift)
		write_status(hpet, value);
}

/* ---- the wires that pass through ---- */

static void pit_set(void *opaque, unsigned input, bool level)
{
	struct hpet *hpet = opaque;

	(void)input;
	hpet->pit_level = level;
	if (!(hpet->control & CONFIG_LEGACY))
		irq_set(&hpet->config.irq0, level);
}

static void rtc_set(void *opaque, unsigned input, bool level)
{
	struct hpet *hpet = opaque;

	(void)input;
	hpet->rtc_level = level;
	if (!(hpet->control & CONFIG_LEGACY))
		irq_set(&hpet->config.irq8, level);
}

struct irq_line hpet_pit_line(struct device *dev)
{
	return (struct irq_line){ .set = pit_set, .opaque = dev };
}

struct irq_line hpet_rtc_line(struct device *dev)
{
	return (struct irq_line){ .set = rtc_set, .opaque = dev };
}

/* ---- life ---- */

static void hpet_reset(struct device *dev)
{
	struct hpet *hpet = (struct hpet *)dev;

	write_control(hpet, 0);
	hpet->counter = 0;
	for (unsigned i = 0; i < HPET_COMPARATORS; i++) {
		struct hpet_comparator *cmp = &hpet->comparator[i];

		drop_level(cmp);
		cmp->config = 0;
		cmp->set_value = false;
		cmp->value = UINT64_MAX;
		cmp->period = 0;
		cmp->msi = 0;
	}
}

static void hpet_restored(struct device *dev)
{
	struct hpet *hpet = (struct hpet *)dev;

	/* MSI without anybody to send it would be a call to nowhere. */
	for (unsigned i = 0; i < HPET_COMPARATORS; i++)
		if (!hpet->config.msi)
			hpet->comparator[i].config &= ~CMP_MSI_ENABLE;
	arm_all_from(hpet, counter_now(hpet));
}

static void free_hpet(struct hpet *hpet)
{
	for (unsigned i = 0; i < HPET_COMPARATORS; i++)
		if (hpet->comparator[i].timer)
			loop_timer_destroy(hpet->comparator[i].timer);
	free(hpet);
}

static void hpet_destroy(struct device *dev)
{
	struct hpet *hpet = (struct hpet *)dev;

	bus_remove(hpet->mmio, hpet->config.base);
	free_hpet(hpet);
}

#define COMPARATOR_FIELDS(i)                                                                       \
	STATE_FIELD(struct hpet, comparator[i].config),                                            \
	STATE_FIELD(struct hpet, comparator[i].set_value),                                         \
	STATE_FIELD(struct hpet, comparator[i].value),                                             \
	STATE_FIELD(struct hpet, comparator[i].period),                                            \
	STATE_FIELD(struct hpet, comparator[i].msi)

static const struct state_field hpet_fields[] = {
	COMPARATOR_FIELDS(0),
	COMPARATOR_FIELDS(1),
	COMPARATOR_FIELDS(2),
	STATE_FIELD(struct hpet, control),
	STATE_FIELD(struct hpet, status),
	STATE_FIELD(struct hpet, counter),
	STATE_FIELD(struct hpet, start_ns),
	STATE_FIELD(struct hpet, pit_level),
	STATE_FIELD(struct hpet, rtc_level),
	STATE_FIELDS_END,
};

static const struct device_class hpet_class = {
	.name = "hpet",
	.reset = hpet_reset,
	.destroy = hpet_destroy,
	.fields = hpet_fields,
	.restored = hpet_restored,
};

static int create_timers(struct hpet *hpet, struct loop *loop, struct error *err)
{
	for (unsigned i = 0; i < HPET_COMPARATORS; i++) {
		struct hpet_comparator *cmp = &hpet->comparator[i];
		int ret = loop_guest_timer_create(loop, matched, cmp, &cmp->timer);

		cmp->hpet = hpet;
		if (ret)
			return error_set_errno(err, -ret, "hpet: timer");
	}
	return 0;
}

int hpet_create(const struct device_env *env, const struct hpet_config *config,
		struct device **dev, struct error *err)
{
	struct hpet *hpet = calloc(1, sizeof(*hpet));
	struct bus_range range = {
		.base = config->base ? config->base : HPET_DEFAULT_BASE,
		.size = HPET_BYTES, .name = "hpet", .opaque = hpet,
		.read = hpet_read, .write = hpet_write,
	};
	int ret;

	if (!hpet)
		return error_set(err, ENOMEM, "hpet: out of memory");
	hpet->dev.class = &hpet_class;
	hpet->config = *config;
	hpet->config.base = range.base;
	hpet->mmio = env->mmio;
	ret = create_timers(hpet, env->loop, err);
	if (!ret)
		ret = bus_add(env->mmio, &range, err);
	if (ret) {
		free_hpet(hpet);
		return ret;
	}
	hpet_reset(&hpet->dev);
	*dev = &hpet->dev;
	return 0;
}
