/* SPDX-License-Identifier: MIT */
/*
 * Builds all tables and places them where firmware would have, for a kernel started without any:
 *   0xe0000  RSDP      0xe0040  ACPI tables, up to 0xeffff
 *   0xf0000  SMBIOS entry points, structures, MP floating pointer, MP table
 */
#include "tables/tables.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "mem/mem.h"
#include "tables/parts.h"

#define RSDP_GPA TABLES_AREA_START
#define ACPI_GPA (TABLES_AREA_START + 0x40) /* the FACS wants 64-byte alignment */
#define SMBIOS_GPA 0xf0000ull
#define SMBIOS30_OFFSET 0x20
#define SMBIOS_TABLES_OFFSET 0x40
#define MP_POINTER_BYTES 16

int tables_build(const struct machine_tables_config *config, struct tables_blobs *blobs,
		 struct error *err)
{
	memset(blobs, 0, sizeof(*blobs));
	acpi_build(config, blobs);
	smbios_build(config, blobs);
	mptable_build(config, blobs);
	script_build(blobs);
	if (blobs->acpi.failed || blobs->rsdp.failed || blobs->smbios.failed ||
	    blobs->smbios21.failed || blobs->smbios30.failed || blobs->mptable.failed ||
	    blobs->script.failed)
		return error_set(err, ENOMEM, "no memory for the machine's firmware tables");
	return 0;
}

void tables_free(struct tables_blobs *blobs)
{
	blob_free(&blobs->acpi);
	blob_free(&blobs->rsdp);
	blob_free(&blobs->smbios);
	blob_free(&blobs->smbios21);
	blob_free(&blobs->smbios30);
	blob_free(&blobs->mptable);
	blob_free(&blobs->script);
}

/* Makes addresses of offsets, then the checksums over them. */
static void link_acpi(const struct tables_blobs *blobs, struct blob *acpi, struct blob *rsdp)
{
	for (unsigned i = 0; i < blobs->fixups; i++) {
		const struct tables_fixup *fixup = &blobs->fixup[i];
		struct blob *blob = fixup->file == TABLES_ACPI ? acpi : rsdp;

		blob_set(blob, fixup->offset,
			 blob_get(blob, fixup->offset, fixup->size_bytes) + ACPI_GPA,
			 fixup->size_bytes);
	}
	for (unsigned i = 0; i < blobs->sums; i++) {
		const struct tables_sum *sum = &blobs->sum[i];
		struct blob *blob = sum->file == TABLES_ACPI ? acpi : rsdp;

		blob_set(blob, sum->offset, 0, 1);
		blob_set(blob, sum->offset, blob_checksum(blob->data + sum->start, sum->length), 1);
	}
}

static int put(struct mem *mem, uint64_t gpa, const struct blob *blob, uint64_t end,
	       struct error *err)
{
	if (blob->failed)
		return error_set(err, ENOMEM, "no memory for the machine's firmware tables");
	if (gpa > end || blob->size_bytes > end - gpa)
		return error_set(err, ENOSPC, "the firmware tables are too large: use fewer CPUs");
	if (mem_write(mem, gpa, blob->data, blob->size_bytes))
		return error_set(err, EFAULT, "no memory at 0x%llx for firmware tables",
				 (unsigned long long)gpa);
	return 0;
}

static int place_acpi(struct mem *mem, const struct tables_blobs *blobs, struct error *err)
{
	struct blob acpi = { .data = NULL }, rsdp = { .data = NULL };
	int rc;

	blob_append(&acpi, blobs->acpi.data, blobs->acpi.size_bytes);
	blob_append(&rsdp, blobs->rsdp.data, blobs->rsdp.size_bytes);
	if (!acpi.failed && !rsdp.failed)
		link_acpi(blobs, &acpi, &rsdp);
	rc = put(mem, RSDP_GPA, &rsdp, ACPI_GPA, err);
	if (!rc)
		rc = put(mem, ACPI_GPA, &acpi, SMBIOS_GPA, err);
	blob_free(&acpi);
	blob_free(&rsdp);
	return rc;
}

/* Everything of the upper segment in one piece. */
static int place_upper(struct mem *mem, const struct tables_blobs *blobs, struct error *err)
{
	struct blob entry21 = { .data = NULL }, entry30 = { .data = NULL }, all = { .data = NULL };
	uint8_t pointer[MP_POINTER_BYTES];
	int rc;

	blob_append(&entry21, blobs->smbios21.data, blobs->smbios21.size_bytes);
	blob_append(&entry30, blobs->smbios30.data, blobs->smbios30.size_bytes);
	if (!entry21.failed && !entry30.failed)
		smbios_link(&entry21, &entry30, SMBIOS_GPA + SMBIOS_TABLES_OFFSET);
	blob_append(&all, entry21.data, entry21.size_bytes);
	blob_align(&all, SMBIOS30_OFFSET);
	blob_append(&all, entry30.data, entry30.size_bytes);
	blob_align(&all, SMBIOS_TABLES_OFFSET);
	blob_append(&all, blobs->smbios.data, blobs->smbios.size_bytes);
	blob_align(&all, MP_POINTER_BYTES);
	mptable_pointer((uint32_t)(SMBIOS_GPA + all.size_bytes + MP_POINTER_BYTES), pointer);
	blob_append(&all, pointer, sizeof(pointer));
	blob_append(&all, blobs->mptable.data, blobs->mptable.size_bytes);
	rc = put(mem, SMBIOS_GPA, &all, TABLES_AREA_END, err);
	blob_free(&entry21);
	blob_free(&entry30);
	blob_free(&all);
	return rc;
}

int tables_place(struct mem *mem, const struct tables_blobs *blobs, uint64_t *rsdp_gpa,
		 struct error *err)
{
	int rc = place_acpi(mem, blobs, err);

	if (!rc)
		rc = place_upper(mem, blobs, err);
	*rsdp_gpa = RSDP_GPA;
	return rc;
}
