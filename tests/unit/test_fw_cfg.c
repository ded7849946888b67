/* SPDX-License-Identifier: MIT */
/* The firmware configuration device as firmware uses it: ports, directory, DMA. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/qemu_fw_cfg.h>

#include "base/error.h"
#include "boot_images.h"
#include "dev/bus.h"
#include "device_fixture.h"
#include "legacy/fw_cfg.h"
#include "mem/mem.h"

#define DMA_GPA 0x10000u
#define DATA_GPA 0x20000u

struct bench {
	struct device_fixture *fixture;
	struct device *dev;
	uint64_t wrote_gpa, wrote_len;
};

static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	struct bench *b = opaque;

	if (gpa == DMA_GPA)
		return;
	if (gpa != b->wrote_gpa + b->wrote_len) {
		b->wrote_gpa = gpa;
		b->wrote_len = 0;
	}
	b->wrote_len += len;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct e820_map map = { .count = 0 };
	struct fw_cfg_config config = { .cpus = 4, .low_ram_bytes = 1 << 20, .e820 = &map,
					.boot_menu_wait_ms = 100 };

	*state = b;
	if (device_fixture_open((void **)&b->fixture))
		return -1;
	b->fixture->env.dma.wrote = wrote;
	b->fixture->env.dma.opaque = b;
	if (!mem_find(b->fixture->env.mem, 0) &&
	    mem_add(b->fixture->env.mem, 0, 1 << 20, false, "ram", NULL))
		return -1;
	e820_set(&map, 0, 1 << 20, E820_RAM);
	return fw_cfg_create(&b->fixture->env, &config, &b->dev, NULL);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	device_free(b->dev);
	device_fixture_close((void **)&b->fixture);
	free(b);
	return 0;
}

static void select_item(struct bench *b, uint16_t key)
{
	bus_write(b->fixture->env.pio, 0x510, 2, key, 0);
}

static void read_bytes(struct bench *b, void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = (uint8_t)bus_read(b->fixture->env.pio, 0x511, 1, 0);
}

static uint32_t dma(struct bench *b, uint32_t control, uint32_t len, uint64_t gpa)
{
	struct fw_cfg_dma_access access = { htobe32(control), htobe32(len), htobe64(gpa) };

	assert_int_equal(mem_write(b->fixture->env.mem, DMA_GPA, &access, sizeof(access)), 0);
	bus_write(b->fixture->env.pio, 0x514, 4, 0, 0);
	bus_write(b->fixture->env.pio, 0x518, 4, htobe32(DMA_GPA), 0);
	assert_int_equal(mem_read(b->fixture->env.mem, DMA_GPA, &access, sizeof(access)), 0);
	return be32toh(access.control);
}

/* A file's key and size from the directory; 0 when it is not listed. */
static uint16_t find_file(struct bench *b, const char *name, uint32_t *size)
{
	struct fw_cfg_file file;
	uint32_t count;
	uint16_t key = 0;
	char last[FW_CFG_MAX_FILE_PATH] = "";

	select_item(b, FW_CFG_FILE_DIR);
	read_bytes(b, &count, 4);
	for (uint32_t i = 0; i < be32toh(count); i++) {
		read_bytes(b, &file, sizeof(file));
		assert_true(strcmp(last, file.name) < 0);
		strcpy(last, file.name);
		if (strcmp(file.name, name))
			continue;
		key = be16toh(file.select);
		*size = be32toh(file.size);
	}
	return key;
}

static void test_facts(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[8];
	uint64_t ram;

	select_item(b, FW_CFG_SIGNATURE);
	read_bytes(b, bytes, 6);
	assert_memory_equal(bytes, "QEMU\0\0", 6);
	select_item(b, FW_CFG_ID);
	read_bytes(b, bytes, 1);
	assert_int_equal(bytes[0], FW_CFG_VERSION | FW_CFG_VERSION_DMA);
	select_item(b, FW_CFG_NB_CPUS);
	read_bytes(b, bytes, 2);
	assert_int_equal(bytes[0], 4);
	select_item(b, FW_CFG_RAM_SIZE);
	read_bytes(b, &ram, 8);
	assert_int_equal(ram, 1 << 20);
	select_item(b, 0x3fff);
	read_bytes(b, bytes, 1);
	assert_int_equal(bytes[0], 0);
	select_item(b, FW_CFG_ARCH_LOCAL | 0x3fff);
	read_bytes(b, bytes, 1);
	assert_int_equal(bytes[0], 0);
}

static void test_files(void **state)
{
	struct bench *b = *state;
	struct error err;
	uint32_t size = 0;
	uint16_t key;
	uint64_t range[2];
	char text[6];

	assert_int_equal(fw_cfg_add_file(b->dev, "opt/zz", "zz", 2, &err), 0);
	assert_int_equal(fw_cfg_add_file(b->dev, "etc/aa", "hello", 5, &err), 0);
	assert_int_equal(fw_cfg_add_file(b->dev, "etc/aa", "again", 5, &err), -EEXIST);
	key = find_file(b, "etc/aa", &size);
	assert_int_equal(key, FW_CFG_FILE_FIRST);
	assert_int_equal(size, 5);
	select_item(b, key);
	read_bytes(b, text, 6);
	assert_memory_equal(text, "hello", 6);
	select_item(b, find_file(b, "etc/e820", &size));
	assert_int_equal(size, 20);
	read_bytes(b, range, 16);
	assert_int_equal(range[1], 1 << 20);
	assert_int_not_equal(find_file(b, "etc/boot-menu-wait", &size), 0);
	assert_int_equal(size, 2);
}

static void test_files_are_bounded(void **state)
{
	struct bench *b = *state;
	char name[80];
	int rc = 0;

	memset(name, 'n', sizeof(name));
	name[56] = 0;
	assert_int_equal(fw_cfg_add_file(b->dev, name, "", 0, NULL), -ENOSPC);
	for (unsigned i = 0; i < 100 && !rc; i++) {
		name[0] = (char)('A' + i / 26);
		name[1] = (char)('a' + i % 26);
		name[2] = 0;
		rc = fw_cfg_add_file(b->dev, name, "x", 1, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(fw_cfg_add(b->dev, 0x1234, "", 0, NULL), -EINVAL);
	assert_int_equal(fw_cfg_add(b->dev, FW_CFG_SIGNATURE, "", 0, NULL), -EEXIST);
}

static void test_dma(void **state)
{
	struct bench *b = *state;
	uint32_t size = 0;
	uint16_t key;
	char text[16];
	uint32_t control;

	assert_int_equal(bus_read(b->fixture->env.pio, 0x514, 4, 0), htobe32(0x51454d55));
	assert_int_equal(bus_read(b->fixture->env.pio, 0x518, 4, 0), htobe32(0x20434647));
	assert_int_equal(fw_cfg_add_file(b->dev, "f", "0123456789", 10, NULL), 0);
	key = find_file(b, "f", &size);
	control = (uint32_t)key << 16 | FW_CFG_DMA_CTL_SELECT;
	mem_fill(b->fixture->env.mem, DATA_GPA, 0xff, 16);
	assert_int_equal(dma(b, control | FW_CFG_DMA_CTL_SKIP, 4, 0), 0);
	assert_int_equal(dma(b, FW_CFG_DMA_CTL_READ, 8, DATA_GPA), 0);
	mem_read(b->fixture->env.mem, DATA_GPA, text, 9);
	assert_memory_equal(text, "456789\0\0\377", 9);
	assert_int_equal(b->wrote_gpa, DATA_GPA);
	assert_int_equal(b->wrote_len, 8);
	assert_int_equal(dma(b, FW_CFG_DMA_CTL_READ, UINT32_MAX, DATA_GPA), FW_CFG_DMA_CTL_ERROR);
	assert_int_equal(dma(b, control | FW_CFG_DMA_CTL_READ, 4, UINT64_MAX - 1),
			 FW_CFG_DMA_CTL_ERROR);
	/* The file fits at the end of memory, what pads it does not. */
	assert_int_equal(dma(b, control | FW_CFG_DMA_CTL_READ, 16, (1 << 20) - 10),
			 FW_CFG_DMA_CTL_ERROR);
	assert_int_equal(b->wrote_gpa, (1 << 20) - 10);
	assert_int_equal(b->wrote_len, 10);
	assert_int_equal(dma(b, control | FW_CFG_DMA_CTL_WRITE, 4, DATA_GPA),
			 FW_CFG_DMA_CTL_ERROR);
	assert_int_equal(dma(b, FW_CFG_DMA_CTL_SKIP, UINT32_MAX, 0), 0);
	bus_write(b->fixture->env.pio, 0x514, 4, 0xffffffff, 0);
	bus_write(b->fixture->env.pio, 0x518, 4, 0xffffffff, 0);
}

static void test_linux(void **state)
{
	struct bench *b = *state;
	struct test_image image;
	char path[] = "/tmp/ringlet-fw-XXXXXX";
	uint32_t size;
	uint8_t byte;

	close(mkstemp(path));
	test_bzimage(&image);
	test_image_save(&image, path);
	assert_int_equal(fw_cfg_add_linux(b->dev, path, path, "quiet", NULL), 0);
	unlink(path);
	select_item(b, FW_CFG_SETUP_SIZE);
	read_bytes(b, &size, 4);
	assert_int_equal(size, 1024);
	select_item(b, FW_CFG_KERNEL_SIZE);
	read_bytes(b, &size, 4);
	assert_int_equal(size, 4096);
	select_item(b, FW_CFG_KERNEL_DATA);
	read_bytes(b, &byte, 1);
	assert_int_equal(byte, 0xcc);
	select_item(b, FW_CFG_CMDLINE_SIZE);
	read_bytes(b, &size, 4);
	assert_int_equal(size, 6);
}

/* What a BIOS looks at before it runs an option ROM, and where it boots from first. */
static void test_linux_rom(void **state)
{
	struct bench *b = *state;
	struct test_image image;
	char path[] = "/tmp/ringlet-fw-XXXXXX", order[32] = "";
	uint8_t rom[4096], sum = 0;
	uint32_t size;

	close(mkstemp(path));
	test_bzimage(&image);
	test_image_save(&image, path);
	assert_int_equal(fw_cfg_add_linux(b->dev, path, NULL, NULL, NULL), 0);
	unlink(path);
	select_item(b, find_file(b, "genroms/linux.rom", &size));
	assert_in_range(size, 512, sizeof(rom));
	read_bytes(b, rom, size);
	assert_memory_equal(rom, "\x55\xaa", 2);
	assert_int_equal(rom[2] * 512, size);
	assert_memory_equal(rom + rom[0x1a], "$PnP", 4);
	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + rom[i]);
	assert_int_equal(sum, 0);
	select_item(b, find_file(b, "bootorder", &size));
	assert_in_range(size, 1, sizeof(order));
	read_bytes(b, order, size);
	assert_string_equal(order, "/rom@genroms/linux.rom");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linux, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linux_rom, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
