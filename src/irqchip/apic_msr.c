/* SPDX-License-Identifier: MIT */
/*
 * The APIC as model-specific registers: IA32_APIC_BASE and the changes of mode it makes, the x2APIC
 * registers, IA32_TSC_DEADLINE. Every false is a #GP in the guest. Called on the CPU's own thread.
 * SDM volume 3, "Extended xAPIC (x2APIC)".
 */
#include "irqchip/apic_regs.h"

#include "host/loop.h"

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u
#define MSR_X2APIC_LAST 0x8ffu

/* Bits that may be set in a write to an x2APIC register. */
static bool x2apic_value_ok(unsigned reg, uint64_t value)
{
	switch (reg) {
	case APIC_EOI:
	case APIC_ESR:
		return value == 0;
	case APIC_TPR:
	case APIC_SELF_IPI:
		return value <= 0xff;
	case APIC_SVR:
		return !(value & ~0x13ffull);
	case APIC_LVT_FIRST + APIC_LVT_TIMER:
		return !(value & ~0x710ffull);
	case APIC_LVT_FIRST + APIC_LVT_THERMAL:
	case APIC_LVT_FIRST + APIC_LVT_PERF:
		return !(value & ~0x117ffull);
	case APIC_LVT_FIRST + APIC_LVT_LINT0:
	case APIC_LVT_FIRST + APIC_LVT_LINT1:
		return !(value & ~0x1f7ffull);
	case APIC_LVT_FIRST + APIC_LVT_ERROR:
		return !(value & ~0x110ffull);
	case APIC_TIMER_INITIAL:
		return value <= UINT32_MAX;
	case APIC_TIMER_DIVIDE:
		return !(value & ~0xbull);
	case APIC_ICR:
		return !((uint32_t)value & ~0xcdfffu);
	default:
		return false; /* read-only, or none */
	}
}

static bool x2apic_readable(unsigned reg)
{
	switch (reg) {
	case APIC_APR:
	case APIC_EOI:
	case APIC_RRD:
	case APIC_DFR:
	case APIC_ICR_HIGH:
		return false;
	default:
		return true;
	}
}

static bool x2apic_read(struct apic *apic, unsigned reg, uint64_t *value)
{
	uint32_t low;

	if (!apic_is_x2apic(apic) || !x2apic_readable(reg) || !apic_reg_read(apic, reg, &low))
		return false;
	*value = low;
	if (reg == APIC_ICR)
		*value |= (uint64_t)apic->state->icr_destination << 32;
	return true;
}

static bool x2apic_write(struct apic *apic, unsigned reg, uint64_t value, struct apic_after *after)
{
	if (!apic_is_x2apic(apic) || !x2apic_value_ok(reg, value))
		return false;
	if (reg == APIC_ICR)
		apic->state->icr_destination = value >> 32;
	if (reg == APIC_SELF_IPI) {
		apic_accept(apic, value, false);
		return true;
	}
	return apic_reg_write(apic, reg, value, after);
}

/* Allowed: off to xAPIC, xAPIC to x2APIC, anything to off. */
static bool mode_change_ok(uint64_t from, uint64_t to)
{
	if ((to & BASE_MODE) == BASE_X2APIC)
		return false;
	if ((from & BASE_MODE) == BASE_MODE && (to & BASE_MODE) == BASE_ENABLE)
		return false;
	return (from & BASE_MODE) || (to & BASE_MODE) != BASE_MODE;
}

static void enter_x2apic(struct apic *apic)
{
	/* The ID is wired again, whatever the guest wrote to the xAPIC's register. */
	apic->state->id = apic->index;
	apic->state->ldr = apic_x2apic_ldr(apic);
	apic->state->icr_destination = 0;
}

static bool base_write(struct apic *apic, uint64_t value, bool *moved)
{
	uint64_t old = apic->state->base;
	uint64_t allowed = ((1ull << apic->set->config.phys_bits) - 1) & BASE_PAGE;

	if (value & ~(allowed | BASE_MODE | BASE_BSP) || !mode_change_ok(old, value))
		return false;
	apic->state->base = value;
	*moved = (old ^ value) & BASE_PAGE;
	if ((old ^ value) & BASE_MODE) {
		if (!(value & BASE_ENABLE)) {
			apic->state->id = apic->index;
			apic_init_state(apic);
		} else if (value & BASE_X2APIC) {
			enter_x2apic(apic);
		}
	}
	apic_update(apic);
	return true;
}

bool apic_msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	struct apic *apic = opaque;
	bool ok = true;

	pthread_mutex_lock(&apic->lock);
	if (index == MSR_APIC_BASE)
		*value = apic->state->base;
	else if (index == MSR_TSC_DEADLINE && apic->set->config.tsc_hz)
		*value = apic_timer_deadline(apic);
	else if (index >= MSR_X2APIC && index <= MSR_X2APIC_LAST)
		ok = x2apic_read(apic, index - MSR_X2APIC, value);
	else
		ok = false;
	pthread_mutex_unlock(&apic->lock);
	return ok;
}

bool apic_msr_write(void *opaque, uint32_t index, uint64_t value)
{
	struct apic *apic = opaque;
	struct apic_after after = { 0 };
	bool moved = false;
	bool ok = true;

	pthread_mutex_lock(&apic->lock);
	if (index == MSR_APIC_BASE)
		ok = base_write(apic, value, &moved);
	else if (index == MSR_TSC_DEADLINE && apic->set->config.tsc_hz)
		apic_timer_set_deadline(apic, value);
	else if (index >= MSR_X2APIC && index <= MSR_X2APIC_LAST)
		ok = x2apic_write(apic, index - MSR_X2APIC, value, &after);
	else
		ok = false;
	pthread_mutex_unlock(&apic->lock);
	apic_finish(apic, &after);
	if (moved) {
		loop_lock(apic->set->loop);
		apic_page_sync(apic->set);
		loop_unlock(apic->set->loop);
	}
	return ok;
}
