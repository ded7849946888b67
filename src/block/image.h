/* SPDX-License-Identifier: MIT */
/*
 * Files that hold disks, for 'ringlet disk': making, copying, describing them. A format is what the
 * caller names, or what the file's name says; never what the content looks like. One thread.
 */
#ifndef RINGLET_BLOCK_IMAGE_H
#define RINGLET_BLOCK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct block_options;
struct block_progress;
struct error;

struct image_creation {
	const char *format;         /* NULL: as the name says */
	uint64_t size_bytes;        /* 0: that of the backing file */
	uint32_t cluster_bytes;     /* qcow2; 0: 64K */
	const char *backing;        /* qcow2: what it lies on, as seen from it; NULL: nothing */
	const char *backing_format; /* NULL: as its name says */
	bool preallocate;           /* qcow2 */
	bool force;                 /* over a file that is there */
};

/* What was begun and could not be finished is removed again. */
int image_create(const char *path, const struct image_creation *creation, struct error *err);

/* A new image with the bytes of what source names; its size is the source's. */
int image_convert(const struct block_options *source, const char *path,
		  const struct image_creation *creation, const struct block_progress *progress,
		  struct error *err);

/* What a file takes on the host's disk. */
int image_host_bytes(const char *path, uint64_t *bytes, struct error *err);

#endif
