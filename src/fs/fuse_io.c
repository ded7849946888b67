/* SPDX-License-Identifier: MIT */
/* Reading and writing: between the host's page cache and the guest's memory, without a copy. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/iov.h"
#include "fs/fuse_call.h"

/* Pieces of guest memory in one system call. */
#define PIECES_MAX 1024u

/* Moves bytes at position between fd and slice: what preadv or pwritev says. */
typedef ssize_t move_fn(int fd, const struct iovec *iov, int count, off_t position);

/* The number moved, or -errno when not even the first could be. */
static ssize_t move(move_fn *fn, int fd, const struct iovec *iov, unsigned count, size_t skip,
		    size_t size, uint64_t position)
{
	struct iovec *slice = malloc(count * sizeof(*slice) + 1);
	size_t done = 0;
	ssize_t moved = 1;

	if (!slice)
		return -ENOMEM;
	while (done < size && moved > 0) {
		unsigned pieces = iov_slice(iov, count, skip + done, size - done, slice);

		if (!pieces)
			break;
		moved = fn(fd, slice, (int)(pieces < PIECES_MAX ? pieces : PIECES_MAX),
			   (off_t)(position + done));
		if (moved < 0 && errno == EINTR)
			moved = 1;
		else if (moved > 0)
			done += (size_t)moved;
	}
	free(slice);
	return done || moved >= 0 ? (ssize_t)done : -errno;
}

size_t fuse_read(struct fuse_call *call)
{
	const struct fuse_read_in *in = (const struct fuse_read_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	size_t size = in->size < fuse_room(call) ? in->size : fuse_room(call);
	ssize_t got;

	if (!file)
		return fuse_reply_error(call, EBADF);
	got = in->offset > INT64_MAX - size ?
		      -EINVAL :
		      move(preadv, file->fd, call->out, call->out_count,
			   sizeof(struct fuse_out_header), size, in->offset);
	fuse_file_put(call->fuse, file);
	return got < 0 ? fuse_reply_error(call, (int)-got) : fuse_reply_in_place(call, (size_t)got);
}

size_t fuse_write(struct fuse_call *call)
{
	const struct fuse_write_in *in = (const struct fuse_write_in *)call->args;
	const size_t skip = sizeof(struct fuse_in_header) + sizeof(*in);
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	struct fuse_write_out out = { 0 };
	ssize_t put = -EINVAL;

	if (!file)
		return fuse_reply_error(call, EBADF);
	if (in->size <= call->in_bytes - skip && in->offset <= INT64_MAX - (uint64_t)in->size)
		put = move(pwritev, file->fd, call->in, call->in_count, skip, in->size, in->offset);
	fuse_file_put(call->fuse, file);
	if (put < 0)
		return fuse_reply_error(call, (int)-put);
	out.size = (uint32_t)put;
	return fuse_reply(call, &out, sizeof(out));
}

size_t fuse_fsync(struct fuse_call *call)
{
	const struct fuse_fsync_in *in = (const struct fuse_fsync_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	int ret;

	if (!file)
		return fuse_reply_error(call, EBADF);
	ret = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(file->fd) : fsync(file->fd);
	if (ret)
		ret = errno;
	fuse_file_put(call->fuse, file);
	return fuse_reply_error(call, ret);
}

size_t fuse_fallocate(struct fuse_call *call)
{
	const struct fuse_fallocate_in *in = (const struct fuse_fallocate_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	int ret;

	if (!file)
		return fuse_reply_error(call, EBADF);
	ret = fallocate(file->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) ? errno : 0;
	fuse_file_put(call->fuse, file);
	return fuse_reply_error(call, ret);
}

size_t fuse_lseek(struct fuse_call *call)
{
	const struct fuse_lseek_in *in = (const struct fuse_lseek_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	struct fuse_lseek_out out;
	off_t at;
	int error = EINVAL;

	if (!file)
		return fuse_reply_error(call, EBADF);
	at = -1;
	if (in->whence == SEEK_DATA || in->whence == SEEK_HOLE) {
		at = lseek(file->fd, (off_t)in->offset, (int)in->whence);
		error = errno;
	}
	fuse_file_put(call->fuse, file);
	if (at < 0)
		return fuse_reply_error(call, error);
	out.offset = (uint64_t)at;
	return fuse_reply(call, &out, sizeof(out));
}

size_t fuse_copy_range(struct fuse_call *call)
{
	const struct fuse_copy_file_range_in *in =
		(const struct fuse_copy_file_range_in *)call->args;
	struct fuse_file *from = fuse_file_get(call->fuse, in->fh_in);
	struct fuse_file *to = fuse_file_get(call->fuse, in->fh_out);
	off_t read_at = (off_t)in->off_in, write_at = (off_t)in->off_out;
	struct fuse_write_out out = { 0 };
	/* The answer counts 32 bits. */
	size_t length = in->len < (1u << 30) ? in->len : 1u << 30;
	ssize_t copied = -1;
	int error = EBADF;

	if (from && to) {
		copied = copy_file_range(from->fd, &read_at, to->fd, &write_at, length, 0);
		error = errno;
	}
	if (from)
		fuse_file_put(call->fuse, from);
	if (to)
		fuse_file_put(call->fuse, to);
	if (copied < 0)
		return fuse_reply_error(call, error);
	out.size = (uint32_t)copied;
	return fuse_reply(call, &out, sizeof(out));
}
