/* SPDX-License-Identifier: MIT */
/* Bringing what an overlay holds down into its backing file: see qcow2.h. */
#include <errno.h>

#include "base/error.h"
#include "block/copy.h"
#include "block/qcow2.h"
#include "block/qcow2_image.h"

static int layer_extent(struct block *block, uint64_t offset, uint64_t length,
			struct block_extent *extent)
{
	return qcow2_layer_extent((struct qcow2 *)block, offset, length, extent);
}

static int empty(struct qcow2 *image, struct error *err)
{
	const struct block_request flush = { .op = BLOCK_FLUSH };
	int ret = qcow2_drop(image, 0, image->block.info.size_bytes);

	if (!ret)
		ret = block_perform(&image->block, &flush);
	return ret ? error_set_errno(err, -ret, "cannot empty %s", image->path) : 0;
}

static int merge(struct qcow2 *image, const struct block_progress *progress, struct error *err)
{
	struct block_copy copy = {
		.from = &image->block, .to = image->backing, .from_name = image->path,
		.to_name = image->header.backing, .extent = layer_extent,
	};
	int ret;

	if (!image->backing)
		return error_set(err, EINVAL, "%s lies on no other file", image->path);
	if (image->header.snapshots)
		return error_set(err, EINVAL, "%s has snapshots, which would change with the file "
				 "that it lies on", image->path);
	if (image->backing->info.size_bytes < image->block.info.size_bytes)
		return error_set(err, EINVAL, "%s is larger than the file that it lies on, %s",
				 image->path, image->header.backing);
	ret = block_copy(&copy, progress, err);
	return ret ? ret : empty(image, err);
}

int qcow2_merge(const char *path, const struct block_progress *progress, struct error *err)
{
	/* Space that the overlay no longer needs goes back to the host. */
	const struct block_options options = {
		.file = path, .format = "qcow2", .backing = true, .backing_writable = true,
		.discard = true,
	};
	struct block *block;
	int ret = block_open(&options, &block, err);

	if (ret)
		return ret;
	ret = merge((struct qcow2 *)block, progress, err);
	block_close(block);
	return ret;
}
