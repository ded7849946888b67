/* SPDX-License-Identifier: MIT */
/* A directory of the host in /tmp for tests of what is shared with guests. Failures are the test's. */
#ifndef RINGLET_TESTS_UNIT_SHARED_DIR_H
#define RINGLET_TESTS_UNIT_SHARED_DIR_H

struct shared_dir {
	char path[64];
};

struct shared_dir shared_dir_make(void);
void shared_dir_remove(const struct shared_dir *dir);

/* The path of name in it: good until the next call but one. */
const char *shared_dir_file(const struct shared_dir *dir, const char *name);
/* Makes the file, or replaces what is in it. */
void shared_dir_write(const struct shared_dir *dir, const char *name, const char *text);

#endif
