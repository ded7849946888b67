/* SPDX-License-Identifier: MIT */
/*
 * Files that are remembered without a descriptor, by what their file system calls them
 * (open_by_handle_at(2)), which takes a privilege and not every file system has. A file that was
 * deleted is not found, also when another has its inode number. Not locked: one thread at a time.
 */
#ifndef RINGLET_FS_HANDLES_H
#define RINGLET_FS_HANDLES_H

#include <stdbool.h>

struct handles;
struct handle;

/* root: a descriptor of any file, O_PATH will do. NULL: it cannot be done here. */
struct handles *handles_create(int root);
void handles_destroy(struct handles *handles);

/* What fd (O_PATH) is open on, for the caller to free; NULL: it has none. */
struct handle *handle_of(struct handles *handles, int fd);
/* A descriptor (O_PATH), or -1 and errno. */
int handle_open(const struct handles *handles, const struct handle *handle);
bool handle_equal(const struct handle *a, const struct handle *b);

#endif
