/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 (specification 0.6.96): a header in the file's first 8 KiB, an ELF file or the
 * header's own load addresses, a 32-bit entry with the magic in EAX and the information structure in EBX.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "boot/loader.h"
#include "mem/mem.h"

#define HEADER_MAGIC 0x1badb002u
#define LOADER_MAGIC 0x2badb002u
#define HEADER_MUST_KNOW 0xffffu /* flags that a loader must honour or refuse */
#define HEADER_ALIGN 1u
#define HEADER_MEMORY 2u
#define HEADER_VIDEO 4u /* a wish for a video mode: there is no display to set */
#define HEADER_ADDRESSES (1u << 16)

#define INFO_MEMORY 1u
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MMAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)

#define MODULES_MAX 64
#define MODULE_TOP 0xffffffffull

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table;
	uint32_t boot_loader_name, apm_table;
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size; /* of the rest */
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

/* Offset of a valid header in head, or -1. */
static int find_header(const uint8_t *head, size_t len, struct mb_header *header)
{
	uint32_t basic[3];

	for (size_t at = 0; at + sizeof(basic) <= len; at += 4) {
		memcpy(basic, head + at, sizeof(basic));
		if (basic[0] != HEADER_MAGIC || basic[0] + basic[1] + basic[2] != 0)
			continue;
		memset(header, 0, sizeof(*header));
		memcpy(header, head + at,
		       at + sizeof(*header) <= len ? sizeof(*header) : sizeof(basic));
		return (int)at;
	}
	return -1;
}

bool multiboot_recognise(const uint8_t *head, size_t len)
{
	struct mb_header header;

	return find_header(head, len, &header) >= 0;
}

/* Loads what the header's own address fields describe (the a.out kludge). */
static int load_flat(struct boot_loader *loader, const struct mb_header *header, uint64_t header_at,
		     struct error *err)
{
	const struct image *image = &loader->kernel;
	uint64_t back = (uint64_t)header->header_addr - header->load_addr;
	uint64_t offset = header_at - back, file, end;
	int rc;

	if (header->load_addr > header->header_addr || back > header_at)
		return error_set(err, ENOEXEC, "%s has bad load addresses in its Multiboot header",
				 image->path);
	file = header->load_end_addr ? (uint64_t)header->load_end_addr - header->load_addr :
				       image->size_bytes - offset;
	end = header->load_addr + file;
	if (header->bss_end_addr > end)
		end = header->bss_end_addr;
	if (header->load_end_addr && header->load_end_addr < header->load_addr)
		return error_set(err, ENOEXEC, "%s ends before it begins, in its Multiboot header",
				 image->path);
	if (header->entry_addr < header->load_addr || header->entry_addr >= end)
		return error_set(err, ENOEXEC, "%s has a Multiboot entry outside of it",
				 image->path);
	rc = loader_take(loader, header->load_addr, end - header->load_addr, "kernel", err);
	if (!rc)
		rc = image_load(image, offset, file, loader->mem, header->load_addr, err);
	if (!rc && end > header->load_addr + file &&
	    mem_fill(loader->mem, header->load_addr + file, 0, end - header->load_addr - file))
		rc = error_set(err, ENOSPC, "%s does not fit in memory", image->path);
	return rc;
}

static int load_kernel(struct boot_loader *loader, const struct mb_header *header, int header_at,
		       struct boot_entry *entry, struct error *err)
{
	struct elf_kernel elf;
	int rc;

	if (header->flags & HEADER_ADDRESSES) {
		entry->rip = header->entry_addr;
		return load_flat(loader, header, (uint64_t)header_at, err);
	}
	rc = elf_inspect(&loader->kernel, &elf, err);
	if (!rc)
		rc = elf_load_segments(loader, &elf, err);
	if (rc)
		return rc;
	if (elf.entry < elf.low || elf.entry >= elf.high)
		return error_set(err, ENOEXEC, "%s has an entry outside of its segments",
				 loader->kernel.path);
	entry->rip = elf.entry;
	return 0;
}

static int put_string(struct boot_loader *loader, const char *string, uint32_t *out,
		      struct error *err)
{
	uint64_t gpa;
	int rc = loader_put_string(loader, string, &gpa, err);

	*out = (uint32_t)gpa;
	return rc;
}

/* One "file args" of the module list; the guest gets it as given, the file is its first word. */
static int put_module(struct boot_loader *loader, const char *spec, struct mb_module *module,
		      struct error *err)
{
	char *path = strndup(spec, strcspn(spec, " "));
	uint64_t gpa, size;
	int rc;

	if (!path)
		return error_set(err, ENOMEM, "no memory");
	rc = loader_put_file(loader, path, "module", MODULE_TOP, &gpa, &size, err);
	free(path);
	if (rc)
		return rc;
	module->start = (uint32_t)gpa;
	module->end = (uint32_t)(gpa + size);
	return put_string(loader, spec, &module->string, err);
}

static int put_modules(struct boot_loader *loader, struct mb_info *info, struct error *err)
{
	struct mb_module module[MODULES_MAX] = { { .start = 0 } };
	char *list, *save = NULL;
	uint64_t gpa = 0;
	unsigned count = 0;
	int rc = 0;

	if (!loader->config->initrd)
		return 0;
	list = strdup(loader->config->initrd);
	if (!list)
		return error_set(err, ENOMEM, "no memory");
	for (char *spec = strtok_r(list, ",", &save); spec && !rc;
	     spec = strtok_r(NULL, ",", &save)) {
		if (count == MODULES_MAX)
			rc = error_set(err, E2BIG, "more than %u modules", MODULES_MAX);
		else
			rc = put_module(loader, spec, &module[count++], err);
	}
	free(list);
	if (rc || !count)
		return rc;
	rc = loader_put_low(loader, module, count * sizeof(module[0]), 4, &gpa, err);
	info->mods_count = count;
	info->mods_addr = (uint32_t)gpa;
	info->flags |= INFO_MODULES;
	return rc;
}

/* The kernel's own name comes first, as in the other loaders that kernels expect. */
static int put_cmdline(struct boot_loader *loader, struct mb_info *info, struct error *err)
{
	const char *slash = strrchr(loader->kernel.path, '/');
	const char *name = slash ? slash + 1 : loader->kernel.path;
	const char *args = loader->config->cmdline;
	char *line;
	int rc;

	if (asprintf(&line, "%s%s%s", name, args && *args ? " " : "", args ? args : "") < 0)
		return error_set(err, ENOMEM, "no memory");
	rc = put_string(loader, line, &info->cmdline, err);
	free(line);
	info->flags |= INFO_CMDLINE;
	return rc;
}

static int put_mmap(struct boot_loader *loader, struct mb_info *info, struct error *err)
{
	const struct e820_map *map = loader->config->e820;
	struct mb_mmap table[E820_MAX];
	uint64_t gpa, upper = 0;
	int rc;

	for (unsigned i = 0; i < map->count; i++) {
		const struct e820_range *range = &map->range[i];

		table[i] = (struct mb_mmap){ sizeof(table[i]) - 4, range->addr, range->size_bytes,
					     range->type };
		if (range->type == E820_RAM && range->addr == 0)
			info->mem_lower = (uint32_t)(range->size_bytes >> 10);
		if (range->type == E820_RAM && range->addr == 1 << 20)
			upper = range->size_bytes >> 10;
	}
	info->mem_upper = upper > UINT32_MAX ? UINT32_MAX : (uint32_t)upper;
	info->mmap_length = (uint32_t)(map->count * sizeof(table[0]));
	rc = loader_put_low(loader, table, info->mmap_length, 4, &gpa, err);
	info->mmap_addr = (uint32_t)gpa;
	info->flags |= INFO_MEMORY | INFO_MMAP;
	return rc;
}

static int put_info(struct boot_loader *loader, struct boot_entry *entry, struct error *err)
{
	struct mb_info info = { .flags = INFO_LOADER_NAME };
	int rc = put_mmap(loader, &info, err);

	if (!rc)
		rc = put_cmdline(loader, &info, err);
	if (!rc)
		rc = put_modules(loader, &info, err);
	if (!rc)
		rc = put_string(loader, "ringlet", &info.boot_loader_name, err);
	if (!rc)
		rc = loader_put_low(loader, &info, sizeof(info), 4, &entry->rbx, err);
	return rc;
}

int multiboot_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err)
{
	uint8_t head[LOADER_HEAD];
	size_t len = loader->kernel.size_bytes < sizeof(head) ? loader->kernel.size_bytes :
								sizeof(head);
	struct mb_header header;
	int header_at, rc = image_read(&loader->kernel, 0, head, len, err);

	if (rc)
		return rc;
	header_at = find_header(head, len, &header);
	if (header_at < 0)
		return error_set(err, ENOEXEC, "%s has no Multiboot header", loader->kernel.path);
	if (header.flags & HEADER_MUST_KNOW & ~(HEADER_ALIGN | HEADER_MEMORY | HEADER_VIDEO))
		return error_set(err, ENOEXEC,
				 "%s asks for Multiboot features (flags 0x%x) that are not known",
				 loader->kernel.path, header.flags);
	rc = load_kernel(loader, &header, header_at, entry, err);
	if (!rc)
		rc = put_info(loader, entry, err);
	if (!rc)
		rc = loader_flat_segments(loader, false, entry, err);
	entry->mode = BOOT_FLAT32;
	entry->rax = LOADER_MAGIC;
	return rc;
}
