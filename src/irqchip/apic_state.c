/* SPDX-License-Identifier: MIT */
/*
 * An APIC's registers as the page that the manual shows, for controllers outside of this process: see
 * cpu/irqchip.h. No CPU runs. SDM volume 3, "Local APIC Register Address Map".
 */
#include "irqchip/apic_regs.h"

#include <string.h>

void apic_save(void *opaque, struct x86_lapic *lapic)
{
	struct apic *apic = opaque;

	pthread_mutex_lock(&apic->lock);
	*lapic = (struct x86_lapic){ .base = apic->state->base,
				     .tsc_deadline = apic_timer_deadline(apic) };
	for (unsigned reg = 0; reg < X86_LAPIC_REGS; reg++)
		if (!apic_reg_read(apic, reg, &lapic->reg[reg]))
			lapic->reg[reg] = 0;
	pthread_mutex_unlock(&apic->lock);
}

static void take_vectors(struct apic_state *state, const uint32_t *reg)
{
	memcpy(state->isr, &reg[APIC_ISR], sizeof(state->isr));
	memcpy(state->tmr, &reg[APIC_TMR], sizeof(state->tmr));
	memcpy(state->irr, &reg[APIC_IRR], sizeof(state->irr));
}

void apic_restore(void *opaque, const struct x86_lapic *lapic)
{
	struct apic *apic = opaque;
	struct apic_state *state = apic->state;
	const uint32_t *reg = lapic->reg;

	pthread_mutex_lock(&apic->lock);
	state->base = lapic->base;
	state->id = apic_is_x2apic(apic) ? reg[APIC_ID] : reg[APIC_ID] >> 24;
	state->tpr = reg[APIC_TPR];
	state->ldr = reg[APIC_LDR];
	state->dfr = reg[APIC_DFR];
	state->svr = reg[APIC_SVR];
	state->esr = reg[APIC_ESR];
	state->icr = reg[APIC_ICR];
	state->icr_destination = reg[APIC_ICR_HIGH];
	memcpy(state->lvt, &reg[APIC_LVT_FIRST], sizeof(state->lvt));
	take_vectors(state, reg);
	state->timer_initial = reg[APIC_TIMER_INITIAL];
	state->timer_divide = reg[APIC_TIMER_DIVIDE];
	state->deadline = lapic->tsc_deadline;
	apic_timer_set_current(apic, reg[APIC_TIMER_CURRENT]);
	if (!apic->set->backend)
		apic_timer_rearm(apic);
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}
