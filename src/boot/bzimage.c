/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage, by the boot protocol (Documentation/arch/x86/boot.rst), versions 2.02 and later.
 *
 * The kernel proper is an ELF file, packed inside of the protected-mode part. Where the header says
 * where it is (2.08) and this build can unpack it, it is loaded where it is linked to and entered
 * directly: hundreds of times faster than its own decompressor in an interpreted guest, but without
 * that one's choice of a random address. Otherwise the protected-mode part goes to its preferred
 * address, to unpack itself, and is entered in 64-bit mode where it has such an entry, in 32-bit
 * mode where not. The real-mode part is not run.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "boot/loader.h"
#include "boot/unpack.h"

#define HDR_OFFSET 0x1f1
#define HDR_MAGIC_OFFSET 0x202
#define HDR_MAGIC 0x53726448u /* "HdrS" */
#define SECTOR 512
#define ENTRY64_OFFSET 0x200
#define LOAD_ADDRESS_OLD 0x100000u
#define MIN_PROTOCOL 0x202
#define PAYLOAD_PROTOCOL 0x208

struct bzimage {
	struct setup_header hdr;
	uint64_t offset;       /* of the protected-mode part in the file */
	uint64_t file_bytes;   /* of it to load */
	uint64_t memory_bytes; /* that it needs while it unpacks itself */
	uint64_t load_gpa;
	bool entry64;
};

bool bzimage_recognise(const uint8_t *head, size_t len)
{
	uint32_t magic;

	if (len < HDR_MAGIC_OFFSET + 4)
		return false;
	memcpy(&magic, head + HDR_MAGIC_OFFSET, 4);
	return magic == HDR_MAGIC && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa;
}

/* Copies as much of the header as the kernel says it has (2.02: up to the jump's target). */
static int read_header(const struct image *image, struct setup_header *hdr, struct error *err)
{
	uint8_t raw[HDR_OFFSET + sizeof(*hdr)];
	size_t end;
	int rc;

	memset(raw, 0, sizeof(raw));
	rc = image_read(image, 0, raw, HDR_MAGIC_OFFSET + 4, err);
	if (rc)
		return rc;
	end = HDR_MAGIC_OFFSET + (size_t)raw[0x201];
	if (end > sizeof(raw))
		end = sizeof(raw);
	if (end > image->size_bytes)
		return error_set(err, ENOEXEC, "%s is truncated in its setup header", image->path);
	rc = image_read(image, 0, raw, end, err);
	memcpy(hdr, raw + HDR_OFFSET, sizeof(*hdr));
	return rc;
}

static int check_header(const struct image *image, const struct setup_header *hdr,
			struct error *err)
{
	if (hdr->version < MIN_PROTOCOL)
		return error_set(err, ENOEXEC,
				 "%s speaks boot protocol %u.%02u; at least 2.02 is needed (Linux "
				 "2.4)", image->path, hdr->version >> 8, hdr->version & 0xff);
	if (!(hdr->loadflags & LOADED_HIGH))
		return error_set(err, ENOEXEC,
				 "%s is a zImage, which loads below 1 MiB: build a bzImage",
				 image->path);
	if (hdr->kernel_alignment & (hdr->kernel_alignment - 1))
		return error_set(err, ENOEXEC, "%s asks for an alignment of 0x%x, no power of two",
				 image->path, hdr->kernel_alignment);
	return 0;
}

/*
 * How much to read. syssize counts paragraphs; newer linkers leave up to 15 bytes more, and a
 * signature may follow, so what follows is loaded as far as the kernel's own memory reaches.
 */
static int measure(const struct image *image, struct bzimage *bz, struct error *err)
{
	const struct setup_header *hdr = &bz->hdr;
	uint64_t named = (uint64_t)hdr->syssize * 16, rest;

	bz->offset = (uint64_t)(hdr->setup_sects ? hdr->setup_sects + 1 : 5) * SECTOR;
	if (image->size_bytes <= bz->offset || image->size_bytes - bz->offset + 15 < named)
		return error_set(err, ENOEXEC,
				 "%s is truncated: %llu bytes of %llu; copy or build it again",
				 image->path, (unsigned long long)image->size_bytes,
				 (unsigned long long)(bz->offset + named));
	rest = image->size_bytes - bz->offset;
	bz->memory_bytes = hdr->version >= 0x20a ? hdr->init_size : 0;
	if (bz->memory_bytes < named)
		bz->memory_bytes = named;
	if (!bz->memory_bytes)
		bz->memory_bytes = rest;
	bz->file_bytes = rest < bz->memory_bytes ? rest : bz->memory_bytes;
	bz->entry64 = hdr->version >= 0x20c && (hdr->xloadflags & XLF_KERNEL_64);
	if (bz->entry64 && bz->file_bytes <= ENTRY64_OFFSET)
		return error_set(err, ENOEXEC, "%s has no room for its 64-bit entry", image->path);
	return 0;
}

/* The preferred address; a relocatable kernel may go elsewhere when that is not free. */
static void choose_address(const struct boot_loader *loader, struct bzimage *bz)
{
	uint64_t align = bz->hdr.kernel_alignment ? bz->hdr.kernel_alignment : 4096;

	bz->load_gpa = LOAD_ADDRESS_OLD;
	if (bz->hdr.version < 0x20a || !bz->hdr.relocatable_kernel)
		return;
	bz->load_gpa = (bz->hdr.pref_address + align - 1) & ~(align - 1);
	if (!e820_is_ram(&loader->space, bz->load_gpa, bz->memory_bytes))
		e820_find_low(&loader->space, bz->memory_bytes, align, LOAD_ADDRESS_OLD,
			      UINT32_MAX, &bz->load_gpa);
}

static int place(struct boot_loader *loader, struct bzimage *bz, struct error *err)
{
	uint64_t run_gpa, end;

	choose_address(loader, bz);
	/* Not relocatable: it is loaded at 1 MiB and unpacks itself to its preferred address. */
	run_gpa = bz->load_gpa;
	if (bz->hdr.version >= 0x20a && !bz->hdr.relocatable_kernel)
		run_gpa = bz->hdr.pref_address;
	if (run_gpa < LOAD_ADDRESS_OLD || run_gpa > UINT32_MAX)
		return error_set(err, ENOEXEC,
				 "%s asks to be loaded at 0x%llx, not between 1 MiB and 4 GiB",
				 loader->kernel.path, (unsigned long long)run_gpa);
	end = run_gpa + bz->memory_bytes;
	if (end < bz->load_gpa + bz->file_bytes)
		end = bz->load_gpa + bz->file_bytes;
	return loader_take(loader, bz->load_gpa, end - bz->load_gpa, "kernel", err);
}

/* The kernel unpacks itself. */
static int load_packed(struct boot_loader *loader, struct bzimage *bz, struct boot_entry *entry,
		       struct error *err)
{
	int rc = place(loader, bz, err);

	if (!rc)
		rc = image_load(&loader->kernel, bz->offset, bz->file_bytes, loader->mem,
				bz->load_gpa, err);
	if (rc)
		return rc;
	bz->hdr.code32_start = (uint32_t)bz->load_gpa;
	return linux_start(loader, &bz->hdr, bz->load_gpa + (bz->entry64 ? ENTRY64_OFFSET : 0),
			   bz->entry64, entry, err);
}

/*
 * Loads the payload as an ELF kernel, taking its space from loader's. The kernel goes on to use the
 * init_size bytes from its start that it asks for, whatever its segments say.
 */
static int load_payload(struct boot_loader *loader, const struct bzimage *bz,
			struct elf_kernel *elf, struct error *err)
{
	struct boot_loader inner = { .mem = loader->mem, .config = loader->config,
				     .space = loader->space };
	int rc = unpack_image(&loader->kernel, bz->offset + bz->hdr.payload_offset,
			      bz->hdr.payload_length, loader->config->unpack_cache, &inner.kernel,
			      err);

	if (rc)
		return rc;
	rc = elf_inspect(&inner.kernel, elf, err);
	if (!rc)
		rc = elf_load_segments(&inner, elf, err);
	if (!rc && (elf->entry < elf->low || elf->entry >= elf->high))
		rc = error_set(err, ENOEXEC, "%s: the entry of its payload is outside of it",
			       loader->kernel.path);
	if (!rc && !e820_is_ram(&loader->space, elf->low, bz->memory_bytes))
		rc = error_set(err, ENOSPC, "%s: no memory where it is linked to run",
			       loader->kernel.path);
	if (!rc && elf->low + bz->memory_bytes > elf->high)
		rc = e820_set(&inner.space, elf->high, elf->low + bz->memory_bytes - elf->high,
			      E820_RESERVED);
	image_close(&inner.kernel);
	if (!rc)
		loader->space = inner.space;
	return rc;
}

int bzimage_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err)
{
	struct bzimage bz = { .offset = 0 };
	struct elf_kernel elf;
	struct error why;
	int rc = read_header(&loader->kernel, &bz.hdr, err);

	if (!rc)
		rc = check_header(&loader->kernel, &bz.hdr, err);
	if (!rc)
		rc = measure(&loader->kernel, &bz, err);
	if (rc)
		return rc;
	if (loader->config->self_unpack || bz.hdr.version < PAYLOAD_PROTOCOL)
		return load_packed(loader, &bz, entry, err);
	rc = load_payload(loader, &bz, &elf, &why);
	if (!rc)
		return linux_start(loader, &bz.hdr, elf.entry, elf.machine == EM_X86_64, entry,
				   err);
	log_info("%s; the kernel unpacks itself, which is slow", why.message);
	return load_packed(loader, &bz, entry, err);
}
