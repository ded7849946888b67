/* SPDX-License-Identifier: MIT */
/*
 * Private to this room: what the loaders share. A struct boot_loader lives for one boot_load. Its
 * space is the memory map minus what has been placed; everything a loader writes is taken from it
 * first, so hostile addresses can neither overlap nor leave RAM.
 */
#ifndef RINGLET_BOOT_LOADER_H
#define RINGLET_BOOT_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/boot.h"
#include "boot/image.h"

struct boot_loader {
	struct mem *mem;
	const struct boot_config *config;
	struct image kernel;
	struct e820_map space;
};

#define LOADER_HEAD 8192 /* a Multiboot header may be anywhere in the first 8 KiB */

/* Takes [gpa, gpa + size); -ENOSPC where it is not free RAM. what: for the message. */
int loader_take(struct boot_loader *loader, uint64_t gpa, uint64_t size_bytes, const char *what,
		struct error *err);
/* Takes free RAM below 640 KiB, for tables and strings. */
int loader_take_low(struct boot_loader *loader, uint64_t size_bytes, uint64_t align, uint64_t *gpa,
		    struct error *err);

/* Takes space below 640 KiB and copies there. */
int loader_put_low(struct boot_loader *loader, const void *data, uint64_t size_bytes,
		   uint64_t align, uint64_t *gpa, struct error *err);
/* The same for a string with its NUL; NULL is the empty string. */
int loader_put_string(struct boot_loader *loader, const char *string, uint64_t *gpa,
		      struct error *err);

/* Loads a whole file as high as possible, ending at or below max; page-aligned. */
int loader_put_file(struct boot_loader *loader, const char *path, const char *what, uint64_t max,
		    uint64_t *gpa, uint64_t *size_bytes, struct error *err);

/* A GDT with flat segments at the selectors that Linux asks for (0x10, 0x18), and a small stack. */
int loader_flat_segments(struct boot_loader *loader, bool long_mode, struct boot_entry *entry,
			 struct error *err);

/* Page tables that map the first 4 GiB one to one, in 2 MiB pages. */
int loader_identity_map(struct boot_loader *loader, uint64_t *cr3, struct error *err);

/* ---- elf.c ---- */

/* One file format's view of where an ELF kernel went. */
struct elf_kernel {
	uint16_t machine;
	bool class64;
	uint64_t entry;
	uint64_t low, high;   /* extent of what was loaded */
	bool high_linked;     /* linked to run elsewhere than it is loaded: a kernel with paging */
	bool has_pvh;
	uint32_t pvh_entry;
};

/* Reads headers and notes, loads nothing; checks that it is an x86 executable. */
int elf_inspect(const struct image *image, struct elf_kernel *elf, struct error *err);
/* Loads the segments at their physical addresses. */
int elf_load_segments(struct boot_loader *loader, struct elf_kernel *elf, struct error *err);
/* An ELF machine number's name: "aarch64" … or NULL. */
const char *elf_machine_name(uint16_t machine);

/* ---- the formats: each loads loader->kernel ---- */

bool bzimage_recognise(const uint8_t *head, size_t len);
int bzimage_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err);

bool elf_recognise(const uint8_t *head, size_t len);
int elf_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err);

int pvh_start(struct boot_loader *loader, const struct elf_kernel *elf, struct boot_entry *entry,
	      struct error *err);

bool multiboot_recognise(const uint8_t *head, size_t len);
int multiboot_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err);

/* ---- zeropage.c: the Linux boot protocol's parameters ---- */

struct setup_header;

/*
 * Completes hdr (kernel's own, or made up for a vmlinux) with initrd, command line and memory map,
 * places it all; the kernel, loaded already, is to be entered at rip with the zero page's address
 * in RSI: in 64-bit mode with the low 4 GiB mapped one to one, or in 32-bit mode without paging.
 */
int linux_start(struct boot_loader *loader, const struct setup_header *hdr, uint64_t rip,
		bool long_mode, struct boot_entry *entry, struct error *err);

#endif
