/* SPDX-License-Identifier: MIT */
/*
 * What an image's tables refer to, counted anew from them: for checks and repairs of images that
 * nobody else has open. One thread.
 */
#ifndef RINGLET_BLOCK_QCOW2_SURVEY_H
#define RINGLET_BLOCK_QCOW2_SURVEY_H

#include "block/qcow2_image.h"

/* A count a host cluster; pages of them come when they are used. They end at 2^32 - 1. */
struct qcow2_counts {
	uint32_t **page;
	uint64_t clusters; /* that the file has; others have no count */
	uint64_t pages_used;
};

int qcow2_counts_init(struct qcow2_counts *counts, uint64_t clusters);
void qcow2_counts_release(struct qcow2_counts *counts);
uint32_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster);
int qcow2_counts_add(struct qcow2_counts *counts, uint64_t cluster, uint32_t value);
/* The first cluster from `cluster` on, below end, that has a count; end: none. */
uint64_t qcow2_counts_next(const struct qcow2_counts *counts, uint64_t cluster, uint64_t end);

struct qcow2_survey {
	const struct block_file *file;
	const struct qcow2_header *header;
	const char *path;
	uint64_t file_clusters;
	struct qcow2_counts expected;
	struct qcow2_counts l2_tables; /* of the disk as it is now: how many L1 entries have it */
	struct qcow2_metadata metadata;
	uint64_t errors;        /* references that cannot be right */
	uint64_t unmarked;      /* flags that are not set where they could be, which is harmless */
	uint64_t used_clusters; /* guest clusters of the disk as it is now that have a place */
	void (*tell)(void *opaque, const char *line); /* may be NULL */
	void *opaque;
};

int qcow2_survey_begin(struct qcow2_survey *survey, const struct block_file *file,
		       const struct qcow2_header *header, const char *path, struct error *err);
void qcow2_survey_end(struct qcow2_survey *survey);
void qcow2_survey_error(struct qcow2_survey *survey, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Tables of guest clusters, of the disk as it is and of its snapshots. -errno: could not be read.
 */
int qcow2_survey_guest(struct qcow2_survey *survey, struct error *err);
/* What is contiguous and holds metadata. */
int qcow2_survey_table(struct qcow2_survey *survey, const char *what, uint64_t offset,
		       uint64_t bytes);
/*
 * The "copied" flags of the disk as it is: have they the counts that `counts` says? With repair
 * they are put right. *wrong: how many were not.
 */
int qcow2_survey_flags(struct qcow2_survey *survey, const struct qcow2_counts *counts, bool repair,
		       uint64_t *wrong);

/* Part of a table, on the heap, in whole blocks of the file. */
int qcow2_survey_read(const struct qcow2_survey *survey, uint64_t offset, uint64_t bytes,
		      void **data);

#endif
