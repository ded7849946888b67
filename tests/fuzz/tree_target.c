/* SPDX-License-Identifier: MIT */
#include "tree_target.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device_target.h"

#define FILE_BYTES (1u << 20)

static char parent[] = "/tmp/ringlet-fuzz-tree-XXXXXX";
static const char outside[] = "what nobody may change";

void tree_target_require(int ok)
{
	if (!ok)
		abort();
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	tree_target_require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_all(void)
{
	remove_tree(parent);
}

void tree_target_begin(char shared[64])
{
	static int ready;
	const struct rlimit limit = { FILE_BYTES, FILE_BYTES };
	char path[128];

	if (!ready) {
		tree_target_require(mkdtemp(parent) != NULL);
		atexit(remove_all);
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		ready = 1;
	}
	snprintf(shared, 64, "%s/shared", parent);
	snprintf(path, sizeof(path), "%s/outside", parent);
	put_file(path, outside);
	tree_target_require(!mkdir(shared, 0755));
	snprintf(path, sizeof(path), "%s/file", shared);
	put_file(path, "text");
	snprintf(path, sizeof(path), "%s/dir", shared);
	tree_target_require(!mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/link", shared);
	tree_target_require(!symlink("../outside", path));
}

void tree_target_end(const char *shared)
{
	char path[128], text[sizeof(outside)] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "%s/outside", parent);
	fd = open(path, O_RDONLY);
	tree_target_require(fd >= 0 && read(fd, text, sizeof(text)) == sizeof(outside) - 1);
	tree_target_require(!strcmp(text, outside));
	close(fd);
	remove_tree(shared);
}

int tree_target_fuzz_device(char shared[64], const uint8_t *data, size_t size,
			    void (*setup)(struct device_target *target))
{
	int ret;

	tree_target_begin(shared);
	ret = device_target_fuzz(data, size, setup);
	tree_target_end(shared);
	return ret;
}
