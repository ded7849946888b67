/* SPDX-License-Identifier: MIT */
/* Extended attributes. The host takes no O_PATH descriptor for them, and of links it has none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/fuse_call.h"

#define XATTR_SIZE_MAX_BYTES 65536u /* the host's limit, of values and of lists */

/* Where the host finds the node: 0 or an errno. */
static int find(const struct fuse_call *call, char path[FUSE_PROC_PATH_BYTES])
{
	if (S_ISLNK(call->node->type))
		return EOPNOTSUPP;
	fuse_proc_path(call->node->fd, path);
	return 0;
}

size_t fuse_setxattr(struct fuse_call *call)
{
	const struct fuse_setxattr_in *in = (const struct fuse_setxattr_in *)call->args;
	const char *value = call->name[0] + strlen(call->name[0]) + 1;
	char path[FUSE_PROC_PATH_BYTES];
	int error = find(call, path);

	if (!error && in->size > (size_t)(call->args + call->args_bytes - value))
		error = EINVAL;
	if (!error && setxattr(path, call->name[0], value, in->size, (int)in->flags))
		error = errno;
	return fuse_reply_error(call, error);
}

/* The host's answer of got bytes to a guest that has room for size, or asks how many it needs. */
static size_t reply_value(struct fuse_call *call, const char *value, ssize_t got, uint32_t size)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)got };

	if (got < 0)
		return fuse_reply_error(call, errno);
	if (!size)
		return fuse_reply(call, &out, sizeof(out));
	return (size_t)got > size ? fuse_reply_error(call, ERANGE) :
				    fuse_reply(call, value, (size_t)got);
}

size_t fuse_getxattr(struct fuse_call *call)
{
	const struct fuse_getxattr_in *in = (const struct fuse_getxattr_in *)call->args;
	char path[FUSE_PROC_PATH_BYTES], *value;
	int error = find(call, path);
	size_t size;

	if (error)
		return fuse_reply_error(call, error);
	value = malloc(XATTR_SIZE_MAX_BYTES);
	if (!value)
		return fuse_reply_error(call, ENOMEM);
	size = reply_value(call, value,
			   getxattr(path, call->name[0], value, XATTR_SIZE_MAX_BYTES), in->size);
	free(value);
	return size;
}

size_t fuse_listxattr(struct fuse_call *call)
{
	const struct fuse_getxattr_in *in = (const struct fuse_getxattr_in *)call->args;
	char path[FUSE_PROC_PATH_BYTES], *list;
	int error = find(call, path);
	size_t size;

	if (error)
		return fuse_reply_error(call, error);
	list = malloc(XATTR_SIZE_MAX_BYTES);
	if (!list)
		return fuse_reply_error(call, ENOMEM);
	size = reply_value(call, list, listxattr(path, list, XATTR_SIZE_MAX_BYTES), in->size);
	free(list);
	return size;
}

size_t fuse_removexattr(struct fuse_call *call)
{
	char path[FUSE_PROC_PATH_BYTES];
	int error = find(call, path);

	if (!error && removexattr(path, call->name[0]))
		error = errno;
	return fuse_reply_error(call, error);
}
