/* SPDX-License-Identifier: MIT */
/* Private to this room: who makes which part of struct tables_blobs. */
#ifndef RINGLET_TABLES_PARTS_H
#define RINGLET_TABLES_PARTS_H

#include "tables/tables.h"

#define TABLES_OEM_ID "RINGLT"       /* six characters */
#define TABLES_OEM_TABLE "RINGLETP"  /* eight */
#define TABLES_SCI_IRQ 9
#define TABLES_LAPIC_ADDRESS 0xfee00000u
#define TABLES_IOAPIC_ADDRESS 0xfec00000u
#define TABLES_XAPIC_ID_MAX 254 /* 255 is the broadcast */

/* acpi.c: all but the DSDT's code and the MADT's entries. */
void acpi_build(const struct machine_tables_config *config, struct tables_blobs *blobs);
/* Opens a table with its header, 16-byte aligned; its offset. */
uint32_t acpi_begin(struct tables_blobs *blobs, const char signature[4], uint8_t revision);
/* Sets its length and notes its checksum. */
void acpi_end(struct tables_blobs *blobs, uint32_t start);

uint32_t acpi_add_dsdt(const struct machine_tables_config *config, struct tables_blobs *blobs);
uint32_t acpi_add_madt(const struct machine_tables_config *config, struct tables_blobs *blobs);

void smbios_build(const struct machine_tables_config *config, struct tables_blobs *blobs);
/* Fills in the address of the structures, and checksums. */
void smbios_link(struct blob *entry21, struct blob *entry30, uint64_t tables_gpa);

void mptable_build(const struct machine_tables_config *config, struct tables_blobs *blobs);
/* The floating pointer that leads to a table at gpa. */
void mptable_pointer(uint32_t table_gpa, uint8_t out[16]);

void script_build(struct tables_blobs *blobs);

#endif
