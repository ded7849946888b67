/* SPDX-License-Identifier: MIT */
/* The MADT: local APICs, I/O APIC, ISA overrides, NMI (ACPI 6.3, section 5.2.12). */
#include "tables/parts.h"

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10,
};

#define PCAT_COMPAT 1 /* there are 8259s, to be masked */
#define ENABLED 1
#define LEVEL_HIGH 0xd
#define NMI_LINT 1

static void add_cpu(struct blob *blob, unsigned id)
{
	if (id <= TABLES_XAPIC_ID_MAX) {
		blob_put(blob, MADT_LAPIC | 8 << 8, 2);
		blob_put(blob, id, 1); /* processor UID */
		blob_put(blob, id, 1);
		blob_put(blob, ENABLED, 4);
		return;
	}
	blob_put(blob, MADT_X2APIC | 16 << 8, 2);
	blob_put(blob, 0, 2);
	blob_put(blob, id, 4);
	blob_put(blob, ENABLED, 4);
	blob_put(blob, id, 4); /* processor UID */
}

static void add_override(struct blob *blob, uint8_t irq, uint8_t gsi, uint16_t flags)
{
	blob_put(blob, MADT_OVERRIDE | 10 << 8, 2);
	blob_put(blob, 0, 1); /* ISA */
	blob_put(blob, irq, 1);
	blob_put(blob, gsi, 4);
	blob_put(blob, flags, 2);
}

static void add_nmis(struct blob *blob, unsigned cpus)
{
	blob_put(blob, MADT_LAPIC_NMI | 6 << 8, 2);
	blob_put(blob, 0xff, 1); /* all processors */
	blob_put(blob, 0, 2);
	blob_put(blob, NMI_LINT, 1);
	if (cpus <= TABLES_XAPIC_ID_MAX + 1)
		return;
	blob_put(blob, MADT_X2APIC_NMI | 12 << 8, 2);
	blob_put(blob, 0, 2);
	blob_put(blob, UINT32_MAX, 4);
	blob_put(blob, NMI_LINT, 1);
	blob_zeros(blob, 3);
}

uint32_t acpi_add_madt(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	uint32_t start = acpi_begin(blobs, "APIC", 5);
	struct blob *blob = &blobs->acpi;

	blob_put(blob, TABLES_LAPIC_ADDRESS, 4);
	blob_put(blob, PCAT_COMPAT, 4);
	for (unsigned i = 0; i < config->cpus; i++)
		add_cpu(blob, i);
	blob_put(blob, MADT_IOAPIC | 12 << 8, 2);
	blob_put(blob, config->ioapic_id, 1);
	blob_put(blob, 0, 1);
	blob_put(blob, TABLES_IOAPIC_ADDRESS, 4);
	blob_put(blob, 0, 4); /* first GSI */
	add_override(blob, 0, 2, 0);
	add_override(blob, TABLES_SCI_IRQ, TABLES_SCI_IRQ, LEVEL_HIGH);
	add_nmis(blob, config->cpus);
	acpi_end(blobs, start);
	return start;
}
