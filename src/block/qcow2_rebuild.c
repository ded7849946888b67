/* SPDX-License-Identifier: MIT */
/*
 * Repairing reference counts: they are counted anew and written as a new table behind the file's
 * end; one write of the header makes that the image's. Nothing else was touched until then, so a
 * crash leaves the image as it was. What the old table occupied is free in the new one.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "block/qcow2_survey.h"

/* The new table's clusters, then its blocks, from cluster `first` on. */
struct layout {
	unsigned block_bits;
	uint64_t first, table_clusters, blocks;
	uint64_t block_end; /* index behind the last */
};

/* ---- layout ---- */

static bool block_needed(const struct qcow2_survey *survey, const struct layout *layout,
			 uint64_t index)
{
	uint64_t from = index << layout->block_bits, to = (index + 1) << layout->block_bits;

	return to > layout->first || qcow2_counts_next(&survey->expected, from, to) < to;
}

/* Indices of blocks that are needed, one after the other; a walk over what is counted. */
static uint64_t next_block(const struct qcow2_survey *survey, const struct layout *layout,
			   uint64_t index)
{
	uint64_t cluster;

	if (index >= layout->block_end || block_needed(survey, layout, index))
		return index;
	cluster = qcow2_counts_next(&survey->expected, index << layout->block_bits, layout->first);
	return cluster >> layout->block_bits;
}

static uint64_t count_blocks(const struct qcow2_survey *survey, const struct layout *layout)
{
	uint64_t count = 0;

	for (uint64_t i = next_block(survey, layout, 0); i < layout->block_end;
	     i = next_block(survey, layout, i + 1))
		count++;
	return count;
}

/*
 * The table and its blocks need room, which has to be described, too: until that no longer grows.
 */
static int plan(const struct qcow2_survey *survey, struct layout *layout)
{
	const struct qcow2_header *header = survey->header;
	uint64_t per_cluster = 1ull << (header->cluster_bits - 3), blocks;

	*layout = (struct layout){
		.block_bits = header->cluster_bits + 3 - header->refcount_order,
		.first = survey->file_clusters,
	};
	do {
		blocks = layout->blocks;
		layout->block_end = ((layout->first + layout->table_clusters + blocks - 1) >>
				     layout->block_bits) + 1;
		layout->table_clusters = (layout->block_end + per_cluster - 1) / per_cluster;
		if (layout->table_clusters << header->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
			return -EFBIG;
		layout->blocks = count_blocks(survey, layout);
	} while (layout->blocks != blocks ||
		 (layout->first + layout->table_clusters + blocks - 1) >> layout->block_bits >=
			 layout->block_end);
	return survey->file->device ? -ENOSPC : 0;
}

/* ---- writing ---- */

static int fill_block(const struct qcow2_survey *survey, const struct layout *layout,
		      uint64_t index, void *block)
{
	unsigned order = survey->header->refcount_order;
	uint64_t from = index << layout->block_bits, to = (index + 1) << layout->block_bits;
	uint64_t end = layout->first + layout->table_clusters + layout->blocks;
	uint64_t cluster = from;

	while ((cluster = qcow2_counts_next(&survey->expected, cluster, to)) < to) {
		uint64_t count = qcow2_counts_get(&survey->expected, cluster);

		if (order < 5 && count >> (1u << order))
			return -EOVERFLOW;
		qcow2_refcount_put(block, order, cluster++ - from, count);
	}
	for (cluster = from > layout->first ? from : layout->first; cluster < to && cluster < end;
	     cluster++)
		qcow2_refcount_put(block, order, cluster - from, 1);
	return 0;
}

static int write_blocks(const struct qcow2_survey *survey, const struct layout *layout,
			uint64_t *table)
{
	uint64_t place = layout->first + layout->table_clusters;
	unsigned bits = survey->header->cluster_bits;
	int ret = 0;

	for (uint64_t i = next_block(survey, layout, 0); i < layout->block_end && !ret;
	     i = next_block(survey, layout, i + 1), place++) {
		void *block = calloc(1, 1ull << bits);

		ret = block ? fill_block(survey, layout, i, block) : -ENOMEM;
		if (!ret)
			ret = block_file_write(survey->file, block, place << bits, 1ull << bits);
		free(block);
		table[i] = htobe64(place << bits);
	}
	return ret;
}

static int write_all(const struct qcow2_survey *survey, const struct layout *layout)
{
	unsigned bits = survey->header->cluster_bits;
	uint64_t bytes = layout->table_clusters << bits;
	uint64_t *table = calloc(1, bytes);
	int ret = table ? write_blocks(survey, layout, table) : -ENOMEM;

	if (!ret)
		ret = block_file_write(survey->file, table, layout->first << bits, bytes);
	free(table);
	return ret ? ret : block_file_flush(survey->file);
}

static int switch_over(const struct qcow2_survey *survey, const struct layout *layout,
		       struct qcow2_header *header)
{
	int ret;

	header->reftable_offset = layout->first << header->cluster_bits;
	header->reftable_clusters = (uint32_t)layout->table_clusters;
	ret = qcow2_header_update(survey->file, header);
	return ret ? ret : block_file_flush(survey->file);
}

/* The counts are right: now what they say about flags, and that all is well. */
static int finish(struct qcow2_survey *survey, struct qcow2_header *header)
{
	uint64_t wrong;
	int ret;

	ret = qcow2_survey_flags(survey, &survey->expected, true, &wrong);
	if (!ret)
		ret = block_file_flush(survey->file);
	if (ret)
		return ret;
	header->incompatible &= ~(QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT);
	ret = qcow2_header_update(survey->file, header);
	return ret ? ret : block_file_flush(survey->file);
}

int qcow2_rebuild(struct block_file *file, struct qcow2_header *header, const char *path,
		  struct error *err)
{
	struct qcow2_survey survey;
	struct layout layout;
	int ret = qcow2_survey_begin(&survey, file, header, path, err);

	if (ret)
		return ret;
	ret = qcow2_survey_guest(&survey, err);
	if (ret)
		goto out;
	if (survey.errors) {
		ret = error_set(err, EINVAL, "%s is damaged beyond its reference counts, which are "
				"all that can be repaired", path);
		goto out;
	}
	ret = plan(&survey, &layout);
	if (!ret)
		ret = write_all(&survey, &layout);
	if (!ret)
		ret = switch_over(&survey, &layout, header);
	if (!ret)
		ret = finish(&survey, header);
	if (ret)
		error_set_errno(err, -ret, "cannot repair %s", path);
	else
		file->size_bytes = (layout.first + layout.table_clusters + layout.blocks)
				   << header->cluster_bits;
out:
	qcow2_survey_end(&survey);
	return ret;
}
