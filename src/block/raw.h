/* SPDX-License-Identifier: MIT */
/* The raw format: a file's or a block device's bytes are the disk's. Any thread. */
#ifndef RINGLET_BLOCK_RAW_H
#define RINGLET_BLOCK_RAW_H

struct block;
struct block_options;
struct error;

int raw_open(const struct block_options *options, struct block **block, struct error *err);

#endif
