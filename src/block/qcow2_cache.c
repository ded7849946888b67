/* SPDX-License-Identifier: MIT */
/*
 * A cache of tables that are a cluster each, found by their offset in the file. It has a fixed
 * number of places, which get memory when they are first used. Who was not asked for lately goes
 * (a clock hand passes over the places, and takes the first whose mark is off; it takes marks off
 * on its way). The image's mutex is held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_image.h"

#define CACHE_BYTES (8u << 20) /* at most, but for a few large tables */
#define CACHE_TABLES_MIN 4u

struct qcow2_table {
	uint64_t offset; /* 0: the place is empty */
	uint8_t *data;
	bool changed, used;
	unsigned next; /* in its bucket; index plus 1 */
};

static uint32_t table_bytes(const struct qcow2_cache *cache)
{
	return cache->image->cluster_bytes;
}

/* wanted: how many there can be at all. */
int qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *image,
		     int (*clean)(struct qcow2 *image), uint64_t wanted)
{
	unsigned max = CACHE_BYTES >> image->cluster_bits;

	if (max > wanted)
		max = (unsigned)wanted;
	if (max < CACHE_TABLES_MIN)
		max = CACHE_TABLES_MIN;
	*cache = (struct qcow2_cache){ .image = image, .clean = clean, .max = max, .buckets = 16 };
	while (cache->buckets < max)
		cache->buckets *= 2;
	cache->tables = calloc(max, sizeof(cache->tables[0]));
	cache->bucket = calloc(cache->buckets, sizeof(cache->bucket[0]));
	return cache->tables && cache->bucket ? 0 : -ENOMEM;
}

void qcow2_cache_release(struct qcow2_cache *cache)
{
	for (unsigned i = 0; i < cache->count; i++)
		free(cache->tables[i].data);
	free(cache->tables);
	free(cache->bucket);
	*cache = (struct qcow2_cache){ 0 };
}

/* ---- places ---- */

static unsigned *bucket_of(const struct qcow2_cache *cache, uint64_t offset)
{
	uint64_t hash = (offset >> cache->image->cluster_bits) * 0x9e3779b97f4a7c15ull;

	return &cache->bucket[(hash >> 32) & (cache->buckets - 1)];
}

static struct qcow2_table *find(const struct qcow2_cache *cache, uint64_t offset)
{
	for (unsigned i = *bucket_of(cache, offset); i; i = cache->tables[i - 1].next)
		if (cache->tables[i - 1].offset == offset)
			return &cache->tables[i - 1];
	return NULL;
}

static void unlink_table(struct qcow2_cache *cache, struct qcow2_table *table)
{
	unsigned *link = bucket_of(cache, table->offset);
	unsigned self = (unsigned)(table - cache->tables) + 1;

	while (*link != self)
		link = &cache->tables[*link - 1].next;
	*link = table->next;
	if (table->changed)
		cache->changed--;
	table->offset = 0;
	table->changed = false;
}

static void link_table(struct qcow2_cache *cache, struct qcow2_table *table, uint64_t offset)
{
	unsigned *bucket = bucket_of(cache, offset);

	table->offset = offset;
	table->next = *bucket;
	*bucket = (unsigned)(table - cache->tables) + 1;
}

static struct qcow2_table *fresh_place(struct qcow2_cache *cache)
{
	struct qcow2_table *table = &cache->tables[cache->count];

	table->data = aligned_alloc(table_bytes(cache) < 4096 ? table_bytes(cache) : 4096,
				    table_bytes(cache));
	if (table->data)
		cache->count++;
	return table->data ? table : NULL;
}

/* One that is on the disk as it is, or NULL. */
static struct qcow2_table *clean_place(struct qcow2_cache *cache)
{
	for (unsigned tries = 0; tries < 2 * cache->count; tries++) {
		struct qcow2_table *table = &cache->tables[cache->hand];

		cache->hand = (cache->hand + 1) % cache->count;
		if (!table->offset)
			return table;
		if (!table->changed && !table->used) {
			unlink_table(cache, table);
			return table;
		}
		table->used = false;
	}
	return NULL;
}

static int find_place(struct qcow2_cache *cache, struct qcow2_table **table)
{
	int ret;

	*table = cache->count < cache->max ? fresh_place(cache) : NULL;
	if (*table)
		return 0;
	if (!cache->count)
		return -ENOMEM;
	*table = clean_place(cache);
	if (*table)
		return 0;
	ret = cache->clean(cache->image);
	if (ret)
		return ret;
	*table = clean_place(cache);
	return *table ? 0 : -ENOMEM;
}

/* ---- tables ---- */

int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, void **data)
{
	struct qcow2_table *table = find(cache, offset), *place;
	int ret;

	if (!table) {
		ret = find_place(cache, &place);
		if (ret)
			return ret;
		/* Where that had to wait, somebody else may have been faster. */
		table = find(cache, offset);
	}
	if (!table) {
		table = place;
		ret = block_file_read(&cache->image->file, table->data, offset,
				      table_bytes(cache));
		if (ret)
			return ret;
		link_table(cache, table, offset);
	}
	table->used = true;
	*data = table->data;
	return 0;
}

bool qcow2_cache_has(const struct qcow2_cache *cache, uint64_t offset)
{
	return find(cache, offset);
}

int qcow2_cache_add(struct qcow2_cache *cache, uint64_t offset, void **data)
{
	struct qcow2_table *table;
	int ret;

	qcow2_cache_forget(cache, offset);
	ret = find_place(cache, &table);
	if (ret)
		return ret;
	memset(table->data, 0, table_bytes(cache));
	link_table(cache, table, offset);
	table->used = true;
	*data = table->data;
	qcow2_cache_change(cache, offset);
	return 0;
}

void qcow2_cache_change(struct qcow2_cache *cache, uint64_t offset)
{
	struct qcow2_table *table = find(cache, offset);

	if (!table->changed)
		cache->changed++;
	table->changed = true;
}

void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset)
{
	struct qcow2_table *table = find(cache, offset);

	if (table)
		unlink_table(cache, table);
}

int qcow2_cache_write(struct qcow2_cache *cache)
{
	for (unsigned i = 0; i < cache->count && cache->changed; i++) {
		const struct qcow2_table *table = &cache->tables[i];
		int ret = !table->changed ? 0 :
			  block_file_write(&cache->image->file, table->data, table->offset,
					   table_bytes(cache));

		if (ret)
			return ret;
		if (table->changed && table->offset + table_bytes(cache) > cache->image->end)
			cache->image->end = table->offset + table_bytes(cache);
	}
	return 0;
}

void qcow2_cache_cleaned(struct qcow2_cache *cache)
{
	for (unsigned i = 0; i < cache->count; i++)
		cache->tables[i].changed = false;
	cache->changed = 0;
}
