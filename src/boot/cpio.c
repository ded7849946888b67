/* SPDX-License-Identifier: MIT */
/* See cpio.h. */
#include "boot/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/image.h"

#define ALIGN_BYTES 4
#define HEADER_BYTES 110
#define CHUNK_BYTES 65536

static void put(struct cpio *cpio, const void *data, size_t size)
{
	const char *at = data;

	while (size && !cpio->failed) {
		ssize_t n = write(cpio->fd, at, size);

		if (n < 0 && errno != EINTR)
			cpio->failed = errno;
		if (n <= 0)
			continue;
		at += n;
		size -= (size_t)n;
	}
}

static void pad(struct cpio *cpio, uint64_t size)
{
	static const char zeros[ALIGN_BYTES];

	put(cpio, zeros, (size_t)(-size % ALIGN_BYTES));
}

static void put_header(struct cpio *cpio, const char *path, unsigned mode, uint64_t size)
{
	char header[HEADER_BYTES + 1];
	size_t name = strlen(path) + 1;

	if (size > UINT32_MAX) {
		cpio->failed = EFBIG;
		return;
	}
	/* magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check */
	snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 ++cpio->inode, mode, 0u, 0u, 1u, 0u, (unsigned)size, 0u, 0u, 0u, 0u,
		 (unsigned)name, 0u);
	put(cpio, header, HEADER_BYTES);
	put(cpio, path, name);
	pad(cpio, HEADER_BYTES + name);
}

void cpio_begin(struct cpio *cpio, int fd)
{
	*cpio = (struct cpio){ .fd = fd };
}

void cpio_directory(struct cpio *cpio, const char *path, unsigned mode)
{
	put_header(cpio, path, S_IFDIR | mode, 0);
}

void cpio_file(struct cpio *cpio, const char *path, unsigned mode, const void *data, size_t size)
{
	put_header(cpio, path, S_IFREG | mode, size);
	put(cpio, data, size);
	pad(cpio, size);
}

void cpio_image(struct cpio *cpio, const char *path, unsigned mode, const struct image *image)
{
	char chunk[CHUNK_BYTES];
	struct error err;

	put_header(cpio, path, S_IFREG | mode, image->size_bytes);
	for (uint64_t at = 0; at < image->size_bytes && !cpio->failed;) {
		uint64_t left = image->size_bytes - at;
		size_t size = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);

		if (image_read(image, at, chunk, size, &err))
			cpio->failed = EIO;
		put(cpio, chunk, size);
		at += size;
	}
	pad(cpio, image->size_bytes);
}

int cpio_end(struct cpio *cpio, struct error *err)
{
	put_header(cpio, "TRAILER!!!", 0, 0);
	if (cpio->failed)
		return error_set_errno(err, cpio->failed, "cannot make the initial RAM disk");
	return 0;
}
