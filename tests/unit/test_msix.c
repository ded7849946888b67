/* SPDX-License-Identifier: MIT */
/* PCI capabilities and MSI-X: the list, table and pending bits, masks, bus mastering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/pci_regs.h>

#include "dev/bus.h"
#include "dev/msix.h"
#include "dev/pci.h"
#include "device_fixture.h"

#define CARD PCI_DEVFN(2, 0)
#define BAR 0xc0000000ull
#define VECTORS 70u

struct bench {
	struct device_fixture *fixture;
	struct pci_bus *bus;
	struct pci_function card;
	struct msix msix;
	unsigned messages;
	uint64_t address;
	uint32_t data;
	unsigned reads; /* of configuration space, as the card was told */
};

static void msi(void *opaque, uint64_t address, uint32_t data)
{
	struct bench *b = opaque;

	b->messages++;
	b->address = address;
	b->data = data;
}

static void config_reading(void *opaque, unsigned offset, unsigned size)
{
	(void)offset, (void)size;
	((struct bench *)opaque)->reads++;
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
	struct bench *b = opaque;

	msix_config_written(&b->msix, offset, size);
}

static uint32_t config_in(struct bench *b, unsigned offset, unsigned size)
{
	return pci_config_read(b->bus, 0, CARD, offset, size);
}

static void config_out(struct bench *b, unsigned offset, unsigned size, uint32_t value)
{
	pci_config_write(b->bus, 0, CARD, offset, size, value);
}

static void set_control(struct bench *b, uint16_t value)
{
	config_out(b, b->msix.capability + PCI_MSIX_FLAGS, 2, value);
}

static uint32_t table_in(struct bench *b, unsigned offset)
{
	return mmio_read32(b->fixture, BAR + offset, 0);
}

static void table_out(struct bench *b, unsigned offset, uint32_t value)
{
	mmio_write32(b->fixture, BAR + offset, value, 0);
}

static int setup(void **state)
{
	const struct pci_identity identity = { .vendor = 0x1af4, .device = 0x1044,
					       .class_code = 0xff00, .interrupt_pin = 1 };
	struct bench *b = calloc(1, sizeof(*b));
	struct pci_bus_config config = { .msi = msi, .opaque = b };

	*state = b;
	if (device_fixture_open((void **)&b->fixture))
		return -1;
	config.pio = b->fixture->env.pio;
	config.mmio = b->fixture->env.mmio;
	if (pci_bus_create(&config, &b->bus, NULL) ||
	    pci_add(b->bus, CARD, &identity, &b->card, NULL))
		return -1;
	b->card.config_reading = config_reading;
	b->card.config_written = config_written;
	b->card.opaque = b;
	if (pci_add_capability(&b->card, PCI_CAP_ID_VNDR, 6) != PCI_STD_HEADER_SIZEOF ||
	    msix_create(&b->msix, &b->card, VECTORS, 1, NULL))
		return -1;
	config_out(b, PCI_BASE_ADDRESS_1, 4, (uint32_t)BAR);
	config_out(b, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	pci_remove(&b->card);
	msix_release(&b->msix);
	pci_bus_destroy(b->bus);
	device_fixture_close((void **)&b->fixture);
	free(b);
	return 0;
}

static void test_capability_list(void **state)
{
	struct bench *b = *state;
	unsigned first = config_in(b, PCI_CAPABILITY_LIST, 1), second;

	assert_true(config_in(b, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	assert_int_equal(config_in(b, first, 1), PCI_CAP_ID_VNDR);
	second = config_in(b, first + PCI_CAP_LIST_NEXT, 1);
	assert_int_equal(second, first + 8);
	assert_int_equal(config_in(b, second, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(config_in(b, second + PCI_CAP_LIST_NEXT, 1), 0);
	assert_int_equal(config_in(b, second + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	config_out(b, second, 2, 0xffff);
	assert_int_equal(config_in(b, second, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(b->reads, 8);
	pci_reset(&b->card);
	assert_true(config_in(b, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
}

static void test_message(void **state)
{
	struct bench *b = *state;

	assert_int_equal(table_in(b, 65 * 16 + 12), PCI_MSIX_ENTRY_CTRL_MASKBIT);
	bus_write(b->fixture->env.mmio, BAR + 65 * 16, 8, 0x1fee01000ull, 0);
	bus_write(b->fixture->env.mmio, BAR + 65 * 16 + 8, 8, 0x4041, 0);
	assert_int_equal(bus_read(b->fixture->env.mmio, BAR + 65 * 16, 8, 0), 0x1fee01000ull);
	msix_fire(&b->msix, 65);
	assert_int_equal(b->messages, 0);
	set_control(b, PCI_MSIX_FLAGS_ENABLE);
	msix_fire(&b->msix, 65);
	assert_int_equal(b->messages, 1);
	assert_true(b->address == 0x1fee01000ull && b->data == 0x4041);
	msix_fire(&b->msix, VECTORS);
	msix_fire(&b->msix, 0xffff);
	assert_int_equal(b->messages, 1);
	/* Neither parts of words nor what crosses them. */
	bus_write(b->fixture->env.mmio, BAR + 65 * 16 + 8, 2, 0x5555, 0);
	bus_write(b->fixture->env.mmio, BAR + 65 * 16 + 6, 4, 0x5555, 0);
	assert_int_equal(table_in(b, 65 * 16 + 8), 0x4041);
}

static void test_masks(void **state)
{
	struct bench *b = *state;

	set_control(b, PCI_MSIX_FLAGS_ENABLE);
	table_out(b, 3 * 16, 0xfee00000);
	msix_fire(&b->msix, 3);
	msix_fire(&b->msix, 3);
	msix_fire(&b->msix, 66);
	assert_int_equal(b->messages, 0);
	assert_int_equal(table_in(b, 2048), 1u << 3);
	assert_int_equal(table_in(b, 2048 + 8), 1u << 2);
	table_out(b, 2048, 0);
	assert_int_equal(table_in(b, 2048), 1u << 3);
	set_control(b, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	table_out(b, 3 * 16 + 12, 0);
	assert_int_equal(b->messages, 0);
	set_control(b, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(b->messages, 1);
	assert_int_equal(table_in(b, 2048), 0);
	table_out(b, 66 * 16 + 12, 0);
	assert_int_equal(b->messages, 2);
	msix_reset(&b->msix);
	assert_int_equal(table_in(b, 3 * 16 + 12), PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* A function that may not write to memory sends no message either. */
static void test_bus_master(void **state)
{
	struct bench *b = *state;

	set_control(b, PCI_MSIX_FLAGS_ENABLE);
	table_out(b, 12, 0);
	assert_true(pci_is_master(&b->card));
	config_out(b, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(pci_is_master(&b->card));
	msix_fire(&b->msix, 0);
	assert_int_equal(b->messages, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_capability_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bus_master, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
