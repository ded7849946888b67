/* SPDX-License-Identifier: MIT */
/*
 * The MultiProcessor Specification 1.4 table, for systems without ACPI: processors, buses, I/O APIC
 * and how interrupts reach it. Everything below says the same as the MADT and the DSDT.
 */
#include <string.h>

#include "dev/pci.h"
#include "tables/parts.h"

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum { MP_INT, MP_NMI, MP_SMI, MP_EXTINT };

#define BUS_PCI 0
#define BUS_ISA 1
#define ISA_IRQS 16
#define PCI_SLOTS 32
#define ALL_APICS 0xff
#define CONFORMS 0
#define LEVEL_HIGH 0xd
#define LEVEL_LOW 0xf
#define LAPIC_VERSION 0x14
#define IOAPIC_VERSION 0x20
#define CPU_ENABLED 1
#define CPU_BOOT 2
#define CPU_SIGNATURE 0x600
#define CPU_FEATURES 0x201 /* APIC, FPU */

static void add_processors(struct blob *blob, unsigned cpus)
{
	for (unsigned id = 0; id < cpus && id <= TABLES_XAPIC_ID_MAX; id++) {
		blob_put(blob, MP_PROCESSOR, 1);
		blob_put(blob, id, 1);
		blob_put(blob, LAPIC_VERSION, 1);
		blob_put(blob, CPU_ENABLED | (id ? 0 : CPU_BOOT), 1);
		blob_put(blob, CPU_SIGNATURE, 4);
		blob_put(blob, CPU_FEATURES, 4);
		blob_zeros(blob, 8);
	}
}

static void add_bus(struct blob *blob, uint8_t id, const char *name)
{
	blob_put(blob, MP_BUS, 1);
	blob_put(blob, id, 1);
	blob_append(blob, name, 6);
}

static void add_interrupt(struct blob *blob, uint8_t entry, uint8_t type, uint16_t flags,
			  uint8_t bus, uint8_t source, uint8_t apic, uint8_t pin)
{
	blob_put(blob, entry, 1);
	blob_put(blob, type, 1);
	blob_put(blob, flags, 2);
	blob_put(blob, bus, 1);
	blob_put(blob, source, 1);
	blob_put(blob, apic, 1);
	blob_put(blob, pin, 1);
}

static void add_isa_interrupts(struct blob *blob, uint8_t apic)
{
	for (uint8_t irq = 0; irq < ISA_IRQS; irq++)
		if (irq != 2)
			add_interrupt(blob, MP_INTERRUPT, MP_INT,
				      irq == TABLES_SCI_IRQ ? LEVEL_HIGH : CONFORMS, BUS_ISA, irq,
				      apic, irq ? irq : 2);
}

static void add_pci_interrupts(struct blob *blob, uint8_t apic)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < 4; pin++)
			add_interrupt(blob, MP_INTERRUPT, MP_INT, LEVEL_LOW, BUS_PCI,
				      (uint8_t)(slot << 2 | pin), apic,
				      (uint8_t)(PCI_INTX_GSI_FIRST + pci_intx_gsi(slot, pin)));
}

static unsigned count_entries(const struct machine_tables_config *config)
{
	unsigned cpus = config->cpus <= TABLES_XAPIC_ID_MAX ? config->cpus :
							      TABLES_XAPIC_ID_MAX + 1;

	return cpus + 2 + 1 + (ISA_IRQS - 1) + PCI_SLOTS * 4 + 2;
}

void mptable_build(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	struct blob *blob = &blobs->mptable;

	blob_append(blob, "PCMP", 4);
	blob_put(blob, 0, 2); /* length */
	blob_put(blob, 4, 1); /* specification 1.4 */
	blob_put(blob, 0, 1);
	blob_append(blob, "RINGLET RINGLET PC  ", 20);
	blob_zeros(blob, 6);
	blob_put(blob, count_entries(config), 2);
	blob_put(blob, TABLES_LAPIC_ADDRESS, 4);
	blob_zeros(blob, 4);
	add_processors(blob, config->cpus);
	add_bus(blob, BUS_PCI, "PCI   ");
	add_bus(blob, BUS_ISA, "ISA   ");
	blob_put(blob, MP_IOAPIC, 1);
	blob_put(blob, config->ioapic_id, 1);
	blob_put(blob, IOAPIC_VERSION, 1);
	blob_put(blob, 1, 1); /* usable */
	blob_put(blob, TABLES_IOAPIC_ADDRESS, 4);
	add_isa_interrupts(blob, config->ioapic_id);
	add_pci_interrupts(blob, config->ioapic_id);
	add_interrupt(blob, MP_LOCAL_INTERRUPT, MP_EXTINT, CONFORMS, BUS_ISA, 0, ALL_APICS, 0);
	add_interrupt(blob, MP_LOCAL_INTERRUPT, MP_NMI, CONFORMS, BUS_ISA, 0, ALL_APICS, 1);
	blob_set(blob, 4, blob->size_bytes, 2);
	if (!blob->failed)
		blob_set(blob, 7, blob_checksum(blob->data, blob->size_bytes), 1);
}

void mptable_pointer(uint32_t table_gpa, uint8_t out[16])
{
	memset(out, 0, 16);
	memcpy(out, "_MP_", 4);
	memcpy(out + 4, &table_gpa, 4);
	out[8] = 1; /* paragraphs */
	out[9] = 4;
	out[10] = blob_checksum(out, 16);
}
