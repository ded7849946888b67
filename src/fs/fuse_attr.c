/* SPDX-License-Identifier: MIT */
/* What files are: look-up, attributes, links' targets, file systems. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/fuse_call.h"

void fuse_proc_path(int fd, char path[FUSE_PROC_PATH_BYTES])
{
	snprintf(path, FUSE_PROC_PATH_BYTES, FUSE_PROC "/%d", fd);
}

int fuse_reopen(const struct node *node, int flags, int *fd)
{
	char path[FUSE_PROC_PATH_BYTES];

	/* A FIFO or a device would block, or do something. */
	if (!S_ISREG(node->type) && !S_ISDIR(node->type))
		return S_ISLNK(node->type) ? ELOOP : ENXIO;
	fuse_proc_path(node->fd, path);
	*fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return *fd < 0 ? errno : 0;
}

void fuse_fill_attr(struct fuse *fuse, const struct stat *status, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = nodes_inode(fuse->nodes, status),
		.size = (uint64_t)status->st_size,
		.blocks = (uint64_t)status->st_blocks,
		.atime = (uint64_t)status->st_atim.tv_sec,
		.mtime = (uint64_t)status->st_mtim.tv_sec,
		.ctime = (uint64_t)status->st_ctim.tv_sec,
		.atimensec = (uint32_t)status->st_atim.tv_nsec,
		.mtimensec = (uint32_t)status->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)status->st_ctim.tv_nsec,
		.mode = status->st_mode,
		.nlink = (uint32_t)status->st_nlink,
		.uid = status->st_uid,
		.gid = status->st_gid,
		.rdev = (uint32_t)status->st_rdev,
		.blksize = (uint32_t)status->st_blksize,
	};
}

int fuse_look_up(struct fuse *fuse, const struct node *directory, const char *name,
		 struct node **node, struct fuse_entry_out *entry)
{
	struct stat status;
	int fd;

	if (!S_ISDIR(directory->type))
		return ENOTDIR;
	fd = openat(directory->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fstat(fd, &status)) {
		int error = errno;

		close(fd);
		return error;
	}
	*node = nodes_look_up(fuse->nodes, fd, &status);
	if (!*node)
		return ENFILE;
	*entry = (struct fuse_entry_out){
		.nodeid = (*node)->id, .generation = (*node)->generation,
		.entry_valid = fuse->cache_ms / 1000, .attr_valid = fuse->cache_ms / 1000,
		.entry_valid_nsec = fuse->cache_ms % 1000 * 1000000,
		.attr_valid_nsec = fuse->cache_ms % 1000 * 1000000,
	};
	fuse_fill_attr(fuse, &status, &entry->attr);
	return 0;
}

size_t fuse_lookup(struct fuse_call *call)
{
	struct fuse_entry_out entry;
	struct node *node;
	size_t size;
	int error = fuse_look_up(call->fuse, call->node, call->name[0], &node, &entry);

	if (error == ENOENT && call->fuse->cache_ms) {
		/* No node: the guest may remember that there is none. */
		entry = (struct fuse_entry_out){
			.entry_valid = call->fuse->cache_ms / 1000,
			.entry_valid_nsec = call->fuse->cache_ms % 1000 * 1000000,
		};
		return fuse_reply(call, &entry, sizeof(entry));
	}
	if (error)
		return fuse_reply_error(call, error);
	size = fuse_reply(call, &entry, sizeof(entry));
	nodes_put(call->fuse->nodes, node);
	return size;
}

static size_t reply_attr(struct fuse_call *call)
{
	struct fuse_attr_out out = {
		.attr_valid = call->fuse->cache_ms / 1000,
		.attr_valid_nsec = call->fuse->cache_ms % 1000 * 1000000,
	};
	struct stat status;

	if (fstat(call->node->fd, &status))
		return fuse_reply_error(call, errno);
	fuse_fill_attr(call->fuse, &status, &out.attr);
	return fuse_reply(call, &out, sizeof(out));
}

size_t fuse_getattr(struct fuse_call *call)
{
	return reply_attr(call);
}

/* ---- changing them ---- */

static int set_mode(struct fuse_call *call, uint32_t mode)
{
	char path[FUSE_PROC_PATH_BYTES];

	if (S_ISLNK(call->node->type))
		return EOPNOTSUPP;
	fuse_proc_path(call->node->fd, path);
	return chmod(path, mode & 07777) ? errno : 0;
}

static int set_owner(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	return fchownat(call->node->fd, "", uid, gid, AT_EMPTY_PATH) ? errno : 0;
}

static int set_size(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	struct fuse_file *file = NULL;
	int fd = -1, error = 0;

	if (in->size > INT64_MAX)
		return EFBIG;
	if (in->valid & FATTR_FH)
		file = fuse_file_get(call->fuse, in->fh);
	if (!file)
		error = fuse_reopen(call->node, O_WRONLY, &fd);
	if (!error && ftruncate(file ? file->fd : fd, (off_t)in->size))
		error = errno;
	if (file)
		fuse_file_put(call->fuse, file);
	if (fd >= 0)
		close(fd);
	return error;
}

static struct timespec new_time(const struct fuse_setattr_in *in, uint32_t set, uint32_t now,
				uint64_t seconds, uint32_t nanoseconds)
{
	if (!(in->valid & set))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (in->valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = nanoseconds };
}

static int set_times(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	struct timespec times[2] = {
		new_time(in, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		new_time(in, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(call->node->fd, "", times, AT_EMPTY_PATH) ? errno : 0;
}

size_t fuse_setattr(struct fuse_call *call)
{
	const struct fuse_setattr_in *in = (const struct fuse_setattr_in *)call->args;
	int error = 0;

	if (in->valid & (FATTR_UID | FATTR_GID))
		error = set_owner(call, in);
	if (!error && in->valid & FATTR_MODE)
		error = set_mode(call, in->mode); /* after the owner: chown clears bits */
	if (!error && in->valid & FATTR_SIZE)
		error = set_size(call, in);
	if (!error && in->valid & (FATTR_ATIME | FATTR_MTIME))
		error = set_times(call, in);
	return error ? fuse_reply_error(call, error) : reply_attr(call);
}

/* ---- others ---- */

size_t fuse_readlink(struct fuse_call *call)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(call->node->fd, "", target, sizeof(target));

	if (length < 0)
		return fuse_reply_error(call, errno == ENOENT ? EINVAL : errno);
	return fuse_reply(call, target, (size_t)length);
}

size_t fuse_statfs(struct fuse_call *call)
{
	struct fuse_statfs_out out = { 0 };
	struct statvfs status;

	if (fstatvfs(call->node->fd, &status))
		return fuse_reply_error(call, errno);
	out.st = (struct fuse_kstatfs){
		.blocks = status.f_blocks, .bfree = status.f_bfree, .bavail = status.f_bavail,
		.files = status.f_files, .ffree = status.f_ffree,
		.bsize = (uint32_t)status.f_bsize, .namelen = (uint32_t)status.f_namemax,
		.frsize = (uint32_t)status.f_frsize,
	};
	return fuse_reply(call, &out, sizeof(out));
}
