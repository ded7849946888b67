/* SPDX-License-Identifier: MIT */
/* Small kernels of each format: see boot_images.h. */
#include "boot_images.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xen/elfnote.h>

#define SETUP_BYTES 1024
#define MIB 0x100000u

struct setup_header *test_bzimage_header(struct test_image *image)
{
	return (struct setup_header *)(image->bytes + 0x1f1);
}

void test_bzimage(struct test_image *image)
{
	struct setup_header hdr = {
		.setup_sects = 1, .syssize = 0x100, .boot_flag = 0xaa55, .jump = 0x6aeb,
		.header = 0x53726448, .version = 0x20f, .loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff, .kernel_alignment = 0x200000,
		.relocatable_kernel = 1, .xloadflags = XLF_KERNEL_64, .cmdline_size = 255,
		.pref_address = 0x1000000, .init_size = 0x200000,
	};

	memset(image, 0, sizeof(*image));
	memcpy(image->bytes + 0x1f1, &hdr, sizeof(hdr));
	memset(image->bytes + SETUP_BYTES, 0xcc, 0x1000);
	image->size_bytes = SETUP_BYTES + 0x1000;
}

static size_t put_note(uint8_t *at)
{
	const Elf64_Nhdr nhdr = {
		.n_namesz = 4, .n_descsz = 4, .n_type = XEN_ELFNOTE_PHYS32_ENTRY,
	};
	const uint32_t entry = MIB + 0x10;

	memcpy(at, &nhdr, sizeof(nhdr));
	memcpy(at + sizeof(nhdr), "Xen", 4);
	memcpy(at + sizeof(nhdr) + 4, &entry, 4);
	return sizeof(nhdr) + 8;
}

static void put_elf64(struct test_image *image, bool pvh, size_t note_bytes)
{
	const Elf64_Ehdr ehdr = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1, .e_entry = MIB,
		.e_phoff = 0x40, .e_ehsize = sizeof(ehdr), .e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = pvh ? 2 : 1,
	};
	const Elf64_Phdr phdr[] = {
		{ .p_type = PT_LOAD, .p_offset = 0x200, .p_vaddr = 0xffffffff80100000,
		  .p_paddr = MIB, .p_filesz = 0x100, .p_memsz = 0x300 },
		{ .p_type = PT_NOTE, .p_offset = 0x400, .p_filesz = note_bytes },
	};

	memcpy(image->bytes, &ehdr, sizeof(ehdr));
	memcpy(image->bytes + 0x40, phdr, sizeof(phdr));
}

static void put_elf32(struct test_image *image, bool pvh, size_t note_bytes)
{
	const Elf32_Ehdr ehdr = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_386, .e_version = 1, .e_entry = MIB,
		.e_phoff = 0x40, .e_ehsize = sizeof(ehdr), .e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = pvh ? 2 : 1,
	};
	const Elf32_Phdr phdr[] = {
		{ .p_type = PT_LOAD, .p_offset = 0x200, .p_vaddr = 0xc0100000,
		  .p_paddr = MIB, .p_filesz = 0x100, .p_memsz = 0x300 },
		{ .p_type = PT_NOTE, .p_offset = 0x400, .p_filesz = (Elf32_Word)note_bytes },
	};

	memcpy(image->bytes, &ehdr, sizeof(ehdr));
	memcpy(image->bytes + 0x40, phdr, sizeof(phdr));
}

void test_elf(struct test_image *image, bool class64, bool pvh)
{
	size_t note_bytes;

	memset(image, 0, sizeof(*image));
	memset(image->bytes + 0x200, 0xcc, 0x100);
	note_bytes = put_note(image->bytes + 0x400);
	if (class64)
		put_elf64(image, pvh, note_bytes);
	else
		put_elf32(image, pvh, note_bytes);
	image->size_bytes = 0x400 + note_bytes;
}

void test_multiboot(struct test_image *image)
{
	const uint32_t flags = 1u << 16 | 3;
	const uint32_t header[] = {
		0x1badb002, flags, -(0x1badb002 + flags),
		MIB + 0x40, MIB, MIB + 0x200, MIB + 0x400, MIB + 0x80,
	};

	memset(image, 0, sizeof(*image));
	memset(image->bytes, 0xcc, 0x200);
	memcpy(image->bytes + 0x40, header, sizeof(header));
	image->size_bytes = 0x200;
}

void test_image_save(const struct test_image *image, const char *path)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	if (image->size_bytes)
		assert_int_equal(fwrite(image->bytes, image->size_bytes, 1, file), 1);
	fclose(file);
}
