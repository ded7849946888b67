/* SPDX-License-Identifier: MIT */
/* What an image's header says, for people. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "block/qcow2.h"
#include "block/qcow2_image.h"

static int take_snapshots(struct qcow2_info *info, struct qcow2_snapshot *all, uint32_t count)
{
	info->snapshots = calloc(count + 1u, sizeof(info->snapshots[0]));
	if (!info->snapshots)
		return -ENOMEM;
	info->snapshot_count = count;
	for (uint32_t i = 0; i < count; i++) {
		info->snapshots[i] = (struct qcow2_snapshot_info){
			.id = all[i].id, .name = all[i].name, .size_bytes = all[i].size_bytes,
			.vm_state_bytes = all[i].vm_state_bytes, .date_s = all[i].date_s,
		};
		all[i].id = all[i].name = NULL;
	}
	return 0;
}

static int read_snapshots(const struct block_file *file, const struct qcow2_header *header,
			  const char *path, struct qcow2_info *info, struct error *err)
{
	struct qcow2_snapshot *all;
	uint64_t bytes;
	int ret = qcow2_snapshots_read(file, header, path, &all, &bytes, err);

	if (ret)
		return ret;
	ret = take_snapshots(info, all, header->snapshots);
	qcow2_snapshots_release(all, header->snapshots);
	return ret ? error_set(err, ENOMEM, "no memory for the snapshots of %s", path) : 0;
}

static void take_header(struct qcow2_info *info, const struct qcow2_header *header)
{
	*info = (struct qcow2_info){
		.version = header->version, .refcount_bits = 1u << header->refcount_order,
		.size_bytes = header->size_bytes, .cluster_bytes = 1u << header->cluster_bits,
		.compression = header->compression == QCOW2_ZSTD ? "zstd" : "zlib",
		.dirty = header->incompatible & QCOW2_INCOMPATIBLE_DIRTY,
		.corrupt = header->incompatible & QCOW2_INCOMPATIBLE_CORRUPT,
		.lazy_refcounts = header->compatible & QCOW2_COMPATIBLE_LAZY_REFCOUNTS,
		.bitmaps = header->autoclear & QCOW2_AUTOCLEAR_BITMAPS,
		.backing = header->backing[0] ? strdup(header->backing) : NULL,
		.backing_format = header->backing_format[0] ? strdup(header->backing_format) : NULL,
	};
}

int qcow2_info_read(const char *path, struct qcow2_info *info, struct error *err)
{
	struct qcow2_header header;
	struct block_file file;
	int ret = block_file_open(&file, path, true, false, err);

	*info = (struct qcow2_info){ 0 };
	if (ret)
		return ret;
	ret = qcow2_header_read(&file, path, &header, err);
	if (!ret) {
		take_header(info, &header);
		ret = read_snapshots(&file, &header, path, info, err);
	}
	block_file_close(&file);
	if (ret)
		qcow2_info_release(info);
	return ret;
}

void qcow2_info_release(struct qcow2_info *info)
{
	for (uint32_t i = 0; i < info->snapshot_count; i++) {
		free(info->snapshots[i].id);
		free(info->snapshots[i].name);
	}
	free(info->snapshots);
	free(info->backing);
	free(info->backing_format);
	*info = (struct qcow2_info){ 0 };
}
