/* SPDX-License-Identifier: MIT */
/*
 * Counting what tables refer to: see qcow2_survey.h. Each L2 table is read once, however many L1
 * entries refer to it, and counts as many times; so the time that it takes is bounded by the file's
 * size, whatever the tables say.
 */
#include "block/qcow2_survey.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int qcow2_survey_begin(struct qcow2_survey *survey, const struct block_file *file,
		       const struct qcow2_header *header, const char *path, struct error *err)
{
	uint64_t bytes = file->size_bytes, mask = (1ull << header->cluster_bits) - 1;
	int ret;

	*survey = (struct qcow2_survey){ .file = file, .header = header, .path = path };
	survey->file_clusters = (bytes >> header->cluster_bits) + ((bytes & mask) != 0);
	ret = qcow2_counts_init(&survey->expected, survey->file_clusters);
	if (!ret)
		ret = qcow2_counts_init(&survey->l2_tables, survey->file_clusters);
	if (ret)
		qcow2_survey_end(survey);
	return ret ? error_set_errno(err, -ret, "cannot check %s", path) : 0;
}

void qcow2_survey_end(struct qcow2_survey *survey)
{
	qcow2_counts_release(&survey->expected);
	qcow2_counts_release(&survey->l2_tables);
	qcow2_metadata_release(&survey->metadata);
}

void qcow2_survey_error(struct qcow2_survey *survey, const char *fmt, ...)
{
	char line[256];
	va_list args;

	survey->errors++;
	if (!survey->tell)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	survey->tell(survey->opaque, line);
}

int qcow2_survey_read(const struct qcow2_survey *survey, uint64_t offset, uint64_t bytes,
		      void **data)
{
	uint64_t mask = survey->file->align_bytes - 1, whole = (bytes + mask) & ~mask;
	int ret;

	*data = malloc(whole ? whole : 1);
	if (!*data)
		return -ENOMEM;
	ret = block_file_read(survey->file, *data, offset, whole);
	if (ret) {
		free(*data);
		*data = NULL;
	}
	return ret;
}

/* ---- references ---- */

static int refer(struct qcow2_survey *survey, const char *what, uint64_t first, uint64_t count,
		 uint32_t weight)
{
	int ret = 0;

	if (count && (first + count > survey->file_clusters)) {
		qcow2_survey_error(survey, "%s at %#llx is beyond the end of the file", what,
				   (unsigned long long)first << survey->header->cluster_bits);
		return 0;
	}
	for (uint64_t i = 0; i < count && !ret; i++)
		ret = qcow2_counts_add(&survey->expected, first + i, weight);
	return ret;
}

static bool aligned(struct qcow2_survey *survey, const char *what, uint64_t offset)
{
	if (!(offset & ((1ull << survey->header->cluster_bits) - 1)) &&
	    offset < QCOW2_HOST_BYTES_MAX)
		return true;
	qcow2_survey_error(survey, "%s at %#llx, which is no cluster's begin", what,
			   (unsigned long long)offset);
	return false;
}

int qcow2_survey_table(struct qcow2_survey *survey, const char *what, uint64_t offset,
		       uint64_t bytes)
{
	uint64_t mask = (1ull << survey->header->cluster_bits) - 1;
	uint64_t first = offset >> survey->header->cluster_bits;
	uint64_t count = (bytes + mask) >> survey->header->cluster_bits;
	int ret;

	if (!aligned(survey, what, offset))
		return 0;
	ret = refer(survey, what, first, count, 1);
	if (!ret)
		ret = qcow2_metadata_add(&survey->metadata, first, count);
	if (ret != -EEXIST)
		return ret;
	qcow2_survey_error(survey, "%s at %#llx overlaps another table", what,
			   (unsigned long long)offset);
	return 0;
}

/* ---- guest clusters ---- */

/* An L2 table of the disk as it is now, which only one entry may refer to. */
static int add_active(struct qcow2_survey *survey, uint64_t cluster)
{
	int ret = qcow2_metadata_add(&survey->metadata, cluster, 1);

	if (ret == -EEXIST)
		qcow2_survey_error(survey, "an L2 table at %#llx overlaps another table",
				   (unsigned long long)cluster << survey->header->cluster_bits);
	return ret && ret != -EEXIST ? ret : qcow2_counts_add(&survey->l2_tables, cluster, 1);
}

/* The L2 tables of one L1 table into weights. */
static int survey_l1(struct qcow2_survey *survey, const char *what, uint64_t offset,
		     uint32_t entries, bool active, struct qcow2_counts *weights)
{
	uint64_t *table;
	uint64_t errors = survey->errors;
	int ret = qcow2_survey_table(survey, what, offset, entries * 8ull);

	/*
	 * What overlaps is not looked into, lest many tables in one place take their time. Behind
	 * the file's end there is nothing to read.
	 */
	if (ret || survey->errors != errors ||
	    offset >> survey->header->cluster_bits >= survey->file_clusters)
		return ret;
	ret = qcow2_survey_read(survey, offset, entries * 8ull, (void **)&table);
	for (uint32_t i = 0; i < entries && !ret; i++) {
		uint64_t l2 = be64toh(table[i]) & QCOW2_OFFSET;
		uint64_t cluster = l2 >> survey->header->cluster_bits;

		if (!l2 || !aligned(survey, "an L2 table", l2))
			continue;
		ret = refer(survey, "an L2 table", cluster, 1, 1);
		if (ret || cluster >= survey->file_clusters)
			continue;
		ret = qcow2_counts_add(weights, cluster, 1);
		if (!ret && active)
			ret = add_active(survey, cluster);
	}
	free(table);
	return ret;
}

/* What qcow2_entry_clusters needs of an image. */
static struct qcow2 image_of(const struct qcow2_survey *survey)
{
	return (struct qcow2){ .cluster_bits = survey->header->cluster_bits,
			       .cluster_bytes = 1u << survey->header->cluster_bits };
}

static int survey_l2(struct qcow2_survey *survey, uint64_t cluster, uint32_t weight)
{
	const struct qcow2 image = image_of(survey);
	uint64_t *table;
	int ret = qcow2_survey_read(survey, cluster << image.cluster_bits, image.cluster_bytes,
				    (void **)&table);

	for (uint32_t i = 0; i < image.cluster_bytes / 8 && !ret; i++) {
		uint64_t entry = be64toh(table[i]), first, count;

		qcow2_entry_clusters(&image, entry, &first, &count);
		if (!count || (!(entry & QCOW2_COMPRESSED) &&
			       !aligned(survey, "a data cluster", entry & QCOW2_OFFSET)))
			continue;
		ret = refer(survey, "a data cluster", first, count, weight);
	}
	free(table);
	return ret;
}

static int survey_snapshots(struct qcow2_survey *survey, struct qcow2_counts *weights,
			    struct error *err)
{
	const struct qcow2_header *header = survey->header;
	struct qcow2_snapshot *all;
	uint64_t bytes;
	int ret;

	if (!header->snapshots)
		return 0;
	ret = qcow2_snapshots_read(survey->file, header, survey->path, &all, &bytes, err);
	if (ret)
		return ret;
	ret = qcow2_survey_table(survey, "the table of snapshots", header->snapshots_offset, bytes);
	for (uint32_t i = 0; i < header->snapshots && !ret; i++) {
		if (all[i].l1_entries > QCOW2_L1_BYTES_MAX / 8)
			qcow2_survey_error(survey, "snapshot %u has a damaged L1 table", i + 1);
		else
			ret = survey_l1(survey, "a snapshot's L1 table", all[i].l1_offset,
					all[i].l1_entries, false, weights);
	}
	qcow2_snapshots_release(all, header->snapshots);
	return ret;
}

static int survey_all(struct qcow2_survey *survey, struct qcow2_counts *weights,
		      struct error *err)
{
	const struct qcow2_header *header = survey->header;
	uint64_t cluster = 0;
	int ret = qcow2_counts_init(weights, survey->file_clusters);

	if (!ret)
		ret = qcow2_survey_table(survey, "the header", 0, 1);
	if (!ret)
		ret = survey_l1(survey, "the L1 table", header->l1_offset, header->l1_entries,
				true, weights);
	if (!ret)
		ret = survey_snapshots(survey, weights, err);
	while (!ret && (cluster = qcow2_counts_next(weights, cluster, survey->file_clusters)) <
			       survey->file_clusters) {
		ret = survey_l2(survey, cluster, qcow2_counts_get(weights, cluster));
		cluster++;
	}
	return ret;
}

int qcow2_survey_guest(struct qcow2_survey *survey, struct error *err)
{
	struct qcow2_counts weights;
	struct error own = { .message = "" };
	int ret = survey_all(survey, &weights, &own);

	qcow2_counts_release(&weights);
	if (!ret)
		return 0;
	return own.message[0] ? error_set(err, -ret, "%s", own.message) :
				error_set_errno(err, -ret, "cannot check %s", survey->path);
}

/* ---- flags ---- */

/* entry as it is to be: copied where its cluster has one reference. */
static uint64_t right_flag(const struct qcow2_survey *survey, const struct qcow2_counts *counts,
			   uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET;
	uint64_t cluster = offset >> survey->header->cluster_bits;
	bool copied = offset && !(entry & QCOW2_COMPRESSED) &&
		      qcow2_counts_get(counts, cluster) == 1;

	if (!offset || cluster >= survey->file_clusters)
		return entry;
	return copied ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED;
}

/* Of a table of count entries; those that are wrong are counted, and put right in memory. */
static uint64_t judge_flags(struct qcow2_survey *survey, const struct qcow2_counts *counts,
			    uint64_t *table, uint64_t count, const char *what)
{
	uint64_t wrong = 0;
	char line[128];

	for (uint64_t i = 0; i < count; i++) {
		uint64_t entry = be64toh(table[i]), right = right_flag(survey, counts, entry);

		if (entry == right)
			continue;
		wrong++;
		survey->unmarked += !(entry & QCOW2_COPIED);
		table[i] = htobe64(right);
		snprintf(line, sizeof(line), "%s at %#llx %s", what,
			 (unsigned long long)(entry & QCOW2_OFFSET),
			 entry & QCOW2_COPIED ? "is marked as ours alone and is not" :
						"is ours alone and not marked so");
		if (survey->tell)
			survey->tell(survey->opaque, line);
	}
	return wrong;
}

static int judge_l2_flags(struct qcow2_survey *survey, const struct qcow2_counts *counts,
			  uint64_t offset, bool repair, uint64_t *wrong)
{
	uint64_t bytes = 1ull << survey->header->cluster_bits, bad;
	uint64_t *table;
	int ret = qcow2_survey_read(survey, offset, bytes, (void **)&table);

	if (ret)
		return ret;
	for (uint64_t i = 0; i < bytes / 8; i++)
		if (be64toh(table[i]) & (QCOW2_OFFSET | QCOW2_COMPRESSED))
			survey->used_clusters++;
	bad = judge_flags(survey, counts, table, bytes / 8, "a data cluster");
	*wrong += bad;
	if (bad && repair)
		ret = block_file_write(survey->file, table, offset, bytes);
	free(table);
	return ret;
}

static int judge_l1_flags(struct qcow2_survey *survey, const struct qcow2_counts *counts,
			  bool repair, uint64_t *wrong)
{
	const struct qcow2_header *header = survey->header;
	uint64_t mask = survey->file->align_bytes - 1;
	uint64_t bytes = (header->l1_entries * 8ull + mask) & ~mask, bad;
	uint64_t *l1;
	int ret = qcow2_survey_read(survey, header->l1_offset, bytes, (void **)&l1);

	if (ret)
		return ret;
	bad = judge_flags(survey, counts, l1, header->l1_entries, "an L2 table");
	*wrong += bad;
	if (bad && repair)
		ret = block_file_write(survey->file, l1, header->l1_offset, bytes);
	free(l1);
	return ret;
}

int qcow2_survey_flags(struct qcow2_survey *survey, const struct qcow2_counts *counts, bool repair,
		       uint64_t *wrong)
{
	uint64_t cluster = 0, end = survey->file_clusters;
	int ret = 0;

	*wrong = survey->used_clusters = survey->unmarked = 0;
	while (!ret && (cluster = qcow2_counts_next(&survey->l2_tables, cluster, end)) < end)
		ret = judge_l2_flags(survey, counts, cluster++ << survey->header->cluster_bits,
				     repair, wrong);
	return ret ? ret : judge_l1_flags(survey, counts, repair, wrong);
}
