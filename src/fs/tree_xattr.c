/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes. The host takes no O_PATH descriptor for them, and of links it has none. Those
 * that say who owns a file are ours alone while they are in use.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/owner.h"
#include "fs/tree.h"

static bool is_ours(const struct tree *tree, const char *name)
{
	return tree->notes && !strncmp(name, OWNER_XATTR_PREFIX, strlen(OWNER_XATTR_PREFIX));
}

/* Where the host finds the node: 0 or an errno. */
static int find(const struct node *node, char path[TREE_PROC_PATH_BYTES])
{
	if (S_ISLNK(node->type))
		return EOPNOTSUPP;
	tree_proc_path(node->fd, path);
	return 0;
}

int tree_xattr_set(const struct tree *tree, const struct node *node, const char *name,
		   const void *value, size_t size, int flags)
{
	char path[TREE_PROC_PATH_BYTES];
	int error = is_ours(tree, name) ? EPERM : find(node, path);

	if (error)
		return error;
	return setxattr(path, name, value, size, flags) ? errno : 0;
}

int tree_xattr_remove(const struct tree *tree, const struct node *node, const char *name)
{
	char path[TREE_PROC_PATH_BYTES];
	int error = is_ours(tree, name) ? ENODATA : find(node, path);

	if (error)
		return error;
	return removexattr(path, name) ? errno : 0;
}

ssize_t tree_xattr_get(const struct tree *tree, const struct node *node, const char *name,
		       void *buffer)
{
	char path[TREE_PROC_PATH_BYTES];
	int error = is_ours(tree, name) ? ENODATA : find(node, path);
	ssize_t got;

	if (error)
		return -error;
	got = getxattr(path, name, buffer, TREE_XATTR_MAX);
	return got < 0 ? -errno : got;
}

ssize_t tree_xattr_list(const struct tree *tree, const struct node *node, char *buffer)
{
	char path[TREE_PROC_PATH_BYTES];
	int error = find(node, path);
	ssize_t got, kept = 0;

	if (error)
		return -error;
	got = listxattr(path, buffer, TREE_XATTR_MAX);
	if (got < 0)
		return -errno;
	for (ssize_t at = 0; at < got;) {
		size_t size = strnlen(buffer + at, (size_t)(got - at)) + 1;

		if (!is_ours(tree, buffer + at)) {
			memmove(buffer + kept, buffer + at, size);
			kept += (ssize_t)size;
		}
		at += (ssize_t)size;
	}
	return kept;
}
