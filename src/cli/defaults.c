/* SPDX-License-Identifier: MIT */
/*
 * Whether the file counts is said on the command line, and what counts more comes later: so the
 * command line is parsed twice, the first time for that flag and its errors alone.
 */
#include "cli/defaults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

#define FILE_BYTES_MAX 65536

/* XDG base directory specification; NULL: there is no place. */
static char *file_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int ret = -1;

	if (config && *config == '/')
		ret = asprintf(&path, "%s/ringlet/config", config);
	else if (home && *home)
		ret = asprintf(&path, "%s/.config/ringlet/config", home);
	return ret < 0 ? NULL : path;
}

/* All of an open file, with a NUL behind it. */
static int read_whole(int fd, const char *path, char **text, struct error *err)
{
	ssize_t length;
	struct stat st;

	if (fstat(fd, &st))
		return error_set_errno(err, errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is no file", path);
	*text = malloc(FILE_BYTES_MAX + 1);
	if (!*text)
		return error_set(err, ENOMEM, "no memory");
	length = read(fd, *text, FILE_BYTES_MAX + 1);
	if (length < 0)
		return error_set_errno(err, errno, "cannot read %s", path);
	if (length > FILE_BYTES_MAX)
		return error_set(err, EFBIG, "%s is larger than %d bytes", path, FILE_BYTES_MAX);
	(*text)[length] = 0;
	if (strlen(*text) != (size_t)length)
		return error_set(err, EINVAL, "%s is no text", path);
	return 0;
}

/* A file that is not there says nothing. */
static int read_file(struct defaults *defaults, void *target, struct error *err)
{
	char *path = file_path();
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1, ret = 0;

	if (fd >= 0)
		ret = read_whole(fd, path, &defaults->text, err);
	else if (path && errno != ENOENT && errno != ENOTDIR)
		ret = error_set_errno(err, errno, "cannot open %s", path);
	if (!ret && fd >= 0)
		ret = options_read(defaults->specs, target, defaults->section, defaults->text, path,
				   err);
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

void defaults_warn(void)
{
	static const char *const suffixes[] = { ".toml", ".ini" };
	char *path = file_path(), *other;

	for (unsigned i = 0; path && access(path, F_OK) && i < 2; i++) {
		if (asprintf(&other, "%s%s", path, suffixes[i]) < 0)
			break;
		if (!access(other, F_OK))
			log_warn("%s is not read: defaults are in %s", other, path);
		free(other);
	}
	free(path);
}

/* With a copy of everything, because parsing sorts the words. */
static int look_ahead(const struct defaults *defaults, const void *target, size_t target_bytes,
		      int argc, char *const *argv, bool *none, struct error *err)
{
	char **words = malloc(((size_t)argc + 1) * sizeof(*words));
	char *scratch = malloc(target_bytes);
	int operands, ret;

	if (words && scratch) {
		memcpy(words, argv, (size_t)argc * sizeof(*words));
		memcpy(scratch, target, target_bytes);
		ret = options_parse_before(defaults->specs, scratch, argc, words, &operands, err);
		*none = *(bool *)(scratch + defaults->none_offset);
	} else {
		ret = error_set(err, ENOMEM, "no memory");
	}
	free(scratch);
	free(words);
	return ret;
}

int defaults_parse(struct defaults *defaults, void *target, size_t target_bytes, int argc,
		   char **argv, int *operands, struct error *err)
{
	bool none = false;
	int ret = look_ahead(defaults, target, target_bytes, argc, argv, &none, err);

	if (!ret && !none)
		ret = read_file(defaults, target, err);
	return ret ? ret : options_parse_before(defaults->specs, target, argc, argv, operands, err);
}
