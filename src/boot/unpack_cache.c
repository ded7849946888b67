/* SPDX-License-Identifier: MIT */
/*
 * See unpack_cache.h. An entry is a file: the unpacked bytes, the packed ones, and a struct trailer. It
 * is written under another name and renamed when it is on the disk, so it is there as a whole or not at
 * all. Its name is a hash of the packed bytes, its modification time when it was last of use.
 */
#include "boot/unpack_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/image.h"

#define ENTRIES_MAX 4
#define ENTRY_MAX (256ull << 20) /* bytes unpacked */
#define CHUNK 65536
#define NAME_SIZE 64
#define SUFFIX ".unpacked"

struct trailer {
	char magic[16];
	uint64_t unpacked_bytes, packed_bytes;
};

static const char magic[16] = "ringlet unpack 1";

/* Only finds the file; what is in it is compared. */
static void entry_name(const uint8_t *packed, size_t len, char name[NAME_SIZE])
{
	uint64_t hash = len;

	for (; len >= 8; packed += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, packed, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	snprintf(name, NAME_SIZE, "%016llx" SUFFIX, (unsigned long long)hash);
}

static bool read_all(int fd, uint64_t offset, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t n = pread(fd, at, len, (off_t)offset);

		if (n <= 0)
			return false;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool same_bytes(int fd, uint64_t offset, const uint8_t *bytes, size_t len)
{
	uint8_t chunk[CHUNK];

	while (len) {
		size_t piece = len < sizeof(chunk) ? len : sizeof(chunk);

		if (!read_all(fd, offset, chunk, piece) || memcmp(chunk, bytes, piece))
			return false;
		bytes += piece;
		offset += piece;
		len -= piece;
	}
	return true;
}

/* Nobody else can have written it. */
static bool is_ours(int fd, struct stat *stat)
{
	return !fstat(fd, stat) && S_ISREG(stat->st_mode) && stat->st_uid == geteuid() &&
	       !(stat->st_mode & (S_IWGRP | S_IWOTH));
}

static bool matches(int fd, const uint8_t *packed, size_t len, uint64_t *unpacked_bytes)
{
	struct trailer trailer;
	struct stat stat;
	uint64_t size;

	if (!is_ours(fd, &stat) || (uint64_t)stat.st_size < sizeof(trailer))
		return false;
	size = (uint64_t)stat.st_size - sizeof(trailer);
	if (!read_all(fd, size, &trailer, sizeof(trailer)) ||
	    memcmp(trailer.magic, magic, sizeof(magic)) || trailer.packed_bytes != len ||
	    trailer.unpacked_bytes > ENTRY_MAX || trailer.unpacked_bytes + len != size)
		return false;
	*unpacked_bytes = trailer.unpacked_bytes;
	return same_bytes(fd, trailer.unpacked_bytes, packed, len);
}

bool unpack_cache_find(const char *dir, const uint8_t *packed, size_t len, struct image *out)
{
	char name[NAME_SIZE];
	int dir_fd, fd;

	if (!dir)
		return false;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return false;
	entry_name(packed, len, name);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	close(dir_fd);
	if (fd < 0)
		return false;
	if (!matches(fd, packed, len, &out->size_bytes)) {
		close(fd);
		return false;
	}
	futimens(fd, NULL);
	out->fd = fd;
	return true;
}

/* ---- keeping ---- */

static bool copy_file(int to, const struct image *from)
{
	off_t at = 0;

	while ((uint64_t)at < from->size_bytes)
		if (sendfile(to, from->fd, &at, from->size_bytes - (uint64_t)at) <= 0)
			return false;
	return true;
}

static bool write_entry(int fd, const uint8_t *packed, size_t len, const struct image *unpacked)
{
	struct trailer trailer = { .unpacked_bytes = unpacked->size_bytes, .packed_bytes = len };

	memcpy(trailer.magic, magic, sizeof(magic));
	return copy_file(fd, unpacked) && write_all(fd, packed, len) &&
	       write_all(fd, &trailer, sizeof(trailer)) && !fdatasync(fd);
}

static bool is_entry(const char *name)
{
	size_t len = strlen(name), suffix = strlen(SUFFIX);

	return len > suffix && !strcmp(name + len - suffix, SUFFIX);
}

/* The number of entries, and the name of the one that was of no use for longest. */
static unsigned count_entries(DIR *dir, char oldest[NAME_SIZE])
{
	struct timespec least = { 0 };
	const struct dirent *entry;
	unsigned count = 0;
	struct stat stat;

	rewinddir(dir);
	while ((entry = readdir(dir))) {
		if (!is_entry(entry->d_name) || strlen(entry->d_name) >= NAME_SIZE ||
		    fstatat(dirfd(dir), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW))
			continue;
		if (!count++ || stat.st_mtim.tv_sec < least.tv_sec ||
		    (stat.st_mtim.tv_sec == least.tv_sec && stat.st_mtim.tv_nsec < least.tv_nsec)) {
			least = stat.st_mtim;
			strcpy(oldest, entry->d_name);
		}
	}
	return count;
}

static void make_room(DIR *dir)
{
	char oldest[NAME_SIZE];

	while (count_entries(dir, oldest) >= ENTRIES_MAX)
		if (unlinkat(dirfd(dir), oldest, 0))
			break;
}

/* dir and the directories it is in, as far as they are missing. */
static DIR *make_directory(const char *dir)
{
	char *path = strdup(dir);

	if (!path)
		return NULL;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	mkdir(path, 0700);
	free(path);
	return opendir(dir);
}

void unpack_cache_keep(const char *path, const uint8_t *packed, size_t len,
		       const struct image *unpacked)
{
	char name[NAME_SIZE], unfinished[NAME_SIZE];
	DIR *dir;
	int fd;

	if (!path || unpacked->size_bytes > ENTRY_MAX)
		return;
	dir = make_directory(path);
	if (!dir)
		return;
	make_room(dir);
	entry_name(packed, len, name);
	snprintf(unfinished, sizeof(unfinished), "%.32s.%ld", name, (long)getpid());
	fd = openat(dirfd(dir), unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		bool whole = write_entry(fd, packed, len, unpacked);

		close(fd);
		if (!whole || renameat(dirfd(dir), unfinished, dirfd(dir), name))
			unlinkat(dirfd(dir), unfinished, 0);
	}
	closedir(dir);
}
