/* SPDX-License-Identifier: MIT */
/*
 * The firmware configuration device (docs/specs/fw_cfg.rst of QEMU; keys in linux/qemu_fw_cfg.h):
 * how SeaBIOS and OVMF learn about the machine. A table of items, numbered or named; the guest
 * selects one at port 0x510, reads it at 0x511 byte by byte, or has it copied by DMA (0x514).
 * Items are read-only for the guest.
 *
 * Items are added before the machine runs; handlers run with the machine lock held.
 */
#ifndef RINGLET_LEGACY_FW_CFG_H
#define RINGLET_LEGACY_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "boot/e820.h"
#include "dev/device.h"

struct fw_cfg_config {
	unsigned cpus;
	uint64_t low_ram_bytes;      /* below 4 GiB */
	const struct e820_map *e820; /* becomes etc/e820; read during create only */
	uint16_t boot_menu_wait_ms;  /* 0: no menu */
	uint16_t console_port;       /* a UART for SeaBIOS's screen and keys; 0: none */
};

int fw_cfg_create(const struct device_env *env, const struct fw_cfg_config *config,
		  struct device **dev, struct error *err);

/* Adds an item by number; data is copied. -EEXIST, -EINVAL (no such number), -ENOMEM. */
int fw_cfg_add(struct device *dev, uint16_t key, const void *data, size_t size_bytes,
	       struct error *err);

/* Adds a named item, listed in the directory; name under 56 bytes. -EEXIST, -ENOSPC, -ENOMEM. */
int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t size_bytes,
		    struct error *err);

/*
 * Offers a Linux kernel to the firmware under the numbered items: setup part, protected-mode part,
 * initrd (or NULL) and command line (or NULL). For a BIOS, an option ROM comes along that starts it.
 */
int fw_cfg_add_linux(struct device *dev, const char *kernel, const char *initrd,
		     const char *cmdline, struct error *err);

#endif
