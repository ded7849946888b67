/* SPDX-License-Identifier: MIT */
#include "fs/handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/tree.h"

#define MOUNTS_MAX 64

struct handle {
	unsigned mount; /* of handles */
	struct file_handle file;
};

/* A file of each file system, opened: that is how the host is told which one is meant. */
struct handles {
	unsigned mounts;
	struct {
		int id, fd;
	} mount[MOUNTS_MAX];
};

/* The number of the mount that id, and fd, belong to; MOUNTS_MAX: none can be had. */
static unsigned find_mount(struct handles *handles, int id, int fd)
{
	char path[TREE_PROC_PATH_BYTES];
	struct stat status;
	unsigned i;
	int opened;

	for (i = 0; i < handles->mounts; i++)
		if (handles->mount[i].id == id)
			return i;
	/* Anything else would do something when it is opened. */
	if (i == MOUNTS_MAX || fstat(fd, &status) ||
	    (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)))
		return MOUNTS_MAX;
	tree_proc_path(fd, path);
	opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (opened < 0)
		return MOUNTS_MAX;
	handles->mount[i].id = id;
	handles->mount[i].fd = opened;
	handles->mounts++;
	return i;
}

struct handle *handle_of(struct handles *handles, int fd)
{
	union {
		struct file_handle file;
		char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} space = { .file.handle_bytes = MAX_HANDLE_SZ };
	struct handle *handle;
	unsigned mount;
	int id;

	if (name_to_handle_at(fd, "", &space.file, &id, AT_EMPTY_PATH))
		return NULL;
	mount = find_mount(handles, id, fd);
	if (mount == MOUNTS_MAX)
		return NULL;
	handle = malloc(sizeof(*handle) + space.file.handle_bytes);
	if (!handle)
		return NULL;
	handle->mount = mount;
	memcpy(&handle->file, &space.file, sizeof(space.file) + space.file.handle_bytes);
	return handle;
}

int handle_open(const struct handles *handles, const struct handle *handle)
{
	return open_by_handle_at(handles->mount[handle->mount].fd, (struct file_handle *)&handle->file,
				 O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

bool handle_equal(const struct handle *a, const struct handle *b)
{
	return a->mount == b->mount && a->file.handle_type == b->file.handle_type &&
	       a->file.handle_bytes == b->file.handle_bytes &&
	       !memcmp(a->file.f_handle, b->file.f_handle, a->file.handle_bytes);
}

struct handles *handles_create(int root)
{
	struct handles *handles = calloc(1, sizeof(*handles));
	struct handle *handle = handles ? handle_of(handles, root) : NULL;
	int fd = handle ? handle_open(handles, handle) : -1;

	free(handle);
	if (fd < 0) {
		handles_destroy(handles);
		return NULL;
	}
	close(fd);
	return handles;
}

void handles_destroy(struct handles *handles)
{
	if (!handles)
		return;
	for (unsigned i = 0; i < handles->mounts; i++)
		close(handles->mount[i].fd);
	free(handles);
}
