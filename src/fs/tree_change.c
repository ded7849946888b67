/* SPDX-License-Identifier: MIT */
/* Changing what files are: owner, mode, size, times. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/owner.h"
#include "fs/tree.h"

/* Owner and mode as they shall be are noted as far as the host does not keep them. */
static int change_noted(struct tree *tree, const struct node *node, const struct tree_change *change)
{
	struct stat status;
	int error = tree_status(tree, node, &status);

	if (error)
		return error;
	if (change->set_uid)
		status.st_uid = change->uid;
	if (change->set_gid)
		status.st_gid = change->gid;
	if (change->set_mode)
		status.st_mode = (status.st_mode & S_IFMT) | (change->mode & 07777);
	return owner_write(tree, node->fd, &status);
}

static int change_rights(struct tree *tree, const struct node *node, const struct tree_change *change)
{
	uid_t uid = change->set_uid ? change->uid : (uid_t)-1;
	gid_t gid = change->set_gid ? change->gid : (gid_t)-1;
	char path[TREE_PROC_PATH_BYTES];

	if (change->set_mode && S_ISLNK(node->type))
		return EOPNOTSUPP;
	if (tree->notes)
		return change_noted(tree, node, change);
	if ((change->set_uid || change->set_gid) &&
	    fchownat(node->fd, "", uid, gid, AT_EMPTY_PATH))
		return errno;
	if (!change->set_mode)
		return 0;
	/* After the owner: chown clears bits. */
	tree_proc_path(node->fd, path);
	return chmod(path, change->mode & 07777) ? errno : 0;
}

static int change_size(struct tree *tree, const struct node *node, uint64_t size, int fd)
{
	int own = -1, error = 0;

	if (size > INT64_MAX)
		return EFBIG;
	if (fd < 0) {
		error = tree_open_node(tree, node, O_WRONLY, &own);
		fd = own;
	}
	if (!error && ftruncate(fd, (off_t)size))
		error = errno;
	if (own >= 0)
		close(own);
	return error;
}

static bool sets_times(const struct tree_change *change)
{
	return change->times[0].tv_nsec != UTIME_OMIT || change->times[1].tv_nsec != UTIME_OMIT;
}

int tree_change(struct tree *tree, const struct node *node, const struct tree_change *change, int fd)
{
	int error = 0;

	if (change->set_uid || change->set_gid || change->set_mode)
		error = change_rights(tree, node, change);
	if (!error && change->set_size)
		error = change_size(tree, node, change->size, fd);
	if (!error && sets_times(change) &&
	    utimensat(node->fd, "", change->times, AT_EMPTY_PATH))
		error = errno;
	return error;
}

void tree_drop_privileges(struct tree *tree, const struct node *node)
{
	struct tree_change change = { .set_mode = true,
				      .times = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } } };
	struct stat status;

	if ((!tree->is_root && !tree->notes) || tree_status(tree, node, &status))
		return;
	change.mode = status.st_mode & ~(mode_t)S_ISUID;
	if (status.st_mode & S_IXGRP)
		change.mode &= ~(mode_t)S_ISGID;
	if (change.mode != status.st_mode)
		tree_change(tree, node, &change, -1);
}
