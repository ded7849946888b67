/* SPDX-License-Identifier: MIT */
/*
 * Backing files. An image's header says which file it lies on, and who made the image may have
 * named any file of this host there. So one is opened only if the user said so, by the format
 * that the header names, read-only, up to a depth, and never a file that is in the chain already.
 */
#include "block/qcow2_backing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "block/qcow2_image.h"

/* What comes before the first slash names a protocol ("nbd:", "json:"), not a file. */
static bool has_protocol(const char *name)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

	return colon && (!slash || colon < slash);
}

/* A relative name is relative to the image's directory. */
static char *resolve(const char *image_path, const char *name)
{
	const char *slash = strrchr(image_path, '/');
	char *path;

	if (name[0] == '/' || !slash)
		return strdup(name);
	return asprintf(&path, "%.*s%s", (int)(slash - image_path + 1), image_path, name) < 0 ?
		       NULL : path;
}

static int find(const char *image_path, const struct qcow2_header *header, char **path,
		const char **format, struct error *err)
{
	if (has_protocol(header->backing))
		return error_set(err, EINVAL, "%s: its backing file '%s' is no file's name",
				 image_path, header->backing);
	if (!header->backing_format[0])
		return error_set(err, EINVAL, "%s does not say which format its backing file %s "
				 "has, and it is not guessed", image_path, header->backing);
	if (strcmp(header->backing_format, "raw") && strcmp(header->backing_format, "qcow2"))
		return error_set(err, EINVAL, "%s: its backing file has the format '%s'; raw and "
				 "qcow2 are known", image_path, header->backing_format);
	*format = header->backing_format;
	*path = resolve(image_path, header->backing);
	return *path ? 0 : error_set(err, ENOMEM, "no memory for the image %s", image_path);
}

char *qcow2_backing_of(const char *path, bool *qcow2)
{
	struct block_file file;
	struct qcow2_header header;
	const char *format;
	char *below = NULL;

	if (block_file_open(&file, path, true, false, NULL))
		return NULL;
	if (!qcow2_header_read(&file, path, &header, NULL) && header.backing[0] &&
	    !find(path, &header, &below, &format, NULL))
		*qcow2 = !strcmp(format, "qcow2");
	block_file_close(&file);
	return below;
}

static int look_for_loop(const struct block_options *options, const char *path,
			 struct error *err)
{
	struct stat mine, theirs;
	unsigned depth = 0;

	if (stat(path, &mine))
		return error_set_errno(err, errno, "%s: cannot open its backing file %s",
				       options->file, path);
	for (const struct block_options *o = options; o; o = o->above, depth++)
		if (!stat(o->file, &theirs) && mine.st_dev == theirs.st_dev &&
		    mine.st_ino == theirs.st_ino)
			return error_set(err, ELOOP, "%s lies on itself: its backing file is %s",
					 o->file, path);
	if (depth > QCOW2_DEPTH_MAX)
		return error_set(err, ELOOP, "%s: more than %u backing files below each other",
				 path, QCOW2_DEPTH_MAX);
	return 0;
}

static int judge(struct qcow2 *image, struct error *err)
{
	struct block_info *info = &image->block.info;
	const struct block_info *below = &image->backing->info;

	if (below->block_bytes > image->cluster_bytes)
		return error_set(err, EINVAL, "%s: its clusters are smaller than the blocks of its "
				 "backing file", image->path);
	if (below->block_bytes <= info->block_bytes)
		return 0;
	info->block_bytes = below->block_bytes;
	info->size_bytes = (info->size_bytes + info->block_bytes - 1) &
			   ~(uint64_t)(info->block_bytes - 1);
	return 0;
}

static int open_at(struct qcow2 *image, const struct block_options *options, const char *path,
		   const char *format, struct error *err)
{
	const struct block_options below = {
		.file = path, .format = format, .readonly = !options->backing_writable,
		.direct = options->direct, .io = BLOCK_IO_THREADS, .backing = !strcmp(format, "qcow2"), .above = options,
	};
	int ret = look_for_loop(options, path, err);

	if (!ret)
		ret = block_open(&below, &image->backing, err);
	return ret ? ret : judge(image, err);
}

/* Is it what the image was made on? Then the base is opened as its own options say. */
static int open_base(struct qcow2 *image, const struct block_options *options, const char *path,
		     const char *format, struct error *err)
{
	struct stat named, base;
	int ret;

	if (stat(options->base->file, &base))
		return error_set_errno(err, errno, "cannot open %s", options->base->file);
	if (stat(path, &named) || named.st_dev != base.st_dev || named.st_ino != base.st_ino ||
	    strcmp(format, block_format_of(options->base)))
		return error_set(err, EINVAL, "%s is an overlay of %s (%s), not of %s (%s)",
				 image->path, path, format, options->base->file,
				 block_format_of(options->base));
	ret = look_for_loop(options, path, err);
	if (!ret)
		ret = block_open(options->base, &image->backing, err);
	return ret ? ret : judge(image, err);
}

int qcow2_backing_open(struct qcow2 *image, const struct block_options *options,
		       struct error *err)
{
	const char *format = NULL;
	char *path;
	int ret;

	if (options->no_backing)
		return 0;
	if (options->base && !image->header.backing[0])
		return error_set(err, EINVAL, "%s is no overlay: it lies on no other file",
				 image->path);
	if (!image->header.backing[0])
		return 0;
	if (!options->backing && !options->base)
		return error_set(err, EINVAL, "%s lies on another file, %s, which is read only "
				 "with the option 'backing'", image->path, image->header.backing);
	ret = find(image->path, &image->header, &path, &format, err);
	if (ret)
		return ret;
	ret = options->base ? open_base(image, options, path, format, err) :
			      open_at(image, options, path, format, err);
	free(path);
	return ret;
}
