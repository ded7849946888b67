/* SPDX-License-Identifier: MIT */
/*
 * The receiving half of copy.h. A stack of open directories; on top of it, a file at times. Whoever
 * sends may be hostile: the order of frames is checked, and names are.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"

#define DEPTH_MAX 260u /* a little more than who sends goes */

struct level {
	int fd;
	bool is_file, is_new;
	mode_t mode;
};

struct receiver {
	struct agent_copy *copy;
	const char *path;
	mode_t umask;
	bool done; /* the top is there */
	unsigned depth;
	struct level level[DEPTH_MAX];
};

static int fail(struct receiver *r, const char *name, const char *why)
{
	bool below = *name && name != r->path;

	snprintf(r->copy->failure, sizeof(r->copy->failure), "%s%s%s: %s", r->path,
		 below ? " ... " : "", below ? name : "", why);
	return -EIO;
}

static int nonsense(struct receiver *r)
{
	return fail(r, "", "the other side does not speak as it should");
}

static bool is_good_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static int push(struct receiver *r, const struct level *level, const char *name)
{
	if (r->depth == DEPTH_MAX) {
		close(level->fd);
		return fail(r, name, "too deep");
	}
	r->level[r->depth++] = *level;
	return 0;
}

/* Writable for us while it is filled; its own permissions come when it is left. */
static int make_directory(struct receiver *r, int dir, const char *name, mode_t mode)
{
	struct level level = { .mode = mode, .is_new = !mkdirat(dir, name, 0700) };

	if (!level.is_new && errno != EEXIST)
		return fail(r, name, strerror(errno));
	level.fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
				     (r->depth ? O_NOFOLLOW : 0));
	if (level.fd < 0)
		return fail(r, name, strerror(errno));
	return push(r, &level, name);
}

/* At the top, where the user has named it, it may be anything that can be written. */
static int make_file(struct receiver *r, int dir, const char *name, mode_t mode)
{
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC;
	struct level level = { .is_file = true };
	struct stat status;

	if (r->depth)
		flags |= O_NOFOLLOW | O_NONBLOCK;
	level.fd = openat(dir, name, flags, mode);
	if (level.fd < 0)
		return fail(r, name, errno == ELOOP ? "a symbolic link is in the way" :
						      strerror(errno));
	if (r->depth && (fstat(level.fd, &status) || !S_ISREG(status.st_mode))) {
		close(level.fd);
		return fail(r, name, "something is in the way that is no file");
	}
	return push(r, &level, name);
}

static int make_link(struct receiver *r, int dir, const char *name, const char *target)
{
	struct stat status;

	if (!fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) && S_ISLNK(status.st_mode))
		unlinkat(dir, name, 0);
	return symlinkat(target, dir, name) ? fail(r, name, strerror(errno)) : 0;
}

/* data ends with a NUL. */
static int begin(struct receiver *r, const struct agent_header *header, const uint8_t *data)
{
	const char *name = (const char *)data + sizeof(uint32_t);
	const struct level *top = r->depth ? &r->level[r->depth - 1] : NULL;
	size_t length, rest;
	uint32_t mode;

	if (header->len < sizeof(mode) || (top && top->is_file) || (!top && r->done))
		return nonsense(r);
	memcpy(&mode, data, sizeof(mode));
	mode &= 0777;
	length = strlen(name);
	rest = header->len - sizeof(mode) - length;
	if (rest && header->type != AGENT_LINK)
		return nonsense(r);
	if (top ? !is_good_name(name) : *name || header->type == AGENT_LINK)
		return nonsense(r);
	r->done = true;
	if (header->type == AGENT_LINK)
		return make_link(r, top->fd, name, rest ? name + length + 1 : "");
	if (header->type == AGENT_DIR)
		return make_directory(r, top ? top->fd : AT_FDCWD, top ? name : r->path, mode);
	return make_file(r, top ? top->fd : AT_FDCWD, top ? name : r->path, mode);
}

static int write_data(struct receiver *r, const uint8_t *data, size_t len)
{
	const struct level *top = r->depth ? &r->level[r->depth - 1] : NULL;
	size_t done = 0;

	if (!top || !top->is_file)
		return nonsense(r);
	while (done < len) {
		ssize_t put = write(top->fd, data + done, len - done);

		if (put < 0 && errno != EINTR)
			return fail(r, "", strerror(errno));
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static int leave(struct receiver *r)
{
	struct level *top = r->depth ? &r->level[r->depth - 1] : NULL;
	int ret = 0;

	if (!top)
		return nonsense(r);
	if (top->is_new)
		fchmod(top->fd, top->mode & ~r->umask);
	if (close(top->fd))
		ret = fail(r, "", strerror(errno));
	r->depth--;
	return ret;
}

/* One frame; 1: that was the last. */
static int take(struct receiver *r, const struct agent_header *header, const uint8_t *data)
{
	struct agent_copy *copy = r->copy;

	switch (header->type) {
	case AGENT_DIR:
	case AGENT_FILE:
	case AGENT_LINK:
		return begin(r, header, data);
	case AGENT_DATA:
		return write_data(r, data, header->len);
	case AGENT_UP:
		return leave(r);
	case AGENT_WARN:
		if (copy->warn)
			copy->warn(copy->opaque, (const char *)data);
		return 0;
	case AGENT_FAIL:
		snprintf(copy->failure, sizeof(copy->failure), "%s", (const char *)data);
		return -EREMOTEIO;
	case AGENT_END:
		return r->done && !r->depth ? 1 : nonsense(r);
	default:
		return nonsense(r);
	}
}

static mode_t current_umask(void)
{
	mode_t mask = umask(022);

	umask(mask);
	return mask;
}

int agent_copy_receive(struct agent_copy *copy, const char *path, const char *name)
{
	struct receiver r = { .copy = copy, .path = path, .umask = current_umask() };
	char inside[4096];
	struct stat status;
	int ret = 0;

	*copy->failure = 0;
	if (!stat(path, &status) && S_ISDIR(status.st_mode) && *name) {
		snprintf(inside, sizeof(inside), "%s/%s", path, name);
		r.path = inside;
	}
	while (!ret) {
		struct agent_header header;

		ret = agent_receive(copy->fd, &header, copy->data);
		if (!ret)
			ret = take(&r, &header, copy->data);
	}
	while (r.depth)
		close(r.level[--r.depth].fd);
	return ret < 0 ? ret : 0;
}

size_t agent_last_name(const char *path, const char **name)
{
	size_t end = strlen(path), start;

	while (end && path[end - 1] == '/')
		end--;
	for (start = end; start && path[start - 1] != '/'; start--)
		;
	*name = path + start;
	if (!strncmp(*name, ".", end - start) || (end - start == 2 && !strncmp(*name, "..", 2)))
		return 0;
	return end - start;
}
