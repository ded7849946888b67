/* SPDX-License-Identifier: MIT */
/*
 * An open qcow2 image: what the files qcow2_*.c share. See qcow2_format.h for the format, and
 * qcow2_commit.c for the order in which things reach the disk.
 *
 * Threads. Requests come on several at once. The image's mutex guards the tables and all that is
 * derived from them; functions here are called with it held unless they say otherwise. Data is read
 * and written without it, but under a lock on the range of guest clusters (qcow2_range.c): who
 * changes what a guest cluster maps to has it alone. So a host cluster that nobody maps any more is
 * nobody's target either.
 */
#ifndef RINGLET_BLOCK_QCOW2_IMAGE_H
#define RINGLET_BLOCK_QCOW2_IMAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "block/block.h"
#include "block/file.h"
#include "block/qcow2_format.h"

struct error;
struct qcow2;

/* ---- header: qcow2_header.c ---- */

struct qcow2_header {
	unsigned version, cluster_bits, refcount_order;
	enum qcow2_compression compression;
	uint64_t size_bytes;
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint64_t snapshots_offset;
	uint32_t snapshots;
	uint64_t incompatible, compatible, autoclear;
	char backing[QCOW2_BACKING_BYTES_MAX + 1]; /* "": none */
	char backing_format[16];                   /* "": not said */
};

/* Reads and judges it. path is for messages. -EINVAL: no image that we can use. No lock needed. */
int qcow2_header_read(const struct block_file *file, const char *path, struct qcow2_header *header,
		      struct error *err);
/* Writes the feature bits (version 3) and where the refcount table is. */
int qcow2_header_update(const struct block_file *file, const struct qcow2_header *header);

/* ---- tables in memory: qcow2_cache.c ---- */

/* A cache of what is a cluster each: L2 tables, or refcount blocks; as they are on the disk. */
struct qcow2_cache {
	struct qcow2 *image;
	/* What is to be done when only changed tables are there to be replaced: 0 or -errno. */
	int (*clean)(struct qcow2 *image);
	unsigned max, count, hand;
	unsigned changed; /* tables that differ from the disk */
	struct qcow2_table *tables;
	unsigned buckets, *bucket; /* index into tables, plus 1 */
};

int qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *image,
		     int (*clean)(struct qcow2 *image), uint64_t wanted);
void qcow2_cache_release(struct qcow2_cache *cache);
/* The table at offset; *data is valid until the next call for this cache. */
int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, void **data);
bool qcow2_cache_has(const struct qcow2_cache *cache, uint64_t offset);
/* A new one: zeros, changed. */
int qcow2_cache_add(struct qcow2_cache *cache, uint64_t offset, void **data);
/* The table at offset, which is in the cache, was changed. */
void qcow2_cache_change(struct qcow2_cache *cache, uint64_t offset);
/* Its cluster was freed. */
void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset);
/* Writes what was changed; it counts as changed until cleaned, when it is known to be durable. */
int qcow2_cache_write(struct qcow2_cache *cache);
void qcow2_cache_cleaned(struct qcow2_cache *cache);

/* ---- which clusters hold metadata: qcow2_metadata.c ---- */

struct qcow2_metadata {
	uint64_t *slot; /* a hash table of cluster numbers; ~0: empty */
	unsigned bits, count;
};

/* -EEXIST: one is there already; -ENOMEM; -E2BIG. */
int qcow2_metadata_add(struct qcow2_metadata *set, uint64_t cluster, uint64_t count);
void qcow2_metadata_remove(struct qcow2_metadata *set, uint64_t cluster);
bool qcow2_metadata_has(const struct qcow2_metadata *set, uint64_t cluster, uint64_t count);
void qcow2_metadata_release(struct qcow2_metadata *set);

/* ---- locks on ranges: qcow2_range.c ---- */

struct qcow2_range {
	uint64_t first, last; /* guest clusters */
	bool alone;
	struct qcow2_range *next;
};

/* Waits, without the mutex, until nobody who came before has it (alone: or shares it). */
void qcow2_range_lock(struct qcow2 *image, struct qcow2_range *range);
void qcow2_range_unlock(struct qcow2 *image, struct qcow2_range *range);

/* ---- the image ---- */

/* A table that is in memory as a whole, as on the disk, and which of its entries were changed. */
struct qcow2_root {
	uint64_t *entries;
	uint32_t count;
	uint32_t changed_from, changed_to;
};

struct qcow2_free {
	uint64_t cluster, count;
};

struct qcow2 {
	struct block block; /* must be first */
	struct block_file file;
	struct qcow2_header header;
	uint32_t cluster_bytes;
	unsigned cluster_bits;
	unsigned l2_bits, refblock_bits; /* entries of an L2 table, of a refcount block */
	struct block *backing; /* what absent clusters hold; or NULL: zeros */
	char *path;

	pthread_mutex_t mutex;
	struct qcow2_range *ranges, **last_range;
	pthread_cond_t range_left;
	bool committing;
	pthread_cond_t committed;
	struct qcow2_root l1, reftable;
	struct qcow2_cache l2_tables, refblocks;
	struct qcow2_metadata metadata;
	uint64_t free_hint; /* no host cluster below it is free */
	uint64_t end;       /* host bytes behind this were never written: zeros (if no device) */
	/* Clusters that nothing refers to once what was changed is on the disk. */
	struct qcow2_free *frees;
	size_t free_count, free_room;
	bool broken;        /* no more writes */

	pthread_mutex_t inflate_mutex; /* guards what was unpacked last */
	uint64_t inflated_entry;
	uint8_t *inflated;
	struct log_limit inflate_log;
};

static inline uint64_t qcow2_clusters(const struct qcow2 *image, uint64_t bytes)
{
	return (bytes >> image->cluster_bits) + ((bytes & (image->cluster_bytes - 1)) != 0);
}

/* The metadata contradicts itself: says so once, stops writes, and returns -EIO. */
int qcow2_corrupt(struct qcow2 *image, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the image alone, its backing file not; rooms for changes unless options->readonly. */
int qcow2_image_open(struct qcow2 *image, const struct block_options *options, struct error *err);
void qcow2_image_close(struct qcow2 *image);

/*
 * What the image itself holds: as block_extent, but BELOW where it has nothing. Without the
 * mutex.
 */
int qcow2_layer_extent(struct qcow2 *image, uint64_t offset, uint64_t length,
		       struct block_extent *extent);

/* ---- guest clusters: qcow2_map.c ---- */

enum qcow2_kind { QCOW2_IS_ABSENT, QCOW2_IS_ZERO, QCOW2_IS_DATA, QCOW2_IS_COMPRESSED };

struct qcow2_mapping {
	enum qcow2_kind kind;
	uint64_t offset; /* the guest's, where it begins */
	uint64_t bytes;  /* how far it is so, and contiguous */
	uint64_t entry;  /* L2's, of the first cluster */
	uint64_t host;   /* DATA: where the first byte is */
	bool in_place;   /* DATA: may be written where it is */
};

/* Of [offset, offset + length), length > 0: how it begins. */
int qcow2_map_find(struct qcow2 *image, uint64_t offset, uint64_t length,
		   struct qcow2_mapping *mapping);
/* Whether that needs no reading. */
bool qcow2_map_is_cached(const struct qcow2 *image, uint64_t offset);
/* Entries of count guest clusters of one L2 table, from the cluster of offset on. */
int qcow2_map_set(struct qcow2 *image, uint64_t offset, uint64_t count, uint64_t entry,
		  uint64_t step);
/* Makes sure that the L2 table for offset is there and ours alone. */
int qcow2_map_prepare(struct qcow2 *image, uint64_t offset);

/* The host clusters that an L2 entry refers to; count 0: none. */
void qcow2_entry_clusters(const struct qcow2 *image, uint64_t entry, uint64_t *first,
			  uint64_t *count);
/* Where a compressed cluster's bytes are. */
void qcow2_entry_compressed(const struct qcow2 *image, uint64_t entry, uint64_t *offset,
			    uint64_t *bytes);

/* ---- host clusters: qcow2_refcount.c, qcow2_reftable.c ---- */

uint64_t qcow2_refcount_in(const void *block, unsigned order, uint64_t index);
void qcow2_refcount_put(void *block, unsigned order, uint64_t index, uint64_t value);

/* From 1 to max clusters that follow each other; *count says how many. */
int qcow2_alloc(struct qcow2 *image, uint64_t max, uint64_t *first, uint64_t *count);
/* Those that nothing on the disk refers to: at once. */
void qcow2_unalloc(struct qcow2 *image, uint64_t first, uint64_t count);
/* One reference less, as soon as what was changed is on the disk. */
void qcow2_free_later(struct qcow2 *image, uint64_t first, uint64_t count);
void qcow2_free_now(struct qcow2 *image);
/* Makes a refcount block for the host cluster. */
int qcow2_reftable_extend(struct qcow2 *image, uint64_t cluster);

/* ---- order: qcow2_commit.c ---- */

/* Who is about to change tables waits here, without the mutex, while a commit is under way. */
void qcow2_commit_wait(struct qcow2 *image);
/* Makes all that was changed durable. The mutex is let go meanwhile. */
int qcow2_commit_changes(struct qcow2 *image);
bool qcow2_has_changes(const struct qcow2 *image);
/* The same of reference counts alone. */
int qcow2_clean_refblocks(struct qcow2 *image);
void qcow2_root_change(struct qcow2_root *root, uint32_t index, uint64_t entry);

/* ---- data: qcow2_read.c, qcow2_write.c, qcow2_zero.c; without the mutex ---- */

int qcow2_read(struct qcow2 *image, const struct block_request *request);
int qcow2_attempt(struct block *block, const struct block_request *request);
/*
 * Into memory, under a lock on the range that the caller has: [offset, offset + length) of a
 * cluster.
 */
int qcow2_read_within(struct qcow2 *image, const struct qcow2_mapping *mapping, uint64_t offset,
		      void *data, uint64_t length);
int qcow2_read_below(struct qcow2 *image, const struct iovec *iov, unsigned count, uint64_t offset,
		     uint64_t length);
int qcow2_write(struct qcow2 *image, const struct block_request *request);
int qcow2_write_zeroes(struct qcow2 *image, const struct block_request *request);
int qcow2_discard(struct qcow2 *image, const struct block_request *request);
/* Drops what the image itself holds in the range of whole clusters, so that its backing shows. */
int qcow2_drop(struct qcow2 *image, uint64_t offset, uint64_t length);

/* qcow2_compress.c: the compressed cluster of an entry, from skip on. */
int qcow2_inflate(struct qcow2 *image, uint64_t entry, uint64_t skip, const struct iovec *iov,
		  unsigned count, uint64_t length);
bool qcow2_can_inflate(enum qcow2_compression compression);

/* ---- qcow2_snapshot.c; no lock needed ---- */

struct qcow2_snapshot {
	char *id, *name;
	uint64_t l1_offset, size_bytes, vm_state_bytes;
	uint32_t l1_entries;
	uint32_t date_s;
};

/* All of them into a new array of header->snapshots; for qcow2_snapshots_release. */
int qcow2_snapshots_read(const struct block_file *file, const struct qcow2_header *header,
			 const char *path, struct qcow2_snapshot **snapshots, uint64_t *table_bytes,
			 struct error *err);
void qcow2_snapshots_release(struct qcow2_snapshot *snapshots, uint32_t count);
/* Makes header that of the image as it was in a snapshot. */
int qcow2_snapshot_choose(const struct block_file *file, struct qcow2_header *header,
			  const char *path, const char *name, struct error *err);

/* ---- qcow2_rebuild.c ---- */

/*
 * Counts all references anew and writes a new refcount table. The image's tables are not in
 * memory.
 */
int qcow2_rebuild(struct block_file *file, struct qcow2_header *header, const char *path,
		  struct error *err);

#endif
