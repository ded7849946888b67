/* SPDX-License-Identifier: MIT */
/* Internal snapshots: their table, and an image as it was in one of them. Called by one thread. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "block/qcow2_image.h"

#define EXTRA_MAX 1024u

/* The table's bytes as they are read, from front to back. */
struct reader {
	const struct block_file *file;
	uint64_t at, end;
};

static int take(struct reader *reader, void *data, uint64_t bytes)
{
	uint64_t mask = reader->file->align_bytes - 1, skip = reader->at & mask;
	uint64_t whole = (skip + bytes + mask) & ~mask;
	uint8_t *around;
	int ret;

	if (bytes > reader->end - reader->at)
		return -EINVAL;
	around = malloc(whole ? whole : 1);
	if (!around)
		return -ENOMEM;
	ret = block_file_read(reader->file, around, reader->at - skip, whole);
	memcpy(data, around + skip, bytes);
	free(around);
	reader->at += bytes;
	return ret;
}

static int take_text(struct reader *reader, uint16_t bytes, char **text)
{
	*text = calloc(1, bytes + 1u);
	return *text ? take(reader, *text, bytes) : -ENOMEM;
}

static int take_snapshot(struct reader *reader, const struct qcow2_header *header,
			 struct qcow2_snapshot *snapshot)
{
	struct qcow2_disk_snapshot disk;
	uint8_t extra[EXTRA_MAX] = { 0 };
	const struct qcow2_disk_snapshot_extra *known = (const void *)extra;
	uint64_t start = reader->at;
	uint32_t extra_bytes;
	int ret = take(reader, &disk, sizeof(disk));

	if (ret)
		return ret;
	extra_bytes = be32toh(disk.extra_bytes);
	if (extra_bytes > EXTRA_MAX)
		return -EINVAL;
	*snapshot = (struct qcow2_snapshot){
		.l1_offset = be64toh(disk.l1_offset), .l1_entries = be32toh(disk.l1_entries),
		.date_s = be32toh(disk.date_s), .size_bytes = header->size_bytes,
		.vm_state_bytes = be32toh(disk.vm_state_bytes),
	};
	ret = take(reader, extra, extra_bytes);
	if (!ret)
		ret = take_text(reader, be16toh(disk.id_bytes), &snapshot->id);
	if (!ret)
		ret = take_text(reader, be16toh(disk.name_bytes), &snapshot->name);
	if (extra_bytes >= sizeof(known->vm_state_bytes))
		snapshot->vm_state_bytes = be64toh(known->vm_state_bytes);
	if (extra_bytes >= sizeof(*known))
		snapshot->size_bytes = be64toh(known->size_bytes);
	reader->at = start + ((reader->at - start + 7) & ~7ull);
	return reader->at <= reader->end ? ret : -EINVAL;
}

int qcow2_snapshots_read(const struct block_file *file, const struct qcow2_header *header,
			 const char *path, struct qcow2_snapshot **snapshots, uint64_t *table_bytes,
			 struct error *err)
{
	struct reader reader = { file, header->snapshots_offset,
				 header->snapshots_offset + QCOW2_SNAPSHOTS_BYTES_MAX };
	int ret = 0;

	*snapshots = calloc(header->snapshots + 1u, sizeof(**snapshots));
	if (!*snapshots)
		return error_set(err, ENOMEM, "no memory for the snapshots of %s", path);
	for (uint32_t i = 0; i < header->snapshots && !ret; i++)
		ret = take_snapshot(&reader, header, &(*snapshots)[i]);
	*table_bytes = reader.at - header->snapshots_offset;
	if (!ret)
		return 0;
	qcow2_snapshots_release(*snapshots, header->snapshots);
	*snapshots = NULL;
	return ret == -EINVAL ? error_set(err, EINVAL, "%s: its table of snapshots is damaged",
					  path) :
				error_set_errno(err, -ret, "cannot read the snapshots of %s", path);
}

void qcow2_snapshots_release(struct qcow2_snapshot *snapshots, uint32_t count)
{
	for (uint32_t i = 0; snapshots && i < count; i++) {
		free(snapshots[i].id);
		free(snapshots[i].name);
	}
	free(snapshots);
}

/* By name; if there is no such name, by ID. */
static const struct qcow2_snapshot *find(const struct qcow2_snapshot *snapshots, uint32_t count,
					 const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(snapshots[i].name, name))
			return &snapshots[i];
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(snapshots[i].id, name))
			return &snapshots[i];
	return NULL;
}

static int adopt(struct qcow2_header *header, const struct qcow2_snapshot *snapshot,
		 const char *path, struct error *err)
{
	unsigned shift = 2 * header->cluster_bits - 3;
	uint64_t needed = (snapshot->size_bytes >> shift) +
			  ((snapshot->size_bytes & ((1ull << shift) - 1)) != 0);

	if (snapshot->l1_offset & ((1ull << header->cluster_bits) - 1) ||
	    snapshot->l1_offset >= QCOW2_HOST_BYTES_MAX ||
	    snapshot->l1_entries > QCOW2_L1_BYTES_MAX / 8 || snapshot->l1_entries < needed)
		return error_set(err, EINVAL, "%s: the L1 table of snapshot '%s' is damaged", path,
				 snapshot->name);
	header->l1_offset = snapshot->l1_offset;
	header->l1_entries = snapshot->l1_entries;
	header->size_bytes = snapshot->size_bytes;
	return 0;
}

int qcow2_snapshot_choose(const struct block_file *file, struct qcow2_header *header,
			  const char *path, const char *name, struct error *err)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshot *all;
	uint64_t table_bytes;
	int ret = qcow2_snapshots_read(file, header, path, &all, &table_bytes, err);

	if (ret)
		return ret;
	snapshot = find(all, header->snapshots, name);
	ret = snapshot ? adopt(header, snapshot, path, err) :
			 error_set(err, ENOENT, "%s has no snapshot '%s'", path, name);
	qcow2_snapshots_release(all, header->snapshots);
	return ret;
}
