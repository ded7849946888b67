/* SPDX-License-Identifier: MIT */
/*
 * Byte-range locks. The guest's kernel has settled what its own programs do to each other before it asks;
 * here, its locks meet those of the host and of other guests with the same tree.
 *
 * Who holds a lock: a process of the guest's (POSIX locks), or a fid (flock, where one process may
 * unlock what another has locked). A request does not say which it is, so what has the same process or
 * the same fid is one owner: a lock may end too early so, never too late.
 *
 * For the host there is one descriptor a file, whose open file description holds what any of them holds:
 * two owners share but read locks, so that is the type of the last request, and what remains of a range
 * when one of them lets go is what others still read. Where the host has no locks, or the monitor may
 * not write to the file, the guest's are among themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/p9_call.h"

#define LOCKS_MAX 65536u

struct held {
	struct p9_lock lock;
	const struct p9_fid *fid;
};

struct locked_file {
	const struct node *node; /* in use by the fids of held */
	int fd;                  /* of the host's lock; -1: it has none */
	unsigned count, limit;
	struct held *held;
	struct locked_file *next;
};

struct p9_locks {
	struct tree *tree;
	pthread_mutex_t mutex;
	unsigned count; /* of all files */
	struct locked_file *files;
};

/* ---- files ---- */

static struct locked_file **find(struct p9_locks *locks, const struct node *node)
{
	struct locked_file **link = &locks->files;

	while (*link && (*link)->node != node)
		link = &(*link)->next;
	return link;
}

static int open_host(const struct tree *tree, const struct node *node)
{
	int fd;

	if (tree_open_node(tree, node, O_RDWR, &fd) && tree_open_node(tree, node, O_RDONLY, &fd))
		return -1;
	return fd;
}

static struct locked_file *find_or_make(struct p9_locks *locks, const struct node *node)
{
	struct locked_file **link = find(locks, node), *file = *link;

	if (file)
		return file;
	file = malloc(sizeof(*file));
	if (!file)
		return NULL;
	*file = (struct locked_file){ .node = node, .fd = open_host(locks->tree, node) };
	*link = file;
	return file;
}

static void drop_unused(struct locked_file **link)
{
	struct locked_file *file = *link;

	if (file->count)
		return;
	*link = file->next;
	if (file->fd >= 0)
		close(file->fd);
	free(file->held);
	free(file);
}

/* ---- ranges ---- */

static bool same_owner(const struct held *held, const struct p9_fid *fid, const struct p9_lock *lock)
{
	return held->fid == fid ||
	       (held->lock.process == lock->process && !strcmp(held->lock.client, lock->client));
}

static bool overlap(const struct p9_lock *a, const struct p9_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static const struct held *conflict(const struct locked_file *file, const struct p9_fid *fid,
				   const struct p9_lock *lock)
{
	for (unsigned i = 0; i < file->count; i++) {
		const struct held *held = &file->held[i];

		if (!same_owner(held, fid, lock) && overlap(&held->lock, lock) &&
		    (held->lock.type == P9_LOCK_WRITE || lock->type == P9_LOCK_WRITE))
			return held;
	}
	return NULL;
}

/* Room for two more: a lock may be split by one in its middle. */
static bool reserve(struct locked_file *file)
{
	unsigned limit = file->limit ? 2 * file->limit : 4;
	struct held *held;

	if (file->count + 2 <= file->limit)
		return true;
	held = realloc(file->held, limit * sizeof(*held));
	if (!held)
		return false;
	file->held = held;
	file->limit = limit;
	return true;
}

/* Takes the range out of what its owner holds; there is room for one more. */
static void cut_out(struct locked_file *file, const struct p9_fid *fid, const struct p9_lock *range)
{
	for (unsigned i = file->count; i-- > 0;) {
		struct held *held = &file->held[i], rest = *held;

		if (!same_owner(held, fid, range) || !overlap(&held->lock, range))
			continue;
		if (held->lock.start < range->start) {
			held->lock.end = range->start - 1;
			if (rest.lock.end > range->end && file->count < file->limit) {
				rest.lock.start = range->end + 1;
				file->held[file->count++] = rest;
			}
		} else if (held->lock.end > range->end) {
			held->lock.start = range->end + 1;
		} else {
			*held = file->held[--file->count];
		}
	}
}

/* ---- the host ---- */

static int host_lock(const struct locked_file *file, short type, uint64_t start, uint64_t end)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)start,
			      .l_len = end == INT64_MAX ? 0 : (off_t)(end - start + 1) };

	if (file->fd < 0 || !fcntl(file->fd, F_OFD_SETLK, &lock))
		return P9_LOCK_SUCCESS;
	return errno == EAGAIN || errno == EACCES ? P9_LOCK_BLOCKED : P9_LOCK_SUCCESS;
}

/* A lock that covers at; NULL: nobody holds it. */
static const struct p9_lock *held_at(const struct locked_file *file, uint64_t at)
{
	for (unsigned i = 0; i < file->count; i++)
		if (file->held[i].lock.start <= at && file->held[i].lock.end >= at)
			return &file->held[i].lock;
	return NULL;
}

/* The last byte from at on, up to end, before somebody holds one again. */
static uint64_t free_until(const struct locked_file *file, uint64_t at, uint64_t end)
{
	for (unsigned i = 0; i < file->count; i++)
		if (file->held[i].lock.start > at && file->held[i].lock.start <= end)
			end = file->held[i].lock.start - 1;
	return end;
}

/* Lets go of what nobody holds any more in the range. */
static void release_host(const struct locked_file *file, uint64_t start, uint64_t end)
{
	for (uint64_t at = start;;) {
		const struct p9_lock *held = held_at(file, at);
		uint64_t until = held ? held->end : free_until(file, at, end);

		if (!held)
			host_lock(file, F_UNLCK, at, until);
		if (until >= end)
			return;
		at = until + 1;
	}
}

/* ---- requests ---- */

static int set(struct p9_locks *locks, struct locked_file *file, const struct p9_fid *fid,
	       const struct p9_lock *lock)
{
	unsigned before = file->count;
	int status;

	if (locks->count > LOCKS_MAX - 2 || !reserve(file))
		return P9_LOCK_ERROR;
	if (lock->type == P9_LOCK_NONE) {
		cut_out(file, fid, lock);
		release_host(file, lock->start, lock->end);
		locks->count += file->count - before;
		return P9_LOCK_SUCCESS;
	}
	if (conflict(file, fid, lock))
		return P9_LOCK_BLOCKED;
	status = host_lock(file, lock->type == P9_LOCK_WRITE ? F_WRLCK : F_RDLCK, lock->start,
			   lock->end);
	if (status)
		return status;
	cut_out(file, fid, lock);
	if (reserve(file))
		file->held[file->count++] = (struct held){ .lock = *lock, .fid = fid };
	else
		status = P9_LOCK_ERROR;
	locks->count += file->count - before;
	return status;
}

int p9_locks_set(struct p9_locks *locks, const struct p9_fid *fid, const struct p9_lock *lock)
{
	struct locked_file *file;
	int status = P9_LOCK_ERROR;

	pthread_mutex_lock(&locks->mutex);
	file = find_or_make(locks, fid->node);
	if (file) {
		status = set(locks, file, fid, lock);
		drop_unused(find(locks, fid->node));
	}
	pthread_mutex_unlock(&locks->mutex);
	return status;
}

/* What the host, or another guest, has in the way. */
static void test_host(const struct locked_file *file, struct p9_lock *lock)
{
	struct flock host = { .l_type = lock->type == P9_LOCK_WRITE ? F_WRLCK : F_RDLCK,
			      .l_whence = SEEK_SET, .l_start = (off_t)lock->start,
			      .l_len = lock->end == INT64_MAX ? 0 :
								(off_t)(lock->end - lock->start + 1) };

	if (file->fd < 0 || fcntl(file->fd, F_OFD_GETLK, &host) || host.l_type == F_UNLCK) {
		lock->type = P9_LOCK_NONE;
		return;
	}
	*lock = (struct p9_lock){
		.type = host.l_type == F_WRLCK ? P9_LOCK_WRITE : P9_LOCK_READ,
		.start = (uint64_t)host.l_start,
		.end = host.l_len ? (uint64_t)(host.l_start + host.l_len - 1) : INT64_MAX,
		.client = "host",
	};
}

int p9_locks_test(struct p9_locks *locks, const struct p9_fid *fid, struct p9_lock *lock)
{
	struct locked_file *file;
	const struct held *held;

	if (lock->type == P9_LOCK_NONE)
		return 0;
	pthread_mutex_lock(&locks->mutex);
	file = find_or_make(locks, fid->node);
	if (file) {
		held = conflict(file, fid, lock);
		if (held)
			*lock = held->lock;
		else
			test_host(file, lock);
		drop_unused(find(locks, fid->node));
	}
	pthread_mutex_unlock(&locks->mutex);
	return file ? 0 : ENOMEM;
}

static void drop(struct p9_locks *locks, struct locked_file *file, const struct p9_fid *fid)
{
	for (unsigned i = file->count; i-- > 0;) {
		struct p9_lock lock = file->held[i].lock;

		if (file->held[i].fid != fid)
			continue;
		file->held[i] = file->held[--file->count];
		locks->count--;
		release_host(file, lock.start, lock.end);
	}
}

void p9_locks_drop(struct p9_locks *locks, const struct p9_fid *fid)
{
	struct locked_file **link;

	if (fid->fd < 0)
		return; /* which has none */
	pthread_mutex_lock(&locks->mutex);
	link = find(locks, fid->node);
	if (*link) {
		drop(locks, *link, fid);
		drop_unused(link);
	}
	pthread_mutex_unlock(&locks->mutex);
}

struct p9_locks *p9_locks_create(struct tree *tree)
{
	struct p9_locks *locks = calloc(1, sizeof(*locks));

	if (!locks)
		return NULL;
	locks->tree = tree;
	pthread_mutex_init(&locks->mutex, NULL);
	return locks;
}

void p9_locks_destroy(struct p9_locks *locks)
{
	if (!locks)
		return;
	pthread_mutex_destroy(&locks->mutex);
	free(locks);
}
