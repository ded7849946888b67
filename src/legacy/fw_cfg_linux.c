/* SPDX-License-Identifier: MIT */
/*
 * A Linux kernel as firmware finds it: the file's two parts, initrd, command line; see fw_cfg.h.
 * UEFI firmware takes them from there itself; a BIOS needs an option ROM that does, linux_rom.S.
 */
#include <errno.h>
#include <linux/qemu_fw_cfg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "boot/image.h"
#include "legacy/fw_cfg.h"

#define SETUP_SECTS_OFFSET 0x1f1
#define HDR_MAGIC_OFFSET 0x202
#define SECTOR 512
#define PROTECTED_MODE_GPA 0x100000u
#define SETUP_GPA 0x10000u
#define CMDLINE_GPA 0x20000u

/* linux_rom.S: code for the guest */
extern const uint8_t linux_rom[], linux_rom_end[];
#define ROM_FILE "genroms/linux.rom" /* where a BIOS looks for option ROMs of no device */
#define ROM_BOOT_PATH "/rom@" ROM_FILE

static int add_u32(struct device *dev, uint16_t key, uint64_t value, struct error *err)
{
	uint32_t v = (uint32_t)value;

	return fw_cfg_add(dev, key, &v, sizeof(v), err);
}

/* A part of an image as a data item with its size item. */
static int add_part(struct device *dev, const struct image *image, uint64_t offset, uint64_t len,
		    uint16_t data_key, uint16_t size_key, struct error *err)
{
	void *data = malloc(len ? len : 1);
	int rc;

	if (!data)
		return error_set(err, ENOMEM, "no memory for %s", image->path);
	rc = image_read(image, offset, data, len, err);
	if (!rc)
		rc = fw_cfg_add(dev, data_key, data, len, err);
	if (!rc)
		rc = add_u32(dev, size_key, len, err);
	free(data);
	return rc;
}

static int add_kernel(struct device *dev, const struct image *image, struct error *err)
{
	uint8_t head[HDR_MAGIC_OFFSET + 4];
	uint64_t setup;
	int rc = image_read(image, 0, head, sizeof(head), err);

	if (rc)
		return rc;
	setup = (uint64_t)(head[SETUP_SECTS_OFFSET] ? head[SETUP_SECTS_OFFSET] + 1 : 5) * SECTOR;
	if (memcmp(head + HDR_MAGIC_OFFSET, "HdrS", 4) || setup >= image->size_bytes)
		return error_set(err, ENOEXEC,
				 "%s is no bzImage: firmware starts only those; leave -k or -f out",
				 image->path);
	rc = add_part(dev, image, 0, setup, FW_CFG_SETUP_DATA, FW_CFG_SETUP_SIZE, err);
	if (!rc)
		rc = add_u32(dev, FW_CFG_SETUP_ADDR, SETUP_GPA, err);
	if (!rc)
		rc = add_part(dev, image, setup, image->size_bytes - setup, FW_CFG_KERNEL_DATA,
			      FW_CFG_KERNEL_SIZE, err);
	if (!rc)
		rc = add_u32(dev, FW_CFG_KERNEL_ADDR, PROTECTED_MODE_GPA, err);
	return rc;
}

static int add_initrd(struct device *dev, const char *path, struct error *err)
{
	struct image image;
	int rc = image_open(&image, path, "initrd", IMAGE_INITRD_MAX - 1, err);

	if (rc)
		return rc;
	rc = add_part(dev, &image, 0, image.size_bytes, FW_CFG_INITRD_DATA, FW_CFG_INITRD_SIZE,
		      err);
	image_close(&image);
	return rc;
}

static int add_cmdline(struct device *dev, const char *cmdline, struct error *err)
{
	size_t size = strlen(cmdline) + 1;
	int rc = fw_cfg_add(dev, FW_CFG_CMDLINE_DATA, cmdline, size, err);

	if (!rc)
		rc = add_u32(dev, FW_CFG_CMDLINE_SIZE, size, err);
	if (!rc)
		rc = add_u32(dev, FW_CFG_CMDLINE_ADDR, CMDLINE_GPA, err);
	return rc;
}

/* All bytes of an option ROM add up to zero; its last one is padding. */
static int add_rom(struct device *dev, struct error *err)
{
	size_t size = (size_t)(linux_rom_end - linux_rom);
	uint8_t *rom = malloc(size);
	uint8_t sum = 0;
	int rc;

	if (!rom)
		return error_set(err, ENOMEM, "no memory for an option ROM");
	memcpy(rom, linux_rom, size);
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + rom[i]);
	rom[size - 1] = (uint8_t)-sum;
	rc = fw_cfg_add_file(dev, ROM_FILE, rom, size, err);
	free(rom);
	if (!rc)
		rc = fw_cfg_add_file(dev, "bootorder", ROM_BOOT_PATH, sizeof(ROM_BOOT_PATH), err);
	return rc;
}

int fw_cfg_add_linux(struct device *dev, const char *kernel, const char *initrd,
		     const char *cmdline, struct error *err)
{
	struct image image;
	int rc = image_open(&image, kernel, "kernel", IMAGE_KERNEL_MAX, err);

	if (rc)
		return rc;
	rc = add_kernel(dev, &image, err);
	image_close(&image);
	if (!rc && initrd)
		rc = add_initrd(dev, initrd, err);
	if (!rc)
		rc = add_cmdline(dev, cmdline ? cmdline : "", err);
	if (!rc)
		rc = add_rom(dev, err);
	return rc;
}
