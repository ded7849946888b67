/* SPDX-License-Identifier: MIT */
/*
 * A server of 9P2000.L (the protocol of Linux' v9fs; github.com/chaos/diod, protocol.md) for a
 * directory tree of the host, as virtio's 9P transport needs it. What it does to the host's files, with
 * whose rights, is in tree.h. Names, numbers and lengths are hostile.
 *
 * p9_serve may be called by several threads at once; it blocks as the host's file systems do.
 */
#ifndef RINGLET_FS_P9_H
#define RINGLET_FS_P9_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fs/tree.h"

struct error;
struct p9;

/* The errors of tree_open. */
int p9_create(struct p9 **p9, const struct tree_config *config, struct error *err);
void p9_destroy(struct p9 *p9);

/*
 * Answers the request in in. Returns the bytes of out that the answer takes; 0: it is no request, or
 * there is no room for the shortest answer.
 *
 * A Tflush is answered at once: who serves several requests at a time has it wait for the request that
 * it names (p9_peek), since it may not be answered before that.
 */
size_t p9_serve(struct p9 *p9, const struct iovec *in, unsigned in_count, const struct iovec *out,
		unsigned out_count);
/*
 * The same if answering takes no longer than handing the request to another thread would: names,
 * attributes, reading what the host has in memory, small writes.
 * Else TREE_LATER: nothing is done, though out may have changed.
 */
size_t p9_serve_now(struct p9 *p9, const struct iovec *in, unsigned in_count, const struct iovec *out,
		    unsigned out_count);

/* What a carrier of requests needs to know of one. */
struct p9_request {
	uint16_t tag;
	bool is_flush;
	uint16_t flushes; /* the tag of another request */
};
struct p9_request p9_peek(const struct iovec *in, unsigned in_count);

/* The guest has forgotten everything: closes its files. No request is being served. */
void p9_reset(struct p9 *p9);

#endif
