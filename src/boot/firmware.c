/* SPDX-License-Identifier: MIT */
/*
 * Flat firmware images: the whole image ends at 4 GiB, where the reset vector is, as ROM; its last
 * 128 KiB stand below 1 MiB too, in RAM, as the chip set's shadowing leaves them.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "boot/boot.h"
#include "boot/image.h"
#include "mem/mem.h"

#define FIRMWARE_MIN 0x10000ull
#define FIRMWARE_MAX 0x1000000ull
#define FOUR_GIB 0x100000000ull
#define SHADOW_END 0x100000ull
#define SHADOW_MAX 0x20000ull

int boot_firmware_shadow(struct mem *mem)
{
	const struct mem_region *rom = mem_find(mem, FOUR_GIB - 1);
	uint64_t size;

	if (!rom)
		return -ENOENT;
	size = rom->size_bytes < SHADOW_MAX ? rom->size_bytes : SHADOW_MAX;
	return mem_write(mem, SHADOW_END - size, rom->host + rom->size_bytes - size, size);
}

static int check_size(const struct image *image, struct error *err)
{
	uint64_t size = image->size_bytes;

	if (size >= FIRMWARE_MIN && size % MEM_PAGE_SIZE == 0)
		return 0;
	return error_set(err, ENOEXEC,
			 "firmware %s has %llu bytes: a flat image has 64 KiB to 16 MiB, a "
			 "multiple of 4 KiB", image->path, (unsigned long long)size);
}

int boot_firmware(struct mem *mem, const char *path, struct boot_entry *entry, struct error *err)
{
	struct image image;
	int rc = image_open(&image, path, "firmware", FIRMWARE_MAX, err);

	if (rc)
		return rc;
	rc = check_size(&image, err);
	if (!rc)
		rc = mem_add(mem, FOUR_GIB - image.size_bytes, image.size_bytes, true, "firmware",
			     err);
	if (!rc)
		rc = image_load(&image, 0, image.size_bytes, mem, FOUR_GIB - image.size_bytes, err);
	if (!rc && boot_firmware_shadow(mem))
		rc = error_set(err, EFAULT, "no memory below 1 MiB for the shadow of firmware %s",
			       path);
	image_close(&image);
	*entry = (struct boot_entry){ .mode = BOOT_RESET };
	return rc;
}
