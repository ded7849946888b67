/* SPDX-License-Identifier: MIT */
#include "shared_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct shared_dir shared_dir_make(void)
{
	struct shared_dir dir = { "/tmp/ringlet-share-XXXXXX" };

	assert_non_null(mkdtemp(dir.path));
	return dir;
}

void shared_dir_remove(const struct shared_dir *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir->path);
	assert_int_equal(system(command), 0);
}

const char *shared_dir_file(const struct shared_dir *dir, const char *name)
{
	static char paths[2][128];
	static unsigned turn;
	char *path = paths[++turn % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir->path, name);
	return path;
}

void shared_dir_write(const struct shared_dir *dir, const char *name, const char *text)
{
	int fd = open(shared_dir_file(dir, name), O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}
