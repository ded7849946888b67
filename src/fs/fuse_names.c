/* SPDX-License-Identifier: MIT */
/*
 * Names that come, go and move. A file is made with exactly the mode that the guest's kernel computed,
 * so the thread's umask has to be out of the way; where the monitor is root, it is given to
 * the guest's user afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/fuse_call.h"

/* Threads of a process share their umask unless they say otherwise; only the first time does it. */
static void forget_umask(void)
{
	if (!unshare(CLONE_FS))
		umask(0);
}

static int check_parent(const struct fuse_call *call)
{
	return S_ISDIR(call->node->type) ? 0 : ENOTDIR;
}

/* name, just made in the call's directory, becomes the guest's user's. */
static void give_away(struct fuse_call *call, const char *name, bool is_link, mode_t mode)
{
	struct stat directory;
	gid_t gid = call->head.gid;

	if (!call->fuse->is_root || (!call->head.uid && !call->head.gid))
		return;
	if (!fstat(call->node->fd, &directory) && directory.st_mode & S_ISGID)
		gid = (gid_t)-1; /* the directory's, as it is already */
	if (fchownat(call->node->fd, name, call->head.uid, gid, AT_SYMLINK_NOFOLLOW))
		return;
	if (!is_link && mode & (S_ISUID | S_ISGID)) {
		int fd = openat(call->node->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		char path[FUSE_PROC_PATH_BYTES];

		if (fd < 0)
			return;
		fuse_proc_path(fd, path);
		if (chmod(path, mode & 07777))
			unlinkat(call->node->fd, name, 0); /* better none than one with wrong rights */
		close(fd);
	}
}

/* failed: of the call that made name. */
static size_t reply_new(struct fuse_call *call, int failed, bool is_link, mode_t mode)
{
	struct fuse_entry_out entry;
	struct node *node;
	size_t size;
	int error;

	if (failed)
		return fuse_reply_error(call, errno);
	give_away(call, call->name[0], is_link, mode);
	error = fuse_look_up(call->fuse, call->node, call->name[0], &node, &entry);
	if (error)
		return fuse_reply_error(call, error);
	size = fuse_reply(call, &entry, sizeof(entry));
	nodes_put(call->fuse->nodes, node);
	return size;
}

size_t fuse_symlink(struct fuse_call *call)
{
	int error = check_parent(call);

	if (error)
		return fuse_reply_error(call, error);
	return reply_new(call, symlinkat(call->name[1], call->node->fd, call->name[0]), true, 0);
}

size_t fuse_mknod(struct fuse_call *call)
{
	const struct fuse_mknod_in *in = (const struct fuse_mknod_in *)call->args;
	int error = check_parent(call);

	if (error)
		return fuse_reply_error(call, error);
	forget_umask();
	return reply_new(call, mknodat(call->node->fd, call->name[0], in->mode, in->rdev), false,
			 in->mode);
}

size_t fuse_mkdir(struct fuse_call *call)
{
	const struct fuse_mkdir_in *in = (const struct fuse_mkdir_in *)call->args;
	int error = check_parent(call);

	if (error)
		return fuse_reply_error(call, error);
	forget_umask();
	/* A set-group-ID directory hands the bit down by itself. */
	return reply_new(call, mkdirat(call->node->fd, call->name[0], in->mode), false, 0);
}

size_t fuse_create_file(struct fuse_call *call)
{
	const struct fuse_create_in *in = (const struct fuse_create_in *)call->args;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .open.open_flags = FOPEN_KEEP_CACHE };
	int error = check_parent(call), flags = fuse_open_flags(call->fuse, in->flags), fd;
	struct node *node;
	bool made = true;
	size_t size;

	if (error)
		return fuse_reply_error(call, error);
	forget_umask();
	fd = openat(call->node->fd, call->name[0],
		    flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, in->mode & 07777);
	if (fd < 0 && errno == EEXIST && !(in->flags & O_EXCL)) {
		made = false;
	} else if (fd < 0) {
		return fuse_reply_error(call, errno);
	} else {
		give_away(call, call->name[0], false, in->mode);
	}
	error = fuse_look_up(call->fuse, call->node, call->name[0], &node, &out.entry);
	if (!error && !made)
		error = fuse_reopen(node, flags, &fd);
	if (error) {
		if (made)
			close(fd);
		return fuse_reply_error(call, error);
	}
	out.open.fh = fuse_file_add(call->fuse, fd);
	size = out.open.fh ? fuse_reply(call, &out, sizeof(out)) : fuse_reply_error(call, ENFILE);
	nodes_put(call->fuse->nodes, node);
	return size;
}

size_t fuse_unlink(struct fuse_call *call)
{
	return fuse_reply_error(call, unlinkat(call->node->fd, call->name[0], 0) ? errno : 0);
}

size_t fuse_rmdir(struct fuse_call *call)
{
	return fuse_reply_error(call,
				unlinkat(call->node->fd, call->name[0], AT_REMOVEDIR) ? errno : 0);
}

static size_t rename_to(struct fuse_call *call, uint64_t directory, uint32_t flags)
{
	struct node *to = nodes_get(call->fuse->nodes, directory);
	long ret;

	if (!to)
		return fuse_reply_error(call, ESTALE);
	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) {
		ret = -1;
		errno = EINVAL;
	} else {
		ret = syscall(SYS_renameat2, call->node->fd, call->name[0], to->fd, call->name[1],
			      flags);
	}
	nodes_put(call->fuse->nodes, to);
	return fuse_reply_error(call, ret ? errno : 0);
}

size_t fuse_rename(struct fuse_call *call)
{
	return rename_to(call, ((const struct fuse_rename_in *)call->args)->newdir, 0);
}

size_t fuse_rename2(struct fuse_call *call)
{
	const struct fuse_rename2_in *in = (const struct fuse_rename2_in *)call->args;

	return rename_to(call, in->newdir, in->flags);
}

/* AT_EMPTY_PATH would take a capability; the magic link does the same without. */
size_t fuse_link(struct fuse_call *call)
{
	const struct fuse_link_in *in = (const struct fuse_link_in *)call->args;
	struct node *node = nodes_get(call->fuse->nodes, in->oldnodeid);
	char path[FUSE_PROC_PATH_BYTES];
	int ret;

	if (!node)
		return fuse_reply_error(call, ESTALE);
	fuse_proc_path(node->fd, path);
	if (S_ISLNK(node->type))
		ret = linkat(node->fd, "", call->node->fd, call->name[0], AT_EMPTY_PATH);
	else
		ret = linkat(AT_FDCWD, path, call->node->fd, call->name[0], AT_SYMLINK_FOLLOW);
	if (ret) {
		int error = errno;

		nodes_put(call->fuse->nodes, node);
		return fuse_reply_error(call, error);
	}
	nodes_put(call->fuse->nodes, node);
	/* An old file under a new name: it keeps its owner. */
	return fuse_lookup(call);
}
