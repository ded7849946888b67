/* SPDX-License-Identifier: MIT */
/* What is in files and directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/iov.h"
#include "fs/tree.h"

/* Pieces of guest memory in one system call. */
#define PIECES_MAX 1024u
/* The host wants room for the longest name. */
#define CHUNK_MIN 1024u

/* ---- files ---- */

/* Moves bytes at position between fd and slice: what preadv2 or pwritev2 says. */
typedef ssize_t move_fn(int fd, const struct iovec *iov, int count, off_t position, int flags);

static ssize_t move(move_fn *fn, int flags, int fd, const struct iovec *iov, unsigned count,
		    size_t skip, size_t size, uint64_t position)
{
	struct iovec *slice;
	size_t done = 0;
	ssize_t moved = 1;

	if (position > INT64_MAX - (uint64_t)size)
		return -EINVAL;
	slice = malloc(count * sizeof(*slice) + 1);
	if (!slice)
		return -ENOMEM;
	while (done < size && moved > 0) {
		unsigned pieces = iov_slice(iov, count, skip + done, size - done, slice);

		if (!pieces)
			break;
		moved = fn(fd, slice, (int)(pieces < PIECES_MAX ? pieces : PIECES_MAX),
			   (off_t)(position + done), flags);
		if (moved < 0 && errno == EINTR)
			moved = 1;
		else if (moved > 0)
			done += (size_t)moved;
	}
	if (moved < 0 && (!done || flags))
		moved = -errno;
	else
		moved = (ssize_t)done;
	free(slice);
	return moved;
}

ssize_t tree_read(int fd, const struct iovec *iov, unsigned count, size_t skip, size_t size,
		  uint64_t position, bool now)
{
	ssize_t got;

	if (!now)
		return move(preadv2, 0, fd, iov, count, skip, size, position);
	if (size > TREE_READ_NOW_MAX)
		return -EAGAIN;
	got = move(preadv2, RWF_NOWAIT, fd, iov, count, skip, size, position);
	return got == -EOPNOTSUPP ? -EAGAIN : got;
}

/*
 * Few file systems can tell whether a write would have to wait. It hardly ever does, as little as
 * making and removing files, unless it was asked for.
 */
static bool writes_through(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || flags & (O_SYNC | O_DSYNC);
}

ssize_t tree_write(int fd, const struct iovec *iov, unsigned count, size_t skip, size_t size,
		   uint64_t position, bool now)
{
	if (now && (size > TREE_WRITE_NOW_MAX || writes_through(fd)))
		return -EAGAIN;
	return move(pwritev2, 0, fd, iov, count, skip, size, position);
}

/* ---- directories ---- */

/* What getdents64 gives (getdents(2)). */
struct host_entry {
	uint64_t ino;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* True: goes on. */
static bool hand_over(const struct tree *tree, const struct host_entry *from,
		      bool (*each)(void *opaque, const struct tree_entry *entry), void *opaque)
{
	struct tree_entry entry = { .ino = from->ino, .next = (uint64_t)from->next,
				    .type = from->type, .name = from->name };

	/* It may be noted to be something else. */
	if (tree->notes && entry.type == DT_REG)
		entry.type = DT_UNKNOWN;
	return each(opaque, &entry);
}

int tree_list(const struct tree *tree, int fd, uint64_t position, size_t chunk_bytes,
	      bool (*each)(void *opaque, const struct tree_entry *entry), void *opaque)
{
	char *buffer;
	bool any = false;
	long got = 0;
	int error;

	if (position > INT64_MAX || lseek(fd, (off_t)position, SEEK_SET) < 0)
		return EINVAL;
	if (chunk_bytes < CHUNK_MIN)
		chunk_bytes = CHUNK_MIN;
	buffer = malloc(chunk_bytes);
	if (!buffer)
		return ENOMEM;
	while ((got = syscall(SYS_getdents64, fd, buffer, chunk_bytes)) > 0) {
		for (long at = 0; at < got;) {
			const struct host_entry *entry = (const void *)(buffer + at);

			if (!hand_over(tree, entry, each, opaque)) {
				free(buffer);
				return 0;
			}
			any = true;
			at += entry->length;
		}
	}
	error = got < 0 && !any ? errno : 0;
	free(buffer);
	return error;
}
