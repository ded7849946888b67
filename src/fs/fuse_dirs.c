/* SPDX-License-Identifier: MIT */
/*
 * Directories. The guest says where to go on by a position that the host gave it; each entry brings
 * the position behind it, so what does not fit is simply read again.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/fuse_call.h"

#define LIST_MAX (64u << 10)

/* What getdents64 gives (getdents(2)). */
struct host_entry {
	uint64_t ino;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* An answer being written. */
struct listing {
	struct fuse_call *call;
	bool plus;
	char *data;
	size_t used, limit;
};

/* Appends an entry. False: it does not fit. */
static bool append(struct listing *list, const struct host_entry *from)
{
	size_t name = strlen(from->name), head = list->plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + name);
	bool is_dots = !strcmp(from->name, ".") || !strcmp(from->name, "..");
	struct fuse_entry_out entry = { 0 };
	struct node *node = NULL;
	struct fuse_dirent *to;

	if (size > list->limit - list->used)
		return false;
	/* A file that has just gone is listed without attributes. */
	if (list->plus && !is_dots &&
	    fuse_look_up(list->call->fuse, list->call->node, from->name, &node, &entry))
		entry = (struct fuse_entry_out){ 0 };
	memset(list->data + list->used, 0, size);
	memcpy(list->data + list->used, &entry, head);
	to = (struct fuse_dirent *)(list->data + list->used + head);
	to->ino = node ? entry.attr.ino : from->ino;
	to->off = (uint64_t)from->next;
	to->namelen = (uint32_t)name;
	to->type = from->type;
	memcpy(to->name, from->name, name);
	list->used += size;
	if (node)
		nodes_put(list->call->fuse->nodes, node);
	return true;
}

/* Fills the answer from position on: 0 or an errno. */
static int fill(struct listing *list, int fd, uint64_t position)
{
	char *buffer = malloc(list->limit);
	long got;
	int error = 0;

	if (!buffer)
		return ENOMEM;
	if (lseek(fd, (off_t)position, SEEK_SET) < 0) {
		free(buffer);
		return errno;
	}
	while ((got = syscall(SYS_getdents64, fd, buffer, list->limit)) > 0) {
		for (long at = 0; at < got;) {
			const struct host_entry *entry = (const void *)(buffer + at);

			if (!append(list, entry))
				goto full;
			at += entry->length;
		}
	}
	if (got < 0)
		error = errno;
full:
	free(buffer);
	return error && !list->used ? error : 0;
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
		error = fill(&list, file->fd, in->offset);
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
