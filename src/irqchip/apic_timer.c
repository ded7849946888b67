/* SPDX-License-Identifier: MIT */
/*
 * The APIC timer: one-shot and periodic counts of a divided clock, or a deadline in guest TSC
 * ticks. SDM volume 3, "APIC Timer". The count is computed from the time it began; a host timer
 * only says when an interrupt is due. It may fire late, early or after it was moved: expiry asks
 * the state.
 */
#include "irqchip/apic_regs.h"

#include "base/error.h"
#include "host/clock.h"
#include "host/loop.h"

/* A guest may ask for a tick every nanosecond; the loop has other work. */
#define PERIOD_MIN_NS 20000ull
/* Re-check far deadlines now and then: the guest may have set its TSC forward. */
#define DEADLINE_NAP_NS CLOCK_NS_PER_S

static uint64_t scale(uint64_t value, uint64_t numerator, uint64_t denominator)
{
	unsigned __int128 product = (unsigned __int128)value * numerator;
	unsigned __int128 result = product / denominator;

	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

static bool is_deadline_mode(const struct apic *apic)
{
	return (apic->state->lvt[APIC_LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE;
}

static bool is_periodic(const struct apic *apic)
{
	return (apic->state->lvt[APIC_LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_PERIODIC;
}

/* Divide configuration: bits 3, 1, 0 are a power of two less one; 7 divides by 1. */
static unsigned divide_shift(const struct apic *apic)
{
	uint32_t value = apic->state->timer_divide;

	return ((value >> 1 & 4) + (value & 3) + 1) & 7;
}

static uint64_t count_to_ns(const struct apic *apic, uint32_t count)
{
	return scale((uint64_t)count << divide_shift(apic), CLOCK_NS_PER_S,
		     apic->set->config.timer_hz);
}

static uint64_t ns_to_count(const struct apic *apic, uint64_t ns)
{
	return scale(ns, apic->set->config.timer_hz, CLOCK_NS_PER_S) >> divide_shift(apic);
}

static void arm_count(struct apic *apic)
{
	uint64_t due = apic->state->timer_start_ns + count_to_ns(apic, apic->state->timer_initial);

	if (is_periodic(apic)) {
		uint64_t soonest = loop_timer_now(apic->timer) + PERIOD_MIN_NS;

		due = due < soonest ? soonest : due;
	}
	loop_timer_arm(apic->timer, due);
}

/* Fires when the guest's TSC has reached the deadline, else sleeps towards it. */
static void check_deadline(struct apic *apic)
{
	const struct apic_config *config = &apic->set->config;
	uint64_t now = config->tsc_now(config->opaque, apic->index);
	uint64_t wait_ns;

	if (now >= apic->state->deadline) {
		apic->state->deadline = 0;
		apic_fire_lvt(apic, APIC_LVT_TIMER);
		return;
	}
	wait_ns = scale(apic->state->deadline - now, CLOCK_NS_PER_S, config->tsc_hz) + 1;
	if (wait_ns > DEADLINE_NAP_NS)
		wait_ns = DEADLINE_NAP_NS;
	loop_timer_arm(apic->timer, loop_timer_now(apic->timer) + wait_ns);
}

static void check_count(struct apic *apic)
{
	struct apic_state *state = apic->state;
	uint64_t period = count_to_ns(apic, state->timer_initial);
	uint64_t now = loop_timer_now(apic->timer);

	if (now - state->timer_start_ns < period) {
		arm_count(apic);
		return;
	}
	if (is_periodic(apic)) {
		/* Ticks that were missed are one: the IRR could not hold more. */
		if (period)
			state->timer_start_ns = now - (now - state->timer_start_ns) % period;
		arm_count(apic);
	} else {
		state->timer_running = false;
	}
	apic_fire_lvt(apic, APIC_LVT_TIMER);
}

static void timer_expired(void *opaque)
{
	struct apic *apic = opaque;

	pthread_mutex_lock(&apic->lock);
	if (is_deadline_mode(apic) && apic->state->deadline)
		check_deadline(apic);
	else if (apic->state->timer_running)
		check_count(apic);
	pthread_mutex_unlock(&apic->lock);
}

int apic_timer_create(struct apic *apic, struct error *err)
{
	int ret = loop_guest_timer_create(apic->set->loop, timer_expired, apic, &apic->timer);

	return ret ? error_set_errno(err, -ret, "apic: timer") : 0;
}

void apic_timer_destroy(struct apic *apic)
{
	if (apic->timer)
		loop_timer_destroy(apic->timer);
}

void apic_timer_stop(struct apic *apic)
{
	apic->state->timer_running = false;
	apic->state->deadline = 0;
	loop_timer_disarm(apic->timer);
}

void apic_timer_set_initial(struct apic *apic, uint32_t value)
{
	if (is_deadline_mode(apic))
		return;
	apic->state->timer_initial = value;
	if (!value) {
		apic_timer_stop(apic);
		return;
	}
	apic->state->timer_start_ns = loop_timer_now(apic->timer);
	apic->state->timer_running = true;
	arm_count(apic);
}

uint32_t apic_timer_current(const struct apic *apic)
{
	const struct apic_state *state = apic->state;
	uint64_t elapsed;

	if (!state->timer_running || is_deadline_mode(apic))
		return 0;
	elapsed = ns_to_count(apic, loop_timer_now(apic->timer) - state->timer_start_ns);
	if (elapsed < state->timer_initial)
		return state->timer_initial - elapsed;
	return is_periodic(apic) ? state->timer_initial - elapsed % state->timer_initial : 0;
}

/* The count that is left goes on at the new speed. */
void apic_timer_set_divide(struct apic *apic, uint32_t value)
{
	uint32_t left = apic_timer_current(apic);

	apic->state->timer_divide = value;
	if (!apic->state->timer_running)
		return;
	apic->state->timer_start_ns =
		loop_timer_now(apic->timer) - count_to_ns(apic, apic->state->timer_initial - left);
	arm_count(apic);
}

void apic_timer_lvt_changed(struct apic *apic, uint32_t old)
{
	uint32_t new = apic->state->lvt[APIC_LVT_TIMER];

	if (!((old ^ new) & LVT_TIMER_MODE))
		return;
	/* To or from the deadline mode disarms; one-shot and periodic share the running count. */
	if ((old | new) & LVT_TIMER_DEADLINE)
		apic_timer_stop(apic);
	else if (apic->state->timer_running)
		arm_count(apic);
}

uint64_t apic_timer_deadline(const struct apic *apic)
{
	return is_deadline_mode(apic) ? apic->state->deadline : 0;
}

void apic_timer_set_deadline(struct apic *apic, uint64_t deadline)
{
	if (!is_deadline_mode(apic))
		return;
	apic->state->deadline = deadline;
	if (deadline)
		check_deadline(apic);
	else
		loop_timer_disarm(apic->timer);
}

void apic_timer_set_current(struct apic *apic, uint32_t left)
{
	struct apic_state *state = apic->state;

	state->timer_running = left && left <= state->timer_initial && !is_deadline_mode(apic);
	if (state->timer_running)
		state->timer_start_ns =
			loop_timer_now(apic->timer) - count_to_ns(apic, state->timer_initial - left);
}

void apic_timer_rearm(struct apic *apic)
{
	if (is_deadline_mode(apic) && apic->state->deadline)
		check_deadline(apic);
	else if (apic->state->timer_running)
		arm_count(apic);
	else
		loop_timer_disarm(apic->timer);
}
