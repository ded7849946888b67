/* SPDX-License-Identifier: MIT */
/* What all formats share: finding one, checking requests, threads. See block.h. */
#include "block/block.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/suggest.h"
#include "block/file.h"
#include "block/overlay.h"
#include "block/parts.h"
#include "block/qcow2.h"
#include "block/raw.h"
#include "block/ring.h"

#define THREADS_MAX 8

static const struct format {
	const char *name;
	int (*open)(const struct block_options *options, struct block **block, struct error *err);
} formats[] = {
	{ "raw", raw_open },
	{ "qcow2", qcow2_open },
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static int unknown_format(const struct block_options *options, struct error *err)
{
	struct suggestion suggestion;

	suggest_begin(&suggestion, options->format);
	for (unsigned i = 0; i < FORMATS; i++)
		suggest_consider(&suggestion, formats[i].name);
	return error_set(err, EINVAL, "disk %s: there is no format '%s'%s%s%s", options->file,
			 options->format, suggestion.best ? "; did you mean '" : "",
			 suggestion.best ? suggestion.best : "", suggestion.best ? "'?" : "");
}

static void submit_to_workers(struct block_request *request);

/*
 * By default for direct I/O alone: what the host has in memory is copied by one of its own threads, which is
 * no better than one of ours.
 */
static int create_ring(struct block *block, const struct block_options *options, struct error *err)
{
	const struct block_file *file = block->class->file ? block->class->file(block) : NULL;
	struct error why;
	int ret;

	if (options->io == BLOCK_IO_URING && !file)
		return error_set(err, EINVAL, "disk %s: io_uring is for raw disks", options->file);
	if (!file || options->io == BLOCK_IO_THREADS ||
	    (options->io == BLOCK_IO_DEFAULT && !file->direct))
		return 0;
	ret = block_ring_create(&block->ring, submit_to_workers, &why);
	if (!ret)
		return 0;
	if (options->io == BLOCK_IO_URING)
		return error_set(err, -ret, "disk %s: %s", options->file, why.message);
	log_debug("disk %s: %s", options->file, why.message);
	return 0;
}

static int create_workers(struct block *block, const struct block_options *options,
			  struct error *err)
{
	int ret = workers_create(&block->workers, "block", THREADS_MAX, err);

	if (ret)
		return ret;
	ret = create_ring(block, options, err);
	if (ret)
		workers_destroy(block->workers);
	return ret;
}

const char *block_format_of(const struct block_options *options)
{
	const char *end = strrchr(options->file, '.');

	return options->format ? options->format : end && !strcmp(end, ".qcow2") ? "qcow2" : "raw";
}

/* What only images of another format can do. */
static int check_options(const struct block_options *options, const char *name, struct error *err)
{
	if (options->snapshot && options->overlay)
		return error_set(err, EINVAL, "disk %s: no overlay can lie on a snapshot",
				 options->file);
	if (strcmp(name, "raw") || (!options->snapshot && !options->backing))
		return 0;
	return error_set(err, EINVAL, "disk %s: a raw disk has no %s", options->file,
			 options->snapshot ? "snapshots" : "backing file");
}

/* As it would be, from a file that is only read. */
static int open_to_look(const struct block_options *options, struct block **block,
			struct error *err)
{
	const char *written = options->overlay ? options->overlay : options->file;
	struct block_options readonly = *options;
	int ret;

	readonly.readonly = true;
	if (access(written, W_OK) && !(options->overlay && errno == ENOENT))
		return error_set_errno(err, errno, "cannot open %s", written);
	ret = block_open(&readonly, block, err);
	if (ret)
		return ret;
	(*block)->info.readonly = false;
	(*block)->info.discard = options->discard;
	(*block)->info.write_zeroes = true;
	return 0;
}

int block_open(const struct block_options *options, struct block **block, struct error *err)
{
	const char *name = block_format_of(options);
	int ret = check_options(options, name, err);

	if (ret)
		return ret;
	if (options->look && !options->readonly && !options->snapshot)
		return open_to_look(options, block, err);
	if (options->overlay)
		return overlay_open(options, block, err);
	for (unsigned i = 0; i < FORMATS; i++) {
		if (strcmp(formats[i].name, name))
			continue;
		ret = formats[i].open(options, block, err);
		if (ret)
			return ret;
		ret = create_workers(*block, options, err);
		if (ret)
			(*block)->class->close(*block);
		return ret;
	}
	return unknown_format(options, err);
}

void block_close(struct block *block)
{
	if (!block)
		return;
	block_drain(block);
	block_ring_destroy(block->ring);
	workers_destroy(block->workers);
	block->class->close(block);
}

/* ---- requests ---- */

static bool changes(enum block_op op)
{
	return op == BLOCK_WRITE || op == BLOCK_DISCARD || op == BLOCK_WRITE_ZEROES;
}

static int check(const struct block *block, const struct block_request *request)
{
	const struct block_info *info = &block->info;

	if (request->op == BLOCK_FLUSH)
		return 0;
	if ((request->offset | request->length) & (info->block_bytes - 1) ||
	    request->offset > info->size_bytes ||
	    request->length > info->size_bytes - request->offset)
		return -EINVAL;
	return changes(request->op) && info->readonly ? -EROFS : 0;
}

int block_perform(struct block *block, const struct block_request *request)
{
	const struct block_request flush = { .op = BLOCK_FLUSH };
	int ret = check(block, request);

	if (ret || (!request->length && request->op != BLOCK_FLUSH))
		return ret;
	ret = block->class->perform(block, request);
	if (!ret && request->flags & BLOCK_FUA && changes(request->op))
		ret = block->class->perform(block, &flush);
	return ret;
}

int block_attempt(struct block *block, const struct block_request *request)
{
	int ret = check(block, request);

	if (ret || (!request->length && request->op != BLOCK_FLUSH))
		return ret;
	if (!block->class->attempt || request->flags & BLOCK_FUA)
		return -EAGAIN;
	return block->class->attempt(block, request);
}

int block_extent(struct block *block, uint64_t offset, uint64_t length,
		 struct block_extent *extent)
{
	*extent = (struct block_extent){ BLOCK_EXTENT_DATA, length };
	return block->class->extent(block, offset, length, extent);
}

static void run(struct workers_job *job)
{
	struct block_request *request =
		(struct block_request *)((char *)job - offsetof(struct block_request, job));

	request->done(request, block_perform(request->block, request));
}

static void submit_to_workers(struct block_request *request)
{
	request->job.run = run;
	workers_submit(request->block->workers, &request->job);
}

void block_submit(struct block *block, struct block_request *request)
{
	request->block = block;
	if (!check(block, request) &&
	    ((block->ring && block_ring_submit(block->ring, block->class->file(block), request)) ||
	     parts_submit(request, submit_to_workers)))
		return;
	submit_to_workers(request);
}

void block_push(struct block *block)
{
	if (block->ring)
		block_ring_push(block->ring);
}

void block_drain(struct block *block)
{
	/* What the ring gives back goes to the threads. */
	if (block->ring)
		block_ring_drain(block->ring);
	/* Who opened it as a format, without block_open, has none. */
	if (block->workers)
		workers_drain(block->workers);
}

const char *block_io_name(const struct block *block)
{
	return block->ring ? "uring" : "threads";
}
