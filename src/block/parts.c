/* SPDX-License-Identifier: MIT */
/* See parts.h. All of a request's parts are in one piece of memory, which the last of them frees. */
#include "block/parts.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/iov.h"
#include "block/block.h"

#define PART_BYTES (512u << 10) /* less is not worth waking a thread */
#define STEPS_MAX 4u
#define PARTS_MAX (STEPS_MAX + 1) /* the first may begin anywhere */

struct parts {
	struct block_request *whole;
	atomic_uint left;
	atomic_int result; /* of the first that failed */
	struct block_request part[];
};

static void part_done(struct block_request *part, int result)
{
	struct parts *parts = part->opaque;
	struct block_request *whole = parts->whole;
	int none = 0;

	if (result)
		atomic_compare_exchange_strong(&parts->result, &none, result);
	if (atomic_fetch_sub(&parts->left, 1) != 1)
		return;
	result = parts->result;
	free(parts);
	whole->done(whole, result);
}

/* A power of two: cuts are at multiples of it. */
static uint64_t step_of(const struct block_request *whole)
{
	uint64_t step = PART_BYTES;

	while (step * STEPS_MAX < whole->length)
		step *= 2;
	return step;
}

static unsigned cut(struct parts *parts, uint64_t step, struct iovec *slice)
{
	const struct block_request *whole = parts->whole;
	unsigned count = 0;

	for (uint64_t at = 0; at < whole->length; count++) {
		uint64_t length = step - ((whole->offset + at) & (step - 1));
		unsigned pieces;

		if (length > whole->length - at)
			length = whole->length - at;
		pieces = iov_slice(whole->iov, whole->iov_count, at, length, slice);
		parts->part[count] = (struct block_request){
			.op = whole->op, .offset = whole->offset + at, .length = length,
			.iov = slice, .iov_count = pieces, .done = part_done, .opaque = parts,
			.block = whole->block,
		};
		slice += pieces;
		at += length;
	}
	return count;
}

bool parts_submit(struct block_request *request, void (*submit)(struct block_request *part))
{
	struct parts *parts;
	uint64_t step = step_of(request);
	unsigned count;

	if (request->op != BLOCK_READ || request->length <= step)
		return false;
	parts = malloc(sizeof(*parts) + PARTS_MAX * sizeof(parts->part[0]) +
		       (request->iov_count + PARTS_MAX) * sizeof(struct iovec));
	if (!parts)
		return false;
	parts->whole = request;
	count = cut(parts, step, (struct iovec *)(parts->part + PARTS_MAX));
	atomic_init(&parts->left, count);
	atomic_init(&parts->result, 0);
	for (unsigned i = 0; i < count; i++)
		submit(&parts->part[i]);
	return true;
}
