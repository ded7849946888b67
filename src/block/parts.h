/* SPDX-License-Identifier: MIT */
/*
 * Large reads cut into parts that several threads carry out side by side: most of such a read is
 * copying, or waiting for the host's disk, and both go faster with more than one at work. Writes
 * stay whole: the host's file systems let but one at a time into a file.
 */
#ifndef RINGLET_BLOCK_PARTS_H
#define RINGLET_BLOCK_PARTS_H

#include <stdbool.h>

struct block_request;

/*
 * Has submit called for each part of request, which is done when all of them are. False: it is to
 * be submitted as it is. request->block is set, its bounds are right. Any thread.
 */
bool parts_submit(struct block_request *request, void (*submit)(struct block_request *part));

#endif
