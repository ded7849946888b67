/* SPDX-License-Identifier: MIT */
/*
 * Messages between APICs, from I/O APICs and from devices (MSI): who is meant, and what each mode
 * does to the receiver. SDM volume 3, "Issuing Interprocessor Interrupts", "Message Signalled
 * Interrupts". At most one APIC's lock is held at a time.
 */
#include "irqchip/apic_regs.h"

#include "host/loop.h"

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

#define MSI_ADDRESS 0xfee00000u
#define MSI_LOGICAL (1u << 2)
#define MSI_TRIGGER_LEVEL (1u << 15)
#define MSI_ASSERT (1u << 14)
#define XAPIC_BROADCAST 0xffu
#define DFR_FLAT 0xfu

static bool matches_logical(const struct apic *apic, uint32_t destination)
{
	uint32_t ldr = apic->state->ldr;

	if (apic_is_x2apic(apic))
		return ldr >> 16 == destination >> 16 && ldr & destination & 0xffff;
	ldr >>= 24;
	if (apic->state->dfr >> 28 == DFR_FLAT)
		return ldr & destination & 0xff;
	return ldr >> 4 == destination >> 4 && ldr & destination & 0xf;
}

static bool matches(const struct apic *apic, const struct apic_message *message)
{
	if (!apic_enabled(apic))
		return false;
	if (message->broadcast)
		return true;
	if (message->logical)
		return matches_logical(apic, message->destination);
	return apic->state->id == message->destination;
}

static bool addressed(struct apic *apic, const struct apic_message *message, unsigned shorthand,
		      unsigned sender)
{
	bool result;

	if (shorthand == SHORTHAND_SELF && apic->index != sender)
		return false;
	if (shorthand == SHORTHAND_OTHERS && apic->index == sender)
		return false;
	pthread_mutex_lock(&apic->lock);
	result = shorthand == SHORTHAND_NONE ? matches(apic, message) : apic_enabled(apic);
	pthread_mutex_unlock(&apic->lock);
	return result;
}

static void receive_fixed(struct apic *apic, const struct apic_message *message)
{
	pthread_mutex_lock(&apic->lock);
	if (apic_enabled(apic) && apic->state->svr & SVR_ENABLE)
		apic_accept(apic, message->vector, message->level);
	pthread_mutex_unlock(&apic->lock);
}

static void receive_extint(struct apic *apic)
{
	pthread_mutex_lock(&apic->lock);
	apic->state->extint_latched = true;
	apic_update(apic);
	pthread_mutex_unlock(&apic->lock);
}

/* All but fixed and ExtINT reach a processor whose APIC is disabled by software, too. */
static void receive(struct apic *apic, const struct apic_message *message)
{
	struct cpu *cpu = atomic_load(&apic->cpu);

	switch (message->mode) {
	case APIC_MODE_FIXED:
	case APIC_MODE_LOWEST:
		receive_fixed(apic, message);
		return;
	case APIC_MODE_EXTINT:
		receive_extint(apic);
		return;
	default:
		break;
	}
	if (!cpu)
		return;
	switch (message->mode) {
	case APIC_MODE_SMI:
		cpu_request(cpu, CPU_REQ_SMI);
		break;
	case APIC_MODE_NMI:
		cpu_request(cpu, CPU_REQ_NMI);
		break;
	case APIC_MODE_INIT:
		cpu_request(cpu, CPU_REQ_INIT);
		break;
	case APIC_MODE_SIPI:
		atomic_store(&cpu->sipi_vector, message->vector);
		cpu_request(cpu, CPU_REQ_SIPI);
		break;
	default:
		break;
	}
}

/* A willing receiver's priority, or UINT32_MAX. */
static uint32_t arbitration_priority(struct apic *apic)
{
	uint32_t priority = UINT32_MAX;

	pthread_mutex_lock(&apic->lock);
	if (apic_enabled(apic) && apic->state->svr & SVR_ENABLE)
		priority = apic_ppr(apic);
	pthread_mutex_unlock(&apic->lock);
	return priority;
}

/* The one with the lowest processor priority; equals take turns. */
static unsigned send_lowest(struct apic_set *set, const struct apic_message *message,
			    unsigned shorthand, unsigned sender)
{
	unsigned first = atomic_fetch_add(&set->rotor, 1);
	uint32_t best_priority = UINT32_MAX;
	struct apic *best = NULL;

	for (unsigned i = 0; i < set->config.cpus; i++) {
		struct apic *apic = &set->apic[(first + i) % set->config.cpus];
		uint32_t priority;

		if (!addressed(apic, message, shorthand, sender))
			continue;
		priority = arbitration_priority(apic);
		if (priority < best_priority) {
			best_priority = priority;
			best = apic;
		}
	}
	if (!best)
		return 0;
	receive(best, message);
	return 1;
}

unsigned apic_send(struct apic_set *set, const struct apic_message *message, unsigned shorthand,
		   unsigned sender)
{
	unsigned receivers = 0;

	if (message->mode == APIC_MODE_LOWEST)
		return send_lowest(set, message, shorthand, sender);
	for (unsigned i = 0; i < set->config.cpus; i++) {
		if (!addressed(&set->apic[i], message, shorthand, sender))
			continue;
		receive(&set->apic[i], message);
		receivers++;
	}
	return receivers;
}

void apic_finish(struct apic *apic, const struct apic_after *after)
{
	struct apic_set *set = apic->set;

	if (after->eoi && set->config.eoi) {
		loop_lock(set->loop);
		set->config.eoi(set->config.opaque, after->eoi_vector);
		loop_unlock(set->loop);
	}
	if (after->send)
		apic_send(set, &after->message, after->shorthand, apic->index);
}

void apic_message_as_msi(const struct apic_message *message, uint32_t *address, uint32_t *data)
{
	uint32_t destination = message->broadcast ? XAPIC_BROADCAST : message->destination & 0xff;

	*address = MSI_ADDRESS | destination << 12 | (message->logical ? MSI_LOGICAL : 0);
	*data = message->vector | (uint32_t)message->mode << 8 |
		(message->level ? MSI_TRIGGER_LEVEL | MSI_ASSERT : 0);
}

unsigned apic_deliver(struct device *dev, const struct apic_message *message)
{
	const struct irqchip_backend *backend = ((struct apic_set *)dev)->backend;
	uint32_t address, data;

	if (backend) {
		apic_message_as_msi(message, &address, &data);
		backend->msi(backend->opaque, address, data);
		return 1;
	}
	return apic_send((struct apic_set *)dev, message, SHORTHAND_NONE, 0);
}

/*
 * Address:  31:20 0xfee  19:12 destination  3 redirection hint  2 logical
 * Data:     15 level-triggered  14 assert  10:8 mode  7:0 vector
 */
unsigned apic_msi(struct device *dev, uint64_t address, uint32_t data)
{
	struct apic_message message = {
		.destination = address >> 12 & 0xff,
		.logical = address & MSI_LOGICAL,
		.broadcast = (address >> 12 & 0xff) == XAPIC_BROADCAST,
		.mode = data >> 8 & 7,
		.vector = data,
		.level = data & MSI_TRIGGER_LEVEL,
	};

	if (message.level && !(data & MSI_ASSERT))
		return 0;
	return apic_deliver(dev, &message);
}
