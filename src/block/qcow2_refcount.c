/* SPDX-License-Identifier: MIT */
/*
 * Reference counts, and from them: which host clusters are free. Counts are 1 to 64 bits wide. A
 * cluster is taken in memory first; qcow2_commit.c sees to it that its count is on the disk before
 * anything on the disk refers to it, and that it is free again only when nothing there does.
 * The image's mutex is held.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "block/qcow2_image.h"

/* ---- counts in a block ---- */

uint64_t qcow2_refcount_in(const void *block, unsigned order, uint64_t index)
{
	const uint8_t *bytes = block;

	switch (order) {
	case 3:
		return bytes[index];
	case 4:
		return be16toh(((const uint16_t *)block)[index]);
	case 5:
		return be32toh(((const uint32_t *)block)[index]);
	case 6:
		return be64toh(((const uint64_t *)block)[index]);
	default: /* 1, 2 or 4 bits, the lowest first */
		return bytes[index >> (3 - order)] >>
			       ((index << order) & 7) & ((1u << (1u << order)) - 1);
	}
}

void qcow2_refcount_put(void *block, unsigned order, uint64_t index, uint64_t value)
{
	uint8_t *bytes = block;

	switch (order) {
	case 3:
		bytes[index] = (uint8_t)value;
		break;
	case 4:
		((uint16_t *)block)[index] = htobe16((uint16_t)value);
		break;
	case 5:
		((uint32_t *)block)[index] = htobe32((uint32_t)value);
		break;
	case 6:
		((uint64_t *)block)[index] = htobe64(value);
		break;
	default: {
		unsigned shift = (index << order) & 7, mask = (1u << (1u << order)) - 1;
		uint8_t *byte = &bytes[index >> (3 - order)];

		*byte = (uint8_t)((*byte & ~(mask << shift)) | value << shift);
	}
	}
}

/* ---- blocks ---- */

/* The block that has cluster's count; *block NULL: there is none yet. */
static int get_block(struct qcow2 *image, uint64_t cluster, void **block, uint64_t *offset)
{
	uint64_t index = cluster >> image->refblock_bits;

	*block = NULL;
	*offset = index < image->reftable.count ? be64toh(image->reftable.entries[index]) : 0;
	if (!*offset)
		return 0;
	if (*offset & (image->cluster_bytes - 1) || *offset >= QCOW2_HOST_BYTES_MAX)
		return qcow2_corrupt(image, "a refcount block is at no cluster");
	return qcow2_cache_get(&image->refblocks, *offset, block);
}

static uint64_t index_in_block(const struct qcow2 *image, uint64_t cluster)
{
	return cluster & ((1ull << image->refblock_bits) - 1);
}

/* ---- taking ---- */

static bool fits(const struct qcow2 *image, uint64_t cluster)
{
	uint64_t max = image->file.device ? image->file.size_bytes : QCOW2_HOST_BYTES_MAX;

	return cluster < max >> image->cluster_bits;
}

/* The first free cluster of a block from *cluster on; false: none, *cluster is behind it. */
static bool find_free(const struct qcow2 *image, const void *block, uint64_t *cluster)
{
	unsigned order = image->header.refcount_order;
	uint64_t index = index_in_block(image, *cluster);

	for (; index < 1ull << image->refblock_bits; index++, ++*cluster)
		if (!qcow2_refcount_in(block, order, index))
			return true;
	return false;
}

/* Takes free clusters of a block from cluster on; returns how many. */
static uint64_t take(const struct qcow2 *image, void *block, uint64_t cluster, uint64_t max)
{
	unsigned order = image->header.refcount_order;
	uint64_t index = index_in_block(image, cluster), count = 0;

	while (count < max && index + count < 1ull << image->refblock_bits &&
	       fits(image, cluster + count) &&
	       !qcow2_refcount_in(block, order, index + count))
		qcow2_refcount_put(block, order, index + count++, 1);
	return count;
}

int qcow2_alloc(struct qcow2 *image, uint64_t max, uint64_t *first, uint64_t *count)
{
	uint64_t cluster = image->free_hint, offset;
	void *block;
	int ret;

	for (;;) {
		if (!fits(image, cluster))
			return -ENOSPC;
		ret = get_block(image, cluster, &block, &offset);
		if (ret)
			return ret;
		if (block && find_free(image, block, &cluster))
			break;
		if (!block)
			ret = qcow2_reftable_extend(image, cluster);
		if (ret)
			return ret;
	}
	if (!fits(image, cluster))
		return -ENOSPC;
	*first = cluster;
	*count = take(image, block, cluster, max);
	qcow2_cache_change(&image->refblocks, offset);
	image->free_hint = cluster + *count;
	if (qcow2_metadata_has(&image->metadata, *first, *count))
		return qcow2_corrupt(image, "a cluster with metadata counts as free");
	return 0;
}

/* ---- giving back ---- */

/* One reference less; *left says how many are left. */
static int drop(struct qcow2 *image, uint64_t cluster, uint64_t *left)
{
	unsigned order = image->header.refcount_order;
	uint64_t index = index_in_block(image, cluster), offset;
	void *block;
	int ret = get_block(image, cluster, &block, &offset);

	if (ret)
		return ret;
	*left = block ? qcow2_refcount_in(block, order, index) : 0;
	if (!*left)
		return qcow2_corrupt(image, "a cluster that is in use counts as free");
	qcow2_refcount_put(block, order, index, --*left);
	qcow2_cache_change(&image->refblocks, offset);
	if (!*left) {
		qcow2_metadata_remove(&image->metadata, cluster);
		qcow2_cache_forget(&image->l2_tables, cluster << image->cluster_bits);
		if (cluster < image->free_hint)
			image->free_hint = cluster;
	}
	return 0;
}

void qcow2_unalloc(struct qcow2 *image, uint64_t first, uint64_t count)
{
	uint64_t left;

	/* What cannot be given back is lost until the image is checked. */
	for (uint64_t i = 0; i < count; i++)
		if (drop(image, first + i, &left))
			return;
}

void qcow2_free_later(struct qcow2 *image, uint64_t first, uint64_t count)
{
	struct qcow2_free *last = image->free_count ? &image->frees[image->free_count - 1] : NULL;

	if (!count)
		return;
	if (last && last->cluster + last->count == first) {
		last->count += count;
		return;
	}
	if (image->free_count == image->free_room) {
		size_t room = image->free_room ? 2 * image->free_room : 64;
		struct qcow2_free *frees = realloc(image->frees, room * sizeof(frees[0]));

		if (!frees) {
			log_warn("%s: no memory to free clusters: they are lost until a check",
				 image->path);
			return;
		}
		image->frees = frees;
		image->free_room = room;
	}
	image->frees[image->free_count++] = (struct qcow2_free){ first, count };
}

/* Gives the host its space back, which is a favour. */
static void punch(struct qcow2 *image, uint64_t first, uint64_t count)
{
	if (count && image->block.info.discard)
		block_file_discard(&image->file, first << image->cluster_bits,
				   count << image->cluster_bits);
}

/* What of a run is done is taken off it. */
static int free_run(struct qcow2 *image, struct qcow2_free *run)
{
	uint64_t from = run->cluster, left;
	int ret = 0;

	for (; run->count; run->cluster++, run->count--) {
		ret = drop(image, run->cluster, &left);
		if (ret)
			break;
		if (!left)
			continue;
		punch(image, from, run->cluster - from);
		from = run->cluster + 1;
	}
	punch(image, from, run->cluster - from);
	return ret;
}

/* What cannot be freed now is tried again behind the next commit. */
void qcow2_free_now(struct qcow2 *image)
{
	size_t done = 0;

	while (done < image->free_count && !free_run(image, &image->frees[done]))
		done++;
	if (image->broken)
		done = image->free_count;
	image->free_count -= done;
	if (image->free_count)
		memmove(image->frees, image->frees + done,
			image->free_count * sizeof(image->frees[0]));
}
