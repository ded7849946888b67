/* SPDX-License-Identifier: MIT */
/* The 9P server: what a guest's kernel asks in its life, and what a hostile one does. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/p9.h"
#include "fs/p9_proto.h"
#include "shared_dir.h"

#define REPLY_BYTES 16384
#define ROOT 0u

struct setup {
	struct shared_dir dir;
	struct p9 *p9;
	uint8_t request[4096];
	size_t request_bytes;
	uint8_t reply[REPLY_BYTES];
	size_t reply_bytes; /* without the header */
	size_t read_at;     /* of the reply's data */
};

/* ---- messages ---- */

static void put(struct setup *setup, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		setup->request[setup->request_bytes++] = (uint8_t)(value >> 8 * i);
}

static void put_text(struct setup *setup, const char *text)
{
	put(setup, 2, strlen(text));
	memcpy(setup->request + setup->request_bytes, text, strlen(text));
	setup->request_bytes += strlen(text);
}

static uint64_t get(struct setup *setup, unsigned bytes)
{
	uint64_t value = 0;

	assert_true(setup->read_at + bytes <= setup->reply_bytes);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)setup->reply[P9_HEADER_BYTES + setup->read_at++] << 8 * i;
	return value;
}

/* In pieces that no field respects. */
static size_t exchange(struct setup *setup)
{
	struct iovec in[2] = { { setup->request, 5 },
			       { setup->request + 5, setup->request_bytes - 5 } };
	struct iovec out[3] = { { setup->reply, 3 }, { setup->reply + 3, 9 },
				{ setup->reply + 12, REPLY_BYTES - 12 } };

	return p9_serve(setup->p9, in, 2, out, 3);
}

/* Sends what was put behind the header: the answer's error, its fields to be got. */
static int send(struct setup *setup, uint8_t type)
{
	size_t size;

	for (unsigned i = 0; i < 4; i++)
		setup->request[i] = (uint8_t)(setup->request_bytes >> 8 * i);
	setup->request[4] = type;
	setup->request[5] = 0x34;
	setup->request[6] = 0x12;
	size = exchange(setup);
	setup->request_bytes = P9_HEADER_BYTES;
	assert_true(size >= P9_HEADER_BYTES);
	setup->reply_bytes = size - P9_HEADER_BYTES;
	setup->read_at = 0;
	assert_int_equal(setup->reply[0] | setup->reply[1] << 8, size);
	assert_int_equal(setup->reply[5] | setup->reply[6] << 8, 0x1234);
	if (setup->reply[4] == P9_RLERROR) {
		assert_int_equal(setup->reply_bytes, 4);
		return (int)get(setup, 4);
	}
	assert_int_equal(setup->reply[4], type + 1);
	return 0;
}

/*
 * The same from a format: a letter each for a number of 1, 2, 4 or 8 bytes and a string. The numbers
 * are uint64_t, all of them.
 */
static int ask(struct setup *setup, uint8_t type, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		if (*format == 's')
			put_text(setup, va_arg(args, const char *));
		else
			put(setup, (unsigned)(*format - '0'), va_arg(args, uint64_t));
	}
	va_end(args);
	return send(setup, type);
}

#define N(value) ((uint64_t)(value))

/* ---- the usual ---- */

static int attach(struct setup *setup, uint32_t fid, uint32_t uid)
{
	return ask(setup, P9_TATTACH, "44ss4", N(fid), N(P9_NO_FID), "", "", N(uid));
}

static void start_with(struct setup *setup, const struct tree_config *given)
{
	struct tree_config config = *given;

	*setup = (struct setup){ .dir = shared_dir_make(), .request_bytes = P9_HEADER_BYTES };
	shared_dir_write(&setup->dir, "hello", "hello, world");
	assert_int_equal(mkdir(shared_dir_file(&setup->dir, "dir"), 0755), 0);
	shared_dir_write(&setup->dir, "dir/inner", "inner");
	config.path = setup->dir.path;
	assert_int_equal(p9_create(&setup->p9, &config, NULL), 0);
	assert_int_equal(ask(setup, P9_TVERSION, "4s", N(REPLY_BYTES), P9_VERSION), 0);
	assert_int_equal(attach(setup, ROOT, 0), 0);
}

static void start(struct setup *setup, bool readonly)
{
	start_with(setup, &(struct tree_config){ .readonly = readonly });
}

static void finish(struct setup *setup)
{
	p9_destroy(setup->p9);
	shared_dir_remove(&setup->dir);
}

static int walk(struct setup *setup, uint32_t from, uint32_t to, const char *name)
{
	return ask(setup, P9_TWALK, "442s", N(from), N(to), N(1), name);
}

static int clone_fid(struct setup *setup, uint32_t from, uint32_t to)
{
	return ask(setup, P9_TWALK, "442", N(from), N(to), N(0));
}

static int open_fid(struct setup *setup, uint32_t fid, uint32_t flags)
{
	return ask(setup, P9_TLOPEN, "44", N(fid), N(flags));
}

static int create(struct setup *setup, uint32_t fid, const char *name, uint32_t flags, uint32_t mode)
{
	return ask(setup, P9_TLCREATE, "4s444", N(fid), name, N(flags), N(mode), N(0));
}

static int read_at(struct setup *setup, uint32_t fid, uint64_t offset, uint32_t count)
{
	return ask(setup, P9_TREAD, "484", N(fid), offset, N(count));
}

static int write_at(struct setup *setup, uint32_t fid, uint64_t offset, const char *text)
{
	put(setup, 4, fid);
	put(setup, 8, offset);
	put(setup, 4, strlen(text));
	memcpy(setup->request + setup->request_bytes, text, strlen(text));
	setup->request_bytes += strlen(text);
	return send(setup, P9_TWRITE);
}

static void assert_data(struct setup *setup, const char *text)
{
	assert_int_equal(get(setup, 4), strlen(text));
	assert_int_equal(setup->reply_bytes, 4 + strlen(text));
	assert_memory_equal(setup->reply + P9_READ_HEADER_BYTES, text, strlen(text));
}

static int clunk(struct setup *setup, uint32_t fid)
{
	return ask(setup, P9_TCLUNK, "4", N(fid));
}

static struct stat attributes(struct setup *setup, uint32_t fid)
{
	struct stat status = { 0 };

	assert_int_equal(ask(setup, P9_TGETATTR, "48", N(fid), N(P9_GETATTR_BASIC)), 0);
	assert_int_equal(get(setup, 8) & P9_GETATTR_BASIC, P9_GETATTR_BASIC);
	setup->read_at += P9_QID_BYTES;
	status.st_mode = (mode_t)get(setup, 4);
	status.st_uid = (uid_t)get(setup, 4);
	status.st_gid = (gid_t)get(setup, 4);
	status.st_nlink = get(setup, 8);
	status.st_rdev = get(setup, 8);
	status.st_size = (off_t)get(setup, 8);
	return status;
}

/* ---- a kernel's life ---- */

static void test_session(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, P9_TVERSION, "4s", N(8192), "9P2000.u"), 0);
	assert_int_equal(get(&setup, 4), 8192);
	assert_int_equal(get(&setup, 2), strlen("unknown"));
	/* A new session knows no fids. */
	assert_int_equal(clunk(&setup, ROOT), EBADF);
	assert_int_equal(ask(&setup, P9_TVERSION, "4s", N(UINT32_MAX), P9_VERSION), 0);
	assert_true(get(&setup, 4) <= 1u << 20);
	assert_int_equal(ask(&setup, P9_TVERSION, "4s", N(100), P9_VERSION), EINVAL);
	assert_int_equal(ask(&setup, P9_TAUTH, "4ss4", N(5), "", "", N(0)), EOPNOTSUPP);
	assert_int_equal(ask(&setup, P9_TATTACH, "44ss4", N(1), N(7), "", "", N(0)), EOPNOTSUPP);
	assert_int_equal(ask(&setup, P9_TATTACH, "44ss4", N(1), N(P9_NO_FID), "", "/etc", N(0)), ENOENT);
	assert_int_equal(attach(&setup, 1, 0), 0);
	assert_int_equal(get(&setup, 1), P9_QID_DIR);
	assert_int_equal(attach(&setup, 1, 0), EINVAL);
	assert_int_equal(attach(&setup, P9_NO_FID, 0), ENFILE);
	assert_int_equal(ask(&setup, P9_TFLUSH, "2", N(77)), 0);
	assert_int_equal(send(&setup, 1), EOPNOTSUPP);
	assert_int_equal(send(&setup, 255), EOPNOTSUPP);
	finish(&setup);
}

static void test_walk(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/etc", "../etc" };
	struct setup setup;

	(void)state;
	start(&setup, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(walk(&setup, ROOT, 1, bad[i]), EINVAL);
	assert_int_equal(ask(&setup, P9_TWALK, "442ss", N(ROOT), N(1), N(2), "dir", "inner"), 0);
	assert_int_equal(get(&setup, 2), 2);
	assert_int_equal(get(&setup, 1), P9_QID_DIR);
	setup.read_at += 12;
	assert_int_equal(get(&setup, 1), 0);
	/* What is there is told, but the fid is not made. */
	assert_int_equal(ask(&setup, P9_TWALK, "442ss", N(ROOT), N(2), N(2), "dir", "none"), 0);
	assert_int_equal(get(&setup, 2), 1);
	assert_int_equal(clunk(&setup, 2), EBADF);
	assert_int_equal(walk(&setup, ROOT, 2, "none"), ENOENT);
	assert_int_equal(walk(&setup, 1, 2, "x"), ENOTDIR);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), EINVAL); /* in use */
	assert_int_equal(walk(&setup, 99, 2, "hello"), EBADF);
	/* In its own place. */
	assert_int_equal(clone_fid(&setup, ROOT, 2), 0);
	assert_int_equal(walk(&setup, 2, 2, "hello"), 0);
	assert_true(S_ISREG(attributes(&setup, 2).st_mode));
	/* Says 17 names, or more than there are. */
	assert_int_equal(ask(&setup, P9_TWALK, "442", N(ROOT), N(3), N(17)), EINVAL);
	assert_int_equal(ask(&setup, P9_TWALK, "442s", N(ROOT), N(3), N(2), "dir"), 0);
	assert_int_equal(clunk(&setup, 3), EBADF);
	assert_int_equal(ask(&setup, P9_TWALK, "442s", N(ROOT), N(3), N(0), "dir"), EINVAL);
	finish(&setup);
}

static void test_read(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, true);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), 0);
	assert_int_equal(read_at(&setup, 1, 0, 10), EBADF);
	assert_int_equal(open_fid(&setup, 1, O_RDONLY), 0);
	assert_int_equal(open_fid(&setup, 1, O_RDONLY), EINVAL);
	assert_int_equal(read_at(&setup, 1, 7, 100), 0);
	assert_data(&setup, "world");
	assert_int_equal(read_at(&setup, 1, 7, UINT32_MAX), 0);
	assert_data(&setup, "world");
	assert_int_equal(read_at(&setup, 1, 100, 100), 0);
	assert_data(&setup, "");
	assert_int_equal(read_at(&setup, 1, UINT64_MAX - 3, 100), EINVAL);
	assert_int_equal(clunk(&setup, 1), 0);
	assert_int_equal(read_at(&setup, 1, 0, 100), EBADF);
	finish(&setup);
}

/* Without waiting: what the host has in memory is there, if its file system can tell. */
static void test_now(void **state)
{
	uint8_t walk_message[] = { 17, 0, 0, 0, P9_TWALK, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 };
	uint8_t read_message[] = { 23, 0, 0, 0, P9_TREAD, 1, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 99 };
	uint8_t sync_message[] = { 15, 0, 0, 0, P9_TFSYNC, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t write_message[] = { 24, 0, 0, 0, P9_TWRITE, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
				    1, 0, 0, 0, 'J' };
	uint8_t read_space[23] = { 0 };
	struct iovec in = { walk_message, sizeof(walk_message) }, out;
	struct setup setup;
	size_t size;

	(void)state;
	start(&setup, false);
	out = (struct iovec){ setup.reply, REPLY_BYTES };
	assert_int_equal(p9_serve_now(setup.p9, &in, 1, &out, 1), P9_HEADER_BYTES + 2);
	assert_int_equal(clunk(&setup, 1), 0);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), 0);
	assert_int_equal(open_fid(&setup, 1, O_RDWR), 0);
	in = (struct iovec){ sync_message, sizeof(sync_message) };
	assert_int_equal(p9_serve_now(setup.p9, &in, 1, &out, 1), TREE_LATER);
	memcpy(read_space, read_message, sizeof(read_message));
	in = (struct iovec){ read_space, sizeof(read_space) };
	size = p9_serve_now(setup.p9, &in, 1, &out, 1);
	if (size == TREE_LATER)
		size = p9_serve(setup.p9, &in, 1, &out, 1);
	assert_int_equal(size, P9_READ_HEADER_BYTES + 5);
	assert_memory_equal(setup.reply + P9_READ_HEADER_BYTES, "world", 5);
	in = (struct iovec){ write_message, sizeof(write_message) };
	assert_int_equal(p9_serve_now(setup.p9, &in, 1, &out, 1), P9_HEADER_BYTES + 4);
	assert_int_equal(read_at(&setup, 1, 0, 100), 0);
	assert_data(&setup, "Jello, world");
	finish(&setup);
}

/* Each fid that was found at a name follows it, and no other; until it is clunked. */
static void test_rename_of_many(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(walk(&setup, ROOT, 1, "dir"), 0);
	for (uint32_t fid = 10; fid < 20; fid++)
		assert_int_equal(walk(&setup, 1, fid, "inner"), 0);
	assert_int_equal(clone_fid(&setup, 19, 20), 0);
	shared_dir_write(&setup.dir, "inner", "another");
	assert_int_equal(walk(&setup, ROOT, 30, "inner"), 0);
	assert_int_equal(clunk(&setup, 12), 0);
	assert_int_equal(ask(&setup, P9_TRENAMEAT, "4s4s", N(1), "inner", N(1), "second"), 0);
	assert_int_equal(clunk(&setup, 10), 0);
	assert_int_equal(clunk(&setup, 19), 0);
	assert_int_equal(ask(&setup, P9_TRENAMEAT, "4s4s", N(1), "second", N(ROOT), "third"), 0);
	for (uint32_t fid = 13; fid <= 20; fid++) {
		const char *there = fid % 2 ? "odd" : "even";

		if (fid == 19)
			continue;
		assert_int_equal(ask(&setup, P9_TRENAME, "44s", N(fid), N(1), there), 0);
		assert_int_equal(access(shared_dir_file(&setup.dir, fid % 2 ? "dir/odd" : "dir/even"), F_OK), 0);
	}
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(20)), 0);
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(11)), ENOENT);
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(30)), 0);
	assert_int_equal(access(shared_dir_file(&setup.dir, "inner"), F_OK), -1);
	finish(&setup);
}

/* What is shared read-only stays as it is, whatever is asked. */
static void test_readonly(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, true);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), 0);
	assert_int_equal(open_fid(&setup, 1, O_WRONLY), EROFS);
	assert_int_equal(open_fid(&setup, 1, O_RDONLY | O_TRUNC), EROFS);
	assert_int_equal(create(&setup, ROOT, "new", O_RDWR, 0644), EROFS);
	assert_int_equal(ask(&setup, P9_TMKDIR, "4s44", N(ROOT), "d", N(0755), N(0)), EROFS);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "4s4", N(ROOT), "hello", N(0)), EROFS);
	assert_int_equal(ask(&setup, P9_TSYMLINK, "4ss4", N(ROOT), "l", "x", N(0)), EROFS);
	assert_int_equal(ask(&setup, P9_TRENAMEAT, "4s4s", N(ROOT), "hello", N(ROOT), "x"), EROFS);
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(1), "user.x", N(1), N(0)), EROFS);
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(1)), EROFS);
	assert_int_equal(clunk(&setup, 1), EBADF); /* it clunked it all the same */
	assert_int_equal(access(shared_dir_file(&setup.dir, "hello"), F_OK), 0);
	finish(&setup);
}

static void test_create_and_unlink(void **state)
{
	struct stat status;
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(clone_fid(&setup, ROOT, 1), 0);
	assert_int_equal(create(&setup, 1, "new", O_RDWR, 04666), 0);
	assert_int_equal(write_at(&setup, 1, 3, "abc"), 0);
	assert_int_equal(get(&setup, 4), 3);
	assert_int_equal(stat(shared_dir_file(&setup.dir, "new"), &status), 0);
	assert_int_equal(status.st_size, 6);
	assert_int_equal(status.st_mode & 0777, 0666);
	/* Gone by name, there by fid. */
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "4s4", N(ROOT), "new", N(0)), 0);
	status = attributes(&setup, 1);
	assert_int_equal(status.st_nlink, 0);
	assert_int_equal(status.st_size, 6);
	assert_int_equal(read_at(&setup, 1, 3, 10), 0);
	assert_data(&setup, "abc");
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(1)), ENOENT);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "4s4", N(ROOT), "dir", N(0)), EISDIR);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "4s4", N(ROOT), "dir", N(P9_AT_REMOVEDIR)), ENOTEMPTY);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "4s4", N(ROOT), "dir", N(1)), EINVAL);
	/* A file that was there: opened, or not with O_EXCL. */
	assert_int_equal(clone_fid(&setup, ROOT, 2), 0);
	assert_int_equal(create(&setup, 2, "hello", O_RDONLY | O_EXCL, 0600), EEXIST);
	assert_int_equal(create(&setup, 2, "hello", O_RDONLY, 0600), 0);
	assert_int_equal(read_at(&setup, 2, 0, 5), 0);
	assert_data(&setup, "hello");
	/* Who appends does not know where the end is by now. */
	assert_int_equal(clone_fid(&setup, ROOT, 3), 0);
	assert_int_equal(create(&setup, 3, "log", O_RDWR | O_APPEND, 0600), 0);
	assert_int_equal(write_at(&setup, 3, 0, "one"), 0);
	assert_int_equal(write_at(&setup, 3, 0, "two"), 0);
	assert_int_equal(read_at(&setup, 3, 0, 10), 0);
	assert_data(&setup, "onetwo");
	/* A write that says it is longer than it is. */
	assert_int_equal(ask(&setup, P9_TWRITE, "484", N(2), N(0), N(1)), EINVAL);
	finish(&setup);
}

static void test_make(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, P9_TMKDIR, "4s44", N(ROOT), "new", N(0700), N(0)), 0);
	assert_int_equal(get(&setup, 1), P9_QID_DIR);
	assert_int_equal(ask(&setup, P9_TMKDIR, "4s44", N(ROOT), "new", N(0700), N(0)), EEXIST);
	assert_int_equal(ask(&setup, P9_TMKDIR, "4s44", N(ROOT), "..", N(0700), N(0)), EINVAL);
	assert_int_equal(ask(&setup, P9_TMKNOD, "4s4444", N(ROOT), "fifo", N(S_IFIFO | 0600), N(0), N(0),
			     N(0)), 0);
	assert_int_equal(walk(&setup, ROOT, 1, "fifo"), 0);
	assert_int_equal(open_fid(&setup, 1, O_RDONLY), ENXIO);
	assert_int_equal(ask(&setup, P9_TSYMLINK, "4ss4", N(ROOT), "link", "/etc/passwd", N(0)), 0);
	assert_int_equal(walk(&setup, ROOT, 2, "link"), 0);
	assert_int_equal(open_fid(&setup, 2, O_RDONLY), ELOOP);
	assert_int_equal(ask(&setup, P9_TREADLINK, "4", N(2)), 0);
	assert_int_equal(get(&setup, 2), 11);
	assert_memory_equal(setup.reply + P9_HEADER_BYTES + 2, "/etc/passwd", 11);
	assert_int_equal(walk(&setup, ROOT, 3, "hello"), 0);
	assert_int_equal(ask(&setup, P9_TLINK, "44s", N(ROOT), N(3), "second"), 0);
	assert_int_equal(attributes(&setup, 3).st_nlink, 2);
	assert_int_equal(ask(&setup, P9_TLINK, "44s", N(3), N(3), "second"), ENOTDIR);
	finish(&setup);
}

/* Fids follow their files, and where they are known by. */
static void test_rename(void **state)
{
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, P9_TWALK, "442ss", N(ROOT), N(1), N(2), "dir", "inner"), 0);
	assert_int_equal(walk(&setup, ROOT, 2, "dir"), 0);
	assert_int_equal(open_fid(&setup, 1, O_RDWR), 0);
	/* The file, then the directory above it, by name; then both by fid. */
	assert_int_equal(ask(&setup, P9_TRENAMEAT, "4s4s", N(2), "inner", N(2), "moved"), 0);
	assert_int_equal(ask(&setup, P9_TRENAMEAT, "4s4s", N(ROOT), "dir", N(ROOT), "other"), 0);
	assert_int_equal(read_at(&setup, 1, 0, 5), 0);
	assert_data(&setup, "inner");
	assert_int_equal(ask(&setup, P9_TRENAME, "44s", N(1), N(ROOT), "up"), 0);
	assert_int_equal(access(shared_dir_file(&setup.dir, "up"), F_OK), 0);
	assert_int_equal(ask(&setup, P9_TRENAME, "44s", N(2), N(ROOT), "third"), 0);
	assert_int_equal(access(shared_dir_file(&setup.dir, "third"), F_OK), 0);
	assert_int_equal(ask(&setup, P9_TRENAME, "44s", N(ROOT), N(2), "root"), EBUSY);
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(1)), 0);
	assert_int_equal(access(shared_dir_file(&setup.dir, "up"), F_OK), -1);
	/* Another file has its name meanwhile: it stays. */
	assert_int_equal(walk(&setup, ROOT, 3, "hello"), 0);
	assert_int_equal(unlink(shared_dir_file(&setup.dir, "hello")), 0);
	shared_dir_write(&setup.dir, "hello", "new");
	assert_int_equal(ask(&setup, P9_TREMOVE, "4", N(3)), ENOENT);
	assert_int_equal(access(shared_dir_file(&setup.dir, "hello"), F_OK), 0);
	finish(&setup);
}

static void test_attributes(void **state)
{
	struct setup setup;
	struct stat status;

	(void)state;
	start(&setup, false);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), 0);
	assert_int_equal(ask(&setup, P9_TSETATTR, "4444488888", N(1),
			     N(P9_SETATTR_MODE | P9_SETATTR_SIZE | P9_SETATTR_MTIME | P9_SETATTR_MTIME_SET),
			     N(0600), N(0), N(0), N(5), N(0), N(0), N(1000000000), N(5)), 0);
	assert_int_equal(stat(shared_dir_file(&setup.dir, "hello"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(status.st_size, 5);
	assert_int_equal(status.st_mtim.tv_sec, 1000000000);
	assert_int_equal(status.st_mtim.tv_nsec, 5);
	/* UTIME_OMIT and such are the host's, not the guest's. */
	assert_int_equal(ask(&setup, P9_TSETATTR, "4444488888", N(1),
			     N(P9_SETATTR_MTIME | P9_SETATTR_MTIME_SET), N(0), N(0), N(0), N(0), N(0),
			     N(0), N(5), N(UTIME_NOW)), EINVAL);
	assert_int_equal(ask(&setup, P9_TSETATTR, "4444488888", N(1), N(P9_SETATTR_SIZE), N(0), N(0),
			     N(0), N(UINT64_MAX), N(0), N(0), N(0), N(0)), EFBIG);
	assert_int_equal(ask(&setup, P9_TSTATFS, "4", N(1)), 0);
	assert_int_equal(get(&setup, 4), P9_FS_MAGIC);
	finish(&setup);
}

/* All names, one small answer after another, while others come and go. */
static void test_readdir(void **state)
{
	unsigned seen = 0;
	uint64_t offset = 0;
	struct setup setup;

	(void)state;
	start(&setup, false);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file%u", i);
		shared_dir_write(&setup.dir, name, "");
	}
	assert_int_equal(clone_fid(&setup, ROOT, 1), 0);
	assert_int_equal(ask(&setup, P9_TREADDIR, "484", N(1), N(0), N(300)), EBADF);
	assert_int_equal(open_fid(&setup, 1, O_RDONLY | O_DIRECTORY), 0);
	assert_int_equal(ask(&setup, P9_TREADDIR, "484", N(1), N(0), N(10)), EINVAL);
	for (;;) {
		char name[64], extra[16];
		size_t end;
		unsigned number;

		assert_int_equal(ask(&setup, P9_TREADDIR, "484", N(1), offset, N(300)), 0);
		end = get(&setup, 4) + 4;
		assert_true(end <= 304 && end == setup.reply_bytes);
		if (end == 4)
			break;
		while (setup.read_at < end) {
			size_t length;

			setup.read_at += P9_QID_BYTES;
			offset = get(&setup, 8);
			setup.read_at++;
			length = get(&setup, 2);
			assert_true(length < sizeof(name));
			memcpy(name, setup.reply + P9_HEADER_BYTES + setup.read_at, length);
			name[length] = 0;
			setup.read_at += length;
			if (sscanf(name, "file%u", &number) == 1 && number < 20) {
				assert_false(seen & 1u << number);
				seen |= 1u << number;
			}
		}
		snprintf(extra, sizeof(extra), "extra%u", seen & 0xff);
		shared_dir_write(&setup.dir, extra, "");
	}
	assert_int_equal(seen, (1u << 20) - 1);
	finish(&setup);
}

static void test_xattr(void **state)
{
	struct setup setup;
	char value[16];

	(void)state;
	start(&setup, false);
	assert_int_equal(walk(&setup, ROOT, 1, "hello"), 0);
	assert_int_equal(clone_fid(&setup, 1, 2), 0);
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(2), "user.one", N(6), N(0)), 0);
	assert_int_equal(write_at(&setup, 2, 0, "val"), 0);
	assert_int_equal(write_at(&setup, 2, 5, "x"), EINVAL);
	assert_int_equal(write_at(&setup, 2, 3, "toolong"), EINVAL);
	assert_int_equal(write_at(&setup, 2, 3, "ues"), 0);
	assert_int_equal(read_at(&setup, 2, 0, 3), EBADF);
	assert_int_equal(clunk(&setup, 2), 0);
	assert_int_equal(getxattr(shared_dir_file(&setup.dir, "hello"), "user.one", value, sizeof(value)), 6);
	assert_memory_equal(value, "values", 6);
	/* Less than was announced is not set. */
	assert_int_equal(clone_fid(&setup, 1, 2), 0);
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(2), "user.two", N(6), N(0)), 0);
	assert_int_equal(clunk(&setup, 2), EINVAL);
	assert_int_equal(clone_fid(&setup, 1, 2), 0);
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(2), "user.two", N(UINT64_MAX), N(0)), E2BIG);
	assert_int_equal(ask(&setup, P9_TXATTRWALK, "44s", N(1), N(3), "user.one"), 0);
	assert_int_equal(get(&setup, 8), 6);
	assert_int_equal(read_at(&setup, 3, 3, 100), 0);
	assert_data(&setup, "ues");
	assert_int_equal(read_at(&setup, 3, UINT64_MAX, 100), 0);
	assert_data(&setup, "");
	assert_int_equal(write_at(&setup, 3, 0, "x"), EBADF);
	assert_int_equal(open_fid(&setup, 3, O_RDONLY), EINVAL);
	assert_int_equal(ask(&setup, P9_TXATTRWALK, "44s", N(1), N(4), ""), 0);
	assert_int_equal(read_at(&setup, 4, 0, 100), 0);
	assert_int_equal(get(&setup, 4), sizeof("user.one"));
	assert_int_equal(ask(&setup, P9_TXATTRWALK, "44s", N(1), N(5), "user.none"), ENODATA);
	/* Nothing replaces it: it is removed; nothing alone is a value. */
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(2), "user.one", N(0), N(XATTR_REPLACE)), 0);
	assert_int_equal(clunk(&setup, 2), 0);
	assert_int_equal(clone_fid(&setup, 1, 2), 0);
	assert_int_equal(ask(&setup, P9_TXATTRCREATE, "4s84", N(2), "user.empty", N(0), N(0)), 0);
	assert_int_equal(clunk(&setup, 2), 0);
	assert_int_equal(getxattr(shared_dir_file(&setup.dir, "hello"), "user.one", value, sizeof(value)), -1);
	assert_int_equal(getxattr(shared_dir_file(&setup.dir, "hello"), "user.empty", value, sizeof(value)), 0);
	finish(&setup);
}

static int lock(struct setup *setup, uint32_t fid, unsigned type, uint64_t start, uint64_t length,
		uint32_t process)
{
	int error = ask(setup, P9_TLOCK, "414884s", N(fid), N(type), N(0), start, length, N(process),
			"guest");

	return error ? -error : (int)get(setup, 1);
}

/* What the host sees of it: the type of a lock that is in the way of a write lock, and where it begins. */
static short host_lock(const struct setup *setup, off_t start, off_t length, off_t *where)
{
	struct flock test = { .l_type = F_WRLCK, .l_start = start, .l_len = length };
	int fd = open(shared_dir_file(&setup->dir, "hello"), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &test), 0);
	close(fd);
	*where = test.l_start;
	return test.l_type;
}

static void test_locks(void **state)
{
	struct flock ours = { .l_type = F_WRLCK, .l_start = 500, .l_len = 10 };
	struct setup setup;
	off_t where;
	int fd;

	(void)state;
	start(&setup, false);
	for (uint32_t fid = 1; fid <= 3; fid++) {
		assert_int_equal(walk(&setup, ROOT, fid, "hello"), 0);
		assert_int_equal(open_fid(&setup, fid, O_RDWR), 0);
	}
	assert_int_equal(lock(&setup, 1, P9_LOCK_WRITE, 0, 100, 10), P9_LOCK_SUCCESS);
	assert_int_equal(host_lock(&setup, 50, 1, &where), F_WRLCK);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, 99, 10, 20), P9_LOCK_BLOCKED);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, 100, 0, 20), P9_LOCK_SUCCESS);
	/* The same process by another fid, another process by the same one. */
	assert_int_equal(lock(&setup, 3, P9_LOCK_WRITE, 0, 50, 10), P9_LOCK_SUCCESS);
	assert_int_equal(lock(&setup, 1, P9_LOCK_NONE, 20, 10, 11), P9_LOCK_SUCCESS);
	assert_int_equal(ask(&setup, P9_TGETLOCK, "41884s", N(2), N(P9_LOCK_READ), N(0), N(0), N(20),
			     "guest"), 0);
	assert_int_equal(get(&setup, 1), P9_LOCK_WRITE);
	/* Two readers: when one lets go, the other's lock is there. */
	assert_int_equal(lock(&setup, 3, P9_LOCK_READ, 150, 10, 30), P9_LOCK_SUCCESS);
	assert_int_equal(lock(&setup, 2, P9_LOCK_NONE, 100, 0, 20), P9_LOCK_SUCCESS);
	assert_int_equal(host_lock(&setup, 100, 0, &where), F_RDLCK);
	assert_int_equal(where, 150);
	/* A fid that is clunked takes its locks along. */
	assert_int_equal(clunk(&setup, 3), 0);
	assert_int_equal(host_lock(&setup, 100, 0, &where), F_UNLCK);
	assert_int_equal(clunk(&setup, 1), 0);
	assert_int_equal(host_lock(&setup, 0, 0, &where), F_UNLCK);
	/* The host's own. */
	fd = open(shared_dir_file(&setup.dir, "hello"), O_RDWR);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &ours), 0);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, 0, 0, 20), P9_LOCK_BLOCKED);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, 0, 500, 20), P9_LOCK_SUCCESS);
	assert_int_equal(ask(&setup, P9_TGETLOCK, "41884s", N(2), N(P9_LOCK_READ), N(0), N(0), N(20),
			     "guest"), 0);
	assert_int_equal(get(&setup, 1), P9_LOCK_WRITE);
	assert_int_equal(get(&setup, 8), 500);
	assert_int_equal(get(&setup, 8), 10);
	close(fd);
	assert_int_equal(lock(&setup, 2, 3, 0, 1, 20), -EINVAL);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, UINT64_MAX, 1, 20), -EINVAL);
	assert_int_equal(lock(&setup, 2, P9_LOCK_READ, 1, UINT64_MAX, 20), -EINVAL);
	assert_int_equal(lock(&setup, ROOT, P9_LOCK_READ, 0, 1, 20), -EBADF);
	finish(&setup);
}

/* Files belong to who attached; a set-user-ID bit does not outlive another's write. */
static void test_users(void **state)
{
	struct stat status;
	struct setup setup;

	(void)state;
	start_with(&setup, &(struct tree_config){ .map = geteuid() ? TREE_MAP_XATTR : TREE_MAP_AUTO });
	assert_int_equal(attach(&setup, 1, 1234), 0);
	assert_int_equal(ask(&setup, P9_TLCREATE, "4s444", N(1), "mine", N(O_RDWR), N(06755), N(99)), 0);
	status = attributes(&setup, 1);
	assert_int_equal(status.st_uid, 1234);
	assert_int_equal(status.st_gid, 99);
	assert_int_equal(status.st_mode, S_IFREG | 06755);
	assert_int_equal(write_at(&setup, 1, 0, "x"), 0);
	assert_int_equal(attributes(&setup, 1).st_mode, S_IFREG | 0755);
	finish(&setup);
}

/* Too short or longer than they say, with strings that end nowhere, with no room for an answer. */
static void test_malformed(void **state)
{
	uint8_t message[64] = { 7, 0, 0, 0, P9_TCLUNK, 1, 0, 0, 0, 0, 0 };
	struct iovec in = { message, 7 }, out, none;
	uint8_t reply[32];
	struct setup setup;

	(void)state;
	start(&setup, false);
	out = (struct iovec){ reply, sizeof(reply) };
	none = (struct iovec){ reply, 10 };
	assert_int_equal(p9_serve(setup.p9, &in, 1, &out, 1), 11);
	assert_int_equal(reply[4], P9_RLERROR);
	assert_int_equal(p9_serve(setup.p9, &in, 1, &none, 1), 0);
	assert_int_equal(p9_serve(setup.p9, &in, 0, &out, 0), 0);
	in.iov_len = 6;
	assert_int_equal(p9_serve(setup.p9, &in, 1, &out, 1), 0);
	in.iov_len = 11;
	message[0] = 12;
	assert_int_equal(p9_serve(setup.p9, &in, 1, &out, 1), 11);
	message[0] = 6;
	assert_int_equal(p9_serve(setup.p9, &in, 1, &out, 1), 11);
	/* Bytes left over, a string beyond the end, a NUL in a name. */
	assert_int_equal(ask(&setup, P9_TCLUNK, "41", N(ROOT), N(0)), EINVAL);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "424", N(ROOT), N(5), N(0)), EINVAL);
	assert_int_equal(ask(&setup, P9_TUNLINKAT, "42114", N(ROOT), N(2), N('a'), N(0), N(0)), EINVAL);
	/* A request greater than what was agreed on. */
	message[0] = 0;
	message[2] = 1;
	assert_int_equal(p9_serve(setup.p9, &in, 1, &out, 1), 11);
	finish(&setup);
}

/*
 * Threads of requests: each with fids and files of its own, and all with some that anybody may clunk
 * meanwhile, of which only the answers' form is known.
 */
struct racer {
	pthread_t thread;
	struct setup setup; /* p9 and dir are everybody's */
	unsigned number;
	bool failed;
};

/* An assertion would leave the thread for the test's own frame. */
static void race_check(struct racer *racer, bool ok)
{
	racer->failed |= !ok;
}

static int race_ask(struct racer *racer, uint8_t type, size_t bytes)
{
	struct setup *s = &racer->setup;
	size_t size;

	for (unsigned i = 0; i < 4; i++)
		s->request[i] = (uint8_t)(bytes >> 8 * i);
	s->request[4] = type;
	s->request_bytes = bytes;
	size = exchange(s);
	s->request_bytes = P9_HEADER_BYTES;
	race_check(racer, size >= P9_HEADER_BYTES);
	return s->reply[4] == P9_RLERROR ? s->reply[7] | s->reply[8] << 8 : 0;
}

static int race_walk(struct racer *racer, uint32_t from, uint32_t to, const char *name)
{
	struct setup *s = &racer->setup;

	put(s, 4, from);
	put(s, 4, to);
	put(s, 2, name ? 1 : 0);
	if (name)
		put_text(s, name);
	return race_ask(racer, P9_TWALK, s->request_bytes);
}

static int race_on(struct racer *racer, uint8_t type, uint32_t fid, unsigned words, uint64_t value)
{
	struct setup *s = &racer->setup;

	put(s, 4, fid);
	if (words)
		put(s, words, value);
	return race_ask(racer, type, s->request_bytes);
}

static void race_rename(struct racer *racer, const char *from, const char *to)
{
	struct setup *s = &racer->setup;

	put(s, 4, ROOT);
	put_text(s, from);
	put(s, 4, ROOT);
	put_text(s, to);
	race_check(racer, !race_ask(racer, P9_TRENAMEAT, s->request_bytes));
}

static void *race(void *opaque)
{
	struct racer *racer = opaque;
	const uint32_t own = 100 + racer->number, any = 7;
	char name[2][16];

	snprintf(name[0], sizeof(name[0]), "a%u", racer->number);
	snprintf(name[1], sizeof(name[1]), "b%u", racer->number);
	for (unsigned round = 0; round < 300; round++) {
		race_check(racer, !race_walk(racer, ROOT, own, name[round % 2]));
		race_check(racer, !race_on(racer, P9_TLOPEN, own, 4, O_RDWR));
		race_rename(racer, name[round % 2], name[!(round % 2)]);
		race_check(racer, !race_on(racer, P9_TGETATTR, own, 8, P9_GETATTR_BASIC));
		race_check(racer, !race_on(racer, P9_TCLUNK, own, 0, 0));
		race_walk(racer, ROOT, any, round % 3 ? "hello" : "dir");
		race_on(racer, P9_TLOPEN, any, 4, O_RDONLY);
		race_walk(racer, any, any, NULL);
		race_on(racer, P9_TGETATTR, any, 8, P9_GETATTR_BASIC);
		race_on(racer, P9_TCLUNK, any, 0, 0);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct racer *racers = calloc(4, sizeof(*racers));
	struct setup setup;
	char name[16];

	(void)state;
	assert_non_null(racers);
	start(&setup, false);
	for (unsigned i = 0; i < 4; i++) {
		racers[i] = (struct racer){ .setup = setup, .number = i };
		snprintf(name, sizeof(name), "a%u", i);
		shared_dir_write(&setup.dir, name, "");
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(racers[i].thread, NULL);
		assert_false(racers[i].failed);
	}
	finish(&setup);
	free(racers);
}

/* Who carries requests is told which they are. */
static void test_peek(void **state)
{
	uint8_t message[9] = { 9, 0, 0, 0, P9_TFLUSH, 5, 1, 7, 2 };
	struct iovec in[2] = { { message, 5 }, { message + 5, 4 } };
	struct p9_request request = p9_peek(in, 2);

	(void)state;
	assert_true(request.is_flush);
	assert_int_equal(request.tag, 0x105);
	assert_int_equal(request.flushes, 0x207);
	message[4] = P9_TREAD;
	request = p9_peek(in, 2);
	assert_false(request.is_flush);
	assert_false(p9_peek(in, 0).is_flush);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),    cmocka_unit_test(test_walk),
		cmocka_unit_test(test_read),       cmocka_unit_test(test_now),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_create_and_unlink),
		cmocka_unit_test(test_make),       cmocka_unit_test(test_rename), cmocka_unit_test(test_rename_of_many),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_readdir),
		cmocka_unit_test(test_xattr),      cmocka_unit_test(test_locks),
		cmocka_unit_test(test_users),      cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_threads),    cmocka_unit_test(test_peek),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
