/* SPDX-License-Identifier: MIT */
/* Reading image files: see image.h. */
#include "boot/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "mem/mem.h"

#define COPY_CHUNK 65536

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Copies a stream of unknown length to out; its size, or -errno (-EFBIG over max_bytes). */
static int64_t drain(int in, int out, uint64_t max_bytes)
{
	char *chunk = malloc(COPY_CHUNK);
	uint64_t total = 0;
	int rc = chunk ? 0 : -ENOMEM;

	while (!rc) {
		ssize_t n = read(in, chunk, COPY_CHUNK);

		if (n == 0)
			break;
		if (n < 0) {
			rc = errno == EINTR ? 0 : -errno;
			continue;
		}
		total += (uint64_t)n;
		rc = total > max_bytes ? -EFBIG : write_all(out, chunk, (size_t)n);
	}
	free(chunk);
	return rc ? rc : (int64_t)total;
}

/* Replaces a pipe or device by an anonymous file with its content. */
static int make_seekable(struct image *image, const char *what, uint64_t max_bytes,
			 struct error *err)
{
	int copy = memfd_create("image", MFD_CLOEXEC);
	int64_t size;

	if (copy < 0)
		return error_set_errno(err, errno, "%s %s: cannot make a copy", what, image->path);
	size = drain(image->fd, copy, max_bytes);
	close(image->fd);
	image->fd = copy;
	if (size == -EFBIG)
		return error_set(err, EFBIG, "%s %s is larger than %llu MiB: not a %s", what,
				 image->path, (unsigned long long)(max_bytes >> 20), what);
	if (size < 0)
		return error_set_errno(err, (int)-size, "cannot read %s %s", what, image->path);
	image->size_bytes = (uint64_t)size;
	return 0;
}

static int check_file(struct image *image, const char *what, uint64_t max_bytes, struct error *err)
{
	struct stat st;

	if (fstat(image->fd, &st))
		return error_set_errno(err, errno, "cannot read %s %s", what, image->path);
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "%s %s is a directory: give a file", what,
				 image->path);
	image->size_bytes = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode)) {
		int rc = make_seekable(image, what, max_bytes, err);

		if (rc)
			return rc;
	}
	if (!image->size_bytes)
		return error_set(err, ENOEXEC, "%s %s is empty", what, image->path);
	if (image->size_bytes > max_bytes)
		return error_set(err, EFBIG, "%s %s is larger than %llu MiB: not a %s", what,
				 image->path, (unsigned long long)(max_bytes >> 20), what);
	return 0;
}

int image_open(struct image *image, const char *path, const char *what, uint64_t max_bytes,
	       struct error *err)
{
	int rc;

	image->path = path;
	image->size_bytes = 0;
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (image->fd < 0)
		return error_set_errno(err, errno, "cannot open %s %s", what, path);
	rc = check_file(image, what, max_bytes, err);
	if (rc)
		image_close(image);
	return rc;
}

int image_open_bytes(struct image *image, const char *name, const void *data, size_t size_bytes,
		     struct error *err)
{
	int rc;

	image->path = name;
	image->size_bytes = size_bytes;
	image->fd = memfd_create("image", MFD_CLOEXEC);
	if (image->fd < 0)
		return error_set_errno(err, errno, "%s: cannot make a copy", name);
	rc = write_all(image->fd, data, size_bytes);
	if (!rc)
		return 0;
	image_close(image);
	return error_set_errno(err, -rc, "%s: cannot make a copy", name);
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

int image_read(const struct image *image, uint64_t offset, void *data, size_t len,
	       struct error *err)
{
	char *at = data;

	if (offset > image->size_bytes || len > image->size_bytes - offset)
		return error_set(err, ENOEXEC,
				 "%s is truncated: %llu bytes, but its header asks for %llu",
				 image->path, (unsigned long long)image->size_bytes,
				 (unsigned long long)offset + len);
	while (len) {
		ssize_t n = pread(image->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "cannot read %s", image->path);
		if (n == 0)
			return error_set(err, ENOEXEC, "%s shrank while it was read", image->path);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int image_load(const struct image *image, uint64_t offset, uint64_t len, struct mem *mem,
	       uint64_t gpa, struct error *err)
{
	while (len) {
		const struct mem_region *region = mem_find(mem, gpa);
		uint64_t piece;
		int rc;

		if (!region)
			return error_set(err, ENOSPC, "%s does not fit: no memory at 0x%llx",
					 image->path, (unsigned long long)gpa);
		piece = region->gpa + region->size_bytes - gpa;
		if (piece > len)
			piece = len;
		mem_settle_range(region, gpa - region->gpa, piece);
		rc = image_read(image, offset, region->host + (gpa - region->gpa), piece, err);
		if (rc)
			return rc;
		gpa += piece;
		offset += piece;
		len -= piece;
	}
	return 0;
}
