/* SPDX-License-Identifier: MIT */
/*
 * The qcow2 format: disks that grow as they are written to, and that can lie on top of others.
 * Read and written are versions 2 and 3 with compressed clusters (read only), internal snapshots
 * (read only) and backing files; not encryption, external data files, extended L2 entries.
 *
 * qcow2_open is for block.c; the others are tools, each with one thread, which wait as long as it
 * takes.
 */
#ifndef RINGLET_BLOCK_QCOW2_H
#define RINGLET_BLOCK_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

struct block;
struct block_options;
struct block_progress;
struct error;

int qcow2_open(const struct block_options *options, struct block **block, struct error *err);

/* ---- making one ---- */

struct qcow2_creation {
	uint64_t size_bytes;    /* rounded up to sectors */
	uint32_t cluster_bytes; /* a power of two, 512 to 2M; 0: 64K */
	const char *backing;    /* as it is to be written into the image; NULL: none */
	const char *backing_format;
};

/* Into an empty file that fd is open on; path is for messages. fd stays the caller's. */
int qcow2_create(int fd, const char *path, const struct qcow2_creation *creation,
		 struct error *err);

/* Gives all clusters of an empty image their places in the file, whose space stays the host's. */
int qcow2_preallocate(const char *path, struct error *err);

/* ---- looking at one ---- */

struct qcow2_info {
	unsigned version, refcount_bits;
	uint64_t size_bytes;
	uint32_t cluster_bytes;
	const char *compression;
	bool dirty, corrupt, lazy_refcounts, bitmaps;
	char *backing, *backing_format; /* NULL: none, not said */
	uint32_t snapshot_count;
	struct qcow2_snapshot_info {
		char *id, *name;
		uint64_t size_bytes, vm_state_bytes;
		uint32_t date_s; /* since the epoch */
	} *snapshots;
};

/* Follows no backing file. */
int qcow2_info_read(const char *path, struct qcow2_info *info, struct error *err);
void qcow2_info_release(struct qcow2_info *info);

/* ---- checking one ---- */

struct qcow2_check {
	uint64_t errors;   /* what may lose data, or cannot be understood */
	uint64_t harmless; /* errors that only cost time: what could be written in place is not */
	uint64_t leaks;    /* clusters that count as used and are not */
	uint64_t repaired; /* of both */
	uint64_t used_clusters, guest_clusters; /* with a place on the host; of the disk */
	bool was_dirty, was_corrupt;
	/* Told what is wrong, a line each. */
	void (*tell)(void *opaque, const char *line);
	void *opaque;
};

/* errors and leaks are what is left. 0 even if there are some; -errno: it could not be checked. */
int qcow2_check(const char *path, bool repair, struct qcow2_check *check, struct error *err);

/* ---- layers ---- */

/*
 * Writes what the image at path holds into its backing file, and empties it; both are durable, in
 * that order. Nobody else may use the backing file.
 */
int qcow2_merge(const char *path, const struct block_progress *progress, struct error *err);

#endif
