/* SPDX-License-Identifier: MIT */
/*
 * What PC firmware tells an operating system about the machine: ACPI 6.3 tables, SMBIOS 3.0 (and
 * 2.1), MultiProcessor Specification 1.4. tables_build makes them all with relative addresses; then
 * either tables_place writes them to guest memory (the board starts the kernel itself), or the
 * blobs go to the firmware as files, with a script that says how to link them.
 *
 * The board's thread, before the machine runs.
 */
#ifndef RINGLET_TABLES_TABLES_H
#define RINGLET_TABLES_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "tables/blob.h"

struct error;
struct mem;

/* Where tables_place writes: RAM that the memory map must not offer as free. */
#define TABLES_AREA_START 0xe0000ull
#define TABLES_AREA_END 0x100000ull

/* The machine, as the tables describe it. APIC IDs are 0 … cpus - 1. */
struct machine_tables_config {
	unsigned cpus;
	uint8_t ioapic_id;
	/* ACPI fixed hardware: event +0, control +4, timer +8 (24-bit), GPE0 +0x20 (4 bytes). */
	uint16_t pm_port;
	uint8_t slp_typ_s5;
	uint64_t ram_low_bytes;  /* from 0 */
	uint64_t ram_high_bytes; /* from 4 GiB */
	uint32_t mmio32_start, mmio32_end; /* for PCI BARs, end exclusive */
	uint64_t mmio64_start, mmio64_size; /* size 0: none */
	uint32_t ecam_start;     /* 256 MiB; 0: none */
	uint32_t hpet_start;     /* 0: none */
	uint8_t com_ports;       /* bit 0: COM1 … bit 3: COM4 */
	/* Virtio over MMIO: pages from virtio_start on, one I/O APIC input each. */
	uint32_t virtio_start, virtio_gsi;
	unsigned virtio_count;
	uint8_t uuid[16];
	const char *version;     /* of this program, for SMBIOS */
};

#define TABLES_FIXUPS 40
#define TABLES_SUMS 20

/* Which blob an offset belongs to. */
enum tables_file { TABLES_ACPI, TABLES_RSDP };

/* The field at offset holds an offset into the ACPI blob, and becomes an address. */
struct tables_fixup {
	enum tables_file file;
	uint32_t offset;
	uint8_t size_bytes;
};

/* The byte at offset makes [start, start + length) sum to zero, after fixups. */
struct tables_sum {
	enum tables_file file;
	uint32_t offset, start, length;
};

struct tables_blobs {
	struct blob acpi, rsdp;
	struct tables_fixup fixup[TABLES_FIXUPS];
	struct tables_sum sum[TABLES_SUMS];
	unsigned fixups, sums;
	struct blob smbios;  /* structures */
	struct blob smbios21, smbios30; /* entry points, without addresses and checksums */
	struct blob mptable; /* configuration table, complete */
	struct blob script;  /* etc/table-loader: links etc/acpi/tables and etc/acpi/rsdp */
};

/* -ENOMEM. Free with tables_free, after an error too. */
int tables_build(const struct machine_tables_config *config, struct tables_blobs *blobs,
		 struct error *err);
void tables_free(struct tables_blobs *blobs);

/* Links and writes everything; *rsdp_gpa is ACPI's root. -ENOSPC: too large for the area. */
int tables_place(struct mem *mem, const struct tables_blobs *blobs, uint64_t *rsdp_gpa,
		 struct error *err);

/* Names under which firmware looks for the blobs. */
#define TABLES_FILE_ACPI "etc/acpi/tables"
#define TABLES_FILE_RSDP "etc/acpi/rsdp"
#define TABLES_FILE_SCRIPT "etc/table-loader"
#define TABLES_FILE_SMBIOS "etc/smbios/smbios-tables"
#define TABLES_FILE_SMBIOS_ANCHOR "etc/smbios/smbios-anchor"

#endif
