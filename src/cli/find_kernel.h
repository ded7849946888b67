/* SPDX-License-Identifier: MIT */
/* What to boot when the command line does not say: FILES in ringlet.1. Main thread. */
#ifndef RINGLET_CLI_FIND_KERNEL_H
#define RINGLET_CLI_FIND_KERNEL_H

#include <glob.h>

struct error;

/*
 * The kernel of the tree we stand in, else this host's, else the newest in the cache: a path that
 * the caller frees, or NULL.
 */
char *find_kernel(void);

/* The cache's kernels, for any processor, oldest version first; to be released by globfree. */
void cached_kernels(glob_t *found);
/* Of the image of one: its version, as in its name. */
const char *cached_version(const char *path);

/* rest below our cache directory; the caller frees it. NULL: there is none. */
char *cache_path(const char *rest);
#define CACHE_PATH_MISSING "no cache directory: neither XDG_CACHE_HOME nor HOME is set"

/* Makes the directory and those that it is in. 0 or -errno. path is written to and left as it was. */
int make_directories(char *path, struct error *err);

#endif
