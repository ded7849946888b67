/* SPDX-License-Identifier: MIT */
/* What files are. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "fs/p9_call.h"

static void put_time(struct p9_call *call, struct timespec time)
{
	p9_put(call, 8, (uint64_t)time.tv_sec);
	p9_put(call, 8, (uint64_t)time.tv_nsec);
}

/* When the file was made, on file systems that know: another with its inode number was made later. */
static struct timespec birth(const struct p9_fid *fid)
{
	struct statx more;

	if (statx(fid->node->fd, "", AT_EMPTY_PATH, STATX_BTIME, &more) ||
	    !(more.stx_mask & STATX_BTIME))
		return (struct timespec){ 0 };
	return (struct timespec){ .tv_sec = more.stx_btime.tv_sec, .tv_nsec = more.stx_btime.tv_nsec };
}

/* fid mask. Fields that were not asked for are there as well. */
int p9_getattr(struct p9_call *call)
{
	uint64_t extra = call->number[0] & (P9_GETATTR_BTIME | P9_GETATTR_GEN);
	struct timespec born = { 0 };
	struct stat status;
	int error = tree_status(&call->p9->tree, call->fid[0]->node, &status);

	if (error)
		return error;
	if (extra)
		born = birth(call->fid[0]);
	p9_put(call, 8, P9_GETATTR_BASIC | extra);
	p9_put_qid(call, &status);
	p9_put(call, 4, status.st_mode);
	p9_put(call, 4, status.st_uid);
	p9_put(call, 4, status.st_gid);
	p9_put(call, 8, status.st_nlink);
	p9_put(call, 8, status.st_rdev);
	p9_put(call, 8, (uint64_t)status.st_size);
	p9_put(call, 8, (uint64_t)status.st_blksize);
	p9_put(call, 8, (uint64_t)status.st_blocks);
	put_time(call, status.st_atim);
	put_time(call, status.st_mtim);
	put_time(call, status.st_ctim);
	put_time(call, born);
	p9_put(call, 8, (uint32_t)((uint64_t)born.tv_sec ^ (uint64_t)born.tv_nsec << 2)); /* gen */
	p9_put(call, 8, 0); /* data_version */
	return 0;
}

static struct timespec new_time(uint64_t valid, unsigned change, unsigned set, uint64_t seconds,
				uint64_t nanoseconds)
{
	if (!(valid & change))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (!(valid & set))
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	/* Not one of the host's special values. */
	return (struct timespec){ .tv_sec = (time_t)seconds,
				  .tv_nsec = nanoseconds < 1000000000 ? (long)nanoseconds : -1 };
}

/* fid valid mode uid gid size atime mtime. The host sets the time of change by itself. */
int p9_setattr(struct p9_call *call)
{
	const uint64_t *n = call->number, valid = n[0];
	const struct tree_change change = {
		.set_mode = valid & P9_SETATTR_MODE, .mode = (mode_t)n[1],
		.set_uid = valid & P9_SETATTR_UID, .uid = (uid_t)n[2],
		.set_gid = valid & P9_SETATTR_GID, .gid = (gid_t)n[3],
		.set_size = valid & P9_SETATTR_SIZE, .size = n[4],
		.times = { new_time(valid, P9_SETATTR_ATIME, P9_SETATTR_ATIME_SET, n[5], n[6]),
			   new_time(valid, P9_SETATTR_MTIME, P9_SETATTR_MTIME_SET, n[7], n[8]) },
	};

	return tree_change(&call->p9->tree, call->fid[0]->node, &change, -1);
}

int p9_readlink(struct p9_call *call)
{
	char target[PATH_MAX];
	ssize_t length = tree_read_link(call->fid[0]->node, target, sizeof(target));

	if (length < 0)
		return (int)-length;
	p9_put_text(call, target, (size_t)length);
	return 0;
}

int p9_statfs(struct p9_call *call)
{
	struct statvfs status;
	int error = tree_statfs(call->fid[0]->node, &status);

	if (error)
		return error;
	p9_put(call, 4, P9_FS_MAGIC);
	p9_put(call, 4, status.f_bsize);
	p9_put(call, 8, status.f_blocks);
	p9_put(call, 8, status.f_bfree);
	p9_put(call, 8, status.f_bavail);
	p9_put(call, 8, status.f_files);
	p9_put(call, 8, status.f_ffree);
	p9_put(call, 8, status.f_fsid);
	p9_put(call, 4, status.f_namemax);
	return 0;
}
