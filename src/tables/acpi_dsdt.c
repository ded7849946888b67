/* SPDX-License-Identifier: MIT */
/* The DSDT: PCI root, interrupt routing, ISA devices, processors, soft-off (ACPI 6.3, ch. 6-9). */
#include <stdio.h>

#include "dev/pci.h"
#include "tables/aml.h"
#include "tables/parts.h"

#define PCI_SLOTS 32
#define PCI_PINS 4
#define ISA_ALL_FUNCTIONS 0xffffu
#define ECAM_BYTES 0x10000000u
#define HPET_BYTES 0x400
#define PM_PORTS 0x40
#define VIRTIO_BYTES 0x1000

struct isa_device {
	const char *name, *id;
	struct {
		uint16_t start;
		uint8_t len;
	} io[3];
	int irq, dma; /* -1: none */
};

static const struct isa_device isa_devices[] = {
	{ "PS2K", "PNP0303", { { 0x60, 1 }, { 0x64, 1 } }, 1, -1 },
	{ "PS2M", "PNP0F13", { { 0, 0 } }, 12, -1 },
	{ "RTC_", "PNP0B00", { { 0x70, 2 } }, 8, -1 },
	{ "TIMR", "PNP0100", { { 0x40, 4 } }, 0, -1 },
	{ "PIC_", "PNP0000", { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } }, 2, -1 },
	{ "DMAC", "PNP0200", { { 0x00, 16 }, { 0x81, 15 }, { 0xc0, 32 } }, -1, 4 },
	{ "SPKR", "PNP0800", { { 0x61, 1 } }, -1, -1 },
	{ "FPU_", "PNP0C04", { { 0xf0, 1 } }, 13, -1 },
};

static const struct {
	uint16_t port;
	uint8_t irq;
} com_ports[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

static void name_eisa_id(struct aml *aml, const char *name, const char *id)
{
	aml_name(aml, name);
	aml_eisa_id(aml, id);
}

static void name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

static void add_isa_device(struct aml *aml, const struct isa_device *device)
{
	aml_device(aml, device->name);
	name_eisa_id(aml, "_HID", device->id);
	aml_resources(aml);
	for (unsigned i = 0; i < 3; i++)
		if (device->io[i].len)
			aml_io(aml, device->io[i].start, device->io[i].len);
	if (device->irq >= 0)
		aml_irq(aml, (unsigned)device->irq);
	if (device->dma >= 0)
		aml_dma(aml, (unsigned)device->dma);
	aml_resources_end(aml);
	aml_end(aml);
}

static void add_com_port(struct aml *aml, unsigned index)
{
	char name[] = "COM1";

	name[3] += (char)index;
	aml_device(aml, name);
	name_eisa_id(aml, "_HID", "PNP0501");
	name_integer(aml, "_UID", index + 1);
	aml_resources(aml);
	aml_io(aml, com_ports[index].port, 8);
	aml_irq(aml, com_ports[index].irq);
	aml_resources_end(aml);
	aml_end(aml);
}

static void add_isa_bridge(struct aml *aml, const struct machine_tables_config *config)
{
	aml_device(aml, "ISA_");
	name_integer(aml, "_ADR", 1u << 16);
	for (size_t i = 0; i < sizeof(isa_devices) / sizeof(isa_devices[0]); i++)
		add_isa_device(aml, &isa_devices[i]);
	for (unsigned i = 0; i < 4; i++)
		if (config->com_ports >> i & 1)
			add_com_port(aml, i);
	aml_end(aml);
}

/* All slots' four pins: straight to I/O APIC inputs, or to 8259 inputs as PIRQs are routed. */
static void add_routes(struct aml *aml, const char *name, bool apic)
{
	aml_name(aml, name);
	aml_package(aml, PCI_SLOTS * PCI_PINS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < PCI_PINS; pin++) {
			aml_package(aml, 4);
			aml_integer(aml, slot << 16 | ISA_ALL_FUNCTIONS);
			aml_integer(aml, pin);
			aml_integer(aml, 0);
			aml_integer(aml, apic ? PCI_INTX_GSI_FIRST + pci_intx_gsi(slot, pin) :
						pci_pirq_irq(pci_intx_pirq(slot, pin)));
			aml_end(aml);
		}
	}
	aml_end(aml);
}

static void add_pci_windows(struct aml *aml, const struct machine_tables_config *config)
{
	aml_resources(aml);
	aml_bus_window(aml, 0, 0xff);
	aml_io(aml, 0xcf8, 8);
	aml_io_window(aml, 0, 0xcf7);
	aml_io_window(aml, 0xd00, 0xffff);
	aml_memory32_window(aml, true, 0xa0000, 0xbffff);
	aml_memory32_window(aml, false, config->mmio32_start, config->mmio32_end - 1);
	if (config->mmio64_size)
		aml_memory64_window(aml, true, config->mmio64_start,
				    config->mmio64_start + config->mmio64_size - 1);
	aml_resources_end(aml);
}

static void add_pci_root(struct aml *aml, const struct machine_tables_config *config)
{
	aml_device(aml, "PCI0");
	name_eisa_id(aml, "_HID", "PNP0A03");
	name_integer(aml, "_UID", 0);
	name_integer(aml, "_BBN", 0);
	add_pci_windows(aml, config);
	add_routes(aml, "PRTA", true);
	add_routes(aml, "PRTP", false);
	aml_method(aml, "_PRT", 0, false);
	aml_if_equal(aml, "\\PICF", 0);
	aml_return(aml, "PRTP");
	aml_end(aml);
	aml_return(aml, "PRTA");
	aml_end(aml);
	add_isa_bridge(aml, config);
	aml_end(aml);
}

/* What belongs to no device, so that nobody else is put there. */
static void add_motherboard(struct aml *aml, const struct machine_tables_config *config)
{
	aml_device(aml, "MBRD");
	name_eisa_id(aml, "_HID", "PNP0C02");
	name_integer(aml, "_UID", 0);
	aml_resources(aml);
	aml_io(aml, config->pm_port, PM_PORTS);
	if (config->ecam_start)
		aml_memory_fixed(aml, config->ecam_start, ECAM_BYTES);
	aml_resources_end(aml);
	aml_end(aml);
}

static void add_hpet(struct aml *aml, const struct machine_tables_config *config)
{
	if (!config->hpet_start)
		return;
	aml_device(aml, "HPET");
	name_eisa_id(aml, "_HID", "PNP0103");
	name_integer(aml, "_UID", 0);
	aml_resources(aml);
	aml_memory_fixed(aml, config->hpet_start, HPET_BYTES);
	aml_resources_end(aml);
	aml_end(aml);
}

static void add_virtio(struct aml *aml, const struct machine_tables_config *config)
{
	char name[8];

	for (unsigned i = 0; i < config->virtio_count; i++) {
		snprintf(name, sizeof(name), "VR%02X", i & 0xff);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "LNRO0005");
		name_integer(aml, "_UID", i);
		aml_resources(aml);
		aml_memory_fixed(aml, config->virtio_start + i * VIRTIO_BYTES, VIRTIO_BYTES);
		aml_gsi(aml, config->virtio_gsi + i);
		aml_resources_end(aml);
		aml_end(aml);
	}
}

static void add_processors(struct aml *aml, unsigned cpus)
{
	char name[8];

	for (unsigned i = 0; i < cpus; i++) {
		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "ACPI0007");
		name_integer(aml, "_UID", i);
		aml_end(aml);
	}
}

/* Which interrupt model the OS chose (_PIC: 0 for 8259s), and the one sleep state. */
static void add_globals(struct aml *aml, const struct machine_tables_config *config)
{
	name_integer(aml, "\\PICF", 0);
	aml_method(aml, "\\_PIC", 1, false);
	aml_store_arg(aml, 0, "\\PICF");
	aml_end(aml);
	aml_name(aml, "\\_S5");
	aml_package(aml, 4);
	aml_integer(aml, config->slp_typ_s5);
	aml_integer(aml, config->slp_typ_s5);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml);
}

uint32_t acpi_add_dsdt(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	uint32_t start = acpi_begin(blobs, "DSDT", 2);
	struct aml aml = { .blob = &blobs->acpi };

	add_globals(&aml, config);
	aml_scope(&aml, "\\_SB");
	add_pci_root(&aml, config);
	add_motherboard(&aml, config);
	add_hpet(&aml, config);
	add_virtio(&aml, config);
	add_processors(&aml, config->cpus);
	aml_end(&aml);
	acpi_end(blobs, start);
	return start;
}
