/* SPDX-License-Identifier: MIT */
/* Overlays: see overlay.h. */
#include "block/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "block/block.h"
#include "block/file.h"
#include "block/qcow2.h"

/* The base's size: it is opened with its own options, for which it has to be right in any case. */
static int measure(const struct block_options *base, uint64_t *size_bytes, struct error *err)
{
	struct block *block;
	int ret = block_open(base, &block, err);

	if (ret)
		return ret;
	*size_bytes = block->info.size_bytes;
	block_close(block);
	return 0;
}

static int fill(int fd, const char *path, const struct block_options *base, struct error *err)
{
	/* The overlay may be moved; its base stays where it is. */
	char *base_path = realpath(base->file, NULL);
	struct qcow2_creation creation = {
		.backing = base_path, .backing_format = block_format_of(base),
	};
	int ret;

	if (!base_path)
		return error_set_errno(err, errno, "cannot open %s", base->file);
	ret = measure(base, &creation.size_bytes, err);
	if (!ret)
		ret = qcow2_create(fd, path, &creation, err);
	free(base_path);
	return ret;
}

static int make(const char *path, const struct block_options *base, struct error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), ret;

	if (fd < 0 && errno == EEXIST)
		return 0;
	if (fd < 0)
		return error_set_errno(err, errno, "cannot make the overlay %s", path);
	ret = fill(fd, path, base, err);
	close(fd);
	if (ret)
		unlink(path);
	else
		block_file_flush_name(path);
	return ret;
}

/* Nobody's file, in the place of the one that would be made. */
static int open_unmade(struct block_options *top, const struct block_options *base,
		       struct block **block, struct error *err)
{
	char name[32], *directory = strdup(top->file);
	int fd, ret = 0;

	if (!directory || access(dirname(directory), W_OK))
		ret = error_set_errno(err, errno, "cannot make the overlay %s", top->file);
	free(directory);
	if (ret)
		return ret;
	fd = memfd_create("overlay", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "no memory for the overlay %s", top->file);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ret = fill(fd, top->file, base, err);
	top->file = name;
	top->direct = false;
	if (!ret)
		ret = block_open(top, block, err);
	close(fd);
	return ret;
}

int overlay_open(const struct block_options *options, struct block **block, struct error *err)
{
	struct block_options base = *options, top = {
		.file = options->overlay, .format = "qcow2", .readonly = options->readonly,
		.direct = options->direct, .discard = options->discard, .base = &base,
		.look = options->look, .io = options->io,
	};
	int ret;

	base.overlay = NULL;
	base.discard = false;
	base.io = BLOCK_IO_THREADS;
	base.readonly = true;
	base.above = &top;
	if (options->look && access(options->overlay, F_OK) && errno == ENOENT)
		return open_unmade(&top, &base, block, err);
	ret = make(options->overlay, &base, err);
	return ret ? ret : block_open(&top, block, err);
}
