/* SPDX-License-Identifier: MIT */
/*
 * The initial RAM disk of a guest that Ringlet itself brings up: our init (guest/init), what it is to
 * do, and the modules of the guest's kernel that it loads to do it. Any thread.
 */
#ifndef RINGLET_BOOT_INITRAMFS_H
#define RINGLET_BOOT_INITRAMFS_H

#include <stdbool.h>
#include <stddef.h>

struct error;

/* A module that the guest's kernel may have built in. */
struct initramfs_need {
	const char *module;
	const char *purpose; /* "to share the root file system": for the message where it is missing */
	bool optional;       /* a guest without it is good enough */
	const char *instead[2]; /* modules that do as well, together; NULL: none do */
};

/* Which way the needs that have another were met. */
enum initramfs_way { INITRAMFS_UNKNOWN, INITRAMFS_FIRST, INITRAMFS_INSTEAD };

struct initramfs_plan {
	const char *kernel;
	/* "key=value", each ended by a NUL: guest/init/init.h. */
	const char *config;
	size_t config_bytes;
	const struct initramfs_need *needs; /* in the order of loading */
	unsigned need_count;
};

/*
 * Makes the archive in an anonymous file and opens it: fd is the caller's. -ENOENT: the kernel's
 * modules are there, but not one that is needed; and the errors of modules.h. INITRAMFS_UNKNOWN: they
 * are not to be found.
 */
int initramfs_make(const struct initramfs_plan *plan, int *fd, enum initramfs_way *way,
		   struct error *err);

#endif
