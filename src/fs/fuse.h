/* SPDX-License-Identifier: MIT */
/*
 * A server of the FUSE protocol (linux/fuse.h, 7.27 to 7.38) for a directory tree of the host, as
 * virtio-fs devices need it (virtio 1.2, 5.11).
 *
 * What it does to the host's files, with whose rights, is in tree.h. Names and numbers are hostile.
 *
 * fuse_serve may be called by several threads at once; it blocks as the host's file systems do.
 */
#ifndef RINGLET_FS_FUSE_H
#define RINGLET_FS_FUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fs/tree.h"

struct error;
struct fuse;

/* Pieces of 2 MiB, or multiples: Linux' own, and few mappings on the host. */
#define FUSE_WINDOW_SHIFT 21

/*
 * Memory that the guest sees files in. Offsets count from its begin; what lies beyond its end is the
 * window's to refuse. Any thread; 0 or an errno.
 */
struct fuse_window {
	/* Shows size bytes of fd, which the caller closes; not shared: writes are not the file's. */
	int (*map)(void *opaque, uint64_t at, uint64_t size, int fd, uint64_t offset, bool shared);
	int (*unmap)(void *opaque, uint64_t at, uint64_t size);
	void (*clear)(void *opaque);
	void *opaque;
};

struct fuse_config {
	struct tree_config tree;
	unsigned cache_ms; /* how long the guest may believe what it was told */
	bool direct;       /* what it read, it reads again */
	const struct fuse_window *window; /* NULL: there is none; lives as long as the server */
};

/* The errors of tree_open. */
int fuse_create(struct fuse **fuse, const struct fuse_config *config, struct error *err);
void fuse_destroy(struct fuse *fuse);

/*
 * Answers the request in in. Returns the bytes of out that the answer takes; 0: none is due, or there
 * is no room for one. A request that is no request has no answer either.
 */
size_t fuse_serve(struct fuse *fuse, const struct iovec *in, unsigned in_count,
		  const struct iovec *out, unsigned out_count);

/*
 * The same if answering takes no longer than handing the request to another thread would: names,
 * attributes, reading what the host has in memory, small writes.
 * Else TREE_LATER: nothing is done, though out may have changed.
 */
size_t fuse_serve_now(struct fuse *fuse, const struct iovec *in, unsigned in_count,
		      const struct iovec *out, unsigned out_count);

/* The guest has forgotten everything: closes its files. No request is being served. */
void fuse_reset(struct fuse *fuse);

#endif
