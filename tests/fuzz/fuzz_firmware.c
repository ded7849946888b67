/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a firmware image of any size and content, and the choice of a loader for the same
 * bytes as a kernel. An input's first byte says how many 4 KiB pages of zeros go before the rest.
 */
#include "boot_target.h"

#include <stdio.h>

static int save(const uint8_t *data, size_t size, char path[32])
{
	int fd = memfd_create("fuzz", 0);

	if (fd < 0 || ftruncate(fd, (off_t)(data[0] & 31) * 4096) ||
	    pwrite(fd, data + 1, size - 1, (off_t)(data[0] & 31) * 4096) < 0)
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct e820_map e820 = { .count = 0 };
	struct boot_config config = { .e820 = &e820 };
	struct boot_entry entry;
	struct error err;
	struct mem *mem;
	char path[32];
	int fd;

	if (!size)
		return 0;
	fd = save(data, size, path);
	config.kernel = path;
	target_limit_files();
	if (mem_create(&mem, &err) || mem_add(mem, 0, TARGET_RAM, false, "ram", &err) ||
	    e820_set(&e820, 0, TARGET_RAM, E820_RAM))
		abort();
	boot_firmware(mem, path, &entry, &err);
	boot_load(mem, &config, &entry, &err);
	close(fd);
	mem_destroy(mem);
	return 0;
}
