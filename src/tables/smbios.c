/* SPDX-License-Identifier: MIT */
/*
 * SMBIOS structures and entry points (DMTF DSP0134 3.0). A structure is a formatted area and its
 * strings; strings are numbered from 1 in the order in which they follow it.
 */
#include <string.h>

#include "tables/parts.h"

#define ENTRY21_BYTES 31
#define ENTRY21_MIDDLE 16 /* "_DMI_" and its own checksum */
#define ENTRY21_MIDDLE_BYTES 15
#define ENTRY30_BYTES 24
#define DIMM_MAX_MIB 0x7fff /* what the 16-bit size field can say in MiB */
#define KIB_MAX 0x80000000u
#define FOUR_GIB 0x100000000ull

struct smbios {
	struct blob *blob;
	size_t start;      /* of the open structure */
	uint16_t count;
	uint16_t largest;
};

enum {
	HANDLE_BIOS = 0x0000,
	HANDLE_SYSTEM = 0x0100,
	HANDLE_CHASSIS = 0x0300,
	HANDLE_PROCESSOR = 0x0400,
	HANDLE_MEMORY_ARRAY = 0x1000,
	HANDLE_MEMORY_DEVICE = 0x1100,
	HANDLE_ARRAY_ADDRESS = 0x1300,
	HANDLE_BOOT = 0x2000,
	HANDLE_END = 0x7f00,
};

static void begin(struct smbios *s, uint8_t type, uint16_t handle)
{
	s->start = s->blob->size_bytes;
	blob_put(s->blob, type, 1);
	blob_put(s->blob, 0, 1); /* length */
	blob_put(s->blob, handle, 2);
}

/* Ends the formatted area and adds the strings, a NULL-terminated list. */
static void end(struct smbios *s, const char *const *strings)
{
	size_t size;

	blob_set(s->blob, s->start + 1, s->blob->size_bytes - s->start, 1);
	if (!strings)
		blob_put(s->blob, 0, 1);
	for (; strings && *strings; strings++)
		blob_append(s->blob, *strings, strlen(*strings) + 1);
	blob_put(s->blob, 0, 1);
	size = s->blob->size_bytes - s->start;
	if (size > s->largest)
		s->largest = (uint16_t)size;
	s->count++;
}

static void bytes(struct smbios *s, const uint8_t *data, size_t len)
{
	blob_append(s->blob, data, len);
}

static void add_bios(struct smbios *s, const struct machine_tables_config *config)
{
	const char *strings[] = { "Ringlet", config->version, "01/01/2026", NULL };

	begin(s, 0, HANDLE_BIOS);
	bytes(s, (const uint8_t[]){ 1, 2 }, 2);
	blob_put(s->blob, 0xe000, 2);     /* segment */
	bytes(s, (const uint8_t[]){ 3, 1 }, 2); /* date; 128 KiB */
	blob_put(s->blob, 1u << 7 | 1u << 16, 8); /* PCI; selectable boot */
	bytes(s, (const uint8_t[]){ 0x01, 0x1c }, 2); /* ACPI; virtual machine, no UEFI */
	bytes(s, (const uint8_t[]){ 0, 0, 0xff, 0xff }, 4); /* releases; no controller firmware */
	end(s, strings);
}

static void add_system(struct smbios *s, const struct machine_tables_config *config)
{
	const char *strings[] = { "Ringlet", "Ringlet PC", config->version, NULL };

	begin(s, 1, HANDLE_SYSTEM);
	bytes(s, (const uint8_t[]){ 1, 2, 3, 0 }, 4);
	blob_append(s->blob, config->uuid, 16);
	bytes(s, (const uint8_t[]){ 6, 0, 0 }, 3); /* woken by the power switch */
	end(s, strings);
}

static void add_chassis(struct smbios *s, const struct machine_tables_config *config)
{
	const char *strings[] = { "Ringlet", config->version, NULL };

	begin(s, 3, HANDLE_CHASSIS);
	bytes(s, (const uint8_t[]){ 1, 1, 2, 0, 0 }, 5); /* "other" kind */
	bytes(s, (const uint8_t[]){ 3, 3, 3, 2 }, 4);    /* safe; security unknown */
	blob_put(s->blob, 0, 4);
	bytes(s, (const uint8_t[]){ 0, 0, 0, 0, 0 }, 5);
	end(s, strings);
}

static void add_processor(struct smbios *s, const struct machine_tables_config *config)
{
	const char *strings[] = { "CPU 0", "Ringlet", "virtual", NULL };
	uint8_t cores = config->cpus > 255 ? 255 : (uint8_t)config->cpus;

	begin(s, 4, HANDLE_PROCESSOR);
	bytes(s, (const uint8_t[]){ 1, 3, 1, 2 }, 4); /* central processor, "other" family */
	blob_put(s->blob, 0, 8);
	bytes(s, (const uint8_t[]){ 3, 0 }, 2);       /* version; voltage unknown */
	blob_put(s->blob, 0, 2);
	blob_put(s->blob, 0, 2);
	blob_put(s->blob, 0, 2);
	bytes(s, (const uint8_t[]){ 0x41, 1 }, 2);    /* populated and enabled; "other" socket */
	blob_put(s->blob, UINT32_MAX, 4);             /* no cache handles … */
	blob_put(s->blob, UINT16_MAX, 2);
	bytes(s, (const uint8_t[]){ 0, 0, 0, cores, cores, cores }, 6);
	blob_put(s->blob, 0x04, 2);                   /* 64-bit */
	blob_put(s->blob, 1, 2);                      /* family: other */
	for (unsigned i = 0; i < 3; i++)
		blob_put(s->blob, config->cpus, 2);
	end(s, strings);
}

static void add_memory_array(struct smbios *s, uint64_t ram_bytes)
{
	uint64_t kib = ram_bytes >> 10;

	begin(s, 16, HANDLE_MEMORY_ARRAY);
	bytes(s, (const uint8_t[]){ 1, 3, 3 }, 3); /* "other" place, system memory, no ECC */
	blob_put(s->blob, kib < KIB_MAX ? kib : KIB_MAX, 4);
	blob_put(s->blob, 0xfffe, 2);              /* no error information */
	blob_put(s->blob, 1, 2);
	blob_put(s->blob, kib < KIB_MAX ? 0 : ram_bytes, 8);
	end(s, NULL);
}

static void add_memory_device(struct smbios *s, uint64_t ram_bytes)
{
	const char *strings[] = { "DIMM 0", "Ringlet", NULL };
	uint64_t mib = ram_bytes >> 20;

	begin(s, 17, HANDLE_MEMORY_DEVICE);
	blob_put(s->blob, HANDLE_MEMORY_ARRAY, 2);
	blob_put(s->blob, 0xfffe, 2);
	blob_put(s->blob, 64, 2);
	blob_put(s->blob, 64, 2);
	blob_put(s->blob, mib < DIMM_MAX_MIB ? mib : DIMM_MAX_MIB, 2);
	bytes(s, (const uint8_t[]){ 9, 0, 1, 0, 7 }, 5); /* DIMM; RAM */
	blob_put(s->blob, 2, 2);
	blob_put(s->blob, 0, 2);
	bytes(s, (const uint8_t[]){ 2, 0, 0, 0, 0 }, 5);
	blob_put(s->blob, mib < DIMM_MAX_MIB ? 0 : mib, 4);
	blob_put(s->blob, 0, 2);
	blob_zeros(s->blob, 6); /* voltages */
	end(s, strings);
}

static void add_array_address(struct smbios *s, uint16_t handle, uint64_t start, uint64_t size)
{
	uint64_t first_kib = start >> 10, last_kib = ((start + size) >> 10) - 1;
	bool wide = last_kib >= UINT32_MAX;

	begin(s, 19, handle);
	blob_put(s->blob, wide ? UINT32_MAX : first_kib, 4);
	blob_put(s->blob, wide ? UINT32_MAX : last_kib, 4);
	blob_put(s->blob, HANDLE_MEMORY_ARRAY, 2);
	blob_put(s->blob, 1, 1);
	blob_put(s->blob, wide ? start : 0, 8);
	blob_put(s->blob, wide ? start + size - 1 : 0, 8);
	end(s, NULL);
}

static void add_structures(struct smbios *s, const struct machine_tables_config *config)
{
	uint64_t ram = config->ram_low_bytes + config->ram_high_bytes;

	add_bios(s, config);
	add_system(s, config);
	add_chassis(s, config);
	add_processor(s, config);
	add_memory_array(s, ram);
	add_memory_device(s, ram);
	add_array_address(s, HANDLE_ARRAY_ADDRESS, 0, config->ram_low_bytes);
	if (config->ram_high_bytes)
		add_array_address(s, HANDLE_ARRAY_ADDRESS + 1, FOUR_GIB, config->ram_high_bytes);
	begin(s, 32, HANDLE_BOOT);
	blob_zeros(s->blob, 7); /* no error */
	end(s, NULL);
	begin(s, 127, HANDLE_END);
	end(s, NULL);
}

static void build_entry21(struct blob *entry, const struct smbios *s)
{
	blob_append(entry, "_SM_", 4);
	blob_put(entry, 0, 1);
	blob_put(entry, ENTRY21_BYTES, 1);
	blob_put(entry, 3, 1); /* version 3.0 */
	blob_put(entry, 0, 1);
	blob_put(entry, s->largest, 2);
	blob_zeros(entry, 6);
	blob_append(entry, "_DMI_", 5);
	blob_put(entry, 0, 1);
	blob_put(entry, s->blob->size_bytes, 2);
	blob_put(entry, 0, 4); /* address */
	blob_put(entry, s->count, 2);
	blob_put(entry, 0x30, 1);
}

static void build_entry30(struct blob *entry, const struct smbios *s)
{
	blob_append(entry, "_SM3_", 5);
	blob_put(entry, 0, 1);
	blob_put(entry, ENTRY30_BYTES, 1);
	blob_put(entry, 3, 1);
	blob_zeros(entry, 2); /* version 3.0, docrev 0 */
	blob_put(entry, 1, 1);
	blob_put(entry, 0, 1);
	blob_put(entry, s->blob->size_bytes, 4);
	blob_put(entry, 0, 8); /* address */
}

void smbios_build(const struct machine_tables_config *config, struct tables_blobs *blobs)
{
	struct smbios s = { .blob = &blobs->smbios };

	add_structures(&s, config);
	build_entry21(&blobs->smbios21, &s);
	build_entry30(&blobs->smbios30, &s);
}

void smbios_link(struct blob *entry21, struct blob *entry30, uint64_t tables_gpa)
{
	blob_set(entry21, ENTRY21_MIDDLE + 8, tables_gpa, 4);
	blob_set(entry21, ENTRY21_MIDDLE + 5,
		 blob_checksum(entry21->data + ENTRY21_MIDDLE, ENTRY21_MIDDLE_BYTES), 1);
	blob_set(entry21, 4, blob_checksum(entry21->data, ENTRY21_BYTES), 1);
	blob_set(entry30, 16, tables_gpa, 8);
	blob_set(entry30, 5, blob_checksum(entry30->data, ENTRY30_BYTES), 1);
}
