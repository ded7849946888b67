/* SPDX-License-Identifier: MIT */
/* A request's memory, cut into the pieces that its guest clusters need. One thread. */
#ifndef RINGLET_BLOCK_QCOW2_IO_H
#define RINGLET_BLOCK_QCOW2_IO_H

#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "block/block.h"

#define QCOW2_IO_SMALL 32u
#define QCOW2_IO_EXTRA 2u /* pieces that a user may add */

struct qcow2_io {
	const struct iovec *iov;
	unsigned count;
	struct iovec *slice; /* what was cut last; QCOW2_IO_EXTRA more than count */
	struct iovec small[QCOW2_IO_SMALL + QCOW2_IO_EXTRA];
};

static inline int qcow2_io_begin(struct qcow2_io *io, const struct iovec *iov, unsigned count)
{
	io->iov = iov;
	io->count = count;
	io->slice = count <= QCOW2_IO_SMALL ? io->small :
		    calloc(count + QCOW2_IO_EXTRA, sizeof(io->slice[0]));
	return io->slice ? 0 : -ENOMEM;
}

/* Into slice, from index first on. Returns how many pieces. */
static inline unsigned qcow2_io_cut(struct qcow2_io *io, unsigned first, uint64_t skip,
				    uint64_t length)
{
	return iov_slice(io->iov, io->count, skip, length, io->slice + first);
}

static inline void qcow2_io_end(struct qcow2_io *io)
{
	if (io->slice != io->small)
		free(io->slice);
}

#endif
