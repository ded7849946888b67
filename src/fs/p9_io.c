/* SPDX-License-Identifier: MIT */
/* Files that are open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/iov.h"
#include "fs/p9_call.h"

/* Of a Twrite before the data. */
#define WRITE_HEADER_BYTES (P9_HEADER_BYTES + 16u)

/* fid flags. No iounit: the guest may ask for as much as fits into a message. */
int p9_lopen(struct p9_call *call)
{
	struct p9_fid *fid = call->fid[0];
	struct stat status;
	int fd, unset = -1;
	int error = fid->xattr || fid->fd >= 0 ?
			    EINVAL :
			    tree_open_node(&call->p9->tree, fid->node, (int)call->number[0], &fd);

	if (error)
		return error;
	error = tree_status(&call->p9->tree, fid->node, &status);
	/* Two may open it at the same time. */
	if (error || !atomic_compare_exchange_strong(&fid->fd, &unset, fd)) {
		close(fd);
		return error ? error : EINVAL;
	}
	p9_put_qid(call, &status);
	p9_put(call, 4, 0);
	return 0;
}

/* fid name flags mode gid: the directory's fid becomes the file's. */
int p9_lcreate(struct p9_call *call)
{
	struct p9 *p9 = call->p9;
	struct p9_fid *directory = call->fid[0], *fid;
	const struct tree_new new = {
		.name = call->text[0], .uid = directory->uid, .gid = (gid_t)call->number[2],
		.mode = S_IFREG | (call->number[1] & 07777),
	};
	struct stat status;
	struct node *node;
	int fd, error;

	if (directory->xattr || directory->fd >= 0)
		return EINVAL;
	error = tree_create(&p9->tree, directory->node, &new, (int)call->number[0], &fd, &node, &status);
	if (error)
		return error;
	fid = p9_fid_new(p9, directory->number, directory->uid, node, directory->node, new.name);
	tree_release(&p9->tree, node); /* which the fid remembers */
	if (!fid) {
		close(fd);
		return ENOMEM;
	}
	fid->fd = fd;
	error = p9_fid_add(p9, fid, directory);
	if (!error) {
		p9_put_qid(call, &status);
		p9_put(call, 4, 0);
	}
	return error;
}

/* Bytes of data that an answer has room for, of count that were asked for. */
static size_t data_room(const struct p9_call *call, uint64_t count)
{
	size_t room = call->out_bytes > P9_READ_HEADER_BYTES ? call->out_bytes - P9_READ_HEADER_BYTES : 0;

	return count < room ? (size_t)count : room;
}

/* fid offset count */
int p9_read(struct p9_call *call)
{
	struct p9_fid *fid = call->fid[0];
	size_t size = data_room(call, call->number[1]);
	ssize_t got;

	if (fid->xattr)
		got = p9_xattr_read(call, fid, P9_READ_HEADER_BYTES, size, call->number[0]);
	else if (fid->fd < 0)
		got = -EBADF;
	else
		got = tree_read(fid->fd, call->out, call->out_count, P9_READ_HEADER_BYTES, size,
				call->number[0], call->now);
	if (got < 0)
		return (int)-got;
	p9_put(call, 4, (uint64_t)got);
	call->data_bytes = (size_t)got;
	return 0;
}

/* fid offset count, and the data */
int p9_write(struct p9_call *call)
{
	struct p9_fid *fid = call->fid[0];
	uint64_t size = call->number[1];
	ssize_t put;

	if (size > call->size - WRITE_HEADER_BYTES)
		return EINVAL;
	if (fid->xattr) {
		put = p9_xattr_write(call, fid, WRITE_HEADER_BYTES, (size_t)size, call->number[0]);
	} else if (fid->fd < 0) {
		put = -EBADF;
	} else {
		put = tree_write(fid->fd, call->in, call->in_count, WRITE_HEADER_BYTES, (size_t)size,
				 call->number[0], call->now);
		/* The guest's kernel leaves it to the server. */
		if (fid->uid && !(call->now && put == -EAGAIN))
			tree_drop_privileges(&call->p9->tree, fid->node);
	}
	if (put < 0)
		return (int)-put;
	p9_put(call, 4, (uint64_t)put);
	return 0;
}

/* fid datasync */
int p9_fsync(struct p9_call *call)
{
	int fd = call->fid[0]->fd;

	if (fd < 0)
		return EBADF;
	return (call->number[0] ? fdatasync(fd) : fsync(fd)) ? errno : 0;
}

/* ---- directories ---- */

/* An answer being written. */
struct listing {
	struct p9 *p9;
	struct stat directory; /* of whose file system the entries are, as far as it tells */
	uint8_t *data;
	size_t used, limit;
	bool full;
};

/* qid offset type name */
static bool append(void *opaque, const struct tree_entry *entry)
{
	struct listing *list = opaque;
	struct stat status = { .st_dev = list->directory.st_dev, .st_ino = entry->ino,
			       .st_mode = (mode_t)entry->type << 12 };
	size_t name = strlen(entry->name), size = P9_QID_BYTES + 8 + 1 + 2 + name;
	uint8_t *to = list->data + list->used;

	list->full = size > list->limit - list->used;
	if (list->full)
		return false;
	p9_encode_qid(list->p9, &status, to);
	to += P9_QID_BYTES;
	p9_encode(to, 8, entry->next);
	p9_encode(to + 8, 1, entry->type);
	p9_encode(to + 9, 2, name);
	memcpy(to + 11, entry->name, name);
	list->used += size;
	return true;
}

static int list_all(struct p9_call *call, struct listing *list)
{
	struct p9_fid *fid = call->fid[0];
	int error = tree_status(&call->p9->tree, fid->node, &list->directory);

	if (error)
		return error;
	pthread_mutex_lock(&fid->mutex);
	error = tree_list(&call->p9->tree, fid->fd, call->number[0], list->limit, append, list);
	pthread_mutex_unlock(&fid->mutex);
	/* Nothing would mean the end. */
	return !error && list->full && !list->used ? EINVAL : error;
}

/* fid offset count */
int p9_readdir(struct p9_call *call)
{
	struct listing list = { .p9 = call->p9, .limit = data_room(call, call->number[1]) };
	int error;

	if (call->fid[0]->fd < 0 || call->fid[0]->xattr)
		return EBADF;
	if (!S_ISDIR(call->fid[0]->node->type))
		return ENOTDIR;
	list.data = malloc(list.limit + 1);
	if (!list.data)
		return ENOMEM;
	error = list_all(call, &list);
	if (!error) {
		p9_put(call, 4, list.used);
		iov_write(call->out, call->out_count, P9_READ_HEADER_BYTES, list.data, list.used);
		call->data_bytes = list.used;
	}
	free(list.data);
	return error;
}

/* ---- locks ---- */

static int make_lock(const struct p9_call *call, struct p9_lock *lock, uint64_t type, uint64_t start,
		     uint64_t length, uint64_t process)
{
	if (call->fid[0]->fd < 0)
		return EBADF;
	if (type > P9_LOCK_NONE || start > INT64_MAX || (length && length - 1 > INT64_MAX - start))
		return EINVAL;
	*lock = (struct p9_lock){ .type = (int)type, .start = start,
				  .end = length ? start + length - 1 : INT64_MAX,
				  .process = (uint32_t)process };
	snprintf(lock->client, sizeof(lock->client), "%s", call->text[0]);
	return 0;
}

/* fid type flags start length process client. Nobody waits here: who is blocked asks again. */
int p9_lock(struct p9_call *call)
{
	const uint64_t *n = call->number;
	struct p9_lock lock;
	int error = make_lock(call, &lock, n[0], n[2], n[3], n[4]);

	if (!error)
		p9_put(call, 1, (uint64_t)p9_locks_set(call->p9->locks, call->fid[0], &lock));
	return error;
}

/* fid type start length process client */
int p9_getlock(struct p9_call *call)
{
	const uint64_t *n = call->number;
	struct p9_lock lock;
	int error = make_lock(call, &lock, n[0], n[1], n[2], n[3]);

	if (!error)
		error = p9_locks_test(call->p9->locks, call->fid[0], &lock);
	if (error)
		return error;
	p9_put(call, 1, (uint64_t)lock.type);
	p9_put(call, 8, lock.start);
	p9_put(call, 8, lock.end == INT64_MAX ? 0 : lock.end - lock.start + 1);
	p9_put(call, 4, lock.process);
	p9_put_text(call, lock.client, strlen(lock.client));
	return 0;
}
