/* SPDX-License-Identifier: MIT */
/* Names that come, go and move. Who makes a file has the user of the fid and the group of the request. */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "fs/p9_call.h"

static struct tree_new new_of(const struct p9_call *call, mode_t mode, uint64_t gid)
{
	return (struct tree_new){ .name = call->text[0], .uid = call->fid[0]->uid, .gid = (gid_t)gid,
				  .mode = mode };
}

/* Nothing refers to what was made, until the guest walks there. */
static int reply_made(struct p9_call *call, int error, struct node *node, const struct stat *status)
{
	if (error)
		return error;
	tree_release(&call->p9->tree, node);
	p9_put_qid(call, status);
	return 0;
}

static int make(struct p9_call *call, const struct tree_new *new)
{
	struct stat status;
	struct node *node;
	int error = tree_make(&call->p9->tree, call->fid[0]->node, new, &node, &status);

	return reply_made(call, error, node, &status);
}

/* dfid name target gid */
int p9_symlink(struct p9_call *call)
{
	const struct tree_new new = new_of(call, S_IFLNK, call->number[0]);
	struct stat status;
	struct node *node;
	int error = tree_make_link(&call->p9->tree, call->fid[0]->node, &new, call->text[1], &node,
				   &status);

	return reply_made(call, error, node, &status);
}

/* dfid name mode major minor gid */
int p9_mknod(struct p9_call *call)
{
	struct tree_new new = new_of(call, (mode_t)call->number[0], call->number[3]);

	new.rdev = makedev((unsigned)call->number[1], (unsigned)call->number[2]);
	return make(call, &new);
}

/* dfid name mode gid */
int p9_mkdir(struct p9_call *call)
{
	const struct tree_new new = new_of(call, S_IFDIR | (call->number[0] & 07777), call->number[1]);

	return make(call, &new);
}

/* dfid fid name */
int p9_link(struct p9_call *call)
{
	return tree_link(call->fid[1]->node, call->fid[0]->node, call->text[0]);
}

static int move(struct p9 *p9, struct node *from, const char *old_name, struct node *to,
		const char *new_name)
{
	int error = tree_rename(from, old_name, to, new_name, 0);

	if (!error)
		p9_fids_renamed(p9, from, old_name, to, new_name);
	return error;
}

/* olddirfid oldname newdirfid newname */
int p9_renameat(struct p9_call *call)
{
	return move(call->p9, call->fid[0]->node, call->text[0], call->fid[1]->node, call->text[1]);
}

/* fid dfid name */
int p9_rename(struct p9_call *call)
{
	struct node *parent;
	char *name;
	int error = p9_fid_place(call->p9, call->fid[0], &parent, &name);

	if (error)
		return error;
	error = move(call->p9, parent, name, call->fid[1]->node, call->text[0]);
	nodes_put(call->p9->tree.nodes, parent);
	free(name);
	return error;
}

/* dirfid name flags */
int p9_unlinkat(struct p9_call *call)
{
	if (call->number[0] & ~(uint64_t)P9_AT_REMOVEDIR)
		return EINVAL;
	return tree_unlink(call->fid[0]->node, call->text[0], call->number[0] & P9_AT_REMOVEDIR);
}
