/* SPDX-License-Identifier: MIT */
/*
 * The APIC's registers, common to both ways of reaching them (the page and the MSRs). A write that
 * concerns others (EOI, ICR) only notes it: apic_finish does it when no lock is held. SDM volume 3,
 * "Local APIC Register Address Map", "x2APIC Register Address Space".
 */
#include "irqchip/apic_regs.h"

#define ID_SHIFT 24
#define DFR_ONES 0x0fffffffu
#define SVR_WRITABLE (SVR_EOI_QUIET | SVR_ENABLE | 0xffu)
#define VERSION_EOI_QUIET (1u << 24)

/* What a write may change in each entry; the rest is read-only or reserved. */
static const uint32_t lvt_writable[APIC_LVTS] = {
	[APIC_LVT_TIMER] = LVT_TIMER_MODE | LVT_MASKED | LVT_VECTOR,
	[APIC_LVT_THERMAL] = LVT_MASKED | 0x700 | LVT_VECTOR,
	[APIC_LVT_PERF] = LVT_MASKED | 0x700 | LVT_VECTOR,
	[APIC_LVT_LINT0] = LVT_MASKED | LVT_LEVEL | 0x2700 | LVT_VECTOR,
	[APIC_LVT_LINT1] = LVT_MASKED | LVT_LEVEL | 0x2700 | LVT_VECTOR,
	[APIC_LVT_ERROR] = LVT_MASKED | LVT_VECTOR,
};

uint32_t apic_x2apic_ldr(const struct apic *apic)
{
	uint32_t id = apic->state->id;

	return id >> 4 << 16 | 1u << (id & 0xf);
}

static uint32_t read_id(const struct apic *apic)
{
	return apic_is_x2apic(apic) ? apic->state->id : apic->state->id << ID_SHIFT;
}

bool apic_reg_read(struct apic *apic, unsigned reg, uint32_t *value)
{
	const struct apic_state *state = apic->state;

	switch (reg) {
	case APIC_ID:
		*value = read_id(apic);
		return true;
	case APIC_VER:
		*value = VERSION_EOI_QUIET | (APIC_LVTS - 1) << 16 | APIC_VERSION;
		return true;
	case APIC_TPR:
		*value = state->tpr;
		return true;
	case APIC_APR:
	case APIC_PPR:
		*value = apic_ppr(apic);
		return true;
	case APIC_EOI:
	case APIC_RRD:
		*value = 0;
		return true;
	case APIC_LDR:
		*value = state->ldr;
		return true;
	case APIC_DFR:
		*value = state->dfr;
		return true;
	case APIC_SVR:
		*value = state->svr;
		return true;
	case APIC_ISR ... APIC_ISR + 7:
		*value = state->isr[reg - APIC_ISR];
		return true;
	case APIC_TMR ... APIC_TMR + 7:
		*value = state->tmr[reg - APIC_TMR];
		return true;
	case APIC_IRR ... APIC_IRR + 7:
		*value = state->irr[reg - APIC_IRR];
		return true;
	case APIC_ESR:
		*value = state->esr;
		return true;
	case APIC_ICR:
		*value = state->icr;
		return true;
	case APIC_ICR_HIGH:
		*value = state->icr_destination;
		return true;
	case APIC_LVT_FIRST ... APIC_LVT_LAST:
		*value = state->lvt[reg - APIC_LVT_FIRST];
		return true;
	case APIC_TIMER_INITIAL:
		*value = state->timer_initial;
		return true;
	case APIC_TIMER_CURRENT:
		*value = apic_timer_current(apic);
		return true;
	case APIC_TIMER_DIVIDE:
		*value = state->timer_divide;
		return true;
	default:
		return false;
	}
}

/* Switching the APIC off by software masks every entry. */
static void write_svr(struct apic *apic, uint32_t value)
{
	apic->state->svr = value & SVR_WRITABLE;
	if (!(value & SVR_ENABLE))
		for (unsigned i = 0; i < APIC_LVTS; i++)
			apic->state->lvt[i] |= LVT_MASKED;
	apic_update(apic);
}

static void write_lvt(struct apic *apic, unsigned which, uint32_t value)
{
	uint32_t old = apic->state->lvt[which];

	value &= lvt_writable[which];
	if (which == APIC_LVT_TIMER && !apic->set->config.tsc_hz)
		value &= ~LVT_TIMER_DEADLINE;
	if (!(apic->state->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	apic->state->lvt[which] = value;
	if (which == APIC_LVT_TIMER)
		apic_timer_lvt_changed(apic, old);
	apic_update(apic);
}

/* ESR shows what happened between two writes to it. */
static void write_esr(struct apic *apic)
{
	apic->state->esr = apic->state->esr_pending;
	apic->state->esr_pending = 0;
}

static void note_send(struct apic *apic, struct apic_after *after)
{
	uint32_t icr = apic->state->icr;
	uint32_t destination = apic->state->icr_destination;
	bool x2apic = apic_is_x2apic(apic);
	unsigned mode = icr >> 8 & 7;

	/* INIT level de-assert only synchronised the arbitration IDs of old processors. */
	if (mode == APIC_MODE_INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT))
		return;
	if ((mode == APIC_MODE_FIXED || mode == APIC_MODE_LOWEST) && (icr & 0xff) < 16) {
		apic_error(apic, ESR_SEND_VECTOR);
		return;
	}
	after->send = true;
	after->shorthand = icr >> ICR_SHORTHAND_SHIFT & 3;
	after->message = (struct apic_message){
		.destination = x2apic ? destination : destination >> ID_SHIFT,
		.logical = icr & ICR_LOGICAL,
		.broadcast = x2apic ? destination == ~0u : destination >> ID_SHIFT == 0xff,
		.mode = mode,
		.vector = icr,
	};
}

bool apic_reg_write(struct apic *apic, unsigned reg, uint32_t value, struct apic_after *after)
{
	struct apic_state *state = apic->state;

	switch (reg) {
	case APIC_ID:
		state->id = value >> ID_SHIFT;
		return true;
	case APIC_TPR:
		state->tpr = value & 0xff;
		apic_update(apic);
		return true;
	case APIC_EOI:
		apic_end_of_interrupt(apic, after);
		return true;
	case APIC_LDR:
		state->ldr = value & 0xff000000;
		return true;
	case APIC_DFR:
		state->dfr = value | DFR_ONES;
		return true;
	case APIC_SVR:
		write_svr(apic, value);
		return true;
	case APIC_ESR:
		write_esr(apic);
		return true;
	case APIC_ICR:
		state->icr = value & 0xccfff & ~ICR_PENDING;
		note_send(apic, after);
		return true;
	case APIC_ICR_HIGH:
		state->icr_destination = value & 0xff000000;
		return true;
	case APIC_LVT_FIRST ... APIC_LVT_LAST:
		write_lvt(apic, reg - APIC_LVT_FIRST, value);
		return true;
	case APIC_TIMER_INITIAL:
		apic_timer_set_initial(apic, value);
		return true;
	case APIC_TIMER_DIVIDE:
		apic_timer_set_divide(apic, value & 0xb);
		return true;
	default:
		return false;
	}
}
