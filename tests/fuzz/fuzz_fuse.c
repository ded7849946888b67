/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the FUSE server, as a guest's kernel gone mad talks to it. An input is requests, each
 * "opcode, node, length, bytes": the bytes follow the header. They act on a small tree in /tmp, with
 * files bounded; nothing beside it may change.
 */
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fuse.h"
#include "input.h"

#define REPLY_BYTES 4096
#define FILE_BYTES (1u << 20)
#define REQUESTS_MAX 64

static char parent[] = "/tmp/ringlet-fuzz-fuse-XXXXXX";
static const char outside[] = "what nobody may change";

static void require(int ok)
{
	if (!ok)
		abort();
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
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

/* The tree and a file beside it. */
static void prepare(char shared[64])
{
	static int ready;
	const struct rlimit limit = { FILE_BYTES, FILE_BYTES };
	char path[128];

	if (!ready) {
		require(mkdtemp(parent) != NULL);
		atexit(remove_all);
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		ready = 1;
	}
	snprintf(shared, 64, "%s/shared", parent);
	snprintf(path, sizeof(path), "%s/outside", parent);
	put_file(path, outside);
	require(!mkdir(shared, 0755));
	snprintf(path, sizeof(path), "%s/file", shared);
	put_file(path, "text");
	snprintf(path, sizeof(path), "%s/dir", shared);
	require(!mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/link", shared);
	require(!symlink("../outside", path));
}

static void check_outside(void)
{
	char path[128], text[sizeof(outside)] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "%s/outside", parent);
	fd = open(path, O_RDONLY);
	require(fd >= 0 && read(fd, text, sizeof(text)) == sizeof(outside) - 1);
	require(!strcmp(text, outside));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuse_config config = { .cache_ms = 1000 };
	static _Alignas(8) char reply[REPLY_BYTES];
	struct fuse *fuse;
	char shared[64];

	prepare(shared);
	config.tree.path = shared;
	config.tree.readonly = size && data[0] & 0x80;
	require(!fuse_create(&fuse, &config, NULL));
	for (unsigned i = 0; i < REQUESTS_MAX && size >= 3; i++) {
		struct fuse_in_header head = { .opcode = data[0] & 0x7f, .nodeid = data[1], .unique = i };
		size_t length = data[2] < size - 3 ? data[2] : size - 3;
		struct iovec in[2] = { { &head, sizeof(head) }, { (void *)(data + 3), length } };
		struct iovec out = { reply, sizeof(reply) };

		require(fuse_serve(fuse, in, 2, &out, 1) <= sizeof(reply));
		data += 3 + length;
		size -= 3 + length;
	}
	fuse_destroy(fuse);
	check_outside();
	remove_tree(shared);
	return 0;
}
