/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: local APICs by page and by MSR, the I/O APIC and the PIC behind them, wired as on a
 * PC, with CPUs that only take what they are given.
 */
#include "cpu/cpu.h"
#include "device_target.h"
#include "host/clock.h"
#include "host/loop.h"
#include "irqchip/apic.h"
#include "irqchip/ioapic.h"
#include "irqchip/pic.h"

#define CPUS 3

enum { APICS, IOAPIC, PIC };

static struct cpu cpus[CPUS];

static uint64_t tsc_now(void *opaque, unsigned cpu)
{
	(void)opaque;
	return clock_now_ns() * 3 + cpu;
}

static void eoi(void *opaque, uint8_t vector)
{
	struct device_target *target = opaque;

	ioapic_eoi(target->device[IOAPIC], vector);
}

static int extint(void *opaque)
{
	struct device_target *target = opaque;

	return pic_acknowledge(target->device[PIC]);
}

static void deliver(void *opaque, const struct apic_message *message)
{
	struct device_target *target = opaque;

	apic_deliver(target->device[APICS], message);
}

/* What a CPU does with its APIC beside accesses to the page. */
static void cpu_event(const struct cpu_intc *intc, struct fuzz_input *input)
{
	static const uint32_t msrs[] = { 0x1b, 0x6e0, 0x800, 0x830, 0x83f };
	uint32_t msr = msrs[fuzz_u8(input) % 5];
	uint64_t value;

	if (msr == 0x800)
		msr += fuzz_u8(input);
	switch (fuzz_u8(input) % 6) {
	case 0:
		intc->msr_read(intc->opaque, msr, &value);
		break;
	case 1:
		intc->msr_write(intc->opaque, msr, fuzz_u64(input));
		break;
	case 2:
		if (intc->pending(intc->opaque))
			intc->acknowledge(intc->opaque);
		break;
	case 3:
		intc->acknowledge(intc->opaque);
		break;
	case 4:
		intc->cr8_write(intc->opaque, fuzz_u8(input) & 15);
		intc->cr8_read(intc->opaque);
		break;
	default:
		intc->init(intc->opaque);
	}
}

static void wire_event(struct device_target *target, uint8_t what)
{
	unsigned pin = (what >> 2) % IOAPIC_PINS;
	struct irq_line line = ioapic_line(target->device[IOAPIC], pin);

	if (what & 2 && pin < PIC_INPUTS)
		line = pic_line(target->device[PIC], pin);
	loop_lock(target->env.loop);
	irq_set(&line, what & 1);
	loop_unlock(target->env.loop);
}

static void message_event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t flags = fuzz_u8(input);
	struct apic_message message = {
		.destination = flags & 8 ? fuzz_u32(input) : fuzz_u8(input),
		.logical = flags & 1, .broadcast = flags & 2, .level = flags & 4,
		.mode = flags >> 4 & 7, .vector = fuzz_u8(input),
	};

	if (flags & 0x80)
		apic_msi(target->device[APICS], fuzz_u64(input), fuzz_u32(input));
	else
		apic_deliver(target->device[APICS], &message);
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);

	switch (what & 3) {
	case 0: case 1:
		cpu_event(apic_cpu_intc(target->device[APICS], (what >> 2) % CPUS), input);
		break;
	case 2:
		wire_event(target, fuzz_u8(input));
		break;
	default:
		message_event(target, input);
	}
}

static void setup(struct device_target *target)
{
	struct apic_config apic = { .cpus = CPUS, .tsc_hz = 3000000000, .tsc_now = tsc_now,
				    .phys_bits = 46, .eoi = eoi, .extint_acknowledge = extint,
				    .opaque = target };
	struct ioapic_config ioapic = { .base = IOAPIC_DEFAULT_BASE, .deliver = deliver,
					.opaque = target };
	struct pic_config pic;
	struct device **device = target->device;

	target->cpus = CPUS;
	target->event = event;
	target->event_unlocked = true;
	device_target_keep(target, apic_set_create(&target->env, &apic, &device[APICS], NULL));
	device_target_keep(target, ioapic_create(&target->env, &ioapic, &device[IOAPIC], NULL));
	pic = (struct pic_config){ .intr = apic_lint0_line(device[APICS]) };
	device_target_keep(target, pic_create(&target->env, &pic, &device[PIC], NULL));
	for (unsigned i = 0; i < CPUS; i++) {
		cpus[i] = (struct cpu){ .index = i, .count = CPUS };
		apic_attach_cpu(device[APICS], i, &cpus[i]);
	}
	apic_virtual_wire(device[APICS]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
