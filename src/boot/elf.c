/* SPDX-License-Identifier: MIT */
/*
 * ELF kernels (System V gABI, chapters 4 and 5): 32- and 64-bit, little-endian, for x86. Headers
 * are copied once and widened to the 64-bit form; every offset is checked where it is used.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <asm/bootparam.h>
#include <xen/elfnote.h>

#include "base/error.h"
#include "boot/loader.h"
#include "mem/mem.h"

#define PHDRS_MAX 64
#define NOTES_MAX 65536
#define KERNEL_ALIGNMENT 0x1000000u
#define CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE - 1 of Linux on x86 */

struct elf_headers {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[PHDRS_MAX];
};

bool elf_recognise(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

const char *elf_machine_name(uint16_t machine)
{
	static const struct {
		uint16_t machine;
		const char *name;
	} names[] = {
		{ EM_386, "i386" }, { EM_X86_64, "x86_64" }, { EM_AARCH64, "aarch64 (arm64)" },
		{ EM_ARM, "32-bit arm" }, { EM_RISCV, "riscv" }, { EM_PPC64, "ppc64" },
		{ EM_PPC, "ppc" }, { EM_S390, "s390" }, { EM_MIPS, "mips" },
		{ EM_SPARCV9, "sparc64" }, { EM_IA_64, "ia64" }, { EM_LOONGARCH, "loongarch" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].machine == machine)
			return names[i].name;
	return NULL;
}

static int check_ident(const struct image *image, const uint8_t *ident, uint16_t machine,
		       struct error *err)
{
	const char *name = elf_machine_name(machine);

	if (ident[EI_DATA] != ELFDATA2LSB)
		return error_set(err, ENOEXEC, "%s is a big-endian ELF file, not an x86 kernel",
				 image->path);
	if (machine != EM_386 && machine != EM_X86_64)
		return error_set(err, ENOEXEC,
				 "%s is an ELF file for %s (machine %u): give an x86 kernel",
				 image->path, name ? name : "an unknown processor", machine);
	if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
		return error_set(err, ENOEXEC, "%s is an ELF file of unknown class %u",
				 image->path, ident[EI_CLASS]);
	return 0;
}

static int read_ehdr32(const struct image *image, Elf64_Ehdr *out, struct error *err)
{
	Elf32_Ehdr in;
	int rc = image_read(image, 0, &in, sizeof(in), err);

	if (rc)
		return rc;
	out->e_type = in.e_type;
	out->e_machine = in.e_machine;
	out->e_entry = in.e_entry;
	out->e_phoff = in.e_phoff;
	out->e_phnum = in.e_phnum;
	out->e_phentsize = in.e_phentsize == sizeof(Elf32_Phdr) ? sizeof(Elf64_Phdr) : 0;
	return 0;
}

static int read_phdrs(const struct image *image, struct elf_headers *h, struct error *err)
{
	Elf32_Phdr in[PHDRS_MAX];
	int rc;

	if (h->ehdr.e_ident[EI_CLASS] == ELFCLASS64)
		return image_read(image, h->ehdr.e_phoff, h->phdr,
				  h->ehdr.e_phnum * sizeof(h->phdr[0]), err);
	rc = image_read(image, h->ehdr.e_phoff, in, h->ehdr.e_phnum * sizeof(in[0]), err);
	for (unsigned i = 0; i < h->ehdr.e_phnum && !rc; i++)
		h->phdr[i] = (Elf64_Phdr){
			.p_type = in[i].p_type, .p_flags = in[i].p_flags,
			.p_offset = in[i].p_offset, .p_vaddr = in[i].p_vaddr,
			.p_paddr = in[i].p_paddr, .p_filesz = in[i].p_filesz,
			.p_memsz = in[i].p_memsz, .p_align = in[i].p_align,
		};
	return rc;
}

static int read_headers(const struct image *image, struct elf_headers *h, struct error *err)
{
	uint8_t start[EI_NIDENT + 4]; /* e_ident, e_type, e_machine: alike in both classes */
	uint16_t machine;
	int rc = image_read(image, 0, start, sizeof(start), err);

	if (rc)
		return rc;
	memcpy(&machine, start + EI_NIDENT + 2, 2);
	rc = check_ident(image, start, machine, err);
	if (rc)
		return rc;
	rc = start[EI_CLASS] == ELFCLASS64 ?
		     image_read(image, 0, &h->ehdr, sizeof(h->ehdr), err) :
		     read_ehdr32(image, &h->ehdr, err);
	if (rc)
		return rc;
	memcpy(h->ehdr.e_ident, start, EI_NIDENT);
	if (h->ehdr.e_type != ET_EXEC && h->ehdr.e_type != ET_DYN)
		return error_set(err, ENOEXEC,
				 "%s is an ELF file, but no executable (type %u): give a linked "
				 "kernel", image->path, h->ehdr.e_type);
	if (!h->ehdr.e_phnum || h->ehdr.e_phnum > PHDRS_MAX ||
	    h->ehdr.e_phentsize != sizeof(Elf64_Phdr))
		return error_set(err, ENOEXEC, "%s has a bad ELF program header table",
				 image->path);
	return read_phdrs(image, h, err);
}

/* Looks through one note segment for the PVH entry. Names and descriptors are padded to 4. */
static void scan_notes(const uint8_t *notes, size_t len, struct elf_kernel *elf)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nhdr; /* the same as Elf32_Nhdr */
		uint64_t name_at = at + sizeof(nhdr), desc_at, next;

		memcpy(&nhdr, notes + at, sizeof(nhdr));
		desc_at = name_at + (((uint64_t)nhdr.n_namesz + 3) & ~3ull);
		next = desc_at + (((uint64_t)nhdr.n_descsz + 3) & ~3ull);
		if (desc_at > len || nhdr.n_descsz > len - desc_at)
			return;
		if (nhdr.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nhdr.n_namesz == 4 &&
		    nhdr.n_descsz >= 4 && !memcmp(notes + name_at, "Xen", 4)) {
			memcpy(&elf->pvh_entry, notes + desc_at, 4);
			elf->has_pvh = true;
		}
		if (next > len)
			return;
		at = next;
	}
}

static int read_notes(const struct image *image, const Elf64_Phdr *phdr, struct elf_kernel *elf,
		      struct error *err)
{
	size_t len = phdr->p_filesz < NOTES_MAX ? phdr->p_filesz : NOTES_MAX;
	uint8_t *notes = malloc(len ? len : 1);
	int rc;

	if (!notes)
		return error_set(err, ENOMEM, "no memory for the notes of %s", image->path);
	rc = image_read(image, phdr->p_offset, notes, len, err);
	if (!rc)
		scan_notes(notes, len, elf);
	free(notes);
	return rc;
}

static int inspect(const struct image *image, const struct elf_headers *h, struct elf_kernel *elf,
		   struct error *err)
{
	*elf = (struct elf_kernel){
		.machine = h->ehdr.e_machine,
		.class64 = h->ehdr.e_ident[EI_CLASS] == ELFCLASS64,
		.entry = h->ehdr.e_entry,
		.low = UINT64_MAX,
	};
	for (unsigned i = 0; i < h->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &h->phdr[i];
		int rc = 0;

		if (phdr->p_type == PT_INTERP)
			return error_set(err, ENOEXEC,
					 "%s is a user program, not a kernel", image->path);
		if (phdr->p_type == PT_NOTE)
			rc = read_notes(image, phdr, elf, err);
		if (phdr->p_type == PT_LOAD && phdr->p_memsz && phdr->p_vaddr != phdr->p_paddr)
			elf->high_linked = true;
		if (rc)
			return rc;
	}
	return 0;
}

int elf_inspect(const struct image *image, struct elf_kernel *elf, struct error *err)
{
	struct elf_headers h = { .ehdr.e_type = ET_NONE };
	int rc = read_headers(image, &h, err);

	return rc ? rc : inspect(image, &h, elf, err);
}

static int load_segment(struct boot_loader *loader, const Elf64_Phdr *phdr, struct elf_kernel *elf,
			struct error *err)
{
	int rc;

	if (phdr->p_filesz > phdr->p_memsz)
		return error_set(err, ENOEXEC, "%s has an ELF segment larger than its memory",
				 loader->kernel.path);
	if (phdr->p_paddr >> 32 || phdr->p_memsz >> 32)
		return error_set(err, ENOEXEC, "%s has an ELF segment at 0x%llx, above 4 GiB",
				 loader->kernel.path, (unsigned long long)phdr->p_paddr);
	rc = loader_take(loader, phdr->p_paddr, phdr->p_memsz, "segment", err);
	if (!rc)
		rc = image_load(&loader->kernel, phdr->p_offset, phdr->p_filesz, loader->mem,
				phdr->p_paddr, err);
	/* Guest RAM is zero already; not after a reset, when it is loaded again. */
	if (!rc && phdr->p_memsz > phdr->p_filesz &&
	    mem_fill(loader->mem, phdr->p_paddr + phdr->p_filesz, 0,
		     phdr->p_memsz - phdr->p_filesz))
		rc = error_set(err, ENOSPC, "%s does not fit in memory", loader->kernel.path);
	if (phdr->p_paddr < elf->low)
		elf->low = phdr->p_paddr;
	if (phdr->p_paddr + phdr->p_memsz > elf->high)
		elf->high = phdr->p_paddr + phdr->p_memsz;
	return rc;
}

int elf_load_segments(struct boot_loader *loader, struct elf_kernel *elf, struct error *err)
{
	struct elf_headers h = { .ehdr.e_type = ET_NONE };
	int rc = read_headers(&loader->kernel, &h, err);

	for (unsigned i = 0; i < h.ehdr.e_phnum && !rc; i++)
		if (h.phdr[i].p_type == PT_LOAD && h.phdr[i].p_memsz)
			rc = load_segment(loader, &h.phdr[i], elf, err);
	if (!rc && !elf->high)
		rc = error_set(err, ENOEXEC, "%s has no ELF segment to load", loader->kernel.path);
	return rc;
}

/* A bare vmlinux: its entry takes the zero page like a bzImage's, in the mode of its class. */
static int start_vmlinux(struct boot_loader *loader, const struct elf_kernel *elf,
			 struct boot_entry *entry, struct error *err)
{
	struct setup_header hdr = {
		.boot_flag = 0xaa55,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = INT32_MAX,
		.kernel_alignment = KERNEL_ALIGNMENT,
		.cmdline_size = CMDLINE_MAX,
	};

	if (elf->entry < elf->low || elf->entry >= elf->high || !elf->high_linked)
		return error_set(err, ENOEXEC,
				 "%s is an ELF file without a PVH entry note, a Multiboot header "
				 "or a Linux kernel's layout: give a bzImage or a kernel with "
				 "CONFIG_PVH",
				 loader->kernel.path);
	return linux_start(loader, &hdr, elf->entry, elf->machine == EM_X86_64, entry, err);
}

int elf_load(struct boot_loader *loader, struct boot_entry *entry, struct error *err)
{
	struct elf_kernel elf;
	int rc = elf_inspect(&loader->kernel, &elf, err);

	if (!rc)
		rc = elf_load_segments(loader, &elf, err);
	if (rc)
		return rc;
	return elf.has_pvh ? pvh_start(loader, &elf, entry, err) :
			     start_vmlinux(loader, &elf, entry, err);
}
