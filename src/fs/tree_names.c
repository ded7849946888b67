/* SPDX-License-Identifier: MIT */
/*
 * Names that come, go and move. A file is made with exactly the mode that the guest's kernel computed,
 * so the thread's umask has to be out of the way; then it is given to the guest's user, or noted as
 * its. Between the two, somebody on the host may put another file in its place: it is given away
 * only if it may be the one that was made.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/owner.h"
#include "fs/tree.h"

/* Threads of a process share their umask unless they say otherwise; only the first time does it. */
static void forget_umask(void)
{
	if (!unshare(CLONE_FS))
		umask(0);
}

/* What a new file in directory is: sets of users belong to directories that say so. */
static int inherit(struct tree *tree, const struct node *directory, const struct tree_new *new,
		   struct stat *wanted)
{
	struct stat parent;
	int error = tree_status(tree, directory, &parent);

	if (error)
		return error;
	*wanted = (struct stat){ .st_uid = new->uid, .st_gid = new->gid, .st_mode = new->mode,
				 .st_rdev = new->rdev };
	if (parent.st_mode & S_ISGID) {
		wanted->st_gid = parent.st_gid;
		if (S_ISDIR(new->mode))
			wanted->st_mode |= S_ISGID;
	}
	return 0;
}

static bool may_be_ours(const struct tree *tree, const struct stat *host, mode_t mode)
{
	mode_t type = tree->notes && !S_ISDIR(mode) && !S_ISLNK(mode) ? S_IFREG : mode & S_IFMT;

	return host->st_uid == tree->uid && (host->st_mode & S_IFMT) == type &&
	       (host->st_nlink == 1 || S_ISDIR(mode));
}

/* The monitor is root: the file is really the guest's user's. */
static void give_away(int fd, const struct stat *wanted)
{
	char path[TREE_PROC_PATH_BYTES];

	if (fchownat(fd, "", wanted->st_uid, wanted->st_gid, AT_EMPTY_PATH) ||
	    S_ISLNK(wanted->st_mode) || !(wanted->st_mode & (S_ISUID | S_ISGID)))
		return;
	/* Which the change of owner has cleared; without them, it may do less. */
	tree_proc_path(fd, path);
	chmod(path, wanted->st_mode & 07777);
}

/* Makes fd, which was just made in directory for new, the guest's user's. */
static void hand_over(struct tree *tree, const struct node *directory, const struct tree_new *new,
		      int fd)
{
	struct stat host, wanted;

	if ((!tree->is_root && !tree->notes) || fstat(fd, &host) ||
	    !may_be_ours(tree, &host, new->mode) || inherit(tree, directory, new, &wanted))
		return;
	/* What cannot be handed over stays the monitor's. */
	if (tree->notes)
		owner_write(tree, fd, &wanted);
	else if (wanted.st_uid != host.st_uid || wanted.st_gid != host.st_gid)
		give_away(fd, &wanted);
}

/* A name was made in directory for new. */
static int made(struct tree *tree, const struct node *directory, const struct tree_new *new,
		struct node **node, struct stat *status)
{
	int fd = openat(directory->fd, new->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno;
	hand_over(tree, directory, new, fd);
	return tree_adopt(tree, fd, node, status);
}

static int make_file(const struct tree *tree, const struct node *directory,
		     const struct tree_new *new)
{
	int fd;

	if (S_ISDIR(new->mode))
		return mkdirat(directory->fd, new->name,
			       tree->notes ? owner_host_mode(new->mode) : new->mode & 07777);
	if (!tree->notes)
		return mknodat(directory->fd, new->name, new->mode, new->rdev);
	fd = openat(directory->fd, new->name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY,
		    owner_host_mode(new->mode));
	if (fd < 0)
		return -1;
	return close(fd);
}

int tree_make(struct tree *tree, const struct node *directory, const struct tree_new *new,
	      struct node **node, struct stat *status)
{
	if (!S_ISDIR(directory->type))
		return ENOTDIR;
	forget_umask();
	return make_file(tree, directory, new) ? errno : made(tree, directory, new, node, status);
}

int tree_make_link(struct tree *tree, const struct node *directory, const struct tree_new *new,
		   const char *target, struct node **node, struct stat *status)
{
	if (!S_ISDIR(directory->type))
		return ENOTDIR;
	return symlinkat(target, directory->fd, new->name) ? errno :
							      made(tree, directory, new, node, status);
}

/* Opens what was there before. */
static int open_old(struct tree *tree, const struct node *directory, const char *name, int flags,
		    int *fd, struct node **node, struct stat *status)
{
	int error = tree_look_up(tree, directory, name, node, status);

	if (error)
		return error;
	error = tree_open_node(tree, *node, flags, fd);
	/* It may just have been cut. */
	if (!error && flags & O_TRUNC)
		error = tree_status(tree, *node, status);
	if (error)
		tree_release(tree, *node);
	return error;
}

int tree_create(struct tree *tree, const struct node *directory, const struct tree_new *new,
		int flags, int *fd, struct node **node, struct stat *status)
{
	const int access = (flags & O_ACCMODE) == O_RDONLY ? O_RDONLY : O_RDWR;
	mode_t mode = tree->notes ? owner_host_mode(new->mode) : new->mode & 07777;
	int error;

	if (!S_ISDIR(directory->type))
		return ENOTDIR;
	forget_umask();
	*fd = openat(directory->fd, new->name,
		     access | (flags & (O_APPEND | O_SYNC | O_DSYNC)) | O_CREAT | O_EXCL | O_NOFOLLOW |
			     O_CLOEXEC | O_NOCTTY,
		     mode);
	if (*fd < 0 && errno == EEXIST && !(flags & O_EXCL))
		return open_old(tree, directory, new->name, flags, fd, node, status);
	if (*fd < 0)
		return errno;
	error = made(tree, directory, new, node, status);
	if (error)
		close(*fd);
	return error;
}

int tree_unlink(const struct node *directory, const char *name, bool is_directory)
{
	return unlinkat(directory->fd, name, is_directory ? AT_REMOVEDIR : 0) ? errno : 0;
}

int tree_rename(const struct node *from, const char *old_name, const struct node *to,
		const char *new_name, unsigned flags)
{
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return EINVAL;
	return syscall(SYS_renameat2, from->fd, old_name, to->fd, new_name, flags) ? errno : 0;
}

/* AT_EMPTY_PATH would take a capability; the magic link does the same without. */
int tree_link(const struct node *node, const struct node *directory, const char *name)
{
	char path[TREE_PROC_PATH_BYTES];
	int ret;

	tree_proc_path(node->fd, path);
	if (S_ISLNK(node->type))
		ret = linkat(node->fd, "", directory->fd, name, AT_EMPTY_PATH);
	else
		ret = linkat(AT_FDCWD, path, directory->fd, name, AT_SYMLINK_FOLLOW);
	return ret ? errno : 0;
}
