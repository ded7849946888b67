/* SPDX-License-Identifier: MIT */
/*
 * Writing an initramfs: a cpio archive in the "newc" format (Documentation/driver-api/early-
 * userspace/buffer-format.rst). Everything belongs to root; times are 0, so that equal content makes
 * equal archives. Errors stick: only cpio_end tells. One thread.
 */
#ifndef RINGLET_BOOT_CPIO_H
#define RINGLET_BOOT_CPIO_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct image;

struct cpio {
	int fd;
	int failed; /* an errno, or 0 */
	uint32_t inode;
};

/* Into fd, which stays the caller's. */
void cpio_begin(struct cpio *cpio, int fd);
/* path has no slash at its start; mode is of permissions alone. */
void cpio_directory(struct cpio *cpio, const char *path, unsigned mode);
void cpio_file(struct cpio *cpio, const char *path, unsigned mode, const void *data, size_t size);
void cpio_image(struct cpio *cpio, const char *path, unsigned mode, const struct image *image);
int cpio_end(struct cpio *cpio, struct error *err);

#endif
