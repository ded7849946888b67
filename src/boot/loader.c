/* SPDX-License-Identifier: MIT */
/* What the loaders share: see loader.h. */
#include "boot/loader.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "mem/mem.h"

#define LOW_MIN 0x1000ull /* above the IVT and the BIOS data area */
#define LOW_MAX 0x9ffffull
#define MIB(bytes) ((unsigned long long)(((bytes) + 0xfffff) >> 20))

#define IDENTITY_GIB 4
#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_PS 0x80ull
#define PAGE 4096

int loader_take(struct boot_loader *loader, uint64_t gpa, uint64_t size_bytes, const char *what,
		struct error *err)
{
	int rc;

	if (!e820_is_ram(&loader->space, gpa, size_bytes))
		return error_set(err, ENOSPC,
				 "%s: its %s (%llu MiB at 0x%llx) does not fit in the machine's "
				 "%llu MiB of memory: give more with -m",
				 loader->kernel.path, what, MIB(size_bytes),
				 (unsigned long long)gpa,
				 MIB(e820_ram_bytes(loader->config->e820)));
	rc = e820_set(&loader->space, gpa, size_bytes, E820_RESERVED);
	return rc ? error_set(err, -rc, "%s: too many pieces", loader->kernel.path) : 0;
}

int loader_take_low(struct boot_loader *loader, uint64_t size_bytes, uint64_t align, uint64_t *gpa,
		    struct error *err)
{
	int rc;

	if (!e820_find_low(&loader->space, size_bytes, align, LOW_MIN, LOW_MAX, gpa))
		return error_set(err, ENOSPC,
				 "%s leaves no %llu bytes free below 640 KiB for boot parameters",
				 loader->kernel.path, (unsigned long long)size_bytes);
	rc = e820_set(&loader->space, *gpa, size_bytes, E820_RESERVED);
	return rc ? error_set(err, -rc, "%s: too many pieces", loader->kernel.path) : 0;
}

int loader_put_low(struct boot_loader *loader, const void *data, uint64_t size_bytes,
		   uint64_t align, uint64_t *gpa, struct error *err)
{
	int rc = loader_take_low(loader, size_bytes, align, gpa, err);

	if (rc)
		return rc;
	rc = mem_write(loader->mem, *gpa, data, size_bytes);
	return rc ? error_set(err, -rc, "no memory at 0x%llx", (unsigned long long)*gpa) : 0;
}

int loader_put_string(struct boot_loader *loader, const char *string, uint64_t *gpa,
		      struct error *err)
{
	if (!string)
		string = "";
	return loader_put_low(loader, string, strlen(string) + 1, 16, gpa, err);
}

int loader_put_file(struct boot_loader *loader, const char *path, const char *what, uint64_t max,
		    uint64_t *gpa, uint64_t *size_bytes, struct error *err)
{
	struct image image;
	int rc = image_open(&image, path, what, IMAGE_INITRD_MAX, err);

	if (rc)
		return rc;
	*size_bytes = image.size_bytes;
	if (!e820_find_high(&loader->space, image.size_bytes, PAGE, 1 << 20, max, gpa))
		rc = error_set(err, ENOSPC,
			       "%s %s (%llu MiB) does not fit beside the kernel in the machine's "
			       "%llu MiB of memory: give more with -m",
			       what, path, MIB(image.size_bytes),
			       MIB(e820_ram_bytes(loader->config->e820)));
	if (!rc)
		rc = loader_take(loader, *gpa, image.size_bytes, what, err);
	if (!rc)
		rc = image_load(&image, 0, image.size_bytes, loader->mem, *gpa, err);
	image_close(&image);
	return rc;
}

int loader_flat_segments(struct boot_loader *loader, bool long_mode, struct boot_entry *entry,
			 struct error *err)
{
	/* Flat, 4 KiB granular, present, DPL 0, accessed; code has L or D set (SDM 3A 3.4.5). */
	const uint64_t gdt[] = {
		0, 0,
		long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
		0x00cf93000000ffffull,
	};
	uint64_t stack;
	int rc = loader_put_low(loader, gdt, sizeof(gdt), 16, &entry->gdt_gpa, err);

	if (!rc)
		rc = loader_take_low(loader, PAGE, PAGE, &stack, err);
	if (rc)
		return rc;
	entry->gdt_limit = sizeof(gdt) - 1;
	entry->cs = 0x10;
	entry->ds = 0x18;
	entry->rsp = stack + PAGE;
	return 0;
}

int loader_identity_map(struct boot_loader *loader, uint64_t *cr3, struct error *err)
{
	uint64_t table[PAGE / 8] = { 0 };
	int rc = loader_take_low(loader, (2 + IDENTITY_GIB) * PAGE, PAGE, cr3, err);

	if (rc)
		return rc;
	table[0] = (*cr3 + PAGE) | PTE_P | PTE_W;
	rc = mem_write(loader->mem, *cr3, table, PAGE);
	for (unsigned gib = 0; gib < IDENTITY_GIB; gib++)
		table[gib] = (*cr3 + (2 + gib) * PAGE) | PTE_P | PTE_W;
	if (!rc)
		rc = mem_write(loader->mem, *cr3 + PAGE, table, PAGE);
	for (unsigned gib = 0; gib < IDENTITY_GIB && !rc; gib++) {
		for (unsigned i = 0; i < PAGE / 8; i++)
			table[i] = ((uint64_t)gib << 30) | ((uint64_t)i << 21) | PTE_P | PTE_W |
				   PTE_PS;
		rc = mem_write(loader->mem, *cr3 + (2 + gib) * PAGE, table, PAGE);
	}
	return rc ? error_set(err, -rc, "no memory for boot page tables") : 0;
}
