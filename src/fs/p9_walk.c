/* SPDX-License-Identifier: MIT */
/* How fids come and go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/p9_call.h"

/* fid afid uname aname n_uname. There is one tree, so aname says nothing. */
int p9_attach(struct p9_call *call)
{
	struct p9 *p9 = call->p9;
	uint32_t uid = (uint32_t)call->number[2];
	struct stat status;
	struct p9_fid *fid;
	struct node *root;
	int error;

	if (call->number[1] != P9_NO_FID)
		return EOPNOTSUPP;
	if (*call->text[1] && strcmp(call->text[1], "/"))
		return ENOENT;
	root = nodes_get(p9->tree.nodes, NODES_ROOT);
	error = tree_status(&p9->tree, root, &status);
	fid = p9_fid_new(p9, (uint32_t)call->number[0], uid == P9_NO_UID ? 0 : uid, root, NULL, NULL);
	nodes_put(p9->tree.nodes, root);
	if (error || !fid) {
		p9_fid_free(p9, fid);
		return error ? error : ENOMEM;
	}
	error = p9_fid_add(p9, fid, NULL);
	if (!error)
		p9_put_qid(call, &status);
	return error;
}

/* A walk's way: where it is, and whence it came there. */
struct way {
	struct node *at, *from; /* in use */
	const char *name;
};

static void leave(struct p9 *p9, struct way *way)
{
	nodes_put(p9->tree.nodes, way->at);
	if (way->from)
		nodes_put(p9->tree.nodes, way->from);
}

static int step(struct p9_call *call, struct way *way)
{
	struct nodes *nodes = call->p9->tree.nodes;
	struct stat status;
	struct node *next;
	const char *name;
	int error;

	if (!p9_get_text(call, &name) || !tree_good_name(name))
		return EINVAL;
	error = tree_look_up(&call->p9->tree, way->at, name, &next, &status);
	if (error)
		return error;
	nodes_forget(nodes, next->id, 1); /* in use all the same */
	if (way->from)
		nodes_put(nodes, way->from);
	*way = (struct way){ .at = next, .from = way->at, .name = name };
	p9_put_qid(call, &status);
	return 0;
}

/* fid newfid nwname, and the names. What is found before one that is not there is told, too. */
int p9_walk(struct p9_call *call)
{
	struct p9 *p9 = call->p9;
	struct p9_fid *old = call->fid[0], *new;
	uint32_t number = (uint32_t)call->number[0];
	unsigned count = (unsigned)call->number[1], done = 0;
	struct way way = { .at = nodes_get(p9->tree.nodes, old->node->id) };
	int error = 0;

	p9_put(call, 2, 0);
	if (count > P9_WALK_MAX || old->xattr)
		error = EINVAL;
	while (!error && done < count && !(error = step(call, &way)))
		done++;
	p9_encode(call->answer, 2, done);
	if (error || call->args_at != call->args_bytes) {
		leave(p9, &way);
		return done && error ? 0 : error ? error : EINVAL;
	}
	new = count ? p9_fid_new(p9, number, old->uid, way.at, way.from, way.name) :
		      p9_fid_copy(p9, old, number);
	leave(p9, &way);
	return new ? p9_fid_add(p9, new, number == old->number ? old : NULL) : ENOMEM;
}

int p9_clunk(struct p9_call *call)
{
	struct p9_fid *fid = call->fid[0];

	if (!p9_fid_remove(call->p9, fid))
		return EBADF;
	return fid->xattr && fid->xattr->writes ? p9_xattr_finish(call->p9, fid) : 0;
}

int p9_remove(struct p9_call *call)
{
	struct p9 *p9 = call->p9;
	struct p9_fid *fid = call->fid[0];
	struct node *parent;
	char *name;
	int error;

	if (!p9_fid_remove(p9, fid))
		return EBADF;
	if (p9->tree.readonly)
		return EROFS;
	error = p9_fid_place(p9, fid, &parent, &name);
	if (error)
		return error;
	error = tree_unlink(parent, name, S_ISDIR(fid->node->type));
	nodes_put(p9->tree.nodes, parent);
	free(name);
	return error;
}
