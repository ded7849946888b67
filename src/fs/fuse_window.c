/* SPDX-License-Identifier: MIT */
/*
 * Pieces of files in memory that we share with the guest (DAX): it reads and writes them without asking,
 * and what it sees is the host's own cache. It says what is to be where, and has only itself to
 * confuse; we see to it that nothing reaches beyond the window, and no file that it could not open.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fs/fuse_call.h"

size_t fuse_setup_mapping(struct fuse_call *call)
{
	const struct fuse_setupmapping_in *in = (const struct fuse_setupmapping_in *)call->args;
	const struct fuse_window *window = call->fuse->window;
	const bool writes = in->flags & FUSE_SETUPMAPPING_FLAG_WRITE;
	int fd, error;

	if (!window)
		return fuse_reply_error(call, ENOSYS);
	if (!S_ISREG(call->node->type))
		return fuse_reply_error(call, EINVAL);
	error = tree_open_node(&call->fuse->tree, call->node, writes ? O_RDWR : O_RDONLY, &fd);
	if (error)
		return fuse_reply_error(call, error);
	error = window->map(window->opaque, in->moffset, in->len, fd, in->foffset, writes);
	close(fd);
	return fuse_reply_error(call, error);
}

size_t fuse_remove_mapping(struct fuse_call *call)
{
	const struct fuse_removemapping_in *in = (const struct fuse_removemapping_in *)call->args;
	const struct fuse_removemapping_one *one = (const struct fuse_removemapping_one *)(in + 1);
	const struct fuse_window *window = call->fuse->window;
	size_t count = (call->args_bytes - sizeof(*in)) / sizeof(*one);
	struct fuse_removemapping_one copy;
	int error = 0;

	if (!window)
		return fuse_reply_error(call, ENOSYS);
	if (count > in->count)
		count = in->count;
	for (size_t i = 0; i < count && !error; i++) {
		memcpy(&copy, &one[i], sizeof(copy)); /* which need not be aligned */
		error = window->unmap(window->opaque, copy.moffset, copy.len);
	}
	return fuse_reply_error(call, error);
}
