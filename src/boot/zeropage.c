/* SPDX-License-Identifier: MIT */
/*
 * The Linux/x86 boot protocol's "zero page" (Documentation/arch/x86/boot.rst, zero-page.rst): the
 * setup header, completed, and the memory map. The same for a bzImage and for a bare vmlinux.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "boot/loader.h"

#define LOADER_UNDEFINED 0xff /* type_of_loader: none of the registered ones */
#define CMDLINE_OLD_MAX 255   /* before protocol 2.06 */
#define INITRD_OLD_MAX 0x37ffffffu /* before protocol 2.03 */

static int put_cmdline(struct boot_loader *loader, struct boot_params *params, struct error *err)
{
	const char *cmdline = loader->config->cmdline ? loader->config->cmdline : "";
	uint32_t max = params->hdr.version >= 0x206 ? params->hdr.cmdline_size : CMDLINE_OLD_MAX;
	uint64_t gpa;
	int rc;

	if (strlen(cmdline) > max)
		return error_set(err, E2BIG,
				 "%s takes a command line of at most %u characters, this has %zu",
				 loader->kernel.path, max, strlen(cmdline));
	rc = loader_put_string(loader, cmdline, &gpa, err);
	params->hdr.cmd_line_ptr = (uint32_t)gpa;
	return rc;
}

static int put_initrd(struct boot_loader *loader, struct boot_params *params, struct error *err)
{
	uint32_t max = params->hdr.version >= 0x203 ? params->hdr.initrd_addr_max : INITRD_OLD_MAX;
	uint64_t gpa, size;
	int rc;

	params->hdr.ramdisk_image = 0;
	params->hdr.ramdisk_size = 0;
	if (!loader->config->initrd)
		return 0;
	rc = loader_put_file(loader, loader->config->initrd, "initrd", max, &gpa, &size, err);
	if (rc)
		return rc;
	params->hdr.ramdisk_image = (uint32_t)gpa;
	params->hdr.ramdisk_size = (uint32_t)size;
	return 0;
}

static void fill_e820(struct boot_params *params, const struct e820_map *map)
{
	_Static_assert(E820_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the map fits the zero page");

	for (unsigned i = 0; i < map->count; i++)
		params->e820_table[i] = (struct boot_e820_entry){
			.addr = map->range[i].addr,
			.size = map->range[i].size_bytes,
			.type = map->range[i].type,
		};
	params->e820_entries = (uint8_t)map->count;
}

static int put_params(struct boot_loader *loader, const struct setup_header *hdr,
		      struct boot_entry *entry, struct error *err)
{
	struct boot_params params;
	int rc;

	memset(&params, 0, sizeof(params));
	params.hdr = *hdr;
	params.hdr.type_of_loader = LOADER_UNDEFINED;
	params.hdr.ext_loader_type = 0;
	params.hdr.ext_loader_ver = 0;
	params.hdr.setup_data = 0;
	params.hdr.loadflags &= ~(CAN_USE_HEAP | QUIET_FLAG | KASLR_FLAG);
	params.hdr.loadflags |= LOADED_HIGH;
	params.acpi_rsdp_addr = loader->config->rsdp_gpa;
	fill_e820(&params, loader->config->e820);
	rc = put_cmdline(loader, &params, err);
	if (!rc)
		rc = put_initrd(loader, &params, err);
	if (!rc)
		rc = loader_put_low(loader, &params, sizeof(params), 4096, &entry->rsi, err);
	return rc;
}

int linux_start(struct boot_loader *loader, const struct setup_header *hdr, uint64_t rip,
		bool long_mode, struct boot_entry *entry, struct error *err)
{
	int rc = loader_flat_segments(loader, long_mode, entry, err);

	if (!rc && long_mode)
		rc = loader_identity_map(loader, &entry->cr3, err);
	if (!rc)
		rc = put_params(loader, hdr, entry, err);
	entry->mode = long_mode ? BOOT_LONG64 : BOOT_FLAT32;
	entry->rip = rip;
	return rc;
}
