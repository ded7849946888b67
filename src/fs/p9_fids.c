/* SPDX-License-Identifier: MIT */
/*
 * Fids: a hash by number under one lock. One that is in use when it leaves the table lives on until it
 * is not. Where a fid was found is followed when names move, so that it can be removed and renamed by
 * number alone; it is looked at before it is believed. Who was found at a name is in a second hash, so
 * that a rename looks at no others: a fid is in it as long as it is in the first and has a parent.
 *
 * A fid remembers its nodes as the guest would; its own is in use while the fid is, in a request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/p9_call.h"

static struct p9_fid **bucket(struct p9 *p9, uint32_t number)
{
	return &p9->fids[number % P9_FID_BUCKETS];
}

/* The link that leads to number, or to the end. Locked. */
static struct p9_fid **find(struct p9 *p9, uint32_t number)
{
	struct p9_fid **link = bucket(p9, number);

	while (*link && (*link)->number != number)
		link = &(*link)->next;
	return link;
}

static void forget(struct p9 *p9, struct node *node)
{
	nodes_forget(p9->tree.nodes, node->id, 1);
}

/* ---- by where they were found; locked ---- */

/* FNV-1a over the name, from a start that says which directory. */
static struct p9_fid **place(struct p9 *p9, const struct node *parent, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325ull ^ parent->id * 0x9e3779b97f4a7c15ull;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3ull;
	return &p9->places[(hash ^ hash >> 32) % P9_FID_BUCKETS];
}

static void enter_place(struct p9 *p9, struct p9_fid *fid)
{
	struct p9_fid **head;

	if (!fid->parent)
		return;
	head = place(p9, fid->parent, fid->name);
	fid->next_there = *head;
	fid->link_there = head;
	if (*head)
		(*head)->link_there = &fid->next_there;
	*head = fid;
}

static void leave_place(struct p9_fid *fid)
{
	if (!fid->link_there)
		return;
	*fid->link_there = fid->next_there;
	if (fid->next_there)
		fid->next_there->link_there = fid->link_there;
	fid->next_there = NULL;
	fid->link_there = NULL;
}

/* ---- by number ---- */

void p9_fid_free(struct p9 *p9, struct p9_fid *fid)
{
	if (!fid)
		return;
	p9_locks_drop(p9->locks, fid);
	if (fid->fd >= 0)
		close(fid->fd);
	if (fid->xattr)
		free(fid->xattr->name);
	free(fid->xattr);
	if (fid->parent)
		forget(p9, fid->parent);
	forget(p9, fid->node);
	pthread_mutex_destroy(&fid->mutex);
	free(fid->name);
	free(fid);
}

/* The table is a user, too. */
static void drop_user(struct p9 *p9, struct p9_fid *fid)
{
	bool last;

	pthread_mutex_lock(&p9->mutex);
	last = !--fid->users;
	pthread_mutex_unlock(&p9->mutex);
	if (last)
		p9_fid_free(p9, fid);
}

int p9_fid_get(struct p9 *p9, uint32_t number, struct p9_fid **out)
{
	struct p9_fid *fid;

	pthread_mutex_lock(&p9->mutex);
	fid = *find(p9, number);
	if (fid)
		fid->users++;
	pthread_mutex_unlock(&p9->mutex);
	if (!fid)
		return EBADF;
	if (!nodes_get(p9->tree.nodes, fid->node->id)) {
		drop_user(p9, fid);
		return ESTALE;
	}
	*out = fid;
	return 0;
}

void p9_fid_put(struct p9 *p9, struct p9_fid *fid)
{
	nodes_put(p9->tree.nodes, fid->node);
	drop_user(p9, fid);
}

struct p9_fid *p9_fid_new(struct p9 *p9, uint32_t number, uint32_t uid, struct node *node,
			  struct node *parent, const char *name)
{
	struct p9_fid *fid = malloc(sizeof(*fid));
	char *copy = name ? strdup(name) : NULL;

	if (!fid || (name && !copy)) {
		free(fid);
		free(copy);
		return NULL;
	}
	*fid = (struct p9_fid){ .number = number, .uid = uid, .node = node,
				.parent = parent, .fd = -1, .name = copy };
	nodes_remember(p9->tree.nodes, node);
	if (parent)
		nodes_remember(p9->tree.nodes, parent);
	pthread_mutex_init(&fid->mutex, NULL);
	return fid;
}

struct p9_fid *p9_fid_copy(struct p9 *p9, const struct p9_fid *old, uint32_t number)
{
	struct p9_fid *fid;

	pthread_mutex_lock(&p9->mutex);
	fid = p9_fid_new(p9, number, old->uid, old->node, old->parent, old->name);
	pthread_mutex_unlock(&p9->mutex);
	return fid;
}

/* Out of the table, where it is. Locked. */
static void unlink_fid(struct p9 *p9, struct p9_fid **link)
{
	leave_place(*link);
	*link = (*link)->next;
	p9->fid_count--;
}

int p9_fid_add(struct p9 *p9, struct p9_fid *fid, struct p9_fid *old)
{
	struct p9_fid **link;
	int error = 0;

	pthread_mutex_lock(&p9->mutex);
	link = find(p9, fid->number);
	if (*link && *link == old)
		unlink_fid(p9, link);
	else
		old = NULL;
	if (*find(p9, fid->number))
		error = EINVAL;
	else if (p9->fid_count == P9_FIDS_MAX || fid->number == P9_NO_FID)
		error = ENFILE;
	if (!error) {
		fid->users = 1;
		link = bucket(p9, fid->number);
		fid->next = *link;
		*link = fid;
		enter_place(p9, fid);
		p9->fid_count++;
	}
	pthread_mutex_unlock(&p9->mutex);
	if (old)
		drop_user(p9, old);
	if (error)
		p9_fid_free(p9, fid);
	return error;
}

bool p9_fid_remove(struct p9 *p9, struct p9_fid *fid)
{
	struct p9_fid **link;
	bool found;

	pthread_mutex_lock(&p9->mutex);
	link = find(p9, fid->number);
	found = *link == fid;
	if (found)
		unlink_fid(p9, link);
	pthread_mutex_unlock(&p9->mutex);
	if (found)
		drop_user(p9, fid);
	return found;
}

/* All of them out of the table, linked by next. Locked. */
static struct p9_fid *unlink_all(struct p9 *p9)
{
	struct p9_fid *all = NULL;

	for (unsigned i = 0; p9->fid_count; i++) {
		struct p9_fid *fid;

		while ((fid = p9->fids[i])) {
			unlink_fid(p9, &p9->fids[i]);
			fid->next = all;
			all = fid;
		}
	}
	return all;
}

void p9_fids_clear(struct p9 *p9)
{
	struct p9_fid *fid, *next;

	pthread_mutex_lock(&p9->mutex);
	fid = unlink_all(p9);
	pthread_mutex_unlock(&p9->mutex);
	for (; fid; fid = next) {
		next = fid->next;
		drop_user(p9, fid);
	}
}

/* ---- where they were found ---- */

/* Locked. Without memory, nobody knows any more. */
static void move_fid(struct p9 *p9, struct p9_fid *fid, struct node *to, const char *name)
{
	leave_place(fid);
	forget(p9, fid->parent);
	free(fid->name);
	fid->name = strdup(name);
	fid->parent = fid->name ? to : NULL;
	if (!fid->parent)
		return;
	nodes_remember(p9->tree.nodes, to);
	enter_place(p9, fid);
}

void p9_fids_renamed(struct p9 *p9, const struct node *from, const char *old_name, struct node *to,
		     const char *new_name)
{
	struct p9_fid *fid, *next;

	pthread_mutex_lock(&p9->mutex);
	for (fid = *place(p9, from, old_name); fid; fid = next) {
		next = fid->next_there;
		if (fid->parent == from && !strcmp(fid->name, old_name))
			move_fid(p9, fid, to, new_name);
	}
	pthread_mutex_unlock(&p9->mutex);
}

/* Whether name in parent is fid's file, still. */
static bool is_there(struct p9 *p9, const struct p9_fid *fid, const struct node *parent,
		     const char *name)
{
	struct stat status;
	struct node *node;
	bool same;

	if (tree_look_up(&p9->tree, parent, name, &node, &status))
		return false;
	same = node == fid->node;
	tree_release(&p9->tree, node);
	return same;
}

int p9_fid_place(struct p9 *p9, struct p9_fid *fid, struct node **parent, char **name)
{
	if (fid->node->id == NODES_ROOT)
		return EBUSY;
	pthread_mutex_lock(&p9->mutex);
	*name = fid->parent ? strdup(fid->name) : NULL;
	*parent = *name ? nodes_get(p9->tree.nodes, fid->parent->id) : NULL;
	pthread_mutex_unlock(&p9->mutex);
	if (*parent && is_there(p9, fid, *parent, *name))
		return 0;
	if (*parent)
		nodes_put(p9->tree.nodes, *parent);
	free(*name);
	return ENOENT;
}
