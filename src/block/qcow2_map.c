/* SPDX-License-Identifier: MIT */
/*
 * Where guest clusters are: L1 table (in memory as a whole) and L2 tables (cached). An L2 table
 * that a snapshot shares is copied before it changes. The image's mutex is held.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_image.h"

/* ---- entries ---- */

static enum qcow2_kind kind_of(const struct qcow2 *image, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_IS_COMPRESSED;
	if (image->header.version >= 3 && entry & QCOW2_ZERO)
		return QCOW2_IS_ZERO;
	return entry & QCOW2_OFFSET ? QCOW2_IS_DATA : QCOW2_IS_ABSENT;
}

void qcow2_entry_compressed(const struct qcow2 *image, uint64_t entry, uint64_t *offset,
			    uint64_t *bytes)
{
	unsigned shift = 62 - (image->cluster_bits - 8);
	uint64_t sectors = ((entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> shift) + 1;

	*offset = entry & ((1ull << shift) - 1);
	*bytes = sectors * BLOCK_SECTOR_BYTES - *offset % BLOCK_SECTOR_BYTES;
}

void qcow2_entry_clusters(const struct qcow2 *image, uint64_t entry, uint64_t *first,
			  uint64_t *count)
{
	uint64_t offset = entry & QCOW2_OFFSET, bytes = 1;

	if (entry & QCOW2_COMPRESSED)
		qcow2_entry_compressed(image, entry, &offset, &bytes);
	else if (!offset)
		bytes = 0;
	*first = offset >> image->cluster_bits;
	*count = bytes ? ((offset + bytes - 1) >> image->cluster_bits) - *first + 1 : 0;
}

/* ---- L2 tables ---- */

static uint32_t l1_index(const struct qcow2 *image, uint64_t offset)
{
	return (uint32_t)(offset >> (image->cluster_bits + image->l2_bits));
}

static uint32_t l2_index(const struct qcow2 *image, uint64_t offset)
{
	return (uint32_t)(offset >> image->cluster_bits) & ((1u << image->l2_bits) - 1);
}

/* *table NULL: there is none. */
static int get_table(struct qcow2 *image, uint64_t offset, uint64_t **table)
{
	uint64_t l1_entry = be64toh(image->l1.entries[l1_index(image, offset)]);
	uint64_t table_offset = l1_entry & QCOW2_OFFSET;
	void *data = NULL;
	int ret = 0;

	if (table_offset & (image->cluster_bytes - 1))
		return qcow2_corrupt(image, "an L2 table is at no cluster");
	if (table_offset)
		ret = qcow2_cache_get(&image->l2_tables, table_offset, &data);
	*table = data;
	return ret;
}

/* How many entries follow each other like the first, at most max. */
static uint64_t run(const struct qcow2 *image, const uint64_t *entry, uint64_t max)
{
	uint64_t first = be64toh(entry[0]), count = 1;
	enum qcow2_kind kind = kind_of(image, first);

	if (kind == QCOW2_IS_COMPRESSED)
		return 1;
	for (; count < max; count++) {
		uint64_t next = be64toh(entry[count]);

		if (kind_of(image, next) != kind)
			break;
		if (kind == QCOW2_IS_DATA && next != first + count * image->cluster_bytes)
			break;
		if (kind == QCOW2_IS_ZERO && !(next & QCOW2_OFFSET) != !(first & QCOW2_OFFSET))
			break;
	}
	return count;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int qcow2_map_find(struct qcow2 *image, uint64_t offset, uint64_t length,
		   struct qcow2_mapping *mapping)
{
	uint64_t skip = offset & (image->cluster_bytes - 1);
	uint32_t index = l2_index(image, offset);
	uint64_t max = least((1ull << image->l2_bits) - index,
			     qcow2_clusters(image, skip + length));
	uint64_t *table;
	int ret = get_table(image, offset, &table);

	if (ret)
		return ret;
	*mapping = (struct qcow2_mapping){ .kind = QCOW2_IS_ABSENT, .offset = offset };
	if (table) {
		mapping->entry = be64toh(table[index]);
		mapping->kind = kind_of(image, mapping->entry);
		max = run(image, &table[index], max);
	}
	mapping->bytes = least((max << image->cluster_bits) - skip, length);
	if (mapping->kind != QCOW2_IS_DATA)
		return 0;
	if (mapping->entry & QCOW2_OFFSET & (image->cluster_bytes - 1))
		return qcow2_corrupt(image, "a data cluster is at no cluster");
	mapping->host = (mapping->entry & QCOW2_OFFSET) + skip;
	mapping->in_place = mapping->entry & QCOW2_COPIED;
	return 0;
}

bool qcow2_map_is_cached(const struct qcow2 *image, uint64_t offset)
{
	uint64_t l1_entry = be64toh(image->l1.entries[l1_index(image, offset)]);

	return !(l1_entry & QCOW2_OFFSET) ||
	       qcow2_cache_has(&image->l2_tables, l1_entry & QCOW2_OFFSET);
}

/* ---- changes ---- */

/* Puts a new table, a copy of old unless that is NULL, in the place of what L1 has. */
static int new_table(struct qcow2 *image, uint32_t index, const void *old)
{
	uint64_t cluster, count;
	void *data;
	int ret = qcow2_alloc(image, 1, &cluster, &count);

	if (ret)
		return ret;
	ret = qcow2_metadata_add(&image->metadata, cluster, 1);
	if (ret) {
		qcow2_unalloc(image, cluster, 1);
		return ret;
	}
	ret = qcow2_cache_add(&image->l2_tables, cluster << image->cluster_bits, &data);
	if (ret) {
		qcow2_unalloc(image, cluster, 1);
		return ret;
	}
	if (old)
		memcpy(data, old, image->cluster_bytes);
	qcow2_root_change(&image->l1, index, cluster << image->cluster_bits | QCOW2_COPIED);
	return 0;
}

static int copy_table(struct qcow2 *image, uint32_t index, const uint64_t *table)
{
	uint64_t old_offset = be64toh(image->l1.entries[index]) & QCOW2_OFFSET;
	void *copy = malloc(image->cluster_bytes);
	int ret;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, table, image->cluster_bytes);
	ret = new_table(image, index, copy);
	free(copy);
	if (!ret)
		qcow2_free_later(image, old_offset >> image->cluster_bits, 1);
	return ret;
}

int qcow2_map_prepare(struct qcow2 *image, uint64_t offset)
{
	uint32_t index = l1_index(image, offset);
	uint64_t *table;
	int ret = get_table(image, offset, &table);

	if (ret)
		return ret;
	if (!table)
		return new_table(image, index, NULL);
	return be64toh(image->l1.entries[index]) & QCOW2_COPIED ? 0 :
								 copy_table(image, index, table);
}

int qcow2_map_set(struct qcow2 *image, uint64_t offset, uint64_t count, uint64_t entry,
		  uint64_t step)
{
	uint32_t index = l2_index(image, offset);
	uint64_t *table;
	int ret = get_table(image, offset, &table);

	if (ret)
		return ret;
	for (uint64_t i = 0; i < count; i++)
		table[index + i] = htobe64(entry + i * step);
	qcow2_cache_change(&image->l2_tables,
			   be64toh(image->l1.entries[l1_index(image, offset)]) & QCOW2_OFFSET);
	return 0;
}
