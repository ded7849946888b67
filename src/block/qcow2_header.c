/* SPDX-License-Identifier: MIT */
/*
 * The first cluster: header, extensions, the backing file's name. Whatever is not as the format
 * says, or beyond what we can do, is refused here with its name, so that the rest need not ask.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "block/qcow2_image.h"

#define FIRST_BYTES 4096u /* the largest block of a file that there is */

struct first_cluster {
	const char *path;
	const uint8_t *data;
	uint32_t bytes;
	struct qcow2_disk_header disk;
};

static int invalid(const struct first_cluster *first, const char *what, struct error *err)
{
	return error_set(err, EINVAL, "%s is no valid qcow2 image: %s", first->path, what);
}

/* ---- fields ---- */

static void take_fields(struct qcow2_header *header, const struct qcow2_disk_header *disk)
{
	*header = (struct qcow2_header){
		.version = be32toh(disk->version),
		.cluster_bits = be32toh(disk->cluster_bits),
		.refcount_order = 4,
		.size_bytes = be64toh(disk->size_bytes),
		.l1_offset = be64toh(disk->l1_offset),
		.l1_entries = be32toh(disk->l1_entries),
		.reftable_offset = be64toh(disk->reftable_offset),
		.reftable_clusters = be32toh(disk->reftable_clusters),
		.snapshots_offset = be64toh(disk->snapshots_offset),
		.snapshots = be32toh(disk->snapshots),
	};
	if (header->version < 3)
		return;
	header->incompatible = be64toh(disk->incompatible);
	header->compatible = be64toh(disk->compatible);
	header->autoclear = be64toh(disk->autoclear);
	header->refcount_order = be32toh(disk->refcount_order);
	if (be32toh(disk->header_bytes) > QCOW2_HEADER3_BYTES)
		header->compression = disk->compression;
}

static int judge_start(const struct first_cluster *first, struct error *err)
{
	const struct qcow2_disk_header *disk = &first->disk;
	uint32_t version = be32toh(disk->version), bits = be32toh(disk->cluster_bits);

	if (be32toh(disk->magic) != QCOW2_MAGIC)
		return error_set(err, EINVAL, "%s is no qcow2 image", first->path);
	if (version != 2 && version != 3)
		return error_set(err, EINVAL, "%s is a qcow image of version %u; 2 and 3 are known",
				 first->path, version);
	if (bits < QCOW2_CLUSTER_BITS_MIN || bits > QCOW2_CLUSTER_BITS_MAX)
		return error_set(err, EINVAL, "%s has clusters of 2^%u bytes: not 2^%u to 2^%u",
				 first->path, bits, QCOW2_CLUSTER_BITS_MIN, QCOW2_CLUSTER_BITS_MAX);
	if (disk->encryption)
		return error_set(err, EINVAL, "%s is encrypted, which Ringlet cannot read",
				 first->path);
	if (version == 2)
		return 0;
	if (be32toh(disk->header_bytes) < QCOW2_HEADER3_BYTES || be32toh(disk->header_bytes) % 8 ||
	    be32toh(disk->header_bytes) > 1u << bits)
		return invalid(first, "its header's length", err);
	if (be32toh(disk->refcount_order) > QCOW2_REFCOUNT_ORDER_MAX)
		return invalid(first, "its reference counts have more than 64 bits", err);
	return 0;
}

static bool table_lies_well(const struct qcow2_header *header, uint64_t offset, uint64_t bytes)
{
	uint64_t mask = (1ull << header->cluster_bits) - 1;

	return !(offset & mask) && offset < QCOW2_HOST_BYTES_MAX && bytes < QCOW2_HOST_BYTES_MAX &&
	       (offset || !bytes);
}

static int judge_tables(const struct first_cluster *first, const struct qcow2_header *header,
			struct error *err)
{
	unsigned l1_shift = header->cluster_bits + header->cluster_bits - 3;
	uint64_t needed = header->size_bytes >> l1_shift;
	uint64_t l1_bytes = (uint64_t)header->l1_entries * 8;
	uint64_t reftable_bytes = (uint64_t)header->reftable_clusters << header->cluster_bits;

	needed += (header->size_bytes & ((1ull << l1_shift) - 1)) != 0;
	if (header->size_bytes > INT64_MAX - (1u << 30))
		return invalid(first, "the disk is too large", err);
	if (l1_bytes > QCOW2_L1_BYTES_MAX)
		return invalid(first, "its L1 table is larger than 32 MiB", err);
	if (header->l1_entries < needed)
		return invalid(first, "its L1 table is too small for the disk", err);
	if (!table_lies_well(header, header->l1_offset, l1_bytes))
		return invalid(first, "its L1 table's place", err);
	if (!reftable_bytes || reftable_bytes > QCOW2_REFTABLE_BYTES_MAX ||
	    !table_lies_well(header, header->reftable_offset, reftable_bytes))
		return invalid(first, "its refcount table's size or place", err);
	if (header->snapshots > QCOW2_SNAPSHOTS_MAX ||
	    (header->snapshots && !table_lies_well(header, header->snapshots_offset, 1)))
		return invalid(first, "its number of snapshots, or the place of their table", err);
	return 0;
}

/* ---- features ---- */

static const char *const feature_names[] = {
	[2] = "an external data file", [4] = "extended L2 entries",
};

/* The name that the image itself has for a feature, if it is clean text. */
static bool own_name(const uint8_t *data, uint32_t bytes, unsigned bit, char name[47])
{
	for (; bytes >= sizeof(struct qcow2_disk_feature_name);
	     data += sizeof(struct qcow2_disk_feature_name),
	     bytes -= sizeof(struct qcow2_disk_feature_name)) {
		const struct qcow2_disk_feature_name *row = (const void *)data;

		if (row->type || row->bit != bit || !row->name[0])
			continue;
		memcpy(name, row->name, sizeof(row->name));
		name[sizeof(row->name)] = 0;
		for (char *c = name; *c; c++)
			if (*c < ' ' || *c > '~')
				return false;
		return true;
	}
	return false;
}

static int refuse_features(const struct first_cluster *first, uint64_t unknown,
			   const uint8_t *names, uint32_t names_bytes, struct error *err)
{
	unsigned bit = (unsigned)__builtin_ctzll(unknown);
	char name[64];

	if (bit < sizeof(feature_names) / sizeof(feature_names[0]) && feature_names[bit])
		strcpy(name, feature_names[bit]);
	else if (!own_name(names, names_bytes, bit, name))
		strcpy(name, "one that has no name");
	return error_set(err, EINVAL, "%s uses a feature that Ringlet does not know: %s (bit %u)",
			 first->path, name, bit);
}

static int judge_features(const struct first_cluster *first, const struct qcow2_header *header,
			  const uint8_t *names, uint32_t names_bytes, struct error *err)
{
	uint64_t unknown = header->incompatible &
			   ~(QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT |
			     QCOW2_INCOMPATIBLE_COMPRESSION);

	if (unknown)
		return refuse_features(first, unknown, names, names_bytes, err);
	if (!(header->incompatible & QCOW2_INCOMPATIBLE_COMPRESSION) != !header->compression)
		return invalid(first, "its header contradicts itself about compression", err);
	if (header->compression > QCOW2_ZSTD)
		return error_set(err, EINVAL, "%s is compressed in an unknown way (%u)",
				 first->path, header->compression);
	return 0;
}

/* ---- extensions and names ---- */

static uint32_t be32_at(const uint8_t *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return be32toh(value);
}

static void take_backing_format(struct qcow2_header *header, const uint8_t *data, uint32_t bytes)
{
	/* One that is longer is none that we know. */
	if (bytes >= sizeof(header->backing_format))
		bytes = sizeof(header->backing_format) - 1;
	memcpy(header->backing_format, data, bytes);
	header->backing_format[bytes] = 0;
}

static int take_extensions(const struct first_cluster *first, struct qcow2_header *header,
			   const uint8_t **names, uint32_t *names_bytes, struct error *err)
{
	uint64_t at = header->version < 3 ? QCOW2_HEADER2_BYTES :
					    be32toh(first->disk.header_bytes);
	uint64_t end = first->disk.backing_offset ? be64toh(first->disk.backing_offset) :
						    first->bytes;

	if (end > first->bytes)
		return invalid(first, "its backing file's name is not in the first cluster", err);
	while (at + 8 <= end) {
		uint32_t type = be32_at(first->data + at), bytes = be32_at(first->data + at + 4);

		at += 8;
		if (type == QCOW2_EXTENSION_END)
			return 0;
		if (bytes > end - at)
			return invalid(first, "a header extension is too long", err);
		if (type == QCOW2_EXTENSION_BACKING_FORMAT)
			take_backing_format(header, first->data + at, bytes);
		if (type == QCOW2_EXTENSION_FEATURE_NAMES) {
			*names = first->data + at;
			*names_bytes = bytes;
		}
		at += (bytes + 7ull) & ~7ull;
	}
	return 0;
}

static int take_backing(const struct first_cluster *first, struct qcow2_header *header,
			struct error *err)
{
	uint64_t offset = be64toh(first->disk.backing_offset);
	uint32_t bytes = be32toh(first->disk.backing_bytes);

	if (!offset || !bytes)
		return 0;
	if (bytes > QCOW2_BACKING_BYTES_MAX || offset > first->bytes ||
	    bytes > first->bytes - offset || memchr(first->data + offset, 0, bytes))
		return invalid(first, "its backing file's name", err);
	memcpy(header->backing, first->data + offset, bytes);
	return 0;
}

static int take(const struct first_cluster *first, struct qcow2_header *header, struct error *err)
{
	const uint8_t *names = NULL;
	uint32_t names_bytes = 0;
	int ret;

	take_fields(header, &first->disk);
	ret = take_extensions(first, header, &names, &names_bytes, err);
	if (!ret)
		ret = judge_features(first, header, names, names_bytes, err);
	if (!ret)
		ret = judge_tables(first, header, err);
	return ret ? ret : take_backing(first, header, err);
}

static int read_cluster(const struct block_file *file, struct first_cluster *first,
			struct qcow2_header *header, struct error *err)
{
	uint8_t *data;
	int ret;

	first->bytes = 1u << be32toh(first->disk.cluster_bits);
	data = malloc(first->bytes);
	if (!data)
		return error_set(err, ENOMEM, "no memory for the image %s", first->path);
	ret = block_file_read(file, data, 0, first->bytes);
	first->data = data;
	ret = ret ? error_set_errno(err, -ret, "cannot read %s", first->path) :
		    take(first, header, err);
	free(data);
	return ret;
}

int qcow2_header_read(const struct block_file *file, const char *path, struct qcow2_header *header,
		      struct error *err)
{
	uint8_t data[FIRST_BYTES] __attribute__((aligned(FIRST_BYTES)));
	struct first_cluster first = { .path = path };
	int ret = block_file_read(file, data, 0, file->align_bytes);

	if (ret)
		return error_set_errno(err, -ret, "cannot read %s", path);
	memcpy(&first.disk, data, sizeof(first.disk));
	ret = judge_start(&first, err);
	if (!ret && 1u << be32toh(first.disk.cluster_bits) < file->align_bytes)
		ret = error_set(err, EINVAL, "%s: its clusters are smaller than the host's blocks",
				path);
	return ret ? ret : read_cluster(file, &first, header, err);
}

int qcow2_header_update(const struct block_file *file, const struct qcow2_header *header)
{
	uint8_t data[FIRST_BYTES] __attribute__((aligned(FIRST_BYTES)));
	struct qcow2_disk_header *disk = (struct qcow2_disk_header *)data;
	int ret = block_file_read(file, data, 0, file->align_bytes);

	if (ret)
		return ret;
	if (header->version >= 3) {
		disk->incompatible = htobe64(header->incompatible);
		disk->autoclear = htobe64(header->autoclear);
	}
	disk->reftable_offset = htobe64(header->reftable_offset);
	disk->reftable_clusters = htobe32(header->reftable_clusters);
	return block_file_write(file, data, 0, file->align_bytes);
}
