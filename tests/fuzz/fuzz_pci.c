/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: PCI configuration by both mechanisms, the bridges, and a card whose BARs come and go
 * on the buses, over each other and over other devices' ranges.
 */
#include <stdlib.h>

#include "dev/bus.h"
#include "device_target.h"
#include "legacy/pci_host.h"
#include "legacy/piix.h"

#define CARDS 2

static struct pci_function cards[CARDS];

static uint8_t reset_control_read(void *opaque)
{
	(void)opaque;
	return 0;
}

static void reset_control_write(void *opaque, uint8_t value)
{
	(void)opaque;
	(void)value;
}

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque;
	(void)cpu;
	return offset + size;
}

static void card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)cpu;
	pci_set_intx(opaque, (offset + size + value) & 1);
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);

	(void)target;
	if (what & 2)
		pci_set_intx(&cards[what & 1], what & 4);
	else
		pci_reset(&cards[what & 1]);
}

static void card_destroy(struct device *dev)
{
	(void)dev;
	for (unsigned i = 0; i < CARDS; i++)
		pci_remove(&cards[i]);
}

static void card_reset(struct device *dev)
{
	(void)dev;
	for (unsigned i = 0; i < CARDS; i++)
		pci_reset(&cards[i]);
}

/* So that they leave the bus before it does. */
static const struct device_class cards_class = {
	.name = "cards", .reset = card_reset, .destroy = card_destroy,
};
static struct device cards_device = { &cards_class };

static void add_card(struct pci_bus *bus, unsigned slot, struct pci_function *card)
{
	const struct pci_identity identity = { .vendor = 0x1af4, .device = 0x1042,
					       .class_code = 0x010000, .interrupt_pin = 1 };
	struct bus_range range = { .size = 16, .name = "card", .opaque = card, .read = card_read,
				   .write = card_write };

	*card = (struct pci_function){ .bus = NULL };
	if (pci_add(bus, PCI_DEVFN(slot, 0), &identity, card, NULL))
		abort();
	pci_add_bar(card, 0, PCI_BAR_IO, &range);
	range.size = 0x1000;
	pci_add_bar(card, 1, PCI_BAR_MEM32, &range);
	pci_add_bar(card, 2, PCI_BAR_MEM64, &range);
}

static void setup(struct device_target *target)
{
	struct pci_host_config host = { .reset_control_read = reset_control_read,
					.reset_control_write = reset_control_write };
	struct piix_config piix = { .pm_base = 0x600, .sci_irq = 9, .preset_pirq = true };
	struct pci_bus *bus;
	struct device **device = target->device;

	for (unsigned i = 0; i < PCI_INTX_GSIS; i++)
		host.gsi[i] = device_target_line(target, 16 + i);
	for (unsigned i = 0; i < PIIX_ISA_IRQS; i++)
		piix.irq[i] = device_target_line(target, i);
	device_target_keep(target, pci_host_create(&target->env, &host, &device[0], NULL));
	bus = piix.bus = pci_host_bus(device[0]);
	device_target_keep(target, piix_create(&target->env, &piix, &device[1], NULL));
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci_host_connect_pirq(device[0], i, piix_pirq_line(device[1], i));
	for (unsigned i = 0; i < CARDS; i++)
		add_card(bus, 3 + i, &cards[i]);
	device[2] = &cards_device;
	device_target_keep(target, 0);
	target->event = event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
