/* SPDX-License-Identifier: MIT */
/* Which kind of file is this? Chooses the loader, or says what the file is instead. */
#include "boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "boot/loader.h"

struct format {
	bool (*recognise)(const uint8_t *head, size_t len);
	int (*load)(struct boot_loader *loader, struct boot_entry *entry, struct error *err);
};

/* In this order: a Multiboot kernel is an ELF file too, and says more. */
static const struct format formats[] = {
	{ bzimage_recognise, bzimage_load },
	{ multiboot_recognise, multiboot_load },
	{ elf_recognise, elf_load },
};

/* What people give by mistake: bytes at an offset, and what it means. */
static const struct {
	unsigned offset;
	uint8_t len;
	const char *bytes;
	const char *meaning;
} foreign[] = {
	{ 56, 4, "ARM\x64", "is a kernel for arm64: give an x86 kernel" },
	{ 56, 4, "RSC\x05", "is a kernel for riscv: give an x86 kernel" },
	{ 36, 4, "\x18\x28\x6f\x01", "is a kernel for 32-bit arm: give an x86 kernel" },
	{ 4, 4, "zimg", "is a compressed EFI kernel (zboot), not for x86: give a bzImage" },
	{ 0, 4, "\x27\x05\x19\x56", "is a U-Boot image: give a bzImage or an ELF kernel" },
	{ 0, 4, "\xd0\x0d\xfe\xed", "is a device tree or FIT image: give a bzImage or ELF kernel" },
	{ 0, 2, "\x1f\x8b", "is compressed with gzip: unpack it first (gunzip)" },
	{ 0, 6, "\xfd" "7zXZ\0", "is compressed with xz: unpack it first (unxz)" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first (unzstd)" },
	{ 0, 4, "\x02\x21\x4c\x18", "is compressed with lz4: unpack it first (unlz4)" },
	{ 0, 3, "BZh", "is compressed with bzip2: unpack it first (bunzip2)" },
	{ 0, 4, "hsqs", "is a squashfs, not a kernel" },
	{ 0, 6, "070701", "is a cpio archive (an initrd?), not a kernel" },
	{ 0, 4, "QFI\xfb", "is a qcow2 disk, not a kernel" },
	{ 0, 2, "#!", "is a script, not a kernel" },
	{ 0, 7, "!<arch>", "is a package or library archive, not a kernel: unpack it first" },
};

/* A PE file that is no bzImage: an EFI program, perhaps another machine's kernel. */
static int refuse_pe(const char *path, const uint8_t *head, size_t len, struct error *err)
{
	uint32_t at;
	uint16_t machine = 0;

	memcpy(&at, head + 0x3c, 4);
	if (at < len - 6 && !memcmp(head + at, "PE\0", 4))
		memcpy(&machine, head + at + 4, 2);
	return error_set(err, ENOEXEC,
			 "%s is an EFI program%s, not a kernel that can be started directly", path,
			 machine == 0xaa64   ? " for arm64" :
			 machine == 0x5064   ? " for riscv64" :
			 machine == 0x6264   ? " for loongarch64" :
			 machine == 0x8664   ? " for x86_64" :
					       "");
}

static int refuse(const char *path, const uint8_t *head, size_t len, struct error *err)
{
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (foreign[i].offset + foreign[i].len <= len &&
		    !memcmp(head + foreign[i].offset, foreign[i].bytes, foreign[i].len))
			return error_set(err, ENOEXEC, "%s %s", path, foreign[i].meaning);
	if (len >= 0x40 && head[0] == 'M' && head[1] == 'Z')
		return refuse_pe(path, head, len, err);
	return error_set(err, ENOEXEC,
			 "%s is no kernel that is known (bzImage, ELF with a PVH note, "
			 "Multiboot)%s",
			 path, len < 512 ? "; it is very short: truncated?" : "");
}

static int load(struct boot_loader *loader, struct boot_entry *entry, struct error *err)
{
	uint8_t head[LOADER_HEAD];
	size_t len = loader->kernel.size_bytes < sizeof(head) ? loader->kernel.size_bytes :
								sizeof(head);
	int rc = image_read(&loader->kernel, 0, head, len, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].recognise(head, len))
			return formats[i].load(loader, entry, err);
	return refuse(loader->kernel.path, head, len, err);
}

bool boot_is_linux(const char *path)
{
	uint8_t head[LOADER_HEAD];
	struct image image;
	struct error err;
	bool found;

	if (image_open(&image, path, "kernel", IMAGE_KERNEL_MAX, &err))
		return false;
	found = image.size_bytes >= sizeof(head) &&
		!image_read(&image, 0, head, sizeof(head), &err) &&
		bzimage_recognise(head, sizeof(head));
	image_close(&image);
	return found;
}

int boot_load(struct mem *mem, const struct boot_config *config, struct boot_entry *entry,
	      struct error *err)
{
	struct boot_loader loader = { .mem = mem, .config = config, .space = *config->e820 };
	int rc = image_open(&loader.kernel, config->kernel, "kernel", IMAGE_KERNEL_MAX, err);

	if (rc)
		return rc;
	memset(entry, 0, sizeof(*entry));
	rc = load(&loader, entry, err);
	image_close(&loader.kernel);
	return rc;
}
