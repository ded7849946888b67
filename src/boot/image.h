/* SPDX-License-Identifier: MIT */
/*
 * An image file as loaders read it: any offset, by copying (never mapped, so that a file that
 * shrinks meanwhile is a short read and not a SIGBUS). Pipes and devices are copied to an
 * anonymous file first. Owner: the loader that opened it. One thread.
 */
#ifndef RINGLET_BOOT_IMAGE_H
#define RINGLET_BOOT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct mem;

#define IMAGE_KERNEL_MAX (2ull << 30) /* a vmlinux with debug information */
#define IMAGE_INITRD_MAX (4ull << 30)

struct image {
	int fd;
	uint64_t size_bytes;
	const char *path; /* the caller's, for messages */
};

/* what: "kernel", "initrd" …, for messages. Refuses empty files, and those over max_bytes. */
int image_open(struct image *image, const char *path, const char *what, uint64_t max_bytes,
	       struct error *err);

/* An image of bytes in memory (copied), as if it were a file called name. */
int image_open_bytes(struct image *image, const char *name, const void *data, size_t size_bytes,
		     struct error *err);

void image_close(struct image *image);

/* Copies exactly len bytes at offset; -ENOEXEC "is truncated" when the file has fewer. */
int image_read(const struct image *image, uint64_t offset, void *data, size_t len,
	       struct error *err);

/* The same, straight into guest memory. */
int image_load(const struct image *image, uint64_t offset, uint64_t len, struct mem *mem,
	       uint64_t gpa, struct error *err);

#endif
