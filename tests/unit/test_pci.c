/* SPDX-License-Identifier: MIT */
/* PCI: configuration cycles by both mechanisms, BARs that come and go, interrupt pins to wires. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/pci_regs.h>

#include "base/error.h"
#include "dev/bus.h"
#include "device_fixture.h"
#include "legacy/pci_host.h"
#include "legacy/piix.h"

#define SLOT 3
#define CARD PCI_DEVFN(SLOT, 0)

struct bench {
	struct device_fixture *fixture;
	struct device *host, *piix;
	struct pci_function card;
	struct test_wire gsi, irq10, irq5;
	uint8_t reset_control;
	uint64_t last_write;
};

static uint8_t reset_control_read(void *opaque)
{
	return ((struct bench *)opaque)->reset_control;
}

static void reset_control_write(void *opaque, uint8_t value)
{
	((struct bench *)opaque)->reset_control = value;
}

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque, (void)size, (void)cpu;
	return 0x40 + offset;
}

static void card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)offset, (void)size, (void)cpu;
	((struct bench *)opaque)->last_write = value;
}

static void add_card(struct bench *b)
{
	const struct pci_identity identity = { .vendor = 0x1af4, .device = 0x1042,
					       .class_code = 0x010000, .interrupt_pin = 1 };
	struct bus_range range = { .size = 16, .name = "card", .opaque = b, .read = card_read,
				   .write = card_write };

	assert_int_equal(pci_add(pci_host_bus(b->host), CARD, &identity, &b->card, NULL), 0);
	pci_add_bar(&b->card, 0, PCI_BAR_IO, &range);
	range.size = 0x1000;
	pci_add_bar(&b->card, 1, PCI_BAR_MEM32, &range);
	pci_add_bar(&b->card, 2, PCI_BAR_MEM64, &range);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct pci_host_config host = { .reset_control_read = reset_control_read,
					.reset_control_write = reset_control_write, .opaque = b };
	struct piix_config piix = { .pm_base = 0x600, .sci_irq = 9, .preset_pirq = true };

	if (device_fixture_open((void **)&b->fixture))
		return -1;
	*state = b;
	host.gsi[pci_intx_gsi(SLOT, 0)] = test_wire_line(&b->gsi);
	piix.irq[10] = test_wire_line(&b->irq10);
	piix.irq[5] = test_wire_line(&b->irq5);
	if (pci_host_create(&b->fixture->env, &host, &b->host, NULL))
		return -1;
	piix.bus = pci_host_bus(b->host);
	if (piix_create(&b->fixture->env, &piix, &b->piix, NULL))
		return -1;
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci_host_connect_pirq(b->host, i, piix_pirq_line(b->piix, i));
	add_card(b);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	pci_remove(&b->card);
	device_free(b->piix);
	device_free(b->host);
	device_fixture_close((void **)&b->fixture);
	free(b);
	return 0;
}

static uint32_t config_in(struct bench *b, uint8_t devfn, unsigned reg, unsigned size)
{
	bus_write(b->fixture->env.pio, 0xcf8, 4, 0x80000000u | (unsigned)devfn << 8 | (reg & 0xfc),
		  0);
	return (uint32_t)bus_read(b->fixture->env.pio, 0xcfc + (reg & 3), size, 0);
}

static void config_out(struct bench *b, uint8_t devfn, unsigned reg, unsigned size, uint32_t value)
{
	bus_write(b->fixture->env.pio, 0xcf8, 4, 0x80000000u | (unsigned)devfn << 8 | (reg & 0xfc),
		  0);
	bus_write(b->fixture->env.pio, 0xcfc + (reg & 3), size, value, 0);
}

static void test_identity(void **state)
{
	struct bench *b = *state;

	assert_int_equal(config_in(b, 0, 0, 4), 0x12378086);
	assert_int_equal(config_in(b, 0, 2, 2), 0x1237);
	assert_int_equal(config_in(b, 0, 1, 1), 0x80);
	assert_int_equal(config_in(b, 0, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(config_in(b, 0, PCI_CLASS_REVISION, 4), 0x06000002);
	assert_int_equal(config_in(b, PCI_DEVFN(1, 0), 0, 4), 0x70008086);
	assert_int_equal(config_in(b, PCI_DEVFN(1, 0), PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(config_in(b, PCI_DEVFN(1, 3), 0, 4), 0x71138086);
	assert_int_equal(config_in(b, PCI_DEVFN(7, 0), 0, 4), 0xffffffff);
	config_out(b, PCI_DEVFN(7, 0), 4, 4, 7);
}

static void test_address_register(void **state)
{
	struct bench *b = *state;
	struct bus *pio = b->fixture->env.pio;

	bus_write(pio, 0xcf8, 4, 0xffffffff, 0);
	assert_int_equal(bus_read(pio, 0xcf8, 4, 0), 0x80fffffc);
	bus_write(pio, 0xcf8, 4, 0, 0);
	assert_int_equal(bus_read(pio, 0xcfc, 4, 0), 0xffffffff);
	bus_write(pio, 0xcf8, 4, 0x80010000, 0); /* bus 1 */
	assert_int_equal(bus_read(pio, 0xcfc, 4, 0), 0xffffffff);
	bus_write(pio, 0xcf9, 1, 6, 0);
	assert_int_equal(b->reset_control, 6);
	assert_int_equal(bus_read(pio, 0xcf9, 1, 0), 6);
	assert_int_equal(bus_read(pio, 0xcf8, 4, 0), 0x80010000);
	assert_int_equal(bus_read(pio, 0xcfa, 4, 0), 0xffffffff);
}

static void test_ecam(void **state)
{
	struct bench *b = *state;
	struct bus *mmio = b->fixture->env.mmio;
	uint64_t card = PCI_HOST_ECAM_BASE + (CARD << 12);

	assert_int_equal(bus_read(mmio, card, 4, 0), 0x10421af4);
	bus_write(mmio, card + PCI_INTERRUPT_LINE, 1, 11, 0);
	assert_int_equal(config_in(b, CARD, PCI_INTERRUPT_LINE, 1), 11);
	assert_int_equal(bus_read(mmio, card + 0x100, 4, 0), 0xffffffff);
	assert_int_equal(bus_read(mmio, card + 0xfe, 4, 0), 0xffffffff);
	assert_int_equal(bus_read(mmio, card + (1 << 20), 4, 0), 0xffffffff);
}

static void test_read_only_bits(void **state)
{
	struct bench *b = *state;

	config_out(b, CARD, 0, 4, 0);
	config_out(b, CARD, PCI_COMMAND, 4, 0xffffffff);
	assert_int_equal(config_in(b, CARD, 0, 4), 0x10421af4);
	assert_int_equal(config_in(b, CARD, PCI_COMMAND, 4), 0x0547);
	config_out(b, PCI_DEVFN(1, 3), 0x40, 4, 0xb001);
	assert_int_equal(config_in(b, PCI_DEVFN(1, 3), 0x40, 4), 0x601);
	config_out(b, 0, 0x59, 1, 0x30);
	assert_int_equal(config_in(b, 0, 0x59, 1), 0x30);
}

static void test_bar_sizing(void **state)
{
	struct bench *b = *state;

	config_out(b, CARD, PCI_COMMAND, 2, 3);
	for (unsigned i = 0; i < 5; i++)
		config_out(b, CARD, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0xffffffff);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_0, 4), 0xfffffff1);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_1, 4), 0xfffff000);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_2, 4), 0xfffff004);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_3, 4), 0xffffffff);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_4, 4), 0);
	assert_false(b->card.bar[0].mapped || b->card.bar[1].mapped || b->card.bar[2].mapped);
}

static void test_bar_mapping(void **state)
{
	struct bench *b = *state;
	struct bus *pio = b->fixture->env.pio, *mmio = b->fixture->env.mmio;

	config_out(b, CARD, PCI_BASE_ADDRESS_0, 4, 0xc000);
	config_out(b, CARD, PCI_BASE_ADDRESS_1, 4, 0xc0001000);
	config_out(b, CARD, PCI_BASE_ADDRESS_2, 4, 0x00002000);
	config_out(b, CARD, PCI_BASE_ADDRESS_3, 4, 0x8);
	assert_int_equal(bus_read(pio, 0xc000, 1, 0), 0xff);
	config_out(b, CARD, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(bus_read(pio, 0xc003, 1, 0), 0x43);
	assert_int_equal(bus_read(mmio, 0xc0001004, 1, 0), 0x44);
	assert_int_equal(bus_read(mmio, 0x800002004ull, 1, 0), 0x44);
	bus_write(mmio, 0xc0001000, 4, 1234, 0);
	assert_int_equal(b->last_write, 1234);
	config_out(b, CARD, PCI_BASE_ADDRESS_0, 4, 0xd000);
	assert_int_equal(bus_read(pio, 0xc000, 1, 0), 0xff);
	assert_int_equal(bus_read(pio, 0xd000, 1, 0), 0x40);
	config_out(b, CARD, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(bus_read(pio, 0xd000, 1, 0), 0xff);
	pci_reset(&b->card);
	assert_int_equal(bus_read(mmio, 0xc0001004, 1, 0), 0xff);
	assert_int_equal(config_in(b, CARD, PCI_BASE_ADDRESS_1, 4), 0);
}

/* A BAR on top of another range stays away, and comes when it is moved. */
static void test_bar_conflict(void **state)
{
	struct bench *b = *state;
	struct bus *mmio = b->fixture->env.mmio;

	config_out(b, CARD, PCI_BASE_ADDRESS_1, 4, PCI_HOST_ECAM_BASE);
	config_out(b, CARD, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(b->card.bar[1].mapped);
	assert_int_equal(bus_read(mmio, PCI_HOST_ECAM_BASE, 2, 0), 0x8086);
	config_out(b, CARD, PCI_BASE_ADDRESS_1, 4, 0xc0000000);
	assert_int_equal(bus_read(mmio, 0xc0000000, 1, 0), 0x40);
}

static void test_interrupt_wires(void **state)
{
	struct bench *b = *state;

	assert_int_equal(pci_pirq_irq(pci_intx_pirq(SLOT, 0)), 11);
	config_out(b, PCI_DEVFN(1, 0), 0x60 + pci_intx_pirq(SLOT, 0), 1, 10);
	pci_set_intx(&b->card, true);
	assert_true(b->gsi.level && b->irq10.level);
	config_out(b, PCI_DEVFN(1, 0), 0x60 + pci_intx_pirq(SLOT, 0), 1, 5);
	assert_true(!b->irq10.level && b->irq5.level);
	config_out(b, CARD, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_true(!b->gsi.level && !b->irq5.level);
	assert_true(config_in(b, CARD, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	config_out(b, CARD, PCI_COMMAND, 2, 0);
	assert_true(b->gsi.level && b->irq5.level);
	pci_set_intx(&b->card, false);
	assert_true(!b->gsi.level && !b->irq5.level);
}

/* Two functions on one wire: it falls when both have let go. */
static void test_shared_wire(void **state)
{
	const struct pci_identity identity = { .vendor = 1, .device = 2, .interrupt_pin = 1 };
	struct pci_function other = { .devfn = 0 };
	struct bench *b = *state;

	assert_int_equal(pci_add(pci_host_bus(b->host), CARD, &identity, &other, NULL), -EEXIST);
	assert_int_equal(pci_add(pci_host_bus(b->host), PCI_DEVFN(SLOT + PCI_INTX_GSIS, 0),
				 &identity, &other, NULL), 0);
	pci_set_intx(&b->card, true);
	pci_set_intx(&other, true);
	pci_set_intx(&b->card, false);
	assert_true(b->gsi.level);
	pci_remove(&other);
	assert_false(b->gsi.level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_register, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ecam, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_sizing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_mapping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_conflict, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt_wires, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_wire, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
