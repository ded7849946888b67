/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

static char *text;
static size_t text_bytes;

void config_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status))
		die("%s: %s", path, strerror(errno));
	text_bytes = (size_t)status.st_size;
	text = malloc(text_bytes + 1);
	if (!text || read(fd, text, text_bytes) != (ssize_t)text_bytes)
		die("%s cannot be read", path);
	text[text_bytes] = 0;
	close(fd);
}

void config_save(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, text_bytes) != (ssize_t)text_bytes)
		die("cannot write %s: %s", path, strerror(errno));
	close(fd);
}

const char *config_at(const char *key, unsigned index)
{
	size_t length = strlen(key);

	for (const char *at = text; at < text + text_bytes; at += strlen(at) + 1)
		if (!strncmp(at, key, length) && at[length] == '=' && !index--)
			return at + length + 1;
	return NULL;
}

const char *config_get(const char *key)
{
	return config_at(key, 0);
}

char **config_all(const char *key)
{
	unsigned count = 0;
	char **values;

	while (config_at(key, count))
		count++;
	values = calloc(count + 1, sizeof(*values));
	if (!values)
		die("no memory");
	for (unsigned i = 0; i < count; i++)
		values[i] = (char *)config_at(key, i);
	return values;
}
