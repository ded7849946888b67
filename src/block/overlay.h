/* SPDX-License-Identifier: MIT */
/*
 * A disk whose writes go to a file of their own (overlay=): a qcow2 image on top of any disk,
 * which is made if it is not there. Whether an image that is there lies on that disk is asked;
 * which file it lies on is not taken from it. One thread.
 */
#ifndef RINGLET_BLOCK_OVERLAY_H
#define RINGLET_BLOCK_OVERLAY_H

struct block;
struct block_options;
struct error;

int overlay_open(const struct block_options *options, struct block **block, struct error *err);

#endif
