/* SPDX-License-Identifier: MIT */
/*
 * Checking an image: are the reference counts, and the flags that follow from them, what they
 * should?
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "block/qcow2.h"
#include "block/qcow2_survey.h"

struct checker {
	struct qcow2_survey survey;
	struct qcow2_counts actual;
	struct qcow2_check *check;
};

static void tell(struct checker *checker, const char *what, uint64_t cluster, uint64_t actual)
{
	char line[160];

	snprintf(line, sizeof(line), "%s: the cluster at %#llx has %llu references and counts %llu",
		 what, (unsigned long long)cluster << checker->survey.header->cluster_bits,
		 (unsigned long long)qcow2_counts_get(&checker->survey.expected, cluster),
		 (unsigned long long)actual);
	checker->check->tell(checker->check->opaque, line);
}

static void compare(struct checker *checker, uint64_t cluster, uint64_t actual)
{
	uint64_t expected = qcow2_counts_get(&checker->survey.expected, cluster);

	if (actual > expected) {
		checker->check->leaks++;
		tell(checker, "leak", cluster, actual);
	} else if (actual < expected) {
		checker->check->errors++;
		tell(checker, "error", cluster, actual);
	}
}

/* ---- what the refcount table says ---- */

static int compare_block(struct checker *checker, uint64_t index, const void *block)
{
	const struct qcow2_header *header = checker->survey.header;
	unsigned bits = header->cluster_bits + 3 - header->refcount_order;
	int ret = 0;

	for (uint64_t i = 0; i < 1ull << bits && !ret; i++) {
		uint64_t cluster = (index << bits) + i;
		uint64_t actual = block ? qcow2_refcount_in(block, header->refcount_order, i) : 0;

		if (actual && cluster < checker->survey.file_clusters)
			ret = qcow2_counts_add(&checker->actual, cluster,
					       actual < UINT32_MAX ? (uint32_t)actual : UINT32_MAX);
		/* Behind the file's end, clusters that were never written to may well be taken. */
		if (cluster < checker->survey.file_clusters)
			compare(checker, cluster, actual);
	}
	return ret;
}

/* The counts of a block that is not there are zeros. */
static void compare_absent(struct checker *checker, uint64_t from, uint64_t to)
{
	while ((from = qcow2_counts_next(&checker->survey.expected, from, to)) < to)
		compare(checker, from++, 0);
}

/* One that others refer to as well is damaged, and is not read as often as that. */
static bool block_exists(const struct checker *checker, uint64_t offset)
{
	const struct qcow2_header *header = checker->survey.header;

	return offset && !(offset & ((1ull << header->cluster_bits) - 1)) &&
	       qcow2_counts_get(&checker->survey.expected, offset >> header->cluster_bits) == 1;
}

static int compare_entry(struct checker *checker, uint64_t index, uint64_t offset)
{
	const struct qcow2_header *header = checker->survey.header;
	unsigned bits = header->cluster_bits + 3 - header->refcount_order;
	void *block;
	int ret;

	if (!block_exists(checker, offset)) {
		compare_absent(checker, index << bits, (index + 1) << bits);
		return 0;
	}
	ret = qcow2_survey_read(&checker->survey, offset, 1ull << header->cluster_bits, &block);
	if (!ret)
		ret = compare_block(checker, index, block);
	free(block);
	return ret;
}

static int survey_blocks(struct checker *checker, const uint64_t *table, uint64_t entries)
{
	uint64_t bytes = 1ull << checker->survey.header->cluster_bits;
	int ret = 0;

	for (uint64_t i = 0; i < entries && !ret; i++)
		if (table[i])
			ret = qcow2_survey_table(&checker->survey, "a refcount block",
						 be64toh(table[i]), bytes);
	return ret;
}

static int check_counts(struct checker *checker)
{
	const struct qcow2_header *header = checker->survey.header;
	uint64_t bytes = (uint64_t)header->reftable_clusters << header->cluster_bits;
	unsigned bits = header->cluster_bits + 3 - header->refcount_order;
	uint64_t *table;
	int ret = qcow2_survey_table(&checker->survey, "the refcount table",
				     header->reftable_offset, bytes);

	if (!ret)
		ret = qcow2_survey_read(&checker->survey, header->reftable_offset, bytes,
					(void **)&table);
	if (ret)
		return ret;
	ret = survey_blocks(checker, table, bytes / 8);
	for (uint64_t i = 0; i < bytes / 8 && !ret; i++)
		ret = compare_entry(checker, i, be64toh(table[i]));
	if (!ret)
		compare_absent(checker, bytes / 8 << bits, checker->survey.file_clusters);
	free(table);
	return ret;
}

/* ---- one pass ---- */

static int look(struct checker *checker, struct error *err)
{
	struct qcow2_check *check = checker->check;
	uint64_t wrong = 0;
	int ret;

	checker->survey.tell = check->tell;
	checker->survey.opaque = check->opaque;
	ret = qcow2_survey_guest(&checker->survey, err);
	if (ret)
		return ret;
	ret = check_counts(checker);
	if (!ret)
		ret = qcow2_survey_flags(&checker->survey, &checker->actual, false, &wrong);
	check->errors += checker->survey.errors + wrong;
	check->harmless = checker->survey.unmarked;
	check->used_clusters = checker->survey.used_clusters;
	return ret ? error_set_errno(err, -ret, "cannot check %s", checker->survey.path) : 0;
}

static int pass(const struct block_file *file, const struct qcow2_header *header, const char *path,
		struct qcow2_check *check, struct error *err)
{
	struct checker checker = { .check = check };
	int ret;

	check->errors = check->leaks = 0;
	ret = qcow2_survey_begin(&checker.survey, file, header, path, err);
	if (ret)
		return ret;
	ret = qcow2_counts_init(&checker.actual, checker.survey.file_clusters);
	if (ret)
		ret = error_set_errno(err, -ret, "cannot check %s", path);
	else
		ret = look(&checker, err);
	qcow2_counts_release(&checker.actual);
	qcow2_survey_end(&checker.survey);
	return ret;
}

static void tell_nobody(void *opaque, const char *line)
{
	(void)opaque, (void)line;
}

static int repair_image(struct block_file *file, struct qcow2_header *header, const char *path,
			struct qcow2_check *check, struct error *err)
{
	uint64_t before = check->errors + check->leaks;
	void (*told)(void *, const char *) = check->tell;
	int ret;

	if (!before && !check->was_dirty && !check->was_corrupt)
		return 0;
	ret = qcow2_rebuild(file, header, path, err);
	if (ret)
		return ret;
	check->tell = tell_nobody; /* what is left was told */
	ret = pass(file, header, path, check, err);
	check->tell = told;
	check->repaired = before - check->errors - check->leaks;
	return ret;
}

int qcow2_check(const char *path, bool repair, struct qcow2_check *check, struct error *err)
{
	struct qcow2_header header;
	struct block_file file;
	int ret = block_file_open(&file, path, !repair, false, err);

	if (ret)
		return ret;
	if (!check->tell)
		check->tell = tell_nobody;
	ret = qcow2_header_read(&file, path, &header, err);
	if (!ret && header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)
		ret = error_set(err, EOPNOTSUPP, "%s has bitmaps, which Ringlet cannot check",
				path);
	if (!ret) {
		check->guest_clusters = (header.size_bytes + (1ull << header.cluster_bits) - 1) >>
					header.cluster_bits;
		check->was_dirty = header.incompatible & QCOW2_INCOMPATIBLE_DIRTY;
		check->was_corrupt = header.incompatible & QCOW2_INCOMPATIBLE_CORRUPT;
		ret = pass(&file, &header, path, check, err);
	}
	if (!ret && repair)
		ret = repair_image(&file, &header, path, check, err);
	block_file_close(&file);
	return ret;
}
