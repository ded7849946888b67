/* SPDX-License-Identifier: MIT */
/* Local APICs and the I/O APIC: priorities, messages, modes, the timer, EOI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "cpu/irqchip.h"
#include "device_fixture.h"
#include "host/clock.h"
#include "irqchip/apic.h"
#include "irqchip/ioapic.h"

#define CPUS 4
#define PAGE APIC_DEFAULT_BASE
#define TSC_HZ 1000000000ull

#define MSR_BASE 0x1b
#define MSR_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define BASE_ON 0x800ull
#define BASE_X2 0xc00ull

struct setup {
	struct device_fixture *fixture;
	struct device *apics, *ioapic;
	struct cpu cpu[CPUS];
	int extint_vector;
	/* What a backend got. */
	uint32_t msi_address, msi_data, level_pins;
};

static uint64_t tsc_now(void *opaque, unsigned cpu)
{
	(void)opaque;
	(void)cpu;
	return clock_now_ns();
}

static void eoi(void *opaque, uint8_t vector)
{
	struct setup *setup = opaque;

	ioapic_eoi(setup->ioapic, vector);
}

static int extint(void *opaque)
{
	struct setup *setup = opaque;

	return setup->extint_vector;
}

static void deliver(void *opaque, const struct apic_message *message)
{
	struct setup *setup = opaque;

	apic_deliver(setup->apics, message);
}

static void level_changed(void *opaque, unsigned pin, const struct apic_message *message)
{
	struct setup *setup = opaque;

	setup->level_pins &= ~(1u << pin);
	setup->level_pins |= message ? 1u << pin : 0;
}

static void start(void **state, struct setup *setup)
{
	struct apic_config apic = { .cpus = CPUS, .tsc_hz = TSC_HZ, .tsc_now = tsc_now, .eoi = eoi,
				    .extint_acknowledge = extint, .opaque = setup };
	struct ioapic_config ioapic = { .base = IOAPIC_DEFAULT_BASE, .deliver = deliver,
					.level_changed = level_changed, .opaque = setup };

	*setup = (struct setup){ .fixture = *state };
	assert_int_equal(apic_set_create(&setup->fixture->env, &apic, &setup->apics, NULL), 0);
	assert_int_equal(ioapic_create(&setup->fixture->env, &ioapic, &setup->ioapic, NULL), 0);
	for (unsigned i = 0; i < CPUS; i++) {
		setup->cpu[i].index = i;
		apic_attach_cpu(setup->apics, i, &setup->cpu[i]);
		mmio_write32(setup->fixture, PAGE + 0xf0, 0x1ff, i);
	}
}

static void stop(struct setup *setup)
{
	device_free(setup->ioapic);
	device_free(setup->apics);
}

static uint32_t reg(struct setup *setup, unsigned cpu, unsigned offset)
{
	return mmio_read32(setup->fixture, PAGE + offset, cpu);
}

static void set_reg(struct setup *setup, unsigned cpu, unsigned offset, uint32_t value)
{
	mmio_write32(setup->fixture, PAGE + offset, value, cpu);
}

static bool pending(struct setup *setup, unsigned cpu)
{
	const struct cpu_intc *intc = apic_cpu_intc(setup->apics, cpu);

	return intc->pending(intc->opaque);
}

static int acknowledge(struct setup *setup, unsigned cpu)
{
	const struct cpu_intc *intc = apic_cpu_intc(setup->apics, cpu);

	return intc->acknowledge(intc->opaque);
}

static bool wrmsr(struct setup *setup, unsigned cpu, uint32_t index, uint64_t value)
{
	const struct cpu_intc *intc = apic_cpu_intc(setup->apics, cpu);

	return intc->msr_write(intc->opaque, index, value);
}

static bool rdmsr(struct setup *setup, unsigned cpu, uint32_t index, uint64_t *value)
{
	const struct cpu_intc *intc = apic_cpu_intc(setup->apics, cpu);

	return intc->msr_read(intc->opaque, index, value);
}

static void test_identity(void **state)
{
	struct setup setup;

	start(state, &setup);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(reg(&setup, i, 0x20), i << 24);
	assert_int_equal(reg(&setup, 0, 0x30) & 0xff00ff, 0x050014);
	/* Nobody's access finds nothing. */
	assert_int_equal(mmio_read32(setup.fixture, PAGE + 0x20, -1), ~0u);
	stop(&setup);
}

static void test_priorities(void **state)
{
	struct setup setup;

	start(state, &setup);
	set_reg(&setup, 0, 0x310, 1u << 24);
	set_reg(&setup, 0, 0x300, 0x4051);
	assert_true(pending(&setup, 1));
	assert_false(pending(&setup, 0));
	assert_true(cpu_requested(&setup.cpu[1], CPU_REQ_INTERRUPT));
	set_reg(&setup, 1, 0x80, 0x50);
	assert_false(pending(&setup, 1));
	set_reg(&setup, 1, 0x80, 0x40);
	assert_int_equal(acknowledge(&setup, 1), 0x51);
	assert_int_equal(reg(&setup, 1, 0xa0), 0x50);
	set_reg(&setup, 0, 0x300, 0x4052); /* the same class waits */
	assert_false(pending(&setup, 1));
	set_reg(&setup, 0, 0x300, 0x4061);
	assert_int_equal(acknowledge(&setup, 1), 0x61);
	set_reg(&setup, 1, 0xb0, 0);
	set_reg(&setup, 1, 0xb0, 0);
	assert_int_equal(acknowledge(&setup, 1), 0x52);
	assert_int_equal(acknowledge(&setup, 1), -1);
	stop(&setup);
}

static void test_shorthands(void **state)
{
	struct setup setup;

	start(state, &setup);
	set_reg(&setup, 2, 0x300, 0xc4070); /* all but itself */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pending(&setup, i), i != 2);
	set_reg(&setup, 2, 0x300, 0x44071);
	assert_int_equal(acknowledge(&setup, 2), 0x71);
	set_reg(&setup, 0, 0x310, 3u << 24);
	set_reg(&setup, 0, 0x300, 0x4500);
	assert_true(cpu_requested(&setup.cpu[3], CPU_REQ_INIT));
	set_reg(&setup, 0, 0x300, 0x469a);
	assert_true(cpu_requested(&setup.cpu[3], CPU_REQ_SIPI));
	assert_int_equal(setup.cpu[3].sipi_vector, 0x9a);
	set_reg(&setup, 0, 0x300, 0x4400);
	assert_true(cpu_requested(&setup.cpu[3], CPU_REQ_NMI));
	assert_false(cpu_requested(&setup.cpu[1], CPU_REQ_NMI | CPU_REQ_INIT | CPU_REQ_SIPI));
	stop(&setup);
}

static void test_logical(void **state)
{
	struct setup setup;

	start(state, &setup);
	for (unsigned i = 0; i < CPUS; i++)
		set_reg(&setup, i, 0xd0, 1u << (24 + i));
	set_reg(&setup, 0, 0x310, 0x0au << 24);
	set_reg(&setup, 0, 0x300, 0x4840);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pending(&setup, i), i & 1);
	/* Lowest priority: one of those two, and of them the less busy one. */
	assert_int_equal(acknowledge(&setup, 1), 0x40);
	set_reg(&setup, 0, 0x300, 0x4950);
	assert_true(reg(&setup, 3, 0x220) & 1u << 16);
	assert_int_equal(reg(&setup, 1, 0x220), 0);
	/* Cluster model: cluster 1, members 0 and 2. */
	for (unsigned i = 0; i < CPUS; i++) {
		set_reg(&setup, i, 0xe0, 0x0fffffff);
		set_reg(&setup, i, 0xd0, (0x10u | 1u << i) << 24);
	}
	set_reg(&setup, 1, 0x310, 0x15u << 24);
	set_reg(&setup, 1, 0x300, 0x4860);
	assert_int_equal(acknowledge(&setup, 0), 0x60);
	assert_int_equal(acknowledge(&setup, 2), 0x60);
	stop(&setup);
}

static void test_errors(void **state)
{
	struct setup setup;

	start(state, &setup);
	set_reg(&setup, 0, 0x370, 0x000000fe);
	set_reg(&setup, 0, 0x300, 0x44003);
	assert_int_equal(reg(&setup, 0, 0x280), 0);
	set_reg(&setup, 0, 0x280, 0);
	assert_int_equal(reg(&setup, 0, 0x280), 0x20);
	assert_int_equal(acknowledge(&setup, 0), 0xfe);
	reg(&setup, 0, 0x3d0);
	set_reg(&setup, 0, 0x280, 0);
	assert_int_equal(reg(&setup, 0, 0x280), 0x80);
	stop(&setup);
}

static void test_x2apic(void **state)
{
	struct setup setup;
	uint64_t value;

	start(state, &setup);
	assert_false(rdmsr(&setup, 2, MSR_X2APIC + 2, &value));
	assert_false(wrmsr(&setup, 2, MSR_BASE, PAGE | 0x400)); /* x2APIC without enable */
	assert_true(wrmsr(&setup, 2, MSR_BASE, PAGE | BASE_X2));
	assert_false(wrmsr(&setup, 2, MSR_BASE, PAGE | BASE_ON)); /* no way back but off */
	assert_true(rdmsr(&setup, 2, MSR_X2APIC + 2, &value));
	assert_int_equal(value, 2);
	assert_true(rdmsr(&setup, 2, MSR_X2APIC + 0xd, &value));
	assert_int_equal(value, 4);
	assert_false(wrmsr(&setup, 2, MSR_X2APIC + 0xb, 1));
	assert_false(rdmsr(&setup, 2, MSR_X2APIC + 0xe, &value));
	assert_false(wrmsr(&setup, 2, MSR_X2APIC + 2, 7));
	assert_false(wrmsr(&setup, 2, MSR_X2APIC + 8, 0x100));
	assert_int_equal(reg(&setup, 2, 0x20), ~0u); /* the page is gone for this CPU */
	assert_int_equal(reg(&setup, 1, 0x20), 1u << 24);
	assert_true(wrmsr(&setup, 2, MSR_X2APIC + 0x3f, 0x44));
	assert_int_equal(acknowledge(&setup, 2), 0x44);
	assert_true(wrmsr(&setup, 2, MSR_X2APIC + 0xb, 0));
	assert_true(wrmsr(&setup, 2, MSR_X2APIC + 0x30, 0x100004045ull));
	assert_int_equal(acknowledge(&setup, 1), 0x45);
	assert_true(wrmsr(&setup, 2, MSR_BASE, PAGE));
	assert_false(wrmsr(&setup, 2, MSR_BASE, PAGE | BASE_X2)); /* off to x2APIC */
	assert_true(wrmsr(&setup, 2, MSR_BASE, PAGE | BASE_ON));
	assert_int_equal(reg(&setup, 2, 0xf0), 0xff);
	stop(&setup);
}

static void test_moved_page(void **state)
{
	struct setup setup;
	const uint64_t elsewhere = 0xe0000000;

	start(state, &setup);
	assert_true(wrmsr(&setup, 1, MSR_BASE, elsewhere | BASE_ON));
	assert_true(wrmsr(&setup, 3, MSR_BASE, elsewhere | BASE_ON));
	assert_int_equal(reg(&setup, 1, 0x20), ~0u);
	assert_int_equal(mmio_read32(setup.fixture, elsewhere + 0x20, 1), 1u << 24);
	assert_int_equal(mmio_read32(setup.fixture, elsewhere + 0x20, 0), ~0u);
	assert_true(wrmsr(&setup, 1, MSR_BASE, PAGE | BASE_ON));
	assert_int_equal(mmio_read32(setup.fixture, elsewhere + 0x20, 3), 3u << 24);
	assert_int_equal(reg(&setup, 1, 0x20), 1u << 24);
	stop(&setup);
}

static void test_cr8(void **state)
{
	struct setup setup;
	const struct cpu_intc *intc;

	start(state, &setup);
	intc = apic_cpu_intc(setup.apics, 0);
	intc->cr8_write(intc->opaque, 9);
	assert_int_equal(reg(&setup, 0, 0x80), 0x90);
	set_reg(&setup, 0, 0x80, 0xa7);
	assert_int_equal(intc->cr8_read(intc->opaque), 0xa);
	stop(&setup);
}

static void test_extint(void **state)
{
	struct setup setup;
	struct irq_line intr;

	start(state, &setup);
	intr = apic_lint0_line(setup.apics);
	irq_set(&intr, true);
	assert_false(pending(&setup, 0));
	apic_virtual_wire(setup.apics);
	assert_true(pending(&setup, 0));
	assert_false(pending(&setup, 1));
	setup.extint_vector = 0x38;
	assert_int_equal(acknowledge(&setup, 0), 0x38);
	irq_set(&intr, false);
	assert_false(pending(&setup, 0));
	assert_int_equal(acknowledge(&setup, 0), -1);
	stop(&setup);
}

static unsigned take_nmis(struct setup *setup)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < CPUS; i++) {
		if (cpu_requested(&setup->cpu[i], CPU_REQ_NMI))
			taken |= 1u << i;
		cpu_request_clear(&setup->cpu[i], CPU_REQ_NMI);
	}
	return taken;
}

/* To whom it is wired, once a rise; a CPU whose APIC is off has the wire itself, if it is the first. */
static void test_nmi_wire(void **state)
{
	struct irqchip_backend backend = { 0 };
	struct setup setup;
	struct irq_line nmi;

	start(state, &setup);
	nmi = apic_lint1_line(setup.apics);
	for (unsigned i = 0; i < CPUS; i++)
		set_reg(&setup, i, 0xf0, 0x1ff);
	irq_set(&nmi, true);
	irq_set(&nmi, false);
	assert_int_equal(take_nmis(&setup), 0);
	set_reg(&setup, 0, 0x360, 0x400);
	set_reg(&setup, 2, 0x360, 0x400);
	set_reg(&setup, 3, 0x360, 0x10400);
	irq_set(&nmi, true);
	assert_int_equal(take_nmis(&setup), 0x5);
	irq_set(&nmi, true);
	assert_int_equal(take_nmis(&setup), 0);
	irq_set(&nmi, false);
	set_reg(&setup, 2, 0x360, 0x55);
	irq_set(&nmi, true);
	assert_int_equal(take_nmis(&setup), 0x1);
	assert_int_equal(acknowledge(&setup, 2), 0x55);
	irq_set(&nmi, false);
	apic_set_backend(setup.apics, &backend);
	irq_set(&nmi, true);
	assert_int_equal(take_nmis(&setup), 0x1);
	stop(&setup);
}

static void wait_for(struct setup *setup, unsigned cpu, int vector)
{
	uint64_t deadline = clock_now_ns() + 10 * CLOCK_NS_PER_S;
	static const bool done = true;

	while (!pending(setup, cpu) && clock_now_ns() < deadline)
		run_until(setup->fixture, &done);
	assert_int_equal(acknowledge(setup, cpu), vector);
}

static void test_timer(void **state)
{
	struct setup setup;
	uint64_t value;

	start(state, &setup);
	set_reg(&setup, 0, 0x3e0, 0xb); /* divide by one */
	set_reg(&setup, 0, 0x320, 0x80);
	set_reg(&setup, 0, 0x380, 1000000);
	assert_in_range(reg(&setup, 0, 0x390), 0, 1000000);
	wait_for(&setup, 0, 0x80);
	assert_int_equal(reg(&setup, 0, 0x390), 0);
	set_reg(&setup, 0, 0xb0, 0);
	set_reg(&setup, 0, 0x320, 0x20081);
	set_reg(&setup, 0, 0x380, 1000000);
	for (unsigned i = 0; i < 3; i++) {
		wait_for(&setup, 0, 0x81);
		set_reg(&setup, 0, 0xb0, 0);
	}
	set_reg(&setup, 0, 0x320, 0x40082);
	assert_int_equal(reg(&setup, 0, 0x390), 0);
	assert_true(wrmsr(&setup, 0, MSR_DEADLINE, clock_now_ns() + 1000000));
	wait_for(&setup, 0, 0x82);
	assert_true(rdmsr(&setup, 0, MSR_DEADLINE, &value));
	assert_int_equal(value, 0);
	set_reg(&setup, 0, 0xb0, 0);
	assert_true(wrmsr(&setup, 0, MSR_DEADLINE, 1)); /* long past */
	assert_int_equal(acknowledge(&setup, 0), 0x82);
	stop(&setup);
}

static void set_entry(struct setup *setup, unsigned pin, uint32_t low, uint32_t high)
{
	mmio_write32(setup->fixture, IOAPIC_DEFAULT_BASE, 0x11 + 2 * pin, 0);
	mmio_write32(setup->fixture, IOAPIC_DEFAULT_BASE + 0x10, high, 0);
	mmio_write32(setup->fixture, IOAPIC_DEFAULT_BASE, 0x10 + 2 * pin, 0);
	mmio_write32(setup->fixture, IOAPIC_DEFAULT_BASE + 0x10, low, 0);
}

static uint32_t entry_low(struct setup *setup, unsigned pin)
{
	mmio_write32(setup->fixture, IOAPIC_DEFAULT_BASE, 0x10 + 2 * pin, 0);
	return mmio_read32(setup->fixture, IOAPIC_DEFAULT_BASE + 0x10, 0);
}

static void test_ioapic_edge(void **state)
{
	struct setup setup;
	struct irq_line line;

	start(state, &setup);
	line = ioapic_line(setup.ioapic, 2);
	irq_set(&line, true);
	irq_set(&line, false);
	set_entry(&setup, 2, 0x33, 1u << 24);
	assert_false(pending(&setup, 1)); /* an edge behind the mask is lost */
	irq_set(&line, true);
	irq_set(&line, true);
	assert_int_equal(acknowledge(&setup, 1), 0x33);
	set_reg(&setup, 1, 0xb0, 0);
	assert_false(pending(&setup, 1));
	stop(&setup);
}

static void test_ioapic_level(void **state)
{
	struct setup setup;
	struct irq_line line;

	start(state, &setup);
	line = ioapic_line(setup.ioapic, 20);
	irq_set(&line, true);
	set_entry(&setup, 20, 0x8055, 0);
	assert_int_equal(acknowledge(&setup, 0), 0x55);
	assert_true(entry_low(&setup, 20) & 1u << 14);
	set_reg(&setup, 0, 0xb0, 0); /* the wire is still up: once more */
	assert_int_equal(acknowledge(&setup, 0), 0x55);
	irq_set(&line, false);
	set_reg(&setup, 0, 0xb0, 0);
	assert_false(pending(&setup, 0));
	assert_false(entry_low(&setup, 20) & 1u << 14);
	/* A directed EOI. */
	irq_set(&line, true);
	irq_set(&line, false);
	assert_true(entry_low(&setup, 20) & 1u << 14);
	mmio_write32(setup.fixture, IOAPIC_DEFAULT_BASE + 0x40, 0x55, 0);
	assert_false(entry_low(&setup, 20) & 1u << 14);
	stop(&setup);
}

static void test_msi(void **state)
{
	struct setup setup;

	start(state, &setup);
	assert_int_equal(apic_msi(setup.apics, 0xfee03000, 0x4066), 1);
	assert_int_equal(acknowledge(&setup, 3), 0x66);
	assert_int_equal(apic_msi(setup.apics, 0xfee09000, 0x4066), 0);
	stop(&setup);
}

/* ---- APICs elsewhere ---- */

/* To another set of APICs and back, as between this process and the kernel. */
static void test_save_and_restore(void **state)
{
	struct setup setup;
	struct x86_lapic lapic, again;
	const struct cpu_intc *intc;

	start(state, &setup);
	intc = apic_cpu_intc(setup.apics, 1);
	set_reg(&setup, 1, 0x80, 0x20);
	set_reg(&setup, 1, 0xd0, 0x2000000);
	set_reg(&setup, 1, 0x350, 0x700);
	set_reg(&setup, 1, 0x3e0, 0xb);
	set_reg(&setup, 1, 0x320, 0x20081);
	set_reg(&setup, 1, 0x380, 4000000000u);
	apic_msi(setup.apics, 0xfee01000, 0x4051);
	apic_msi(setup.apics, 0xfee01000, 0x4061);
	assert_int_equal(acknowledge(&setup, 1), 0x61);
	intc->save(intc->opaque, &lapic);
	intc->init(intc->opaque);
	assert_int_equal(reg(&setup, 1, 0x80), 0);
	intc->restore(intc->opaque, &lapic);
	intc->save(intc->opaque, &again);
	assert_in_range(again.reg[0x39], 1, lapic.reg[0x39]); /* the count goes on */
	again.reg[0x39] = lapic.reg[0x39];
	assert_memory_equal(&again, &lapic, sizeof(lapic));
	assert_int_equal(reg(&setup, 1, 0xa0), 0x60);
	set_reg(&setup, 1, 0xb0, 0);
	assert_int_equal(acknowledge(&setup, 1), 0x51);
	stop(&setup);
}

static void test_save_and_restore_of_an_x2apic(void **state)
{
	struct setup setup;
	struct x86_lapic lapic;
	const struct cpu_intc *intc;
	uint64_t value;

	start(state, &setup);
	intc = apic_cpu_intc(setup.apics, 3);
	assert_true(wrmsr(&setup, 3, MSR_BASE, PAGE | BASE_X2));
	assert_true(wrmsr(&setup, 3, MSR_X2APIC + 0x32, 0x40080));
	assert_true(wrmsr(&setup, 3, MSR_DEADLINE, UINT64_MAX));
	intc->save(intc->opaque, &lapic);
	assert_int_equal(lapic.base, PAGE | BASE_X2);
	assert_int_equal(lapic.reg[2], 3);
	assert_int_equal(lapic.tsc_deadline, UINT64_MAX);
	intc->init(intc->opaque);
	intc->restore(intc->opaque, &lapic);
	assert_true(rdmsr(&setup, 3, MSR_DEADLINE, &value));
	assert_int_equal(value, UINT64_MAX);
	assert_true(rdmsr(&setup, 3, MSR_X2APIC + 2, &value));
	assert_int_equal(value, 3);
	stop(&setup);
}

static void take_msi(void *opaque, uint32_t address, uint32_t data)
{
	struct setup *setup = opaque;

	setup->msi_address = address;
	setup->msi_data = data;
}

/* Messages go there; the same messages, for they are understood again. */
static void test_backend(void **state)
{
	struct setup setup;
	struct irqchip_backend backend = { .opaque = &setup, .msi = take_msi };
	struct irq_line line;

	start(state, &setup);
	apic_set_backend(setup.apics, &backend);
	set_entry(&setup, 3, 0x34, 2u << 24);
	set_entry(&setup, 20, 0x8855, 0x0f000000);
	line = ioapic_line(setup.ioapic, 3);
	irq_set(&line, true);
	assert_int_equal(setup.msi_address, 0xfee02000);
	assert_int_equal(setup.msi_data, 0x34);
	assert_false(pending(&setup, 2));
	line = ioapic_line(setup.ioapic, 20);
	irq_set(&line, true);
	assert_int_equal(setup.msi_address, 0xfee0f004);
	assert_int_equal(setup.msi_data, 0xc055);
	apic_set_backend(setup.apics, NULL);
	assert_int_equal(apic_msi(setup.apics, 0xfee02000, 0x34), 1);
	assert_int_equal(acknowledge(&setup, 2), 0x34);
	stop(&setup);
}

/* The PIC's wire is the first CPU's, whatever the registers here say; the other one's never. */
static void test_backend_and_pic(void **state)
{
	struct setup setup;
	struct irqchip_backend backend = { .opaque = &setup, .msi = take_msi };
	struct irq_line line;

	start(state, &setup);
	setup.extint_vector = 0x20;
	apic_set_backend(setup.apics, &backend);
	line = apic_lint0_line(setup.apics);
	irq_set(&line, true);
	assert_true(pending(&setup, 0));
	assert_false(pending(&setup, 1));
	assert_int_equal(acknowledge(&setup, 0), 0x20);
	irq_set(&line, false);
	assert_false(pending(&setup, 0));
	stop(&setup);
}

static void test_level_pins_are_told(void **state)
{
	struct setup setup;

	start(state, &setup);
	set_entry(&setup, 20, 0x8055, 0);
	set_entry(&setup, 21, 0x55, 0);
	assert_int_equal(setup.level_pins, 1u << 20);
	set_entry(&setup, 20, 0x18055, 0);
	assert_int_equal(setup.level_pins, 0);
	setup.level_pins = ~0u;
	set_entry(&setup, 4, 0x8041, 0);
	ioapic_announce(setup.ioapic);
	assert_int_equal(setup.level_pins & 0xffffff, 1u << 4);
	stop(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_shorthands),
		cmocka_unit_test(test_logical),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_x2apic),
		cmocka_unit_test(test_moved_page),
		cmocka_unit_test(test_cr8),
		cmocka_unit_test(test_extint),
		cmocka_unit_test(test_nmi_wire),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_ioapic_edge),
		cmocka_unit_test(test_ioapic_level),
		cmocka_unit_test(test_msi),
		cmocka_unit_test(test_save_and_restore),
		cmocka_unit_test(test_save_and_restore_of_an_x2apic),
		cmocka_unit_test(test_backend),
		cmocka_unit_test(test_backend_and_pic),
		cmocka_unit_test(test_level_pins_are_told),
	};

	return cmocka_run_group_tests_name("apic", tests, device_fixture_open,
					   device_fixture_close);
}
