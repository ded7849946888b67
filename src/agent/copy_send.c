/* SPDX-License-Identifier: MIT */
/* The sending half of copy.h. What cannot be read below the top is left out, with a warning. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"

#define DEPTH_MAX 256u

static int fail(struct agent_copy *copy, const char *path, const char *why)
{
	snprintf(copy->failure, sizeof(copy->failure), "%s: %s", path, why);
	return -EIO;
}

static void warn(struct agent_copy *copy, const char *name, const char *why)
{
	char text[AGENT_TEXT_BYTES];

	snprintf(text, sizeof(text), "left out %s: %s", name, why);
	if (copy->warn)
		copy->warn(copy->opaque, text);
}

/* A frame that begins something. */
static int begin(struct agent_copy *copy, enum agent_type type, mode_t mode, const char *name,
		 const char *target)
{
	uint32_t word = mode & 0777;
	size_t length = strlen(name), target_length = target ? strlen(target) + 1 : 0;

	memcpy(copy->data, &word, sizeof(word));
	memcpy(copy->data + sizeof(word), name, length);
	if (target) {
		copy->data[sizeof(word) + length] = 0;
		memcpy(copy->data + sizeof(word) + length + 1, target, target_length - 1);
	}
	return agent_send(copy->fd, type, copy->data, sizeof(word) + length + target_length);
}

/* A file that cannot be read to its end must not look like one that was. */
static int send_file(struct agent_copy *copy, int fd, mode_t mode, const char *name)
{
	int ret = begin(copy, AGENT_FILE, mode, name, NULL);
	ssize_t got = 1;

	while (!ret && got) {
		got = read(fd, copy->data, AGENT_DATA_MAX);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(copy, name, strerror(errno));
		if (got)
			ret = agent_send(copy->fd, AGENT_DATA, copy->data, (size_t)got);
	}
	return ret ? ret : agent_send(copy->fd, AGENT_UP, NULL, 0);
}

static int send_link(struct agent_copy *copy, int dir, const char *name)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir, name, target, sizeof(target) - 1);

	if (length < 0) {
		warn(copy, name, strerror(errno));
		return 0;
	}
	target[length] = 0;
	return begin(copy, AGENT_LINK, 0777, name, target);
}

static int send_directory(struct agent_copy *copy, int fd, mode_t mode, const char *name, unsigned depth);

static int send_entry(struct agent_copy *copy, int dir, const char *name, unsigned depth)
{
	struct stat status;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), ret = 0;

	if (fd < 0 && errno == ELOOP)
		return send_link(copy, dir, name);
	if (fd < 0 || fstat(fd, &status)) {
		warn(copy, name, strerror(errno));
	} else if (S_ISREG(status.st_mode)) {
		ret = send_file(copy, fd, status.st_mode, name);
	} else if (S_ISDIR(status.st_mode) && depth < DEPTH_MAX) {
		return send_directory(copy, fd, status.st_mode, name, depth);
	} else {
		warn(copy, name, S_ISDIR(status.st_mode) ? "too deep" :
							   "neither a file nor a directory");
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Takes over fd. */
static int send_directory(struct agent_copy *copy, int fd, mode_t mode, const char *name, unsigned depth)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	int ret;

	if (!dir) {
		close(fd);
		return fail(copy, name, strerror(errno));
	}
	ret = begin(copy, AGENT_DIR, mode, name, NULL);
	while (!ret && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = send_entry(copy, fd, entry->d_name, depth + 1);
	closedir(dir);
	return ret ? ret : agent_send(copy->fd, AGENT_UP, NULL, 0);
}

/* The top has no name: its receiver has one for it. */
static int send_top(struct agent_copy *copy, const char *path, bool directories)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), ret;

	if (fd < 0)
		return fail(copy, path, strerror(errno));
	if (fstat(fd, &status))
		ret = fail(copy, path, strerror(errno));
	else if (S_ISREG(status.st_mode))
		ret = send_file(copy, fd, status.st_mode, "");
	else if (!S_ISDIR(status.st_mode))
		ret = fail(copy, path, "it is neither a file nor a directory");
	else if (!directories)
		ret = fail(copy, path, "it is a directory: use -r");
	else
		return send_directory(copy, fd, status.st_mode, "", 0);
	close(fd);
	return ret;
}

int agent_copy_send(struct agent_copy *copy, const char *path, bool directories)
{
	int ret;

	*copy->failure = 0;
	ret = send_top(copy, path, directories);
	return ret ? ret : agent_send(copy->fd, AGENT_END, NULL, 0);
}
