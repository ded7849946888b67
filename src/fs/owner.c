/* SPDX-License-Identifier: MIT */
#include "fs/owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/tree.h"

#define NOTE OWNER_XATTR_PREFIX "stat"
#define NOTE_BYTES 64

mode_t owner_host_mode(mode_t mode)
{
	return (mode & 0777) | (S_ISDIR(mode) ? 0700 : 0600);
}

static bool has_notes(const struct tree *tree, const struct stat *host)
{
	return host->st_uid == tree->uid && (S_ISREG(host->st_mode) || S_ISDIR(host->st_mode));
}

/* Types that are noted of regular files. */
static bool is_special(mode_t mode)
{
	return S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

static bool parse_note(const char *text, struct stat *noted)
{
	unsigned uid, gid, mode;
	unsigned long rdev;
	int end = -1;

	if (sscanf(text, "%u %u %o %lu%n", &uid, &gid, &mode, &rdev, &end) < 4 || end < 0 || text[end])
		return false;
	*noted = (struct stat){ .st_uid = uid, .st_gid = gid, .st_mode = mode, .st_rdev = rdev };
	return true;
}

void owner_read(const struct tree *tree, int fd, struct stat *status)
{
	char path[TREE_PROC_PATH_BYTES], text[NOTE_BYTES];
	struct stat noted;
	mode_t type = status->st_mode & S_IFMT, bits = status->st_mode & 0777;
	ssize_t got;

	if (!tree->notes || !has_notes(tree, status))
		return;
	tree_proc_path(fd, path);
	got = getxattr(path, NOTE, text, sizeof(text) - 1);
	if (got <= 0)
		return;
	text[got] = 0;
	if (!parse_note(text, &noted))
		return;
	if (type == S_IFREG && is_special(noted.st_mode)) {
		type = noted.st_mode & S_IFMT;
		status->st_rdev = noted.st_rdev;
	}
	/* As we left it: what is noted counts. */
	if (bits == owner_host_mode((noted.st_mode & 0777) | type))
		bits = noted.st_mode & 07777;
	status->st_mode = type | bits;
	status->st_uid = noted.st_uid;
	status->st_gid = noted.st_gid;
}

int owner_write(const struct tree *tree, int fd, const struct stat *wanted)
{
	char path[TREE_PROC_PATH_BYTES], text[NOTE_BYTES];
	mode_t mode = owner_host_mode(wanted->st_mode);
	struct stat host;

	if (fstat(fd, &host))
		return errno;
	if (host.st_uid != tree->uid)
		return EPERM;
	if (!has_notes(tree, &host))
		return 0;
	tree_proc_path(fd, path);
	if ((host.st_mode & 07777) != mode && chmod(path, mode))
		return errno;
	if (wanted->st_uid == host.st_uid && wanted->st_gid == host.st_gid &&
	    wanted->st_mode == (mode | (host.st_mode & S_IFMT)))
		return removexattr(path, NOTE) && errno != ENODATA && errno != ENOTSUP ? errno : 0;
	snprintf(text, sizeof(text), "%u %u %o %lu", wanted->st_uid, wanted->st_gid, wanted->st_mode,
		 (unsigned long)wanted->st_rdev);
	if (!setxattr(path, NOTE, text, strlen(text), 0))
		return 0;
	return errno == ENOTSUP ? EPERM : errno;
}

bool owner_can(int fd)
{
	char path[TREE_PROC_PATH_BYTES], text[NOTE_BYTES];

	tree_proc_path(fd, path);
	return getxattr(path, NOTE, text, sizeof(text)) >= 0 || errno != ENOTSUP;
}
