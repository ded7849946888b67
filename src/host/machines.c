/* SPDX-License-Identifier: MIT */
#include "host/machines.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/error.h"

#define BACKLOG 16
#define PATIENCE_S 10

/* ---- the directory ---- */

static bool is_ours(const struct stat *st)
{
	return S_ISDIR(st->st_mode) && st->st_uid == geteuid();
}

/* What XDG_RUNTIME_DIR names counts only if it is as the specification wants it: after su it is not. */
static void directory_path(char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (runtime && *runtime == '/' && !stat(runtime, &st) && is_ours(&st))
		snprintf(path, size, "%s/ringlet", runtime);
	else
		snprintf(path, size, "/tmp/ringlet-%u", (unsigned)geteuid());
}

int machines_open(struct error *err)
{
	char path[4096];
	struct stat st;
	int dir;

	directory_path(path, sizeof(path));
	if (mkdir(path, 0700) && errno != EEXIST)
		return error_set_errno(err, errno, "cannot make %s", path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return error_set_errno(err, errno, "cannot open %s", path);
	if (fstat(dir, &st) || !is_ours(&st) || st.st_mode & 077) {
		close(dir);
		return error_set(err, EACCES, "%s is not ours alone: it must be owned by user %u, "
				 "with mode 0700", path, (unsigned)geteuid());
	}
	return dir;
}

int machines_check_name(const char *name, struct error *err)
{
	size_t length = strlen(name);
	bool fine = isalnum((unsigned char)*name) && length < MACHINES_NAME_BYTES;

	for (size_t i = 0; fine && i < length; i++)
		fine = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
	/* However long it is, the reason has to be read. */
	return fine ? 0 : error_set(err, EINVAL, "'%.*s%s' is no machine's name: up to %u letters, "
				    "digits, '.', '_' and '-', the first a letter or digit",
				    (int)MACHINES_NAME_BYTES, name,
				    length > MACHINES_NAME_BYTES ? "..." : "",
				    MACHINES_NAME_BYTES - 1);
}

void machines_address(int dir, const char *name, const char *suffix, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s.%s", dir, name,
		 suffix);
}

/* ---- sockets ---- */

static int open_socket(struct error *err)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_set_errno(err, errno, "no socket");
	/* Of connect, too, where a machine that stands has no room for one more. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

/* A connected socket, or -errno: -ECONNREFUSED when nobody listens, -ENOENT when it is not there. */
static int try_connect(int dir, const char *name, struct error *err)
{
	struct sockaddr_un address;
	int fd = open_socket(err), ret;

	if (fd < 0)
		return fd;
	machines_address(dir, name, MACHINES_SOCKET, &address);
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* Somebody listens: a queue that is full is a sign of life, too. Without waiting for him. */
static bool is_alive(int dir, const char *name)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd < 0)
		return true;
	machines_address(dir, name, MACHINES_SOCKET, &address);
	alive = !connect(fd, (const struct sockaddr *)&address, sizeof(address)) ||
		(errno != ECONNREFUSED && errno != ENOENT);
	close(fd);
	return alive;
}

/* ---- names ---- */

static DIR *open_entries(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);

	if (!entries && copy >= 0)
		close(copy);
	return entries;
}

/* file is NAME.suffix, where a suffix has no dot of its own. */
static bool belongs_to(const char *file, const char *name)
{
	const char *dot = strrchr(file, '.');

	return dot && (size_t)(dot - file) == strlen(name) && !memcmp(file, name, strlen(name));
}

/* The directory is locked. */
static void remove_files(int dir, const char *name)
{
	DIR *entries = open_entries(dir);
	const struct dirent *entry;

	while (entries && (entry = readdir(entries)))
		if (belongs_to(entry->d_name, name))
			unlinkat(dir, entry->d_name, 0);
	if (entries)
		closedir(entries);
}

/* The name in NAME.sock, or NULL. */
static char *name_of(const char *file)
{
	const char *dot = strrchr(file, '.');
	char *name = dot && !strcmp(dot + 1, MACHINES_SOCKET) ? strndup(file, (size_t)(dot - file)) :
								NULL;

	if (name && !machines_check_name(name, NULL))
		return name;
	free(name);
	return NULL;
}

/* Behind machines that were killed. The directory is locked. */
static void remove_dead(int dir)
{
	DIR *entries = open_entries(dir);
	const struct dirent *entry;

	while (entries && (entry = readdir(entries))) {
		char *name = name_of(entry->d_name);

		if (name && !is_alive(dir, name))
			remove_files(dir, name);
		free(name);
	}
	if (entries)
		closedir(entries);
}

void machines_release(int dir, const char *name)
{
	flock(dir, LOCK_EX);
	remove_files(dir, name);
	flock(dir, LOCK_UN);
}

static int listen_at(int dir, const char *name, struct error *err)
{
	struct sockaddr_un address;
	int fd = open_socket(err), ret;

	if (fd < 0)
		return fd;
	machines_address(dir, name, MACHINES_SOCKET, &address);
	/* Nobody else gets through the directory, whatever the socket's mode is for this moment. */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    chmod(address.sun_path, 0600) || listen(fd, BACKLOG) ||
	    fcntl(fd, F_SETFL, O_NONBLOCK)) {
		ret = error_set_errno(err, errno, "cannot listen for commands to '%s'", name);
		close(fd);
		return ret;
	}
	return fd;
}

int machines_claim(int dir, const char *name, struct error *err)
{
	int fd = machines_check_name(name, err);

	if (fd)
		return fd;
	if (flock(dir, LOCK_EX))
		return error_set_errno(err, errno, "cannot lock the machines' directory");
	if (is_alive(dir, name)) {
		fd = error_set(err, EEXIST, "a machine '%s' runs already: take another --name", name);
	} else {
		remove_dead(dir);
		remove_files(dir, name);
		fd = listen_at(dir, name, err);
	}
	flock(dir, LOCK_UN);
	return fd;
}

int machines_connect(int dir, const char *name, struct error *err)
{
	int fd = machines_check_name(name, err);

	if (fd)
		return fd;
	fd = try_connect(dir, name, err);
	if (fd == -ECONNREFUSED && !flock(dir, LOCK_EX)) {
		remove_dead(dir);
		flock(dir, LOCK_UN);
	}
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return error_set(err, ENOENT, "no machine '%s' runs: see 'ringlet list'", name);
	if (fd == -EAGAIN)
		return error_set(err, ETIMEDOUT, "machine '%s' does not answer", name);
	return fd < 0 ? error_set_errno(err, -fd, "cannot reach machine '%s'", name) : fd;
}

/* ---- all of them ---- */

static int compare(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

void machines_free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/* Takes over name; false: no memory. */
static bool add_name(char ***names, size_t *count, char *name)
{
	char **more = realloc(*names, (*count + 2) * sizeof(**names));

	if (!more) {
		free(name);
		return false;
	}
	*names = more;
	more[(*count)++] = name;
	more[*count] = NULL;
	return true;
}

static int collect(DIR *entries, char ***names, struct error *err)
{
	const struct dirent *entry;
	size_t count = 0;

	*names = calloc(1, sizeof(**names));
	while (*names && (entry = readdir(entries))) {
		char *name = name_of(entry->d_name);

		if (name && !add_name(names, &count, name)) {
			machines_free_names(*names);
			*names = NULL;
		}
	}
	if (!*names)
		return error_set(err, ENOMEM, "no memory");
	qsort(*names, count, sizeof(**names), compare);
	return 0;
}

int machines_list(int dir, char ***names, struct error *err)
{
	DIR *entries;
	int ret;

	if (flock(dir, LOCK_EX))
		return error_set_errno(err, errno, "cannot lock the machines' directory");
	remove_dead(dir);
	entries = open_entries(dir);
	ret = entries ? collect(entries, names, err) :
			error_set_errno(err, errno, "cannot read the machines' directory");
	if (entries)
		closedir(entries);
	flock(dir, LOCK_UN);
	return ret;
}
