/* SPDX-License-Identifier: MIT */
/* Names that come, go and move. */
#include <errno.h>
#include <fcntl.h>

#include "fs/fuse_call.h"

static struct tree_new new_of(const struct fuse_call *call, mode_t mode)
{
	return (struct tree_new){ .name = call->name[0], .uid = call->head.uid,
				  .gid = call->head.gid, .mode = mode };
}

static size_t make(struct fuse_call *call, const struct tree_new *new)
{
	struct stat status;
	struct node *node;
	int error = tree_make(&call->fuse->tree, call->node, new, &node, &status);

	return fuse_reply_entry(call, error, node, &status);
}

size_t fuse_symlink(struct fuse_call *call)
{
	const struct tree_new new = new_of(call, S_IFLNK);
	struct stat status;
	struct node *node;
	int error = tree_make_link(&call->fuse->tree, call->node, &new, call->name[1], &node, &status);

	return fuse_reply_entry(call, error, node, &status);
}

size_t fuse_mknod(struct fuse_call *call)
{
	const struct fuse_mknod_in *in = (const struct fuse_mknod_in *)call->args;
	struct tree_new new = new_of(call, in->mode);

	new.rdev = in->rdev;
	return make(call, &new);
}

size_t fuse_mkdir(struct fuse_call *call)
{
	const struct fuse_mkdir_in *in = (const struct fuse_mkdir_in *)call->args;
	const struct tree_new new = new_of(call, S_IFDIR | (in->mode & 07777));

	return make(call, &new);
}

size_t fuse_create_file(struct fuse_call *call)
{
	const struct fuse_create_in *in = (const struct fuse_create_in *)call->args;
	const struct tree_new new = new_of(call, S_IFREG | (in->mode & 07777));
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .open.open_flags = fuse_open_answer(call->fuse) };
	struct stat status;
	struct node *node;
	size_t size;
	int fd, error = tree_create(&call->fuse->tree, call->node, &new, fuse_open_flags(in->flags),
				    &fd, &node, &status);

	if (error)
		return fuse_reply_error(call, error);
	fuse_fill_entry(call->fuse, node, &status, &out.entry);
	out.open.fh = fuse_file_add(call->fuse, fd);
	size = out.open.fh ? fuse_reply(call, &out, sizeof(out)) : fuse_reply_error(call, ENFILE);
	nodes_put(call->fuse->tree.nodes, node);
	return size;
}

size_t fuse_unlink(struct fuse_call *call)
{
	return fuse_reply_error(call, tree_unlink(call->node, call->name[0], false));
}

size_t fuse_rmdir(struct fuse_call *call)
{
	return fuse_reply_error(call, tree_unlink(call->node, call->name[0], true));
}

static size_t rename_to(struct fuse_call *call, uint64_t directory, uint32_t flags)
{
	struct node *to = nodes_get(call->fuse->tree.nodes, directory);
	int error;

	if (!to)
		return fuse_reply_error(call, ESTALE);
	error = tree_rename(call->node, call->name[0], to, call->name[1], flags);
	nodes_put(call->fuse->tree.nodes, to);
	return fuse_reply_error(call, error);
}

size_t fuse_rename(struct fuse_call *call)
{
	return rename_to(call, ((const struct fuse_rename_in *)call->args)->newdir, 0);
}

size_t fuse_rename2(struct fuse_call *call)
{
	const struct fuse_rename2_in *in = (const struct fuse_rename2_in *)call->args;

	return rename_to(call, in->newdir, in->flags);
}

size_t fuse_link(struct fuse_call *call)
{
	const struct fuse_link_in *in = (const struct fuse_link_in *)call->args;
	struct node *node = nodes_get(call->fuse->tree.nodes, in->oldnodeid);
	int error;

	if (!node)
		return fuse_reply_error(call, ESTALE);
	error = tree_link(node, call->node, call->name[0]);
	nodes_put(call->fuse->tree.nodes, node);
	/* An old file under a new name: it keeps its owner. */
	return error ? fuse_reply_error(call, error) : fuse_lookup(call);
}
