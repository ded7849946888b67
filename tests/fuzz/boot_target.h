/* SPDX-License-Identifier: MIT */
/* What the loaders' fuzz targets share: a small machine to load into, anew for each input. */
#ifndef RINGLET_TESTS_FUZZ_BOOT_TARGET_H
#define RINGLET_TESTS_FUZZ_BOOT_TARGET_H

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/boot.h"
#include "boot/loader.h"
#include "input.h"
#include "mem/mem.h"

#define TARGET_RAM (16u << 20)
#define TARGET_UNPACKED (32u << 20)

/* A small file can unpack to very much; so much is not needed here. */
static inline void target_limit_files(void)
{
	const struct rlimit limit = { TARGET_UNPACKED, TARGET_UNPACKED };

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* Loads data with one format's loader, as if it had been recognised. */
static inline void target_load(const uint8_t *data, size_t size,
			       int (*load)(struct boot_loader *loader, struct boot_entry *entry,
					   struct error *err))
{
	struct e820_map e820 = { .count = 0 };
	struct boot_config config = { .kernel = "fuzz", .cmdline = "quiet", .e820 = &e820 };
	struct boot_loader loader = { .config = &config };
	struct boot_entry entry = { .mode = BOOT_RESET };
	struct error err;

	target_limit_files();
	if (mem_create(&loader.mem, &err) ||
	    mem_add(loader.mem, 0, TARGET_RAM, false, "ram", &err) ||
	    e820_set(&e820, 0, TARGET_RAM, E820_RAM) ||
	    e820_set(&e820, 0xa0000, 0x60000, E820_RESERVED) ||
	    image_open_bytes(&loader.kernel, "fuzz", data, size, &err))
		abort();
	loader.space = e820;
	load(&loader, &entry, &err);
	image_close(&loader.kernel);
	mem_destroy(loader.mem);
}

#endif
