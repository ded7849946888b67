/* SPDX-License-Identifier: MIT */
/* See tree.h. */
#include "fs/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "fs/owner.h"
#include "host/limits.h"

/* Of the files that the process may have open, a tree's nodes keep one in so many. */
#define SHARE_OF_FILES 8

void tree_proc_path(int fd, char path[TREE_PROC_PATH_BYTES])
{
	snprintf(path, TREE_PROC_PATH_BYTES, TREE_PROC "/%d", fd);
}

bool tree_good_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static int status_of(const struct tree *tree, int fd, struct stat *status)
{
	if (fstat(fd, status))
		return errno;
	owner_read(tree, fd, status);
	return 0;
}

int tree_adopt(struct tree *tree, int fd, struct node **node, struct stat *status)
{
	int error = status_of(tree, fd, status);

	if (error) {
		close(fd);
		return error;
	}
	*node = nodes_look_up(tree->nodes, fd, status);
	return *node ? 0 : ENFILE;
}

int tree_look_up(struct tree *tree, const struct node *directory, const char *name,
		 struct node **node, struct stat *status)
{
	int fd;

	if (!S_ISDIR(directory->type))
		return ENOTDIR;
	fd = openat(directory->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? errno : tree_adopt(tree, fd, node, status);
}

void tree_release(struct tree *tree, struct node *node)
{
	uint64_t id = node->id;

	nodes_put(tree->nodes, node);
	nodes_forget(tree->nodes, id, 1);
}

int tree_status(struct tree *tree, const struct node *node, struct stat *status)
{
	return status_of(tree, node->fd, status);
}

ssize_t tree_read_link(const struct node *node, char *target, size_t size)
{
	ssize_t length = readlinkat(node->fd, "", target, size);

	if (length >= 0)
		return length;
	return errno == ENOENT ? -EINVAL : -errno;
}

int tree_statfs(const struct node *node, struct statvfs *status)
{
	return fstatvfs(node->fd, status) ? errno : 0;
}

static int reopen(const struct node *node, int flags, int *fd)
{
	char path[TREE_PROC_PATH_BYTES];

	tree_proc_path(node->fd, path);
	*fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return *fd < 0 ? errno : 0;
}

int tree_open_node(const struct tree *tree, const struct node *node, int flags, int *fd)
{
	/* O_DIRECT would ask for an alignment that the guest's buffers need not have. */
	const int access = flags & O_ACCMODE;
	const int kept = flags & (O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_DIRECTORY);
	int error;

	/* A FIFO or a device would block, or do something. */
	if (!S_ISREG(node->type) && !S_ISDIR(node->type))
		return S_ISLNK(node->type) ? ELOOP : ENXIO;
	if (tree->readonly && (access != O_RDONLY || flags & O_TRUNC))
		return EROFS;
	if (access != O_WRONLY)
		return reopen(node, access | kept, fd);
	/* The guest's kernel reads around what a program wrote; but who may write may not read. */
	error = reopen(node, O_RDWR | kept, fd);
	return error == EACCES ? reopen(node, O_WRONLY | kept, fd) : error;
}

/* ---- life ---- */

static int choose_map(struct tree *tree, int fd, const struct tree_config *config,
		      struct error *err)
{
	bool can = owner_can(fd);

	tree->uid = geteuid();
	tree->is_root = !tree->uid;
	tree->readonly = config->readonly;
	tree->notes = config->map == TREE_MAP_XATTR ||
		      (config->map == TREE_MAP_AUTO && !tree->is_root && can);
	return tree->notes && !can ? error_set(err, ENOTSUP, "cannot share %s with map=xattr: its file "
					       "system has no user attributes", config->path) : 0;
}

int tree_open(struct tree *tree, const struct tree_config *config, struct error *err)
{
	struct stat status;
	int fd, ret;

	*tree = (struct tree){ 0 };
	if (access(TREE_PROC, X_OK))
		return error_set_errno(err, errno, "sharing files needs /proc");
	limits_raise_files();
	fd = open(config->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot share %s", config->path);
	ret = fstat(fd, &status) ? error_set_errno(err, errno, "cannot share %s", config->path) :
				   choose_map(tree, fd, config, err);
	if (ret) {
		close(fd);
		return ret;
	}
	tree->nodes = nodes_create(fd, &status);
	if (!tree->nodes)
		return error_set(err, ENOMEM, "no memory to share %s", config->path);
	nodes_limit(tree->nodes, limits_files() / SHARE_OF_FILES);
	return 0;
}

void tree_close(struct tree *tree)
{
	nodes_destroy(tree->nodes);
	tree->nodes = NULL;
}
