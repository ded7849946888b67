/* SPDX-License-Identifier: MIT */
/*
 * What the targets of file servers share: a small tree in /tmp with a file, a directory, and a link to
 * a file beside it, which nothing may change. Files are bounded.
 */
#ifndef RINGLET_TESTS_FUZZ_TREE_TARGET_H
#define RINGLET_TESTS_FUZZ_TREE_TARGET_H

void tree_target_begin(char shared[64]);
/* Aborts if the file beside it is not as it was; removes the tree. */
void tree_target_end(const char *shared);
/* Aborts if not ok. */
void tree_target_require(int ok);

#endif
