/* SPDX-License-Identifier: MIT */
/* The loaders: what lands where, and what is refused with which words. */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xen/arch-x86/hvm/start_info.h>

#include "base/error.h"
#include "boot/boot.h"
#include "boot_images.h"
#include "mem/mem.h"

#define RAM_BYTES (64ull << 20)

struct fixture {
	struct mem *mem;
	struct e820_map e820;
	struct boot_config config;
	struct boot_entry entry;
	struct error err;
	struct test_image image;
	char dir[64], kernel[80], initrd[80];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	strcpy(f->dir, "/tmp/ringlet-boot-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->dir);
	snprintf(f->initrd, sizeof(f->initrd), "%s/initrd", f->dir);
	assert_int_equal(mem_create(&f->mem, NULL), 0);
	assert_int_equal(mem_add(f->mem, 0, RAM_BYTES, false, "ram", NULL), 0);
	assert_int_equal(e820_set(&f->e820, 0, RAM_BYTES, E820_RAM), 0);
	assert_int_equal(e820_set(&f->e820, 0x9fc00, 0x100000 - 0x9fc00, E820_RESERVED), 0);
	f->config = (struct boot_config){ .kernel = f->kernel, .e820 = &f->e820,
					  .rsdp_gpa = 0xe0000, .cmdline = "console=ttyS0" };
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kernel);
	unlink(f->initrd);
	rmdir(f->dir);
	mem_destroy(f->mem);
	free(f);
	return 0;
}

static int load(struct fixture *f)
{
	test_image_save(&f->image, f->kernel);
	return boot_load(f->mem, &f->config, &f->entry, &f->err);
}

static void refused(struct fixture *f, int rc, const char *words)
{
	assert_int_equal(load(f), rc);
	if (!strstr(f->err.message, words))
		fail_msg("'%s' does not say '%s'", f->err.message, words);
	assert_null(strchr(f->err.message, '\n'));
}

static const void *guest(struct fixture *f, uint64_t gpa, uint64_t len)
{
	const void *p = mem_ptr(f->mem, gpa, len);

	assert_non_null(p);
	return p;
}

static void add_initrd(struct fixture *f, size_t size)
{
	FILE *file = fopen(f->initrd, "wb");

	assert_non_null(file);
	fprintf(file, "initrd");
	fclose(file);
	assert_int_equal(truncate(f->initrd, (off_t)size), 0);
	f->config.initrd = f->initrd;
}

/* Follows the page tables by hand. */
static void check_identity_map(struct fixture *f, uint64_t cr3, uint64_t linear)
{
	const uint64_t mask = 0xffffffffff000;
	const uint64_t *pml4 = guest(f, cr3, 4096);
	const uint64_t *pdpt = guest(f, pml4[0] & mask, 4096);
	const uint64_t *pd = guest(f, pdpt[linear >> 30] & mask, 4096);

	assert_int_equal(pd[linear >> 21 & 511], (linear & ~0x1fffffull) | 0x83);
}

static void test_bzimage_long(void **state)
{
	struct fixture *f = *state;
	const struct boot_params *params;

	test_bzimage(&f->image);
	add_initrd(f, 10000);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_LONG64);
	assert_int_equal(f->entry.rip, 0x1000200);
	assert_int_equal(*(const uint8_t *)guest(f, 0x1000000, 1), 0xcc);
	check_identity_map(f, f->entry.cr3, 0);
	check_identity_map(f, f->entry.cr3, 0xfee00000);
	params = guest(f, f->entry.rsi, sizeof(*params));
	assert_string_equal(guest(f, params->hdr.cmd_line_ptr, 16), "console=ttyS0");
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_int_equal(params->hdr.ramdisk_size, 10000);
	assert_memory_equal(guest(f, params->hdr.ramdisk_image, 6), "initrd", 6);
	assert_int_equal(params->hdr.ramdisk_image % 4096, 0);
	assert_int_equal(params->acpi_rsdp_addr, 0xe0000);
	assert_int_equal(params->e820_entries, f->e820.count);
	assert_int_equal(params->sentinel, 0);
	assert_int_equal(((const uint64_t *)guest(f, f->entry.gdt_gpa, 32))[2], 0x00af9b000000ffff);
}

static void test_bzimage_32(void **state)
{
	struct fixture *f = *state;

	test_bzimage(&f->image);
	test_bzimage_header(&f->image)->xloadflags = 0;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_FLAT32);
	assert_int_equal(f->entry.rip, 0x1000000);
	assert_int_equal(((const uint64_t *)guest(f, f->entry.gdt_gpa, 32))[2], 0x00cf9b000000ffff);
}

static void test_bzimage_moves_when_it_must(void **state)
{
	struct fixture *f = *state;

	test_bzimage(&f->image);
	test_bzimage_header(&f->image)->pref_address = 0x40000000;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x200200);
	test_bzimage_header(&f->image)->relocatable_kernel = 0;
	refused(f, -ENOSPC, "-m");
}

static void test_bzimage_that_stays(void **state)
{
	struct fixture *f = *state;

	test_bzimage(&f->image);
	test_bzimage_header(&f->image)->relocatable_kernel = 0;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x100200);
}

static void test_bzimage_refusals(void **state)
{
	struct fixture *f = *state;
	struct setup_header *hdr = test_bzimage_header(&f->image);
	char line[512];

	test_bzimage(&f->image);
	f->image.size_bytes = 2000;
	refused(f, -ENOEXEC, "truncated");
	test_bzimage(&f->image);
	f->image.size_bytes = 0x210;
	refused(f, -ENOEXEC, "truncated");
	test_bzimage(&f->image);
	hdr->version = 0x201;
	refused(f, -ENOEXEC, "2.02");
	test_bzimage(&f->image);
	hdr->loadflags = 0;
	refused(f, -ENOEXEC, "zImage");
	test_bzimage(&f->image);
	hdr->init_size = 0x7fffffff;
	refused(f, -ENOSPC, "-m");
	test_bzimage(&f->image);
	hdr->pref_address = UINT64_MAX;
	hdr->init_size = UINT32_MAX;
	refused(f, -ENOEXEC, "loaded at");
	test_bzimage(&f->image);
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	f->config.cmdline = line;
	refused(f, -E2BIG, "at most 255");
}

static void test_initrd_refusals(void **state)
{
	struct fixture *f = *state;

	test_bzimage(&f->image);
	add_initrd(f, RAM_BYTES);
	refused(f, -ENOSPC, "initrd");
	add_initrd(f, 0);
	refused(f, -ENOEXEC, "is empty");
	unlink(f->initrd);
	refused(f, -ENOENT, "No such file");
}

static void test_pvh(void **state)
{
	struct fixture *f = *state;
	const struct hvm_start_info *info;
	const struct hvm_modlist_entry *module;

	for (unsigned class64 = 0; class64 < 2; class64++) {
		test_elf(&f->image, class64, true);
		add_initrd(f, 5000);
		assert_int_equal(mem_fill(f->mem, 0x100000, 0xff, 0x1000), 0);
		assert_int_equal(load(f), 0);
		assert_int_equal(f->entry.mode, BOOT_FLAT32);
		assert_int_equal(f->entry.rip, 0x100010);
		assert_int_equal(*(const uint8_t *)guest(f, 0x1000ff, 1), 0xcc);
		assert_int_equal(*(const uint8_t *)guest(f, 0x100100, 1), 0);
		assert_int_equal(*(const uint8_t *)guest(f, 0x1002ff, 1), 0);
		info = guest(f, f->entry.rbx, sizeof(*info));
		assert_int_equal(info->magic, XEN_HVM_START_MAGIC_VALUE);
		assert_int_equal(info->version, 1);
		assert_int_equal(info->memmap_entries, f->e820.count);
		assert_int_equal(info->rsdp_paddr, 0xe0000);
		assert_string_equal(guest(f, info->cmdline_paddr, 16), "console=ttyS0");
		assert_int_equal(info->nr_modules, 1);
		module = guest(f, info->modlist_paddr, sizeof(*module));
		assert_int_equal(module->size, 5000);
		assert_memory_equal(guest(f, module->paddr, 6), "initrd", 6);
	}
}

static void test_vmlinux(void **state)
{
	struct fixture *f = *state;
	const struct boot_params *params;

	test_elf(&f->image, true, false);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_LONG64);
	assert_int_equal(f->entry.rip, 0x100000);
	params = guest(f, f->entry.rsi, sizeof(*params));
	assert_int_equal(params->hdr.header, 0x53726448);
	test_elf(&f->image, false, false);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_FLAT32);
}

static void test_elf_refusals(void **state)
{
	struct fixture *f = *state;
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)f->image.bytes;
	Elf64_Phdr *phdr = (Elf64_Phdr *)(f->image.bytes + 0x40);

	test_elf(&f->image, true, true);
	ehdr->e_machine = EM_AARCH64;
	refused(f, -ENOEXEC, "aarch64");
	test_elf(&f->image, true, true);
	ehdr->e_phnum = 5000;
	refused(f, -ENOEXEC, "program header");
	test_elf(&f->image, true, true);
	ehdr->e_phoff = UINT64_MAX;
	refused(f, -ENOEXEC, "truncated");
	test_elf(&f->image, true, true);
	phdr->p_filesz = UINT64_MAX;
	refused(f, -ENOEXEC, "larger than its memory");
	test_elf(&f->image, true, true);
	phdr->p_paddr = UINT64_MAX - 0xff;
	refused(f, -ENOEXEC, "above 4 GiB");
	test_elf(&f->image, true, true);
	phdr->p_paddr = 0xf0000;
	refused(f, -ENOSPC, "-m");
	test_elf(&f->image, true, false);
	phdr->p_vaddr = phdr->p_paddr;
	refused(f, -ENOEXEC, "PVH");
	test_elf(&f->image, true, false);
	phdr->p_type = PT_INTERP;
	refused(f, -ENOEXEC, "user program");
	test_elf(&f->image, true, true);
	f->image.size_bytes = 0x280;
	refused(f, -ENOEXEC, "truncated");
}

static void test_multiboot_kernel(void **state)
{
	struct fixture *f = *state;
	char modules[512];
	const uint32_t *info, *module;

	test_multiboot(&f->image);
	add_initrd(f, 5000);
	snprintf(modules, sizeof(modules), "%s one two,%s", f->initrd, f->initrd);
	f->config.initrd = modules;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_FLAT32);
	assert_int_equal(f->entry.rip, 0x100080);
	assert_int_equal(f->entry.rax, 0x2badb002);
	info = guest(f, f->entry.rbx, 88);
	assert_int_equal(info[0], 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(info[1], 0x9fc00 >> 10);
	assert_int_equal(info[2], (RAM_BYTES >> 10) - 1024);
	assert_string_equal(guest(f, info[4], 32), "kernel console=ttyS0");
	assert_int_equal(info[5], 2);
	module = guest(f, info[6], 32);
	assert_int_equal(module[1] - module[0], 5000);
	assert_memory_equal(guest(f, module[4], 6), "initrd", 6);
	assert_non_null(strstr(guest(f, module[2], 100), "/initrd one two"));
	assert_int_equal(info[11], f->e820.count * 24);
	assert_int_equal(*(const uint32_t *)guest(f, info[12], 4), 20);
	assert_string_equal(guest(f, info[16], 8), "ringlet");
}

static void test_multiboot_refusals(void **state)
{
	struct fixture *f = *state;
	uint32_t *header = (uint32_t *)(f->image.bytes + 0x40);

	test_multiboot(&f->image);
	header[1] |= 8;
	header[2] = -(header[0] + header[1]);
	refused(f, -ENOEXEC, "features");
	test_multiboot(&f->image);
	header[4] = UINT32_MAX;
	refused(f, -ENOEXEC, "load addresses");
	test_multiboot(&f->image);
	header[5] = 0x1000;
	refused(f, -ENOEXEC, "ends before");
	test_multiboot(&f->image);
	header[7] = 0;
	refused(f, -ENOEXEC, "entry");
	test_multiboot(&f->image);
	header[6] = UINT32_MAX;
	refused(f, -ENOSPC, "-m");
}

static void test_foreign_files(void **state)
{
	static const struct {
		unsigned offset;
		const char *bytes;
		const char *words;
	} cases[] = {
		{ 56, "ARM\x64", "arm64" }, { 0, "\x1f\x8b\x08", "gunzip" },
		{ 0, "#!/bin/sh", "script" },
		{ 0, "hello", "no kernel that is known" }, { 0, "MZ", "EFI program" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&f->image, 0, sizeof(f->image));
		memcpy(f->image.bytes + cases[i].offset, cases[i].bytes, strlen(cases[i].bytes));
		f->image.size_bytes = 4096;
		refused(f, -ENOEXEC, cases[i].words);
	}
	f->image.size_bytes = 0;
	refused(f, -ENOEXEC, "is empty");
	f->image.size_bytes = 1;
	refused(f, -ENOEXEC, "truncated?");
	f->config.kernel = f->dir;
	refused(f, -EISDIR, "directory");
	f->config.kernel = "/nonexistent/kernel";
	refused(f, -ENOENT, "No such file");
}

static void *feed_pipe(void *opaque)
{
	struct fixture *f = opaque;

	test_image_save(&f->image, f->kernel);
	return NULL;
}

static void test_kernel_from_a_pipe(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	test_bzimage(&f->image);
	assert_int_equal(mkfifo(f->kernel, 0600), 0);
	assert_int_equal(pthread_create(&thread, NULL, feed_pipe, f), 0);
	assert_int_equal(boot_load(f->mem, &f->config, &f->entry, &f->err), 0);
	pthread_join(thread, NULL);
	assert_int_equal(f->entry.rip, 0x1000200);
}

static void test_firmware(void **state)
{
	struct fixture *f = *state;
	FILE *file = fopen(f->kernel, "wb");

	assert_non_null(file);
	for (unsigned i = 0; i < 0x40000; i += 4)
		fwrite(&i, 4, 1, file);
	fclose(file);
	assert_int_equal(boot_firmware(f->mem, f->kernel, &f->entry, &f->err), 0);
	assert_int_equal(f->entry.mode, BOOT_RESET);
	assert_int_equal(*(const uint32_t *)guest(f, 0xfffffff0, 4), 0x3fff0);
	assert_int_equal(*(const uint32_t *)guest(f, 0xfffc0000, 4), 0);
	assert_int_equal(*(const uint32_t *)guest(f, 0xffff0, 4), 0x3fff0);
	assert_int_equal(*(const uint32_t *)guest(f, 0xe0000, 4), 0x20000);
	assert_true(mem_find(f->mem, 0xfffffff0)->readonly);
	assert_false(mem_find(f->mem, 0xffff0)->readonly);
	assert_int_equal(mem_fill(f->mem, 0xe0000, 0, 0x20000), 0);
	assert_int_equal(boot_firmware_shadow(f->mem), 0);
	assert_int_equal(*(const uint32_t *)guest(f, 0xe0000, 4), 0x20000);
}

static void test_firmware_sizes(void **state)
{
	struct fixture *f = *state;
	static const size_t bad[] = { 1, 4096, 0x10001, 0x1001000 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		add_initrd(f, bad[i]);
		assert_true(boot_firmware(f->mem, f->initrd, &f->entry, &f->err) < 0);
		assert_non_null(strstr(f->err.message, "firmware"));
	}
	assert_null(mem_find(f->mem, 0xffffffff));
}

static void test_e820_carves(void **state)
{
	struct e820_map map = { .count = 0 };
	uint64_t addr;

	(void)state;
	assert_int_equal(e820_set(&map, 0, 0x10000, E820_RAM), 0);
	assert_int_equal(e820_set(&map, 0x4000, 0x1000, E820_RESERVED), 0);
	assert_int_equal(map.count, 3);
	assert_true(e820_is_ram(&map, 0, 0x4000));
	assert_false(e820_is_ram(&map, 0, 0x4001));
	assert_false(e820_is_ram(&map, 0x5000, UINT64_MAX));
	assert_true(e820_find_low(&map, 0x5000, 0x1000, 0, UINT64_MAX, &addr));
	assert_int_equal(addr, 0x5000);
	assert_true(e820_find_high(&map, 0x2000, 0x4000, 0, UINT64_MAX, &addr));
	assert_int_equal(addr, 0xc000);
	assert_true(e820_find_high(&map, 0x1000, 0x1000, 0, 0x6fff, &addr));
	assert_int_equal(addr, 0x6000);
	assert_false(e820_find_high(&map, 0xc000, 1, 0, UINT64_MAX, &addr));
	assert_int_equal(e820_set(&map, 0x4000, 0x1000, E820_RAM), 0);
	assert_int_equal(map.count, 1);
	assert_int_equal(e820_set(&map, UINT64_MAX, 2, E820_RAM), -EINVAL);
	assert_int_equal(e820_ram_bytes(&map), 0x10000);
}

static void test_e820_is_bounded(void **state)
{
	struct e820_map map = { .count = 0 }, before;
	int rc = 0;

	(void)state;
	for (uint64_t i = 0; !rc; i++) {
		before = map;
		rc = e820_set(&map, i * 0x2000, 0x1000, E820_RAM);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(map.count, E820_MAX);
	assert_memory_equal(&before, &map, sizeof(map));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bzimage_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage_32, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage_moves_when_it_must, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage_that_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_initrd_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pvh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vmlinux, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elf_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multiboot_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multiboot_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_from_a_pipe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_firmware, setup, teardown),
		cmocka_unit_test_setup_teardown(test_firmware_sizes, setup, teardown),
		cmocka_unit_test(test_e820_carves),
		cmocka_unit_test(test_e820_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
