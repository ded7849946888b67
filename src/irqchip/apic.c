/* SPDX-License-Identifier: MIT */
/*
 * Local APICs: creation, and what an APIC is at heart: three 256-bit sets (requested, in service,
 * level-triggered) and the rule of who may interrupt whom. SDM volume 3, "Handling Interrupts".
 *
 * Invariant: deliverable is what can_deliver() says, whenever the lock is free.
 */
#include "irqchip/apic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/loop.h"
#include "irqchip/apic_regs.h"

#define FIRST_LEGAL_VECTOR 16
#define LVT_MODE(lvt) ((lvt) >> LVT_MODE_SHIFT & 7)

static void vector_set(uint32_t *set, uint8_t vector)
{
	set[vector / 32] |= 1u << vector % 32;
}

static void vector_clear(uint32_t *set, uint8_t vector)
{
	set[vector / 32] &= ~(1u << vector % 32);
}

static bool vector_test(const uint32_t *set, uint8_t vector)
{
	return set[vector / 32] >> vector % 32 & 1;
}

/* The highest vector in the set, -1 when it is empty. */
static int vector_highest(const uint32_t *set)
{
	for (int i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

uint32_t apic_ppr(const struct apic *apic)
{
	int in_service = vector_highest(apic->state->isr);
	uint32_t tpr = apic->state->tpr;

	if (in_service < 0 || tpr >> 4 >= (uint32_t)in_service >> 4)
		return tpr;
	return in_service & 0xf0;
}

/* The requested vector that the processor's priority lets through, or -1. */
static int deliverable_vector(const struct apic *apic)
{
	int vector = vector_highest(apic->state->irr);

	if (vector < 0 || (uint32_t)vector >> 4 <= apic_ppr(apic) >> 4)
		return -1;
	return vector;
}

/* With the APIC off, LINT0 is the processor's INTR pin; else its entry decides. */
static bool extint_pending(const struct apic *apic)
{
	uint32_t lvt = apic->state->lvt[APIC_LVT_LINT0];

	if (apic->state->extint_latched)
		return true;
	if (!atomic_load(&apic->set->lint0))
		return false;
	/* Its LVT is elsewhere, and looked at there. */
	if (apic->set->backend)
		return apic->state->base & BASE_BSP;
	if (!apic_enabled(apic))
		return apic->state->base & BASE_BSP;
	return !(lvt & LVT_MASKED) && LVT_MODE(lvt) == APIC_MODE_EXTINT;
}

void apic_update(struct apic *apic)
{
	bool deliverable = extint_pending(apic) ||
			   (!apic->set->backend && apic_enabled(apic) &&
			    deliverable_vector(apic) >= 0);
	struct cpu *cpu = atomic_load(&apic->cpu);

	atomic_store(&apic->deliverable, deliverable);
	if (deliverable && cpu)
		cpu_request(cpu, CPU_REQ_INTERRUPT);
}

void apic_accept(struct apic *apic, uint8_t vector, bool level)
{
	struct apic_state *state = apic->state;

	if (vector < FIRST_LEGAL_VECTOR) {
		apic_error(apic, ESR_RECEIVE_VECTOR);
		return;
	}
	vector_set(state->irr, vector);
	if (level)
		vector_set(state->tmr, vector);
	else
		vector_clear(state->tmr, vector);
	apic_update(apic);
}

void apic_error(struct apic *apic, uint32_t esr_bits)
{
	uint32_t lvt = apic->state->lvt[APIC_LVT_ERROR];

	apic->state->esr_pending |= esr_bits;
	/* An error entry with an illegal vector must not report itself for ever. */
	if ((lvt & LVT_VECTOR) >= FIRST_LEGAL_VECTOR)
		apic_fire_lvt(apic, APIC_LVT_ERROR);
}

void apic_fire_lvt(struct apic *apic, enum apic_lvt which)
{
	uint32_t lvt = apic->state->lvt[which];
	struct cpu *cpu = atomic_load(&apic->cpu);
	/* The timer's and the error entry have no mode field. */
	bool fixed = which == APIC_LVT_TIMER || which == APIC_LVT_ERROR;

	if (lvt & LVT_MASKED || !apic_enabled(apic))
		return;
	switch (fixed ? APIC_MODE_FIXED : LVT_MODE(lvt)) {
	case APIC_MODE_FIXED:
		apic_accept(apic, lvt & LVT_VECTOR, false);
		break;
	case APIC_MODE_NMI:
		if (cpu)
			cpu_request(cpu, CPU_REQ_NMI);
		break;
	case APIC_MODE_SMI:
		if (cpu)
			cpu_request(cpu, CPU_REQ_SMI);
		break;
	default:
		break;
	}
}

void apic_end_of_interrupt(struct apic *apic, struct apic_after *after)
{
	int vector = vector_highest(apic->state->isr);

	if (vector < 0)
		return;
	vector_clear(apic->state->isr, vector);
	if (vector_test(apic->state->tmr, vector) && !(apic->state->svr & SVR_EOI_QUIET)) {
		after->eoi = true;
		after->eoi_vector = vector;
	}
	apic_update(apic);
}

/* ---- the CPU's side ---- */

static bool intc_pending(void *opaque)
{
	struct apic *apic = opaque;

	return atomic_load_explicit(&apic->deliverable, memory_order_acquire);
}

/*
 * The PIC is asked under the machine lock, which comes before the APIC's: so the wire is looked at
 * again. A latched message counts even if the PIC has nothing (it answers with its spurious
 * vector).
 */
static int acknowledge_extint(struct apic *apic)
{
	struct apic_set *set = apic->set;
	bool pending;
	int vector = -1;

	loop_lock(set->loop);
	pthread_mutex_lock(&apic->lock);
	pending = extint_pending(apic);
	apic->state->extint_latched = false;
	pthread_mutex_unlock(&apic->lock);
	if (pending && set->config.extint_acknowledge)
		vector = set->config.extint_acknowledge(set->config.opaque);
	pthread_mutex_lock(&apic->lock);
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
	loop_unlock(set->loop);
	return vector;
}

static int intc_acknowledge(void *opaque)
{
	struct apic *apic = opaque;
	bool extint;
	int vector = -1;

	pthread_mutex_lock(&apic->lock);
	extint = extint_pending(apic);
	if (!extint && !apic->set->backend && apic_enabled(apic))
		vector = deliverable_vector(apic);
	if (vector >= 0) {
		vector_clear(apic->state->irr, vector);
		vector_set(apic->state->isr, vector);
	}
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
	return extint ? acknowledge_extint(apic) : vector;
}

static uint64_t intc_cr8_read(void *opaque)
{
	struct apic *apic = opaque;
	uint64_t cr8;

	pthread_mutex_lock(&apic->lock);
	cr8 = apic->state->tpr >> 4;
	pthread_mutex_unlock(&apic->lock);
	return cr8;
}

static void intc_cr8_write(void *opaque, uint64_t cr8)
{
	struct apic *apic = opaque;

	pthread_mutex_lock(&apic->lock);
	apic->state->tpr = (cr8 & 0xf) << 4;
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}

static void intc_init(void *opaque)
{
	struct apic *apic = opaque;

	pthread_mutex_lock(&apic->lock);
	apic_init_state(apic);
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}

static void intc_eoi(void *opaque, uint8_t vector)
{
	struct apic *apic = opaque;

	apic_finish(apic, &(struct apic_after){ .eoi = true, .eoi_vector = vector });
}

/* ---- wires ---- */

static void lint0_set(void *opaque, unsigned input, bool level)
{
	struct apic_set *set = opaque;

	(void)input;
	atomic_store(&set->lint0, level);
	for (unsigned i = 0; i < set->config.cpus; i++) {
		struct apic *apic = &set->apic[i];

		pthread_mutex_lock(&apic->lock);
		if (level && !set->backend &&
		    LVT_MODE(apic->state->lvt[APIC_LVT_LINT0]) != APIC_MODE_EXTINT)
			apic_fire_lvt(apic, APIC_LVT_LINT0);
		apic_update(apic);
		pthread_mutex_unlock(&apic->lock);
	}
}

static void lint1_set(void *opaque, unsigned input, bool level)
{
	struct apic_set *set = opaque;
	bool rising = level && !set->lint1;

	(void)input;
	set->lint1 = level;
	for (unsigned i = 0; rising && i < set->config.cpus; i++) {
		struct apic *apic = &set->apic[i];
		struct cpu *cpu = atomic_load(&apic->cpu);

		pthread_mutex_lock(&apic->lock);
		if (apic_enabled(apic) && !set->backend)
			apic_fire_lvt(apic, APIC_LVT_LINT1);
		/* What is wired to a CPU without a local APIC; and what the kernel's have is not known. */
		else if (apic->state->base & BASE_BSP && cpu)
			cpu_request(cpu, CPU_REQ_NMI);
		pthread_mutex_unlock(&apic->lock);
	}
}

struct irq_line apic_lint0_line(struct device *dev)
{
	return (struct irq_line){ .set = lint0_set, .opaque = dev };
}

struct irq_line apic_lint1_line(struct device *dev)
{
	return (struct irq_line){ .set = lint1_set, .opaque = dev };
}

/* ---- life ---- */

void apic_init_state(struct apic *apic)
{
	struct apic_state *state = apic->state;
	uint64_t base = state->base;
	uint32_t id = state->id;

	apic_timer_stop(apic);
	memset(state, 0, sizeof(*state));
	state->base = base;
	state->id = id;
	state->dfr = ~0u;
	state->svr = 0xff;
	state->ldr = apic_is_x2apic(apic) ? apic_x2apic_ldr(apic) : 0;
	for (unsigned i = 0; i < APIC_LVTS; i++)
		state->lvt[i] = LVT_MASKED;
}

static void apic_set_reset(struct device *dev)
{
	struct apic_set *set = (struct apic_set *)dev;

	for (unsigned i = 0; i < set->config.cpus; i++) {
		struct apic *apic = &set->apic[i];

		pthread_mutex_lock(&apic->lock);
		apic->state->base = APIC_DEFAULT_BASE | BASE_ENABLE | (i ? 0 : BASE_BSP);
		apic->state->id = i;
		apic_init_state(apic);
		apic_update(apic);
		pthread_mutex_unlock(&apic->lock);
	}
	apic_page_sync(set);
}

static void apic_set_restored(struct device *dev)
{
	struct apic_set *set = (struct apic_set *)dev;

	for (unsigned i = 0; i < set->config.cpus; i++) {
		pthread_mutex_lock(&set->apic[i].lock);
		apic_timer_rearm(&set->apic[i]);
		apic_update(&set->apic[i]);
		pthread_mutex_unlock(&set->apic[i].lock);
	}
	apic_page_sync(set);
}

static void apic_set_destroy(struct device *dev)
{
	struct apic_set *set = (struct apic_set *)dev;

	apic_page_unmap(set);
	for (unsigned i = 0; i < set->config.cpus; i++) {
		apic_timer_destroy(&set->apic[i]);
		pthread_mutex_destroy(&set->apic[i].lock);
	}
	free(set);
}

static const struct state_field apic_fields[] = {
	STATE_FIELD(struct apic_set, lint0),
	STATE_FIELD(struct apic_set, lint1),
	STATE_FIELD(struct apic_set, state),
	STATE_FIELDS_END,
};

static const struct device_class apic_class = {
	.name = "apic",
	.reset = apic_set_reset,
	.destroy = apic_set_destroy,
	.fields = apic_fields,
	.restored = apic_set_restored,
};

static void apic_prepare(struct apic_set *set, unsigned index)
{
	struct apic *apic = &set->apic[index];

	apic->set = set;
	apic->index = index;
	apic->state = &set->state[index];
	pthread_mutex_init(&apic->lock, NULL);
	apic->intc = (struct cpu_intc){
		.opaque = apic,
		.pending = intc_pending,
		.acknowledge = intc_acknowledge,
		.cr8_read = intc_cr8_read,
		.cr8_write = intc_cr8_write,
		.msr_read = apic_msr_read,
		.msr_write = apic_msr_write,
		.init = intc_init,
		.save = apic_save,
		.restore = apic_restore,
		.eoi = intc_eoi,
	};
}

int apic_set_create(const struct device_env *env, const struct apic_config *config,
		    struct device **dev, struct error *err)
{
	struct apic_set *set;
	int ret = 0;

	if (!config->cpus || config->cpus > APIC_CPUS_MAX)
		return error_set(err, EINVAL, "apic: %u CPUs; 1 to %u are possible", config->cpus,
				 APIC_CPUS_MAX);
	set = calloc(1, sizeof(*set));
	if (!set)
		return error_set(err, ENOMEM, "apic: out of memory");
	set->dev.class = &apic_class;
	set->config = *config;
	set->loop = env->loop;
	set->mmio = env->mmio;
	if (!set->config.timer_hz)
		set->config.timer_hz = APIC_DEFAULT_TIMER_HZ;
	if (!set->config.phys_bits)
		set->config.phys_bits = 52;
	for (unsigned i = 0; i < config->cpus; i++)
		apic_prepare(set, i);
	for (unsigned i = 0; i < config->cpus && !ret; i++)
		ret = apic_timer_create(&set->apic[i], err);
	if (!ret)
		ret = apic_page_map(set, err);
	if (ret) {
		apic_set_destroy(&set->dev);
		return ret;
	}
	apic_set_reset(&set->dev);
	*dev = &set->dev;
	return 0;
}

const struct cpu_intc *apic_cpu_intc(struct device *dev, unsigned index)
{
	return &((struct apic_set *)dev)->apic[index].intc;
}

void apic_attach_cpu(struct device *dev, unsigned index, struct cpu *cpu)
{
	struct apic *apic = &((struct apic_set *)dev)->apic[index];

	pthread_mutex_lock(&apic->lock);
	atomic_store(&apic->cpu, cpu);
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}

void apic_set_backend(struct device *dev, const struct irqchip_backend *backend)
{
	struct apic_set *set = (struct apic_set *)dev;

	set->backend = backend;
	for (unsigned i = 0; i < set->config.cpus; i++) {
		struct apic *apic = &set->apic[i];

		pthread_mutex_lock(&apic->lock);
		if (backend)
			loop_timer_disarm(apic->timer);
		else
			apic_timer_rearm(apic);
		apic_update(apic);
		pthread_mutex_unlock(&apic->lock);
	}
}

void apic_virtual_wire(struct device *dev)
{
	struct apic *apic = &((struct apic_set *)dev)->apic[0];

	pthread_mutex_lock(&apic->lock);
	apic->state->svr |= SVR_ENABLE;
	apic->state->lvt[APIC_LVT_LINT0] = APIC_MODE_EXTINT << LVT_MODE_SHIFT;
	apic->state->lvt[APIC_LVT_LINT1] = APIC_MODE_NMI << LVT_MODE_SHIFT;
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}
