/* SPDX-License-Identifier: MIT */
/*
 * Loading what a machine starts: a kernel (Linux bzImage, ELF with a PVH note, Multiboot 1, Linux
 * vmlinux) or a flat firmware image. Images are hostile: every field is bounded, and what is
 * placed lies in RAM of the memory map and never overlaps.
 *
 * Called by the board's thread before the machine runs. Errors: -ENOENT and other errnos of
 * open(2), -ENOEXEC: not something that we can start, -ENOSPC: does not fit in memory, -E2BIG;
 * always with one line that says which file, what is wrong and what to do.
 */
#ifndef RINGLET_BOOT_BOOT_H
#define RINGLET_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/e820.h"
#include "boot/entry.h"

struct error;
struct mem;

struct boot_config {
	const char *kernel;  /* path */
	const char *initrd;  /* path, or NULL; Multiboot: "file args,file args" */
	const char *cmdline; /* or NULL */
	const struct e820_map *e820; /* handed to the guest; its RAM must be regions of mem */
	uint64_t rsdp_gpa;   /* ACPI root pointer, 0: none */
	const char *unpack_cache; /* directory that keeps what was unpacked, or NULL */
	bool self_unpack;    /* a packed kernel is not unpacked here, but by itself in the guest */
};

/* Whether the file at path is a kernel by Linux' boot protocol, which takes an initial RAM disk. */
bool boot_is_linux(const char *path);

/* Recognises config->kernel by its content, loads all of it and says how the boot CPU starts. */
int boot_load(struct mem *mem, const struct boot_config *config, struct boot_entry *entry,
	      struct error *err);

/*
 * Adds the firmware image at path as ROM that ends at 4 GiB, and copies its last 128 KiB to
 * 0xe0000 … 0xfffff, where the board has put ordinary RAM (the shadow).
 */
int boot_firmware(struct mem *mem, const char *path, struct boot_entry *entry, struct error *err);

/* Copies the shadow again from the ROM, for a machine reset. */
int boot_firmware_shadow(struct mem *mem);

#endif
