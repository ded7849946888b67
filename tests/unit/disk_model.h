/* SPDX-License-Identifier: MIT */
/*
 * A disk beside an array of bytes: random requests go to both, and what is read has to be the same.
 * Failures end the test.
 */
#ifndef RINGLET_TESTS_UNIT_DISK_MODEL_H
#define RINGLET_TESTS_UNIT_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "block/block.h"

struct disk_model {
	const char *options; /* as for --disk: what is opened */
	struct block *block;
	uint8_t *bytes;
	uint64_t size_bytes;
	uint64_t seed;
	uint64_t max_bytes; /* of a request */
	bool reopen;        /* from time to time */
};

/* What is read from the disk now is taken as right. */
void disk_model_open(struct disk_model *model, const char *options, uint64_t seed);
void disk_model_close(struct disk_model *model);
void disk_model_steps(struct disk_model *model, unsigned count);
/* All of it. */
void disk_model_compare(struct disk_model *model);

struct block *disk_open(const char *options);
/* 0 or -errno; data NULL for what has none. */
int disk_access(struct block *block, enum block_op op, unsigned flags, uint64_t offset, void *data,
		uint64_t length);

uint64_t disk_random(uint64_t *seed);

/* Runs a command, made as by printf; returns its exit status. */
int disk_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A group's setup and teardown: works in a directory of its own, which goes with all that is in it. */
int disk_directory_enter(void **state);
int disk_directory_leave(void **state);

#endif
