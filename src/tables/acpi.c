/* SPDX-License-Identifier: MIT */
/*
 * The fixed ACPI tables (ACPI 6.3, chapter 5). Addresses of tables are written as offsets into
 * the blob and noted as fixups; checksums are noted too and made when addresses are known.
 */
#include <assert.h>
#include <string.h>

#include "tables/parts.h"

#define HEADER_BYTES 36
#define FACS_BYTES 64
#define FADT_BYTES 276
#define RSDP_BYTES 36
#define RSDP_V1_BYTES 20

/* FADT flags and IA-PC boot architecture (tables 5-34, 5-35). */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_SLP_BUTTON (1u << 5) /* no fixed sleep button */
#define FADT_FIX_RTC (1u << 6)    /* no fixed RTC wake-up */
#define FADT_RESET_REG (1u << 10)
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042 (1u << 1)
#define BOOT_NO_VGA (1u << 2)

#define RESET_PORT 0xcf9
#define RESET_VALUE 6
#define RTC_CENTURY 0x32
#define NO_C_STATE 0xfff /* a latency that rules the state out */

/* Generic address structure: space, bits, offset, access size. */
enum { GAS_MEMORY = 0, GAS_IO = 1 };
enum { GAS_BYTE = 1, GAS_WORD = 2, GAS_DWORD = 3 };

#define HPET_ID 0x8086a201u /* revision 1, 3 comparators, 64 bits, legacy replacement, Intel */
#define COM1_PORT 0x3f8
#define COM1_IRQ 4

static void add_fixup(struct tables_blobs *blobs, enum tables_file file, uint32_t offset,
		      uint8_t size)
{
	assert(blobs->fixups < TABLES_FIXUPS);
	blobs->fixup[blobs->fixups++] = (struct tables_fixup){ file, offset, size };
}

static void add_sum(struct tables_blobs *blobs, enum tables_file file, uint32_t offset,
		    uint32_t start, uint32_t length)
{
	assert(blobs->sums < TABLES_SUMS);
	blobs->sum[blobs->sums++] = (struct tables_sum){ file, offset, start, length };
}

uint32_t acpi_begin(struct tables_blobs *blobs, const char signature[4], uint8_t revision)
{
	struct blob *blob = &blobs->acpi;
	uint32_t start;

	blob_align(blob, 16);
	start = (uint32_t)blob->size_bytes;
	blob_append(blob, signature, 4);
	blob_put(blob, 0, 4); /* length */
	blob_put(blob, revision, 1);
	blob_put(blob, 0, 1); /* checksum */
	blob_append(blob, TABLES_OEM_ID, 6);
	blob_append(blob, TABLES_OEM_TABLE, 8);
	blob_put(blob, 1, 4);
	blob_append(blob, "RGLT", 4);
	blob_put(blob, 1, 4);
	return start;
}

void acpi_end(struct tables_blobs *blobs, uint32_t start)
{
	uint32_t length = (uint32_t)blobs->acpi.size_bytes - start;

	blob_set(&blobs->acpi, start + 4, length, 4);
	add_sum(blobs, TABLES_ACPI, start + 9, start, length);
}

static uint32_t add_facs(struct tables_blobs *blobs)
{
	uint32_t start;

	blob_align(&blobs->acpi, FACS_BYTES);
	start = (uint32_t)blobs->acpi.size_bytes;
	blob_append(&blobs->acpi, "FACS", 4);
	blob_put(&blobs->acpi, FACS_BYTES, 4);
	blob_zeros(&blobs->acpi, FACS_BYTES - 8);
	blob_set(&blobs->acpi, start + 32, 2, 1); /* version */
	return start;
}

/* The FADT as a list of fields: offset, size, value. */
struct field {
	uint16_t offset;
	uint8_t size;
	uint64_t value;
};

static void set_fields(struct blob *blob, uint32_t start, const struct field *field, size_t count)
{
	for (size_t i = 0; i < count; i++)
		blob_set(blob, start + field[i].offset, field[i].value, field[i].size);
}

static void set_gas(struct blob *blob, uint32_t at, uint8_t bits, uint8_t access, uint64_t address)
{
	blob_set(blob, at, GAS_IO, 1);
	blob_set(blob, at + 1, bits, 1);
	blob_set(blob, at + 3, access, 1);
	blob_set(blob, at + 4, address, 8);
}

static uint32_t add_fadt(const struct machine_tables_config *config, struct tables_blobs *blobs,
			 uint32_t facs, uint32_t dsdt)
{
	const struct field fields[] = {
		{ 36, 4, facs },
		{ 40, 4, dsdt },
		{ 46, 2, TABLES_SCI_IRQ },
		{ 56, 4, config->pm_port },         /* PM1a event */
		{ 64, 4, config->pm_port + 4u },    /* PM1a control */
		{ 76, 4, config->pm_port + 8u },    /* timer */
		{ 80, 4, config->pm_port + 0x20u }, /* GPE0 */
		{ 88, 1, 4 }, { 89, 1, 2 }, { 91, 1, 4 }, { 92, 1, 4 }, /* their lengths */
		{ 96, 2, NO_C_STATE },
		{ 98, 2, NO_C_STATE },
		{ 108, 1, RTC_CENTURY },
		{ 109, 2, BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA },
		{ 112, 4, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
				  FADT_RESET_REG },
		{ 128, 1, RESET_VALUE },
		{ 131, 1, 3 }, /* minor version */
		{ 140, 8, dsdt },
	};
	uint32_t start = acpi_begin(blobs, "FACP", 6);
	struct blob *blob = &blobs->acpi;

	blob_zeros(blob, FADT_BYTES - HEADER_BYTES);
	set_fields(blob, start, fields, sizeof(fields) / sizeof(fields[0]));
	set_gas(blob, start + 116, 8, GAS_BYTE, RESET_PORT);
	set_gas(blob, start + 148, 32, GAS_WORD, config->pm_port);
	set_gas(blob, start + 172, 16, GAS_WORD, config->pm_port + 4u);
	set_gas(blob, start + 208, 32, GAS_DWORD, config->pm_port + 8u);
	set_gas(blob, start + 220, 32, GAS_BYTE, config->pm_port + 0x20u);
	for (unsigned i = 0; i < 8; i++)
		blob_set(blob, start + 268 + i, (uint8_t)"Ringlet"[i], 1);
	add_fixup(blobs, TABLES_ACPI, start + 36, 4);
	add_fixup(blobs, TABLES_ACPI, start + 40, 4);
	add_fixup(blobs, TABLES_ACPI, start + 140, 8);
	acpi_end(blobs, start);
	return start;
}

/* IA-PC HPET specification 1.0a, section 3.2.4. */
static uint32_t add_hpet(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	uint32_t start = acpi_begin(blobs, "HPET", 1);
	struct blob *blob = &blobs->acpi;

	blob_put(blob, HPET_ID, 4);
	blob_put(blob, GAS_MEMORY | 64 << 8, 4);
	blob_put(blob, config->hpet_start, 8);
	blob_put(blob, 0, 1);   /* number */
	blob_put(blob, 128, 2); /* shortest period, in ticks */
	blob_put(blob, 0, 1);
	acpi_end(blobs, start);
	return start;
}

/* PCI Firmware Specification 3.0, section 4.1.2. */
static uint32_t add_mcfg(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	uint32_t start = acpi_begin(blobs, "MCFG", 1);
	struct blob *blob = &blobs->acpi;

	blob_zeros(blob, 8);
	blob_put(blob, config->ecam_start, 8);
	blob_put(blob, 0, 2);   /* segment */
	blob_put(blob, 0, 1);   /* first bus */
	blob_put(blob, 255, 1); /* last bus */
	blob_zeros(blob, 4);
	acpi_end(blobs, start);
	return start;
}

/* Serial Port Console Redirection table, revision 2: COM1. */
static uint32_t add_spcr(struct tables_blobs *blobs)
{
	uint32_t start = acpi_begin(blobs, "SPCR", 2);
	struct blob *blob = &blobs->acpi;

	blob_put(blob, 0, 4);  /* 16550 compatible */
	blob_put(blob, GAS_IO | 8 << 8 | GAS_BYTE << 24, 4);
	blob_put(blob, COM1_PORT, 8);
	blob_put(blob, 3, 1);  /* interrupt: 8259 and I/O APIC */
	blob_put(blob, COM1_IRQ, 1);
	blob_put(blob, COM1_IRQ, 4);
	blob_put(blob, 7, 1);  /* 115200 */
	blob_put(blob, 0, 1);  /* no parity */
	blob_put(blob, 1, 1);  /* one stop bit */
	blob_put(blob, 0, 1);  /* no flow control */
	blob_put(blob, 3, 1);  /* ANSI terminal */
	blob_put(blob, 0, 1);
	blob_put(blob, UINT32_MAX, 4); /* no PCI device: IDs … */
	blob_zeros(blob, 12);          /* … and place */
	acpi_end(blobs, start);
	return start;
}

/* RSDT (4-byte) or XSDT (8-byte addresses). */
static uint32_t add_root(struct tables_blobs *blobs, const char *signature, uint8_t width,
			 const uint32_t *table, unsigned count)
{
	uint32_t start = acpi_begin(blobs, signature, 1);

	for (unsigned i = 0; i < count; i++) {
		add_fixup(blobs, TABLES_ACPI, (uint32_t)blobs->acpi.size_bytes, width);
		blob_put(&blobs->acpi, table[i], width);
	}
	acpi_end(blobs, start);
	return start;
}

static void add_rsdp(struct tables_blobs *blobs, uint32_t rsdt, uint32_t xsdt)
{
	struct blob *blob = &blobs->rsdp;

	blob_append(blob, "RSD PTR ", 8);
	blob_put(blob, 0, 1);
	blob_append(blob, TABLES_OEM_ID, 6);
	blob_put(blob, 2, 1); /* revision */
	blob_put(blob, rsdt, 4);
	blob_put(blob, RSDP_BYTES, 4);
	blob_put(blob, xsdt, 8);
	blob_zeros(blob, 4);
	add_fixup(blobs, TABLES_RSDP, 16, 4);
	add_fixup(blobs, TABLES_RSDP, 24, 8);
	add_sum(blobs, TABLES_RSDP, 8, 0, RSDP_V1_BYTES);
	add_sum(blobs, TABLES_RSDP, 32, 0, RSDP_BYTES);
}

void acpi_build(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	uint32_t table[5], rsdt, xsdt;
	unsigned count = 0;
	uint32_t facs = add_facs(blobs);
	uint32_t dsdt = acpi_add_dsdt(config, blobs);

	table[count++] = add_fadt(config, blobs, facs, dsdt);
	table[count++] = acpi_add_madt(config, blobs);
	if (config->hpet_start)
		table[count++] = add_hpet(config, blobs);
	if (config->ecam_start)
		table[count++] = add_mcfg(config, blobs);
	if (config->com_ports & 1)
		table[count++] = add_spcr(blobs);
	rsdt = add_root(blobs, "RSDT", 4, table, count);
	xsdt = add_root(blobs, "XSDT", 8, table, count);
	add_rsdp(blobs, rsdt, xsdt);
}
