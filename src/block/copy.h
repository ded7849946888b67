/* SPDX-License-Identifier: MIT */
/* Copying disks, for tools. One thread, which waits as long as it takes. */
#ifndef RINGLET_BLOCK_COPY_H
#define RINGLET_BLOCK_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "block/block.h"

struct error;

/* Told from time to time how far it is; report may be NULL. */
struct block_progress {
	void (*report)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};

struct block_copy {
	struct block *from, *to; /* to is as large, or larger */
	const char *from_name, *to_name;
	/* What is to be copied of from; NULL: everything, as block_extent says. */
	int (*extent)(struct block *from, uint64_t offset, uint64_t length,
		      struct block_extent *extent);
	bool to_is_zeros; /* so zeros need not be written */
};

/* Holes and zeros take no space in the copy, which is durable in the end. */
int block_copy(const struct block_copy *copy, const struct block_progress *progress,
	       struct error *err);

#endif
