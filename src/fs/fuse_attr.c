/* SPDX-License-Identifier: MIT */
/* What files are: look-up, attributes, links' targets, file systems. */
#include <errno.h>
#include <limits.h>

#include "fs/fuse_call.h"

void fuse_fill_attr(struct fuse *fuse, const struct stat *status, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = nodes_inode(fuse->tree.nodes, status),
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
		.flags = fuse->window && S_ISREG(status->st_mode) ? FUSE_ATTR_DAX : 0,
	};
}

void fuse_fill_entry(struct fuse *fuse, const struct node *node, const struct stat *status,
		     struct fuse_entry_out *entry)
{
	*entry = (struct fuse_entry_out){
		.nodeid = node->id, .generation = node->generation,
		.entry_valid = fuse->cache_ms / 1000, .attr_valid = fuse->cache_ms / 1000,
		.entry_valid_nsec = fuse->cache_ms % 1000 * 1000000,
		.attr_valid_nsec = fuse->cache_ms % 1000 * 1000000,
	};
	fuse_fill_attr(fuse, status, &entry->attr);
}

size_t fuse_reply_entry(struct fuse_call *call, int error, struct node *node,
			const struct stat *status)
{
	struct fuse_entry_out entry;
	size_t size;

	if (error)
		return fuse_reply_error(call, error);
	fuse_fill_entry(call->fuse, node, status, &entry);
	size = fuse_reply(call, &entry, sizeof(entry));
	nodes_put(call->fuse->tree.nodes, node);
	return size;
}

size_t fuse_lookup(struct fuse_call *call)
{
	struct stat status;
	struct node *node;
	int error = tree_look_up(&call->fuse->tree, call->node, call->name[0], &node, &status);

	if (error == ENOENT && call->fuse->cache_ms) {
		/* No node: the guest may remember that there is none. */
		struct fuse_entry_out none = {
			.entry_valid = call->fuse->cache_ms / 1000,
			.entry_valid_nsec = call->fuse->cache_ms % 1000 * 1000000,
		};
		return fuse_reply(call, &none, sizeof(none));
	}
	return fuse_reply_entry(call, error, node, &status);
}

size_t fuse_getattr(struct fuse_call *call)
{
	struct fuse_attr_out out = {
		.attr_valid = call->fuse->cache_ms / 1000,
		.attr_valid_nsec = call->fuse->cache_ms % 1000 * 1000000,
	};
	struct stat status;
	int error = tree_status(&call->fuse->tree, call->node, &status);

	if (error)
		return fuse_reply_error(call, error);
	fuse_fill_attr(call->fuse, &status, &out.attr);
	return fuse_reply(call, &out, sizeof(out));
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

size_t fuse_setattr(struct fuse_call *call)
{
	const struct fuse_setattr_in *in = (const struct fuse_setattr_in *)call->args;
	const struct tree_change change = {
		.set_uid = in->valid & FATTR_UID, .uid = in->uid,
		.set_gid = in->valid & FATTR_GID, .gid = in->gid,
		.set_mode = in->valid & FATTR_MODE, .mode = in->mode,
		.set_size = in->valid & FATTR_SIZE, .size = in->size,
		.times = { new_time(in, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
			   new_time(in, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec) },
	};
	struct fuse_file *file = in->valid & FATTR_FH ? fuse_file_get(call->fuse, in->fh) : NULL;
	int error = tree_change(&call->fuse->tree, call->node, &change, file ? file->fd : -1);

	if (file)
		fuse_file_put(call->fuse, file);
	if (!error && in->valid & FATTR_KILL_SUIDGID && !change.set_mode)
		tree_drop_privileges(&call->fuse->tree, call->node);
	return error ? fuse_reply_error(call, error) : fuse_getattr(call);
}

size_t fuse_readlink(struct fuse_call *call)
{
	char target[PATH_MAX];
	ssize_t length = tree_read_link(call->node, target, sizeof(target));

	return length < 0 ? fuse_reply_error(call, (int)-length) :
			    fuse_reply(call, target, (size_t)length);
}

size_t fuse_statfs(struct fuse_call *call)
{
	struct fuse_statfs_out out = { 0 };
	struct statvfs status;
	int error = tree_statfs(call->node, &status);

	if (error)
		return fuse_reply_error(call, error);
	out.st = (struct fuse_kstatfs){
		.blocks = status.f_blocks, .bfree = status.f_bfree, .bavail = status.f_bavail,
		.files = status.f_files, .ffree = status.f_ffree,
		.bsize = (uint32_t)status.f_bsize, .namelen = (uint32_t)status.f_namemax,
		.frsize = (uint32_t)status.f_frsize,
	};
	return fuse_reply(call, &out, sizeof(out));
}
