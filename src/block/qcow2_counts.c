/* SPDX-License-Identifier: MIT */
/* Counts of references: see qcow2_survey.h. */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_survey.h"

#define PAGE_BITS 12u
#define PAGE (1u << PAGE_BITS)
#define DIRECTORY_MAX (8u << 20) /* pages; 2 PiB with clusters of 64 KiB */
#define PAGES_USED_MAX (1u << 16) /* 1 GiB */

int qcow2_counts_init(struct qcow2_counts *counts, uint64_t clusters)
{
	uint64_t pages = (clusters >> PAGE_BITS) + 1;

	*counts = (struct qcow2_counts){ .clusters = clusters };
	if (pages > DIRECTORY_MAX)
		return -EFBIG;
	counts->page = calloc(pages, sizeof(counts->page[0]));
	return counts->page ? 0 : -ENOMEM;
}

void qcow2_counts_release(struct qcow2_counts *counts)
{
	for (uint64_t i = 0; counts->page && i <= counts->clusters >> PAGE_BITS; i++)
		free(counts->page[i]);
	free(counts->page);
	*counts = (struct qcow2_counts){ 0 };
}

uint32_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster)
{
	const uint32_t *page = cluster < counts->clusters ? counts->page[cluster >> PAGE_BITS] :
							    NULL;

	return page ? page[cluster & (PAGE - 1)] : 0;
}

int qcow2_counts_add(struct qcow2_counts *counts, uint64_t cluster, uint32_t value)
{
	uint32_t **page = &counts->page[cluster >> PAGE_BITS], *count;

	if (!*page) {
		if (++counts->pages_used > PAGES_USED_MAX)
			return -EFBIG;
		*page = calloc(PAGE, sizeof(**page));
		if (!*page)
			return -ENOMEM;
	}
	count = &(*page)[cluster & (PAGE - 1)];
	if (__builtin_add_overflow(*count, value, count))
		*count = UINT32_MAX;
	return 0;
}

uint64_t qcow2_counts_next(const struct qcow2_counts *counts, uint64_t cluster, uint64_t end)
{
	uint64_t limit = end < counts->clusters ? end : counts->clusters;

	while (cluster < limit) {
		const uint32_t *page = counts->page[cluster >> PAGE_BITS];

		if (!page)
			cluster = (cluster | (PAGE - 1)) + 1;
		else if (page[cluster & (PAGE - 1)])
			return cluster;
		else
			cluster++;
	}
	return end;
}
