/* SPDX-License-Identifier: MIT */
/* The files that images lie on: see qcow2_backing.c. One thread, before requests come. */
#ifndef RINGLET_BLOCK_QCOW2_BACKING_H
#define RINGLET_BLOCK_QCOW2_BACKING_H

struct block_options;
struct error;
struct qcow2;

/* Opens what the image lies on, if anything, and if options allow it. */
int qcow2_backing_open(struct qcow2 *image, const struct block_options *options,
		       struct error *err);

#endif
