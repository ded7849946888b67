/* SPDX-License-Identifier: MIT */
/* Making an image: header, refcount table, refcount blocks and an empty L1 table, in this order. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "block/qcow2.h"
#include "block/qcow2_image.h"

#define CLUSTER_BYTES 65536u
#define REFCOUNT_ORDER 4u

/* In clusters, which follow each other. */
struct layout {
	unsigned cluster_bits;
	uint64_t size_bytes;
	uint64_t l1_entries;
	uint64_t reftable, refblocks, l1;
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit;
}

static int plan(struct layout *layout, const char *path, const struct qcow2_creation *creation,
		struct error *err)
{
	uint64_t bytes = creation->cluster_bytes ? creation->cluster_bytes : CLUSTER_BYTES;
	uint64_t covered = bytes / 8 * bytes, blocks; /* by an L1 entry */

	if (bytes & (bytes - 1) || bytes < 1u << QCOW2_CLUSTER_BITS_MIN ||
	    bytes > 1u << QCOW2_CLUSTER_BITS_MAX)
		return error_set(err, EINVAL, "clusters have a power of two of bytes, 512 to 2M");
	if (creation->size_bytes > QCOW2_L1_BYTES_MAX / 8 * covered ||
	    creation->size_bytes > INT64_MAX / 2)
		return error_set(err, EFBIG, "%s: a disk of that size needs larger clusters", path);
	*layout = (struct layout){
		.cluster_bits = (unsigned)__builtin_ctzll(bytes),
		.size_bytes = round_up(creation->size_bytes, BLOCK_SECTOR_BYTES) *
			      BLOCK_SECTOR_BYTES,
	};
	layout->l1_entries = round_up(layout->size_bytes, covered);
	if (!layout->l1_entries)
		layout->l1_entries = 1;
	layout->l1 = round_up(layout->l1_entries * 8, bytes);
	do {
		blocks = layout->refblocks;
		layout->reftable = round_up(blocks ? blocks : 1, bytes / 8);
		layout->refblocks = round_up(1 + layout->reftable + blocks + layout->l1,
					     bytes * 8 >> REFCOUNT_ORDER);
	} while (layout->refblocks != blocks);
	return 0;
}

/* ---- header ---- */

static size_t add_extension(uint8_t *at, uint32_t type, const char *text)
{
	uint32_t length = text ? (uint32_t)strlen(text) : 0;
	uint32_t head[2] = { htobe32(type), htobe32(length) };

	memcpy(at, head, sizeof(head));
	if (length)
		memcpy(at + sizeof(head), text, length);
	return sizeof(head) + ((length + 7u) & ~7u);
}

static int write_header(const struct block_file *file, const struct layout *layout,
			const char *path, const struct qcow2_creation *creation, struct error *err)
{
	size_t backing_bytes = creation->backing ? strlen(creation->backing) : 0;
	uint8_t data[CLUSTER_BYTES] = { 0 };
	struct qcow2_disk_header *disk = (struct qcow2_disk_header *)data;
	uint64_t cluster_bytes = 1ull << layout->cluster_bits;
	size_t at = sizeof(*disk);
	int ret;

	*disk = (struct qcow2_disk_header){
		.magic = htobe32(QCOW2_MAGIC), .version = htobe32(3),
		.cluster_bits = htobe32(layout->cluster_bits),
		.size_bytes = htobe64(layout->size_bytes),
		.l1_entries = htobe32((uint32_t)layout->l1_entries),
		.l1_offset = htobe64((1 + layout->reftable + layout->refblocks)
				     << layout->cluster_bits),
		.reftable_offset = htobe64(cluster_bytes),
		.reftable_clusters = htobe32((uint32_t)layout->reftable),
		.refcount_order = htobe32(REFCOUNT_ORDER), .header_bytes = htobe32(sizeof(*disk)),
	};
	if (backing_bytes) {
		at += add_extension(data + at, QCOW2_EXTENSION_BACKING_FORMAT,
				    creation->backing_format);
		at += add_extension(data + at, QCOW2_EXTENSION_END, NULL);
		if (backing_bytes > QCOW2_BACKING_BYTES_MAX || at + backing_bytes > cluster_bytes)
			return error_set(err, ENAMETOOLONG, "%s: the name of its backing file is "
					 "too long", path);
		disk->backing_offset = htobe64(at);
		disk->backing_bytes = htobe32((uint32_t)backing_bytes);
		memcpy(data + at, creation->backing, backing_bytes);
	}
	ret = block_file_write(file, data, 0,
			       cluster_bytes < sizeof(data) ? cluster_bytes : sizeof(data));
	return ret ? error_set_errno(err, -ret, "cannot write %s", path) : 0;
}

/* ---- tables ---- */

static int write_refcounts(const struct block_file *file, const struct layout *layout)
{
	uint64_t used = 1 + layout->reftable + layout->refblocks + layout->l1;
	uint64_t bytes = (layout->reftable + layout->refblocks) << layout->cluster_bits;
	uint64_t first = 1 + layout->reftable;
	uint64_t *table = calloc(1, bytes);
	uint8_t *blocks = (uint8_t *)table + (layout->reftable << layout->cluster_bits);
	int ret;

	if (!table)
		return -ENOMEM;
	for (uint64_t i = 0; i < layout->refblocks; i++)
		table[i] = htobe64((first + i) << layout->cluster_bits);
	for (uint64_t i = 0; i < used; i++)
		qcow2_refcount_put(blocks, REFCOUNT_ORDER, i, 1);
	ret = block_file_write(file, table, 1ull << layout->cluster_bits, bytes);
	free(table);
	return ret;
}

/* To a file's end as a hole; a device holds what others left there. */
static int write_zeros(const struct block_file *file, uint64_t offset, uint64_t length)
{
	void *zeros;
	int ret;

	if (!file->device)
		return ftruncate(file->fd, (off_t)(offset + length)) ? -errno : 0;
	zeros = calloc(1, length);
	ret = zeros ? block_file_write(file, zeros, offset, length) : -ENOMEM;
	free(zeros);
	return ret;
}

static int write_tables(const struct block_file *file, const struct layout *layout)
{
	uint64_t before_l1 = 1 + layout->reftable + layout->refblocks;
	int ret = write_zeros(file, before_l1 << layout->cluster_bits,
			      layout->l1 << layout->cluster_bits);

	return ret ? ret : write_refcounts(file, layout);
}

static bool is_device(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISBLK(st.st_mode);
}

int qcow2_create(int fd, const char *path, const struct qcow2_creation *creation,
		 struct error *err)
{
	const struct block_file file = {
		.fd = fd, .device = is_device(fd), .align_bytes = BLOCK_SECTOR_BYTES,
	};
	struct layout layout;
	int ret = plan(&layout, path, creation, err);

	if (ret)
		return ret;
	ret = write_tables(&file, &layout);
	if (ret)
		return error_set_errno(err, -ret, "cannot write %s", path);
	ret = write_header(&file, &layout, path, creation, err);
	if (ret)
		return ret;
	ret = block_file_flush(&file);
	return ret ? error_set_errno(err, -ret, "cannot write %s", path) : 0;
}

/* ---- places in advance ---- */

static int place_clusters(struct qcow2 *image)
{
	uint64_t offset = 0, size = image->header.size_bytes;
	int ret = 0;

	while (offset < size && !ret) {
		uint64_t per_table = 1ull << (image->cluster_bits + image->l2_bits);
		uint64_t left = per_table - offset % per_table, first, count;

		if (left > size - offset)
			left = size - offset;
		ret = qcow2_map_prepare(image, offset);
		if (!ret)
			ret = qcow2_alloc(image, qcow2_clusters(image, left), &first, &count);
		if (ret)
			break;
		ret = qcow2_map_set(image, offset, count,
				    first << image->cluster_bits | QCOW2_COPIED,
				    image->cluster_bytes);
		offset += count << image->cluster_bits;
	}
	return ret ? ret : qcow2_commit_changes(image);
}

int qcow2_preallocate(const char *path, struct error *err)
{
	const struct block_options options = { .file = path };
	struct qcow2 image;
	int ret = qcow2_image_open(&image, &options, err);

	if (ret)
		return ret;
	pthread_mutex_lock(&image.mutex);
	ret = place_clusters(&image);
	/* Clusters behind the file's end would look as if they had been lost. */
	if (!ret && !image.file.device &&
	    ftruncate(image.file.fd, (off_t)(image.free_hint << image.cluster_bits)))
		ret = -errno;
	pthread_mutex_unlock(&image.mutex);
	qcow2_image_close(&image);
	return ret ? error_set_errno(err, -ret, "cannot write %s", path) : 0;
}
