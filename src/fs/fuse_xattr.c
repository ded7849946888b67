/* SPDX-License-Identifier: MIT */
/* Extended attributes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fuse_call.h"

size_t fuse_setxattr(struct fuse_call *call)
{
	const struct fuse_setxattr_in *in = (const struct fuse_setxattr_in *)call->args;
	const char *value = call->name[0] + strlen(call->name[0]) + 1;

	if (in->size > (size_t)(call->args + call->args_bytes - value))
		return fuse_reply_error(call, EINVAL);
	return fuse_reply_error(call, tree_xattr_set(&call->fuse->tree, call->node, call->name[0],
						     value, in->size, (int)in->flags));
}

/* got bytes, or -errno, for a guest that has room for size, or asks how many it needs. */
static size_t reply_value(struct fuse_call *call, const char *value, ssize_t got, uint32_t size)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)got };

	if (got < 0)
		return fuse_reply_error(call, (int)-got);
	if (!size)
		return fuse_reply(call, &out, sizeof(out));
	return (size_t)got > size ? fuse_reply_error(call, ERANGE) :
				    fuse_reply(call, value, (size_t)got);
}

/* name: NULL for the list of all. */
static size_t get(struct fuse_call *call, const char *name)
{
	const struct fuse_getxattr_in *in = (const struct fuse_getxattr_in *)call->args;
	const struct tree *tree = &call->fuse->tree;
	char *value = malloc(TREE_XATTR_MAX);
	ssize_t got;
	size_t size;

	if (!value)
		return fuse_reply_error(call, ENOMEM);
	got = name ? tree_xattr_get(tree, call->node, name, value) :
		     tree_xattr_list(tree, call->node, value);
	size = reply_value(call, value, got, in->size);
	free(value);
	return size;
}

size_t fuse_getxattr(struct fuse_call *call)
{
	return get(call, call->name[0]);
}

size_t fuse_listxattr(struct fuse_call *call)
{
	return get(call, NULL);
}

size_t fuse_removexattr(struct fuse_call *call)
{
	return fuse_reply_error(call, tree_xattr_remove(&call->fuse->tree, call->node, call->name[0]));
}
