/* SPDX-License-Identifier: MIT */
/* Bytes that lie in pieces. offset counts from the first piece's first byte. Any thread. */
#ifndef RINGLET_BASE_IOV_H
#define RINGLET_BASE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

size_t iov_bytes(const struct iovec *iov, unsigned count);

/* Copy at most len bytes out of or into the pieces; return how many there were. */
size_t iov_read(const struct iovec *iov, unsigned count, size_t offset, void *data, size_t len);
size_t iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *data,
		 size_t len);
size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int value, size_t len);

/*
 * The pieces that [offset, offset+len) consists of, as far as there are bytes, into slice (room for
 * count of them). Returns how many pieces.
 */
unsigned iov_slice(const struct iovec *iov, unsigned count, size_t offset, size_t len,
		   struct iovec *slice);

#endif
