/* SPDX-License-Identifier: MIT */
/*
 * More room for reference counts: a new block, which lies in the clusters that it describes
 * itself, or a larger table. That goes, with the blocks that describe it, behind all that the old
 * one can describe; one write of the header makes it the table. The image's mutex is held.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_image.h"

static int new_block(struct qcow2 *image, uint64_t cluster)
{
	uint64_t offset = cluster << image->cluster_bits;
	void *block;
	int ret;

	ret = qcow2_metadata_add(&image->metadata, cluster, 1);
	if (ret == -EEXIST)
		return qcow2_corrupt(image, "a cluster with metadata has no refcount block");
	if (ret)
		return ret;
	ret = qcow2_cache_add(&image->refblocks, offset, &block);
	if (ret) {
		qcow2_metadata_remove(&image->metadata, cluster);
		return ret;
	}
	qcow2_refcount_put(block, image->header.refcount_order,
			   cluster & ((1ull << image->refblock_bits) - 1), 1);
	qcow2_root_change(&image->reftable, (uint32_t)(cluster >> image->refblock_bits), offset);
	return 0;
}

/* ---- a larger table ---- */

struct growth {
	uint64_t first;                   /* cluster: blocks, then the table */
	uint64_t blocks, clusters;        /* of the table */
	uint8_t *data;                    /* all of it */
};

static int plan(const struct qcow2 *image, struct growth *growth)
{
	uint64_t per_block = 1ull << image->refblock_bits;
	uint64_t entries_per_cluster = image->cluster_bytes / 8;

	growth->first = (uint64_t)image->reftable.count << image->refblock_bits;
	growth->clusters = image->header.reftable_clusters * 2ull;
	do {
		growth->blocks = 1;
		while (growth->blocks * per_block < growth->blocks + growth->clusters)
			growth->blocks++;
	} while (growth->clusters * entries_per_cluster < image->reftable.count + growth->blocks &&
		 growth->clusters++);
	if (growth->clusters << image->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
		return -ENOSPC;
	if ((growth->first + growth->blocks + growth->clusters) << image->cluster_bits >
	    (image->file.device ? image->file.size_bytes : QCOW2_HOST_BYTES_MAX))
		return -ENOSPC;
	return 0;
}

static void fill(const struct qcow2 *image, struct growth *growth)
{
	uint64_t *table = (uint64_t *)(growth->data + (growth->blocks << image->cluster_bits));

	for (uint64_t i = 0; i < growth->blocks + growth->clusters; i++) {
		uint8_t *block = growth->data + (i >> image->refblock_bits << image->cluster_bits);

		qcow2_refcount_put(block, image->header.refcount_order,
				   i & ((1ull << image->refblock_bits) - 1), 1);
	}
	memcpy(table, image->reftable.entries, (size_t)image->reftable.count * 8);
	for (uint64_t i = 0; i < growth->blocks; i++)
		table[image->reftable.count + i] =
			htobe64((growth->first + i) << image->cluster_bits);
}

static int write_growth(struct qcow2 *image, const struct growth *growth,
			const struct qcow2_header *header)
{
	uint64_t offset = growth->first << image->cluster_bits;
	uint64_t bytes = (growth->blocks + growth->clusters) << image->cluster_bits;
	int ret = block_file_write(&image->file, growth->data, offset, bytes);

	if (offset + bytes > image->end)
		image->end = offset + bytes;
	if (!ret)
		ret = block_file_flush(&image->file);
	if (!ret)
		ret = qcow2_header_update(&image->file, header);
	return ret ? ret : block_file_flush(&image->file);
}

/* entries: room for the new table. */
static int adopt(struct qcow2 *image, const struct growth *growth,
		 const struct qcow2_header *header, uint64_t *entries)
{
	uint64_t old = image->header.reftable_offset >> image->cluster_bits;
	uint64_t old_clusters = image->header.reftable_clusters;
	size_t bytes = growth->clusters << image->cluster_bits;

	memcpy(entries, growth->data + (growth->blocks << image->cluster_bits), bytes);
	free(image->reftable.entries);
	image->reftable = (struct qcow2_root){ .entries = entries, .count = (uint32_t)(bytes / 8) };
	image->header = *header;
	qcow2_free_later(image, old, old_clusters);
	return qcow2_metadata_add(&image->metadata, growth->first,
				  growth->blocks + growth->clusters);
}

static int grow(struct qcow2 *image)
{
	struct qcow2_header header;
	struct growth growth;
	uint64_t *entries;
	int ret = plan(image, &growth);

	/* What the old table says and is not on the disk yet would be lost with it. */
	if (!ret)
		ret = qcow2_clean_refblocks(image);
	if (ret)
		return ret;
	header = image->header;
	header.reftable_offset = (growth.first + growth.blocks) << image->cluster_bits;
	header.reftable_clusters = (uint32_t)growth.clusters;
	growth.data = calloc(growth.blocks + growth.clusters, image->cluster_bytes);
	entries = malloc(growth.clusters << image->cluster_bits);
	if (!growth.data || !entries) {
		ret = -ENOMEM;
		goto out;
	}
	fill(image, &growth);
	ret = write_growth(image, &growth, &header);
	if (ret)
		goto out;
	ret = adopt(image, &growth, &header, entries);
	entries = NULL;
out:
	free(entries);
	free(growth.data);
	return ret;
}

int qcow2_reftable_extend(struct qcow2 *image, uint64_t cluster)
{
	if (cluster >> image->refblock_bits >= image->reftable.count)
		return grow(image);
	return new_block(image, cluster);
}
