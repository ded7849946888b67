/* SPDX-License-Identifier: MIT */
#include "base/iov.h"

#include <stdint.h>
#include <string.h>

size_t iov_bytes(const struct iovec *iov, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/* Of piece: what is left behind *offset (which is consumed), at most len bytes. */
static struct iovec part(const struct iovec *piece, size_t *offset, size_t len)
{
	size_t skip = *offset < piece->iov_len ? *offset : piece->iov_len;
	size_t left = piece->iov_len - skip;

	*offset -= skip;
	return (struct iovec){ (uint8_t *)piece->iov_base + skip, left < len ? left : len };
}

size_t iov_read(const struct iovec *iov, unsigned count, size_t offset, void *data, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		struct iovec from = part(&iov[i], &offset, len - done);

		if (from.iov_len) /* a piece without bytes need not be anywhere */
			memcpy((uint8_t *)data + done, from.iov_base, from.iov_len);
		done += from.iov_len;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *data,
		 size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		struct iovec to = part(&iov[i], &offset, len - done);

		if (to.iov_len)
			memcpy(to.iov_base, (const uint8_t *)data + done, to.iov_len);
		done += to.iov_len;
	}
	return done;
}

size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int value, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		struct iovec to = part(&iov[i], &offset, len - done);

		if (to.iov_len)
			memset(to.iov_base, value, to.iov_len);
		done += to.iov_len;
	}
	return done;
}

unsigned iov_slice(const struct iovec *iov, unsigned count, size_t offset, size_t len,
		   struct iovec *slice)
{
	unsigned used = 0;

	for (unsigned i = 0; i < count && len; i++) {
		struct iovec piece = part(&iov[i], &offset, len);

		if (!piece.iov_len)
			continue;
		slice[used++] = piece;
		len -= piece.iov_len;
	}
	return used;
}
