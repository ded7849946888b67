/* SPDX-License-Identifier: MIT */
/* The files that images lie on: see qcow2_backing.c. One thread, before requests come. */
#ifndef RINGLET_BLOCK_QCOW2_BACKING_H
#define RINGLET_BLOCK_QCOW2_BACKING_H

#define QCOW2_DEPTH_MAX 16u /* files below an image */

#include <stdbool.h>

struct block_options;
struct error;
struct qcow2;

/* Opens what the image lies on, if anything, and if options allow it. */
int qcow2_backing_open(struct qcow2 *image, const struct block_options *options,
		       struct error *err);

/*
 * What the image in file path lies on, a string that the caller frees; NULL: on nothing, or it
 * cannot be told, for a reason that opening the image tells. *qcow2: whether that is an image, too.
 */
char *qcow2_backing_of(const char *path, bool *qcow2);

#endif
