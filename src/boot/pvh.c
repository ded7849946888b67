/* SPDX-License-Identifier: MIT */
/*
 * PVH direct boot (xen/arch-x86/hvm/start_info.h, docs/misc/pvh.pandoc): the kernel's ELF note
 * names a 32-bit entry, which gets the address of a start_info in EBX.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include <xen/arch-x86/hvm/start_info.h>

#include "base/error.h"
#include "boot/loader.h"

#define MODULE_MAX 0x7fffffffull /* where the kernels that we know can reach it early */

static int put_memmap(struct boot_loader *loader, struct hvm_start_info *info, struct error *err)
{
	const struct e820_map *map = loader->config->e820;
	struct hvm_memmap_table_entry table[E820_MAX];

	for (unsigned i = 0; i < map->count; i++)
		table[i] = (struct hvm_memmap_table_entry){
			.addr = map->range[i].addr,
			.size = map->range[i].size_bytes,
			.type = map->range[i].type,
		};
	info->memmap_entries = map->count;
	return loader_put_low(loader, table, map->count * sizeof(table[0]), 8, &info->memmap_paddr,
			      err);
}

static int put_module(struct boot_loader *loader, struct hvm_start_info *info, struct error *err)
{
	struct hvm_modlist_entry module = { .reserved = 0 };
	int rc;

	if (!loader->config->initrd)
		return 0;
	rc = loader_put_file(loader, loader->config->initrd, "initrd", MODULE_MAX, &module.paddr,
			     &module.size, err);
	if (rc)
		return rc;
	info->nr_modules = 1;
	return loader_put_low(loader, &module, sizeof(module), 8, &info->modlist_paddr, err);
}

int pvh_start(struct boot_loader *loader, const struct elf_kernel *elf, struct boot_entry *entry,
	      struct error *err)
{
	struct hvm_start_info info = {
		.magic = XEN_HVM_START_MAGIC_VALUE,
		.version = 1,
		.rsdp_paddr = loader->config->rsdp_gpa,
	};
	int rc;

	if (elf->pvh_entry < elf->low || elf->pvh_entry >= elf->high)
		return error_set(err, ENOEXEC, "%s has a PVH entry note that points outside of it",
				 loader->kernel.path);
	rc = put_memmap(loader, &info, err);
	if (!rc)
		rc = loader_put_string(loader, loader->config->cmdline, &info.cmdline_paddr, err);
	if (!rc)
		rc = put_module(loader, &info, err);
	if (!rc)
		rc = loader_put_low(loader, &info, sizeof(info), 8, &entry->rbx, err);
	if (!rc)
		rc = loader_flat_segments(loader, false, entry, err);
	entry->mode = BOOT_FLAT32;
	entry->rip = elf->pvh_entry;
	return rc;
}
