/* SPDX-License-Identifier: MIT */
/*
 * The linking script for firmware ("etc/table-loader", as SeaBIOS and OVMF run it): 128-byte
 * commands, little-endian. Allocates both blobs, adds their addresses to the fields that need
 * them, then checksums.
 */
#include <string.h>

#include "tables/parts.h"

enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER = 2, CMD_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

#define COMMAND_BYTES 128
#define NAME_BYTES 56

static const char *file_name(enum tables_file file)
{
	return file == TABLES_ACPI ? TABLES_FILE_ACPI : TABLES_FILE_RSDP;
}

static void put_name(struct blob *blob, const char *name)
{
	blob_append(blob, name, strlen(name));
	blob_zeros(blob, NAME_BYTES - strlen(name));
}

/* Pads the command that began when the script was start bytes long. */
static void finish(struct blob *blob, size_t start)
{
	if (!blob->failed)
		blob_zeros(blob, start + COMMAND_BYTES - blob->size_bytes);
}

static void allocate(struct blob *blob, enum tables_file file, uint32_t align, uint8_t zone)
{
	size_t start = blob->size_bytes;

	blob_put(blob, CMD_ALLOCATE, 4);
	put_name(blob, file_name(file));
	blob_put(blob, align, 4);
	blob_put(blob, zone, 1);
	finish(blob, start);
}

static void add_pointer(struct blob *blob, const struct tables_fixup *fixup)
{
	size_t start = blob->size_bytes;

	blob_put(blob, CMD_ADD_POINTER, 4);
	put_name(blob, file_name(fixup->file));
	put_name(blob, TABLES_FILE_ACPI);
	blob_put(blob, fixup->offset, 4);
	blob_put(blob, fixup->size_bytes, 1);
	finish(blob, start);
}

static void add_checksum(struct blob *blob, const struct tables_sum *sum)
{
	size_t start = blob->size_bytes;

	blob_put(blob, CMD_ADD_CHECKSUM, 4);
	put_name(blob, file_name(sum->file));
	blob_put(blob, sum->offset, 4);
	blob_put(blob, sum->start, 4);
	blob_put(blob, sum->length, 4);
	finish(blob, start);
}

void script_build(struct tables_blobs *blobs)
{
	allocate(&blobs->script, TABLES_ACPI, 64, ZONE_HIGH);
	allocate(&blobs->script, TABLES_RSDP, 16, ZONE_FSEG);
	for (unsigned i = 0; i < blobs->fixups; i++)
		add_pointer(&blobs->script, &blobs->fixup[i]);
	for (unsigned i = 0; i < blobs->sums; i++)
		add_checksum(&blobs->script, &blobs->sum[i]);
}
