/* SPDX-License-Identifier: MIT */
/*
 * What the targets of file servers share: a small tree in /tmp with a file, a directory, and a link to
 * a file beside it, which nothing may change. Files are bounded.
 */
#ifndef RINGLET_TESTS_FUZZ_TREE_TARGET_H
#define RINGLET_TESTS_FUZZ_TREE_TARGET_H

#include <stddef.h>
#include <stdint.h>

struct device_target;

void tree_target_begin(char shared[64]);
/* Aborts if the file beside it is not as it was; removes the tree. */
void tree_target_end(const char *shared);
/* device_target_fuzz between the two, for a device that serves the tree. */
int tree_target_fuzz_device(char shared[64], const uint8_t *data, size_t size,
			    void (*setup)(struct device_target *target));
/* Aborts if not ok. */
void tree_target_require(int ok);

#endif
