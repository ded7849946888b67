/* SPDX-License-Identifier: MIT */
/* What is done with files that are open. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/fuse_call.h"

size_t fuse_read(struct fuse_call *call)
{
	const struct fuse_read_in *in = (const struct fuse_read_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	size_t size = in->size < fuse_room(call) ? in->size : fuse_room(call);
	ssize_t got;

	if (!file)
		return fuse_reply_error(call, EBADF);
	got = tree_read(file->fd, call->out, call->out_count, sizeof(struct fuse_out_header), size,
			in->offset, call->now);
	fuse_file_put(call->fuse, file);
	if (got == -EAGAIN && call->now)
		return TREE_LATER;
	return got < 0 ? fuse_reply_error(call, (int)-got) : fuse_reply_in_place(call, (size_t)got);
}

/* The guest's kernel leaves it to us, and says when it is due. */
static void drop_privileges(struct fuse_call *call, uint64_t id)
{
	struct node *node = nodes_get(call->fuse->tree.nodes, id);

	if (!node)
		return;
	tree_drop_privileges(&call->fuse->tree, node);
	nodes_put(call->fuse->tree.nodes, node);
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
	if (in->size <= call->in_bytes - skip)
		put = tree_write(file->fd, call->in, call->in_count, skip, in->size, in->offset,
				 call->now);
	fuse_file_put(call->fuse, file);
	if (put == -EAGAIN && call->now)
		return TREE_LATER;
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		drop_privileges(call, call->head.nodeid);
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
	/* These have no flag for it. */
	if (!ret && call->head.uid)
		drop_privileges(call, call->head.nodeid);
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
	if (call->head.uid)
		drop_privileges(call, in->nodeid_out);
	out.size = (uint32_t)copied;
	return fuse_reply(call, &out, sizeof(out));
}
