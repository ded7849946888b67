/* SPDX-License-Identifier: MIT */
/*
 * The order in which changes reach the disk. What is written between two fdatasync may be on the
 * disk in any order, in part or not at all, when the host crashes; so each arrow below is an
 * fdatasync:
 *
 *	data, refcount blocks -> refcount table -> L2 tables -> L1 table -> counts of what was freed
 *
 * Hence whatever the disk refers to is there, and counts as used. A crash can leave clusters that
 * count as used and are not (which "disk check --repair" finds), never the contrary. Data of
 * requests that are done was given to the host before its L2 entry was made in memory, so it is
 * durable before the entry is.
 *
 * Counts may reach the disk at any time: those that grew are early, which is a leak at worst;
 * those that shrank did so because nothing on the disk refers to the cluster any more. L2 tables
 * are written by qcow2_commit_changes alone. A table counts as changed until an fdatasync behind
 * its write has succeeded, so what an error left undone is done again.
 *
 * Between writing and being sure of it, no table may change. The image's mutex is let go meanwhile,
 * so that others can read, and write where clusters have their places; who wants to change tables
 * waits (qcow2_commit_wait). Where counts alone are written in the middle of a change, it is kept.
 */
#include <endian.h>

#include "block/qcow2_image.h"

void qcow2_root_change(struct qcow2_root *root, uint32_t index, uint64_t entry)
{
	root->entries[index] = htobe64(entry);
	if (root->changed_from >= root->changed_to) {
		root->changed_from = index;
		root->changed_to = index + 1;
	}
	if (index < root->changed_from)
		root->changed_from = index;
	if (index >= root->changed_to)
		root->changed_to = index + 1;
}

static bool root_changed(const struct qcow2_root *root)
{
	return root->changed_from < root->changed_to;
}

/* In whole blocks of the file; the table's clusters are in memory up to their end. */
static int write_root(struct qcow2 *image, const struct qcow2_root *root, uint64_t offset)
{
	uint64_t mask = image->file.align_bytes - 1;
	uint64_t from = root->changed_from * 8ull & ~mask;
	uint64_t to = (root->changed_to * 8ull + mask) & ~mask;

	return block_file_write(&image->file, (const uint8_t *)root->entries + from, offset + from,
				to - from);
}

/* What was written is durable when it returns. */
static int sync_file(struct qcow2 *image)
{
	int ret;

	if (!image->committing)
		return block_file_flush(&image->file);
	pthread_mutex_unlock(&image->mutex);
	ret = block_file_flush(&image->file);
	pthread_mutex_lock(&image->mutex);
	return ret;
}

/* The root's tables are durable; now the root. */
static int finish_root(struct qcow2 *image, struct qcow2_root *root, uint64_t offset)
{
	int ret;

	if (!root_changed(root))
		return 0;
	ret = write_root(image, root, offset);
	if (!ret)
		ret = sync_file(image);
	if (!ret)
		root->changed_from = root->changed_to = 0;
	return ret;
}

int qcow2_clean_refblocks(struct qcow2 *image)
{
	int ret = qcow2_cache_write(&image->refblocks);

	if (!ret)
		ret = sync_file(image);
	if (ret)
		return ret;
	qcow2_cache_cleaned(&image->refblocks);
	return finish_root(image, &image->reftable, image->header.reftable_offset);
}

static int commit(struct qcow2 *image)
{
	int ret = qcow2_clean_refblocks(image);

	if (ret || (!image->l2_tables.changed && !root_changed(&image->l1)))
		return ret;
	ret = qcow2_cache_write(&image->l2_tables);
	if (!ret)
		ret = sync_file(image);
	if (ret)
		return ret;
	qcow2_cache_cleaned(&image->l2_tables);
	ret = finish_root(image, &image->l1, image->header.l1_offset);
	if (!ret)
		qcow2_free_now(image);
	return ret;
}

void qcow2_commit_wait(struct qcow2 *image)
{
	while (image->committing)
		pthread_cond_wait(&image->committed, &image->mutex);
}

int qcow2_commit_changes(struct qcow2 *image)
{
	int ret;

	qcow2_commit_wait(image);
	image->committing = true;
	ret = commit(image);
	image->committing = false;
	pthread_cond_broadcast(&image->committed);
	return ret;
}

bool qcow2_has_changes(const struct qcow2 *image)
{
	return image->refblocks.changed || image->l2_tables.changed || root_changed(&image->l1) ||
	       root_changed(&image->reftable);
}
