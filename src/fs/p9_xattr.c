/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: Txattrwalk makes a fid of which the value, or the list of all names, is read;
 * Txattrcreate has a fid take the value, which is set when the fid is clunked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/iov.h"
#include "fs/p9_call.h"

static struct p9_xattr *new_xattr(size_t size)
{
	struct p9_xattr *xattr = malloc(sizeof(*xattr) + size);

	if (xattr)
		*xattr = (struct p9_xattr){ .size = size };
	return xattr;
}

/* The value of name, or the list, as it is now. */
static int take_value(struct p9_call *call, const char *name, struct p9_xattr **out)
{
	const struct tree *tree = &call->p9->tree;
	const struct node *node = call->fid[0]->node;
	struct p9_xattr *xattr = new_xattr(TREE_XATTR_MAX), *fitting;
	ssize_t got;

	if (!xattr)
		return ENOMEM;
	got = *name ? tree_xattr_get(tree, node, name, xattr->value) :
		      tree_xattr_list(tree, node, (char *)xattr->value);
	if (got < 0) {
		free(xattr);
		return (int)-got;
	}
	xattr->size = xattr->filled = (size_t)got;
	fitting = realloc(xattr, sizeof(*xattr) + xattr->size);
	*out = fitting ? fitting : xattr;
	return 0;
}

/* fid newfid name: without a name, all names. */
int p9_xattrwalk(struct p9_call *call)
{
	struct p9_xattr *xattr = NULL;
	struct p9_fid *fid;
	uint64_t size;
	int error = call->fid[0]->xattr ? EINVAL : take_value(call, call->text[0], &xattr);

	if (error)
		return error;
	fid = p9_fid_copy(call->p9, call->fid[0], (uint32_t)call->number[0]);
	if (!fid) {
		free(xattr);
		return ENOMEM;
	}
	size = xattr->size;
	fid->xattr = xattr;
	error = p9_fid_add(call->p9, fid, NULL);
	if (!error)
		p9_put(call, 8, size);
	return error;
}

/* fid name size flags */
int p9_xattrcreate(struct p9_call *call)
{
	struct p9_fid *old = call->fid[0], *fid;
	struct p9_xattr *xattr;

	if (old->xattr || old->fd >= 0 || !*call->text[0])
		return EINVAL;
	if (call->number[0] > TREE_XATTR_MAX)
		return E2BIG;
	xattr = new_xattr((size_t)call->number[0]);
	fid = xattr ? p9_fid_copy(call->p9, old, old->number) : NULL;
	if (!fid) {
		free(xattr);
		return ENOMEM;
	}
	xattr->writes = true;
	xattr->flags = (int)call->number[1];
	xattr->name = strdup(call->text[0]);
	fid->xattr = xattr;
	if (!xattr->name) {
		p9_fid_free(call->p9, fid);
		return ENOMEM;
	}
	return p9_fid_add(call->p9, fid, old);
}

/* To replace by nothing is how Linux removes. */
int p9_xattr_finish(struct p9 *p9, struct p9_fid *fid)
{
	struct p9_xattr *xattr = fid->xattr;
	int error = EINVAL;

	pthread_mutex_lock(&fid->mutex);
	if (!xattr->size && xattr->flags == XATTR_REPLACE)
		error = tree_xattr_remove(&p9->tree, fid->node, xattr->name);
	else if (xattr->filled == xattr->size)
		error = tree_xattr_set(&p9->tree, fid->node, xattr->name, xattr->value, xattr->size,
				       xattr->flags);
	pthread_mutex_unlock(&fid->mutex);
	return error;
}

ssize_t p9_xattr_read(struct p9_call *call, struct p9_fid *fid, size_t skip, size_t size,
		      uint64_t position)
{
	const struct p9_xattr *xattr = fid->xattr;

	if (xattr->writes)
		return -EBADF;
	if (position > xattr->size)
		position = xattr->size;
	if (size > xattr->size - position)
		size = xattr->size - (size_t)position;
	return (ssize_t)iov_write(call->out, call->out_count, skip, xattr->value + position, size);
}

/* In order, without gaps. */
ssize_t p9_xattr_write(struct p9_call *call, struct p9_fid *fid, size_t skip, size_t size,
		       uint64_t position)
{
	struct p9_xattr *xattr = fid->xattr;
	ssize_t put = -EINVAL;

	if (!xattr->writes)
		return -EBADF;
	pthread_mutex_lock(&fid->mutex);
	if (position == xattr->filled && size <= xattr->size - xattr->filled) {
		put = (ssize_t)iov_read(call->in, call->in_count, skip, xattr->value + position, size);
		xattr->filled += (size_t)put;
	}
	pthread_mutex_unlock(&fid->mutex);
	return put;
}
