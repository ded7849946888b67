/* SPDX-License-Identifier: MIT */
/*
 * Directories. The guest says where to go on by a position that the host gave it; each entry brings
 * the position behind it, so what does not fit is simply read again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fuse_call.h"

#define LIST_MAX (64u << 10)

/* An answer being written. */
struct listing {
	struct fuse_call *call;
	bool plus;
	char *data;
	size_t used, limit;
};

/* A file that has just gone is listed without attributes. */
static struct node *look_up(struct listing *list, const char *name, struct fuse_entry_out *entry)
{
	struct fuse *fuse = list->call->fuse;
	struct node *node;
	struct stat status;

	if (!list->plus || !strcmp(name, ".") || !strcmp(name, "..") ||
	    tree_look_up(&fuse->tree, list->call->node, name, &node, &status))
		return NULL;
	fuse_fill_entry(fuse, node, &status, entry);
	return node;
}

/* Appends an entry. False: it does not fit. */
static bool append(void *opaque, const struct tree_entry *from)
{
	struct listing *list = opaque;
	size_t name = strlen(from->name), head = list->plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + name);
	struct fuse_entry_out entry = { 0 };
	struct fuse_dirent *to;
	struct node *node;

	if (size > list->limit - list->used)
		return false;
	node = look_up(list, from->name, &entry);
	memset(list->data + list->used, 0, size);
	memcpy(list->data + list->used, &entry, head);
	to = (struct fuse_dirent *)(list->data + list->used + head);
	to->ino = node ? entry.attr.ino : from->ino;
	to->off = from->next;
	to->namelen = (uint32_t)name;
	to->type = from->type;
	memcpy(to->name, from->name, name);
	list->used += size;
	if (node)
		nodes_put(list->call->fuse->tree.nodes, node);
	return true;
}

static size_t read_directory(struct fuse_call *call, bool plus)
{
	const struct fuse_read_in *in = (const struct fuse_read_in *)call->args;
	struct fuse_file *file = fuse_file_get(call->fuse, in->fh);
	struct listing list = { .call = call, .plus = plus };
	size_t size;
	int error;

	if (!file)
		return fuse_reply_error(call, EBADF);
	list.limit = in->size < fuse_room(call) ? in->size : fuse_room(call);
	if (list.limit > LIST_MAX)
		list.limit = LIST_MAX;
	list.data = malloc(list.limit + 1);
	if (list.data) {
		pthread_mutex_lock(&file->position);
		error = tree_list(&call->fuse->tree, file->fd, in->offset, list.limit, append, &list);
		pthread_mutex_unlock(&file->position);
	} else {
		error = ENOMEM;
	}
	fuse_file_put(call->fuse, file);
	size = error ? fuse_reply_error(call, error) : fuse_reply(call, list.data, list.used);
	free(list.data);
	return size;
}

size_t fuse_readdir(struct fuse_call *call)
{
	return read_directory(call, false);
}

size_t fuse_readdirplus(struct fuse_call *call)
{
	return read_directory(call, true);
}
