/* SPDX-License-Identifier: MIT */
/* Files that the guest has open, by number. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/fuse_call.h"

#define FIRST_FILES 64u

/* The lowest number that is free at or behind the hint; 0: none. */
static unsigned free_number(struct fuse *fuse)
{
	unsigned limit = fuse->file_limit ? 2 * fuse->file_limit : FIRST_FILES;
	struct fuse_file **files;

	for (unsigned i = fuse->file_hint > 1 ? fuse->file_hint : 1; i < fuse->file_limit; i++)
		if (!fuse->files[i])
			return i;
	for (unsigned i = 1; i < fuse->file_hint && i < fuse->file_limit; i++)
		if (!fuse->files[i])
			return i;
	if (limit > FUSE_FILES_MAX)
		return 0;
	files = realloc(fuse->files, limit * sizeof(*files));
	if (!files)
		return 0;
	for (unsigned i = fuse->file_limit; i < limit; i++)
		files[i] = NULL;
	fuse->files = files;
	fuse->file_limit = limit;
	return limit == FIRST_FILES ? 1 : limit / 2;
}

uint64_t fuse_file_add(struct fuse *fuse, int fd)
{
	struct fuse_file *file = malloc(sizeof(*file));
	unsigned number = 0;

	pthread_mutex_lock(&fuse->mutex);
	if (file)
		number = free_number(fuse);
	if (number) {
		*file = (struct fuse_file){ .fd = fd };
		pthread_mutex_init(&file->position, NULL);
		fuse->files[number] = file;
		fuse->file_hint = number + 1;
	}
	pthread_mutex_unlock(&fuse->mutex);
	if (!number) {
		free(file);
		close(fd);
	}
	return number;
}

struct fuse_file *fuse_file_get(struct fuse *fuse, uint64_t number)
{
	struct fuse_file *file = NULL;

	pthread_mutex_lock(&fuse->mutex);
	if (number < fuse->file_limit)
		file = fuse->files[number];
	if (file)
		file->users++;
	pthread_mutex_unlock(&fuse->mutex);
	return file;
}

static void file_free(struct fuse_file *file)
{
	close(file->fd);
	pthread_mutex_destroy(&file->position);
	free(file);
}

void fuse_file_put(struct fuse *fuse, struct fuse_file *file)
{
	bool last;

	pthread_mutex_lock(&fuse->mutex);
	last = !--file->users && file->released;
	pthread_mutex_unlock(&fuse->mutex);
	if (last)
		file_free(file);
}

void fuse_files_clear(struct fuse *fuse)
{
	for (unsigned i = 1; i < fuse->file_limit; i++) {
		if (fuse->files[i])
			file_free(fuse->files[i]);
		fuse->files[i] = NULL;
	}
}

/* The guest's kernel writes back what is mapped through any descriptor, to a place that it names. */
int fuse_open_flags(uint32_t flags)
{
	return (int)(flags & ~(uint32_t)O_APPEND);
}

uint32_t fuse_open_answer(const struct fuse *fuse)
{
	return fuse->direct ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE;
}

static size_t reply_open(struct fuse_call *call, int fd, uint32_t open_flags)
{
	struct fuse_open_out out = { .open_flags = open_flags };

	out.fh = fuse_file_add(call->fuse, fd);
	return out.fh ? fuse_reply(call, &out, sizeof(out)) : fuse_reply_error(call, ENFILE);
}

size_t fuse_open(struct fuse_call *call)
{
	const struct fuse_open_in *in = (const struct fuse_open_in *)call->args;
	int fd, error = tree_open_node(&call->fuse->tree, call->node, fuse_open_flags(in->flags), &fd);

	/* Where we have not promised to see to it (fuse_init), there is no flag. */
	if (!error && in->flags & O_TRUNC &&
	    (call->head.uid || in->open_flags & FUSE_OPEN_KILL_SUIDGID))
		tree_drop_privileges(&call->fuse->tree, call->node);
	return error ? fuse_reply_error(call, error) :
		       reply_open(call, fd, fuse_open_answer(call->fuse));
}

size_t fuse_opendir(struct fuse_call *call)
{
	uint32_t cached = call->fuse->direct ? 0 : FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
	int fd, error = tree_open_node(&call->fuse->tree, call->node, O_RDONLY | O_DIRECTORY, &fd);

	return error ? fuse_reply_error(call, error) : reply_open(call, fd, cached);
}

size_t fuse_release(struct fuse_call *call)
{
	const struct fuse_release_in *in = (const struct fuse_release_in *)call->args;
	struct fuse *fuse = call->fuse;
	struct fuse_file *file = NULL;
	bool last = false;

	pthread_mutex_lock(&fuse->mutex);
	if (in->fh < fuse->file_limit)
		file = fuse->files[in->fh];
	if (file) {
		fuse->files[in->fh] = NULL;
		fuse->file_hint = (unsigned)in->fh;
		file->released = true;
		last = !file->users;
	}
	pthread_mutex_unlock(&fuse->mutex);
	if (last)
		file_free(file);
	return fuse_reply_error(call, file ? 0 : EBADF);
}
