/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes of a file by way of io_uring: many under way without a thread each. What it does not
 * take, and what the kernel did not do whole, is for the block's threads. A thread of its own waits for
 * the kernel, and calls what is done.
 */
#ifndef RINGLET_BLOCK_RING_H
#define RINGLET_BLOCK_RING_H

#include <stdbool.h>

struct block_file;
struct block_request;
struct block_ring;
struct error;

/* again is given what the kernel did not do whole. -ENOSYS, -EPERM …: there is no io_uring here. */
int block_ring_create(struct block_ring **ring, void (*again)(struct block_request *request),
		      struct error *err);
/* Nothing is under way. NULL is allowed. */
void block_ring_destroy(struct block_ring *ring);

/* False: not for it. Any thread; request goes to the kernel with the next push. */
bool block_ring_submit(struct block_ring *ring, const struct block_file *file,
		       struct block_request *request);
/* One system call for what was submitted. Any thread. */
void block_ring_push(struct block_ring *ring);
/* Returns when all that was pushed is done or given back. */
void block_ring_drain(struct block_ring *ring);

#endif
