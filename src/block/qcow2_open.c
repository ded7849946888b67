/* SPDX-License-Identifier: MIT */
/* Opening and closing images, and the class that block.c sees. */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "block/qcow2.h"
#include "block/qcow2_backing.h"
#include "block/qcow2_image.h"

int qcow2_corrupt(struct qcow2 *image, const char *fmt, ...)
{
	char text[160];
	va_list args;

	if (image->broken)
		return -EIO;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	image->broken = true;
	log_error("disk %s: the image is corrupt (%s)%s", image->path, text,
		  image->block.info.readonly ? "" : ": nothing more is written to it");
	if (image->block.info.readonly || image->header.version < 3)
		return -EIO;
	image->header.incompatible |= QCOW2_INCOMPATIBLE_CORRUPT;
	qcow2_header_update(&image->file, &image->header);
	return -EIO;
}

/* ---- tables ---- */

/* In whole clusters. */
static int read_root(const struct qcow2 *image, struct qcow2_root *root, uint64_t offset,
		     uint32_t count)
{
	uint64_t mask = image->file.align_bytes - 1;
	uint64_t room = qcow2_clusters(image, count * 8ull) << image->cluster_bits;

	*root = (struct qcow2_root){ .count = count };
	root->entries = calloc(1, room ? room : 1);
	if (!root->entries)
		return -ENOMEM;
	return block_file_read(&image->file, root->entries, offset, (count * 8ull + mask) & ~mask);
}

static int add_roots_tables(struct qcow2 *image, const struct qcow2_root *root, uint64_t bits)
{
	int ret = 0;

	for (uint32_t i = 0; i < root->count && !ret; i++) {
		uint64_t offset = be64toh(root->entries[i]) & bits;

		if (!offset)
			continue;
		if (offset & (image->cluster_bytes - 1) || offset >= QCOW2_HOST_BYTES_MAX)
			return -EEXIST;
		ret = qcow2_metadata_add(&image->metadata, offset >> image->cluster_bits, 1);
	}
	return ret;
}

static int add_table(struct qcow2 *image, uint64_t offset, uint64_t bytes)
{
	return qcow2_metadata_add(&image->metadata, offset >> image->cluster_bits,
				  qcow2_clusters(image, bytes));
}

static int add_snapshots(struct qcow2 *image, struct error *err)
{
	struct qcow2_snapshot *all;
	uint64_t bytes;
	int ret;

	if (!image->header.snapshots)
		return 0;
	ret = qcow2_snapshots_read(&image->file, &image->header, image->path, &all, &bytes, err);
	if (ret)
		return ret;
	ret = add_table(image, image->header.snapshots_offset, bytes);
	for (uint32_t i = 0; i < image->header.snapshots && !ret; i++)
		ret = all[i].l1_entries > QCOW2_L1_BYTES_MAX / 8 ? -EEXIST :
		      add_table(image, all[i].l1_offset, all[i].l1_entries * 8ull);
	qcow2_snapshots_release(all, image->header.snapshots);
	return ret;
}

/*
 * Where nothing of the guest's may go. Tables that overlap are the image's end as a writable one.
 */
static int find_metadata(struct qcow2 *image, struct error *err)
{
	const struct qcow2_header *header = &image->header;
	int ret = add_snapshots(image, err);

	if (ret && ret != -EEXIST && ret != -E2BIG)
		return ret;
	if (!ret)
		ret = add_table(image, 0, 1);
	if (!ret)
		ret = add_table(image, header->l1_offset, header->l1_entries * 8ull);
	if (!ret)
		ret = add_table(image, header->reftable_offset,
				(uint64_t)header->reftable_clusters << header->cluster_bits);
	if (!ret)
		ret = add_roots_tables(image, &image->reftable, ~0x1ffull);
	if (!ret)
		ret = add_roots_tables(image, &image->l1, QCOW2_OFFSET);
	if (ret == -EEXIST || ret == -E2BIG)
		return error_set(err, EINVAL, "%s: its tables overlap: see 'ringlet disk check'",
				 image->path);
	return ret ? error_set_errno(err, -ret, "cannot read the tables of %s", image->path) : 0;
}

static int init_caches(struct qcow2 *image)
{
	int ret = qcow2_cache_init(&image->l2_tables, image, qcow2_commit_changes,
				   image->l1.count);

	return ret ? ret : qcow2_cache_init(&image->refblocks, image, qcow2_clean_refblocks,
					    image->reftable.count);
}

static int open_tables(struct qcow2 *image, bool readonly, struct error *err)
{
	const struct qcow2_header *header = &image->header;
	int ret = read_root(image, &image->l1, header->l1_offset, header->l1_entries);

	if (!ret && !readonly)
		ret = read_root(image, &image->reftable, header->reftable_offset,
				header->reftable_clusters << (header->cluster_bits - 3));
	if (!ret)
		ret = init_caches(image);
	if (ret)
		return error_set_errno(err, -ret, "cannot read the tables of %s", image->path);
	return readonly ? 0 : find_metadata(image, err);
}

/* ---- what writing needs ---- */

static int prepare_to_write(struct qcow2 *image, struct error *err)
{
	struct qcow2_header *header = &image->header;
	int ret = 0;

	if (header->incompatible & QCOW2_INCOMPATIBLE_CORRUPT)
		return error_set(err, EINVAL, "%s is marked as corrupt, and not written to: see "
				 "'ringlet disk check --repair'", image->path);
	if (header->autoclear) {
		/* What depends on all writes being known to it, which we know nothing of. */
		header->autoclear = 0;
		ret = qcow2_header_update(&image->file, header);
	}
	if (ret)
		return error_set_errno(err, -ret, "cannot write to %s", image->path);
	if (header->incompatible & QCOW2_INCOMPATIBLE_DIRTY)
		return qcow2_rebuild(&image->file, header, image->path, err);
	return 0;
}

static void fill_info(struct qcow2 *image, const struct block_options *options)
{
	struct block_info *info = &image->block.info;

	info->block_bytes = image->file.align_bytes;
	info->size_bytes = (image->header.size_bytes + info->block_bytes - 1) &
			   ~(uint64_t)(info->block_bytes - 1);
	info->readonly = options->readonly || options->snapshot;
	info->discard = options->discard && !info->readonly;
	info->write_zeroes = !info->readonly;
}

static void init_locks(struct qcow2 *image)
{
	pthread_mutex_init(&image->mutex, NULL);
	pthread_mutex_init(&image->inflate_mutex, NULL);
	pthread_cond_init(&image->range_left, NULL);
	pthread_cond_init(&image->committed, NULL);
	image->last_range = &image->ranges;
}

static int open_file(struct qcow2 *image, const struct block_options *options, struct error *err)
{
	struct qcow2_header *header = &image->header;
	int ret = qcow2_header_read(&image->file, image->path, header, err);

	if (!ret && !qcow2_can_inflate(header->compression))
		ret = error_set(err, EOPNOTSUPP, "%s: this build lacks the library for its "
				"compression", image->path);
	if (!ret && options->snapshot)
		ret = qcow2_snapshot_choose(&image->file, header, image->path, options->snapshot,
					    err);
	if (ret)
		return ret;
	image->cluster_bits = header->cluster_bits;
	image->cluster_bytes = 1u << header->cluster_bits;
	image->l2_bits = header->cluster_bits - 3;
	image->refblock_bits = header->cluster_bits + 3 - header->refcount_order;
	fill_info(image, options);
	if (!image->block.info.readonly)
		ret = prepare_to_write(image, err);
	image->end = image->file.size_bytes;
	return ret ? ret : open_tables(image, image->block.info.readonly, err);
}

int qcow2_image_open(struct qcow2 *image, const struct block_options *options, struct error *err)
{
	bool readonly = options->readonly || options->snapshot;
	int ret;

	*image = (struct qcow2){ .path = strdup(options->file) };
	if (!image->path)
		return error_set(err, ENOMEM, "no memory for the image %s", options->file);
	ret = block_file_open(&image->file, options->file, readonly, options->direct, err);
	if (ret) {
		free(image->path);
		return ret;
	}
	init_locks(image);
	ret = open_file(image, options, err);
	if (ret)
		qcow2_image_close(image);
	return ret;
}

void qcow2_image_close(struct qcow2 *image)
{
	block_close(image->backing);
	qcow2_cache_release(&image->l2_tables);
	qcow2_cache_release(&image->refblocks);
	qcow2_metadata_release(&image->metadata);
	free(image->l1.entries);
	free(image->reftable.entries);
	free(image->frees);
	free(image->inflated);
	pthread_cond_destroy(&image->range_left);
	pthread_cond_destroy(&image->committed);
	pthread_mutex_destroy(&image->inflate_mutex);
	pthread_mutex_destroy(&image->mutex);
	block_file_close(&image->file);
	free(image->path);
}

/* ---- the class ---- */

/* What changed nothing but data need not keep others from their work. */
static int flush(struct qcow2 *image)
{
	int ret = 0;

	if (image->block.info.readonly)
		return 0;
	pthread_mutex_lock(&image->mutex);
	if (image->broken)
		ret = -EIO;
	else if (qcow2_has_changes(image))
		ret = qcow2_commit_changes(image);
	else
		ret = 1;
	pthread_mutex_unlock(&image->mutex);
	return ret == 1 ? block_file_flush(&image->file) : ret;
}

static int qcow2_perform(struct block *block, const struct block_request *request)
{
	struct qcow2 *image = (struct qcow2 *)block;

	switch (request->op) {
	case BLOCK_READ:
		return qcow2_read(image, request);
	case BLOCK_WRITE:
		return qcow2_write(image, request);
	case BLOCK_FLUSH:
		return flush(image);
	case BLOCK_DISCARD:
		return qcow2_discard(image, request);
	case BLOCK_WRITE_ZEROES:
		return qcow2_write_zeroes(image, request);
	}
	return -EINVAL;
}

int qcow2_layer_extent(struct qcow2 *image, uint64_t offset, uint64_t length,
		       struct block_extent *extent)
{
	struct qcow2_mapping mapping;
	int ret;

	pthread_mutex_lock(&image->mutex);
	ret = qcow2_map_find(image, offset, length, &mapping);
	pthread_mutex_unlock(&image->mutex);
	if (ret)
		return ret;
	extent->length = mapping.bytes;
	extent->kind = mapping.kind == QCOW2_IS_ABSENT ? BLOCK_EXTENT_BELOW :
		       mapping.kind == QCOW2_IS_ZERO   ? BLOCK_EXTENT_ZERO : BLOCK_EXTENT_DATA;
	return 0;
}

static int qcow2_extent(struct block *block, uint64_t offset, uint64_t length,
			struct block_extent *extent)
{
	struct qcow2 *image = (struct qcow2 *)block;
	int ret = qcow2_layer_extent(image, offset, length, extent);

	if (ret || extent->kind != BLOCK_EXTENT_BELOW)
		return ret;
	extent->kind = BLOCK_EXTENT_ZERO;
	if (!image->backing || offset >= image->backing->info.size_bytes)
		return 0;
	return block_extent(image->backing, offset,
			    offset + extent->length > image->backing->info.size_bytes ?
				    image->backing->info.size_bytes - offset : extent->length,
			    extent);
}

static void qcow2_close(struct block *block)
{
	struct qcow2 *image = (struct qcow2 *)block;
	int ret = flush(image);

	/* What that freed. */
	if (!ret)
		ret = flush(image);
	if (ret)
		log_error("disk %s: %s: what was written last is lost", image->path,
			  strerror(-ret));
	qcow2_image_close(image);
	free(image);
}

static const struct block_class qcow2_class = {
	.name = "qcow2",
	.perform = qcow2_perform,
	.attempt = qcow2_attempt,
	.extent = qcow2_extent,
	.close = qcow2_close,
};

int qcow2_open(const struct block_options *options, struct block **block, struct error *err)
{
	struct qcow2 *image = malloc(sizeof(*image));
	int ret;

	if (!image)
		return error_set(err, ENOMEM, "no memory for the disk %s", options->file);
	ret = qcow2_image_open(image, options, err);
	if (ret) {
		free(image);
		return ret;
	}
	image->block.class = &qcow2_class;
	ret = qcow2_backing_open(image, options, err);
	if (ret) {
		qcow2_image_close(image);
		free(image);
		return ret;
	}
	*block = &image->block;
	return 0;
}
