/* SPDX-License-Identifier: MIT */
/* Making and copying disks: see image.h. */
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "block/block.h"
#include "block/copy.h"
#include "block/file.h"
#include "block/qcow2.h"

static const char *format_of(const char *path, const char *format)
{
	const struct block_options options = { .file = path, .format = format };

	return block_format_of(&options);
}

/* ---- the file ---- */

/* Nobody else's: as block_file_open does it. */
static int lock(int fd, const char *path, struct error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &lock) || (errno != EAGAIN && errno != EACCES))
		return 0;
	return error_set(err, EBUSY, "%s is in use by another program", path);
}

/* An empty file, or a block device. *made: it was not there before. */
static int open_new(const char *path, bool force, int *fd, bool *made, struct error *err)
{
	int ret;

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	*made = *fd >= 0;
	if (*fd < 0 && errno == EEXIST && force)
		*fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0 && errno == EEXIST)
		return error_set(err, EEXIST, "%s is there already: --force writes over it", path);
	if (*fd < 0)
		return error_set_errno(err, errno, "cannot make %s", path);
	ret = lock(*fd, path, err);
	if (!ret && !*made && ftruncate(*fd, 0) && errno != EINVAL)
		ret = error_set_errno(err, errno, "cannot empty %s", path);
	if (ret)
		close(*fd);
	return ret;
}

static int size_raw(int fd, const char *path, uint64_t size_bytes, struct error *err)
{
	struct stat st;

	if (size_bytes > INT64_MAX)
		return error_set(err, EFBIG, "%s: no disk is that large", path);
	if (fstat(fd, &st))
		return error_set_errno(err, errno, "cannot make %s", path);
	if (S_ISREG(st.st_mode) && ftruncate(fd, (off_t)size_bytes))
		return error_set_errno(err, errno, "cannot make %s", path);
	return 0;
}

/* ---- creating ---- */

static int check_raw(const struct image_creation *creation, struct error *err)
{
	const char *what = creation->cluster_bytes ? "clusters" :
			   creation->backing	   ? "backing file" :
			   creation->preallocate   ? "tables to be made in advance" : NULL;

	return what ? error_set(err, EINVAL, "a raw disk has no %s", what) : 0;
}

/* A backing file's size. It is looked for where the image will look for it. */
static int measure(const char *path, const struct image_creation *creation, uint64_t *size_bytes,
		   struct error *err)
{
	const char *slash = strrchr(path, '/');
	int directory = creation->backing[0] == '/' || !slash ? 0 : (int)(slash - path) + 1;
	struct block_options options = { .readonly = true };
	struct block *block;
	char *where;
	int ret;

	if (asprintf(&where, "%.*s%s", directory, path, creation->backing) < 0)
		return error_set(err, ENOMEM, "no memory for the image %s", path);
	options.file = where;
	options.format = format_of(where, creation->backing_format);
	options.backing = !strcmp(options.format, "qcow2");
	ret = block_open(&options, &block, err);
	free(where);
	if (ret)
		return ret;
	*size_bytes = block->info.size_bytes;
	block_close(block);
	return 0;
}

static int fill_qcow2(int fd, const char *path, uint64_t size_bytes,
		      const struct image_creation *creation, struct error *err)
{
	struct qcow2_creation qcow2 = {
		.size_bytes = size_bytes, .cluster_bytes = creation->cluster_bytes,
		.backing = creation->backing,
	};

	if (creation->backing)
		qcow2.backing_format = format_of(creation->backing, creation->backing_format);
	return qcow2_create(fd, path, &qcow2, err);
}

static int create(const char *path, const struct image_creation *creation, bool *made,
		  struct error *err)
{
	bool raw = !strcmp(format_of(path, creation->format), "raw");
	uint64_t size_bytes = 0;
	int ret = raw ? check_raw(creation, err) : 0, fd;

	*made = false;
	if (!raw && strcmp(format_of(path, creation->format), "qcow2"))
		return error_set(err, EINVAL, "there is no format '%s'", creation->format);
	if (!ret && creation->backing && creation->preallocate)
		ret = error_set(err, EINVAL, "%s: places made in advance would hide its backing "
				"file", path);
	/* Before anything is written: it may be wrong. */
	if (!ret && creation->backing)
		ret = measure(path, creation, &size_bytes, err);
	if (creation->size_bytes)
		size_bytes = creation->size_bytes;
	if (!ret)
		ret = open_new(path, creation->force, &fd, made, err);
	if (ret)
		return ret;
	ret = raw ? size_raw(fd, path, size_bytes, err) :
		    fill_qcow2(fd, path, size_bytes, creation, err);
	close(fd);
	if (!ret && *made)
		block_file_flush_name(path);
	return !ret && creation->preallocate ? qcow2_preallocate(path, err) : ret;
}

int image_create(const char *path, const struct image_creation *creation, struct error *err)
{
	bool made;
	int ret = create(path, creation, &made, err);

	if (ret && made)
		unlink(path);
	return ret;
}

/* ---- copying ---- */

static int copy_to(struct block *from, const char *from_name, const char *path, const char *format,
		   const struct block_progress *progress, struct error *err)
{
	const struct block_options options = { .file = path, .format = format, .no_backing = true };
	struct block_copy copy = { .from = from, .from_name = from_name, .to_name = path };
	struct stat st;
	int ret = block_open(&options, &copy.to, err);

	if (ret)
		return ret;
	copy.to_is_zeros = !stat(path, &st) && S_ISREG(st.st_mode);
	if (copy.to->info.size_bytes < from->info.size_bytes)
		ret = error_set(err, ENOSPC, "%s is too small for %s", path, from_name);
	else
		ret = block_copy(&copy, progress, err);
	block_close(copy.to);
	return ret;
}

int image_convert(const struct block_options *source, const char *path,
		  const struct image_creation *creation, const struct block_progress *progress,
		  struct error *err)
{
	struct image_creation sized = *creation;
	struct block *from;
	bool made;
	int ret = block_open(source, &from, err);

	if (ret)
		return ret;
	sized.format = format_of(path, creation->format);
	sized.size_bytes = from->info.size_bytes;
	ret = create(path, &sized, &made, err);
	if (!ret)
		ret = copy_to(from, source->file, path, sized.format, progress, err);
	if (ret && made)
		unlink(path);
	block_close(from);
	return ret;
}

int image_host_bytes(const char *path, uint64_t *bytes, struct error *err)
{
	struct stat st;

	if (stat(path, &st))
		return error_set_errno(err, errno, "cannot look at %s", path);
	*bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}
