/* SPDX-License-Identifier: MIT */
/* The FUSE server: what a guest's kernel asks in its life, and what a hostile one does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/fuse.h"
#include "shared_dir.h"

#define REPLY_BYTES 16384

struct setup {
	struct shared_dir dir;
	struct fuse *fuse;
	uint64_t unique;
	struct {
		struct fuse_out_header head;
		_Alignas(8) char data[REPLY_BYTES];
	} reply;
	size_t reply_bytes; /* of data */
};

static void start_with(struct setup *setup, bool readonly, const struct fuse_window *window)
{
	struct fuse_config config = { .tree = { .path = setup->dir.path, .readonly = readonly },
					.cache_ms = 1000, .window = window };

	*setup = (struct setup){ .dir = shared_dir_make() };
	shared_dir_write(&setup->dir, "hello", "hello, world");
	assert_int_equal(fuse_create(&setup->fuse, &config, NULL), 0);
}

static void start(struct setup *setup, bool readonly)
{
	start_with(setup, readonly, NULL);
}

static void finish(struct setup *setup)
{
	fuse_destroy(setup->fuse);
	shared_dir_remove(&setup->dir);
}

/* Sends a request of args and data behind them; the answer's error, and reply. */
static int ask(struct setup *setup, uint32_t opcode, uint64_t node, const void *args, size_t args_size,
	       const void *data, size_t data_size)
{
	struct fuse_in_header head = {
		.len = (uint32_t)(sizeof(head) + args_size + data_size), .opcode = opcode,
		.unique = ++setup->unique, .nodeid = node,
	};
	struct iovec in[3] = { { &head, sizeof(head) }, { (void *)args, args_size },
			       { (void *)data, data_size } };
	/* In pieces that no structure respects. */
	struct iovec out[3] = { { &setup->reply.head, 7 }, { (char *)&setup->reply.head + 7, 9 },
				{ setup->reply.data, REPLY_BYTES } };
	size_t size = fuse_serve(setup->fuse, in, 3, out, 3);

	if (!size)
		return 0;
	assert_int_equal(setup->reply.head.len, size);
	assert_int_equal(setup->reply.head.unique, setup->unique);
	setup->reply_bytes = size - sizeof(setup->reply.head);
	return -setup->reply.head.error;
}

static int ask_name(struct setup *setup, uint32_t opcode, uint64_t node, const char *name)
{
	return ask(setup, opcode, node, NULL, 0, name, strlen(name) + 1);
}

static uint64_t look_up(struct setup *setup, uint64_t node, const char *name)
{
	assert_int_equal(ask_name(setup, FUSE_LOOKUP, node, name), 0);
	return ((struct fuse_entry_out *)setup->reply.data)->nodeid;
}

static uint64_t open_file(struct setup *setup, uint64_t node, uint32_t opcode, uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };

	assert_int_equal(ask(setup, opcode, node, &in, sizeof(in), NULL, 0), 0);
	return ((struct fuse_open_out *)setup->reply.data)->fh;
}

static int read_file(struct setup *setup, uint64_t fh, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return ask(setup, FUSE_READ, 0, &in, sizeof(in), NULL, 0);
}

static int write_at(struct setup *setup, uint64_t fh, uint64_t offset, const char *text)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = (uint32_t)strlen(text) };

	return ask(setup, FUSE_WRITE, 0, &in, sizeof(in), text, strlen(text));
}

static int release(struct setup *setup, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return ask(setup, FUSE_RELEASE, 0, &in, sizeof(in), NULL, 0);
}

static void test_session(void **state)
{
	struct fuse_init_in in = { .major = 7, .minor = 31, .max_readahead = 4096, .flags = ~0u };
	const struct fuse_init_out *out;
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, FUSE_INIT, 0, &in, offsetof(struct fuse_init_in, flags2), NULL, 0),
			 0);
	out = (const void *)setup.reply.data;
	assert_int_equal(out->major, 7);
	assert_true(out->max_write >= 65536);
	assert_false(out->flags & FUSE_POSIX_ACL);
	in.minor = 8;
	assert_int_equal(ask(&setup, FUSE_INIT, 0, &in, offsetof(struct fuse_init_in, flags2), NULL, 0),
			 EPROTO);
	assert_int_equal(ask(&setup, 63, 1, NULL, 0, NULL, 0), ENOSYS);
	assert_int_equal(ask(&setup, 0xffffffff, 1, NULL, 0, NULL, 0), ENOSYS);
	finish(&setup);
}

static void test_read(void **state)
{
	struct setup setup;
	uint64_t node, fh;

	(void)state;
	start(&setup, true);
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	fh = open_file(&setup, node, FUSE_OPEN, O_RDONLY);
	assert_int_equal(read_file(&setup, fh, 7, 100), 0);
	assert_int_equal(setup.reply_bytes, 5);
	assert_memory_equal(setup.reply.data, "world", 5);
	assert_int_equal(read_file(&setup, fh, 100, 100), 0);
	assert_int_equal(setup.reply_bytes, 0);
	assert_int_equal(read_file(&setup, fh, UINT64_MAX - 3, 100), EINVAL);
	assert_int_equal(release(&setup, fh), 0);
	assert_int_equal(read_file(&setup, fh, 0, 100), EBADF);
	assert_int_equal(release(&setup, fh), EBADF);
	finish(&setup);
}

/* What is shared read-only stays as it is, whatever is asked. */
static void test_readonly(void **state)
{
	struct fuse_open_in write_only = { .flags = O_WRONLY }, truncating = { .flags = O_TRUNC };
	struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	struct setup setup;
	uint64_t node, fh;

	(void)state;
	start(&setup, true);
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(ask(&setup, FUSE_OPEN, node, &write_only, sizeof(write_only), NULL, 0), EROFS);
	assert_int_equal(ask(&setup, FUSE_OPEN, node, &truncating, sizeof(truncating), NULL, 0), EROFS);
	assert_int_equal(ask(&setup, FUSE_MKDIR, FUSE_ROOT_ID, &mkdir_in, sizeof(mkdir_in), "d", 2),
			 EROFS);
	assert_int_equal(ask_name(&setup, FUSE_UNLINK, FUSE_ROOT_ID, "hello"), EROFS);
	fh = open_file(&setup, node, FUSE_OPEN, O_RDONLY);
	assert_int_equal(write_at(&setup, fh, 0, "x"), EROFS);
	finish(&setup);
}

static void test_write(void **state)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 04666 };
	struct stat status;
	struct setup setup;
	const char *path;
	uint64_t fh;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), "new", 4), 0);
	fh = ((struct fuse_open_out *)(setup.reply.data + sizeof(struct fuse_entry_out)))->fh;
	assert_int_equal(write_at(&setup, fh, 3, "abc"), 0);
	path = shared_dir_file(&setup.dir, "new");
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 6);
	/* Exactly what was asked for, whatever our umask. */
	assert_int_equal(status.st_mode & 0777, 0666);
	/* Gone by name, there by number. */
	assert_int_equal(ask_name(&setup, FUSE_UNLINK, FUSE_ROOT_ID, "new"), 0);
	assert_int_equal(read_file(&setup, fh, 0, 10), 0);
	assert_int_equal(setup.reply_bytes, 6);
	assert_int_equal(ask_name(&setup, FUSE_UNLINK, FUSE_ROOT_ID, "new"), ENOENT);
	finish(&setup);
}

/* The guest's kernel says when what is changed may set no user any more. */
static void test_privileges(void **state)
{
	struct fuse_write_in write = { .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID };
	struct fuse_open_in open = { .flags = O_WRONLY | O_TRUNC, .open_flags = FUSE_OPEN_KILL_SUIDGID };
	struct fuse_setattr_in setattr = { .valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 3 };
	struct setup setup;
	struct stat status;
	const char *path;
	uint64_t node;

	(void)state;
	start(&setup, false);
	path = shared_dir_file(&setup.dir, "hello");
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	write.fh = open_file(&setup, node, FUSE_OPEN, O_RDWR);
	for (unsigned how = 0; how < 3; how++) {
		assert_int_equal(chmod(path, 06755), 0);
		assert_int_equal(how == 0 ? ask(&setup, FUSE_WRITE, node, &write, sizeof(write), "x", 1) :
				 how == 1 ? ask(&setup, FUSE_OPEN, node, &open, sizeof(open), NULL, 0) :
					    ask(&setup, FUSE_SETATTR, node, &setattr, sizeof(setattr),
						NULL, 0), 0);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode, S_IFREG | 0755);
	}
	finish(&setup);
}

/* Names are one step down, and links are not followed: nothing leads out. */
static void test_names(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/etc", "../etc" };
	struct fuse_open_in in = { 0 };
	struct setup setup;
	uint64_t node;

	(void)state;
	start(&setup, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask_name(&setup, FUSE_LOOKUP, FUSE_ROOT_ID, bad[i]), EINVAL);
	/* Without its NUL. */
	assert_int_equal(ask(&setup, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "hello", 5), EINVAL);
	assert_int_equal(ask(&setup, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "link\0/etc/passwd", 17), 0);
	node = look_up(&setup, FUSE_ROOT_ID, "link");
	assert_int_equal(ask(&setup, FUSE_READLINK, node, NULL, 0, NULL, 0), 0);
	assert_memory_equal(setup.reply.data, "/etc/passwd", 11);
	assert_int_equal(ask(&setup, FUSE_OPEN, node, &in, sizeof(in), NULL, 0), ELOOP);
	assert_int_equal(ask_name(&setup, FUSE_LOOKUP, node, "x"), ENOTDIR);
	finish(&setup);
}

/* A FIFO would block whoever opens it. */
static void test_special_files(void **state)
{
	struct fuse_mknod_in mknod_in = { .mode = S_IFIFO | 0600 };
	struct fuse_open_in in = { 0 };
	struct setup setup;
	uint64_t node;

	(void)state;
	start(&setup, false);
	assert_int_equal(ask(&setup, FUSE_MKNOD, FUSE_ROOT_ID, &mknod_in, sizeof(mknod_in), "fifo", 5),
			 0);
	node = look_up(&setup, FUSE_ROOT_ID, "fifo");
	assert_int_equal(ask(&setup, FUSE_OPEN, node, &in, sizeof(in), NULL, 0), ENXIO);
	finish(&setup);
}

/* All names of the root, one small answer after another. */
static void test_readdir(void **state)
{
	struct fuse_read_in in = { .size = 300 };
	unsigned seen = 0, entries = 0;
	struct setup setup;

	(void)state;
	start(&setup, false);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file%u", i);
		shared_dir_write(&setup.dir, name, "");
	}
	in.fh = open_file(&setup, FUSE_ROOT_ID, FUSE_OPENDIR, 0);
	do {
		assert_int_equal(ask(&setup, FUSE_READDIRPLUS, FUSE_ROOT_ID, &in, sizeof(in), NULL, 0),
				 0);
		assert_true(setup.reply_bytes <= in.size);
		for (size_t at = 0; at < setup.reply_bytes;) {
			struct fuse_direntplus *entry = (void *)(setup.reply.data + at);
			unsigned number;

			entries++;
			if (sscanf(entry->dirent.name, "file%u", &number) == 1) {
				assert_true(entry->entry_out.nodeid > FUSE_ROOT_ID);
				seen |= 1u << number;
			}
			in.offset = entry->dirent.off;
			at += FUSE_DIRENTPLUS_SIZE(entry);
		}
	} while (setup.reply_bytes);
	assert_int_equal(seen, (1u << 20) - 1);
	assert_int_equal(entries, 20 + 3);
	finish(&setup);
}

static void test_forget(void **state)
{
	struct fuse_forget_in in = { .nlookup = 1 };
	struct setup setup;
	uint64_t node;

	(void)state;
	start(&setup, false);
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(look_up(&setup, FUSE_ROOT_ID, "hello"), node);
	ask(&setup, FUSE_FORGET, node, &in, sizeof(in), NULL, 0);
	assert_int_equal(ask(&setup, FUSE_READLINK, node, NULL, 0, NULL, 0), EINVAL);
	in.nlookup = UINT64_MAX;
	ask(&setup, FUSE_FORGET, node, &in, sizeof(in), NULL, 0);
	assert_int_equal(ask(&setup, FUSE_READLINK, node, NULL, 0, NULL, 0), ESTALE);
	/* The root is never forgotten. */
	ask(&setup, FUSE_FORGET, FUSE_ROOT_ID, &in, sizeof(in), NULL, 0);
	look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(ask(&setup, FUSE_STATFS, 12345678, NULL, 0, NULL, 0), ESTALE);
	finish(&setup);
}

static void test_attributes(void **state)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME, .mode = 0600,
				      .size = 5, .mtime = 1000000000, .mtimensec = 5 };
	struct setup setup;
	struct stat status;
	const char *path;
	uint64_t node;

	(void)state;
	start(&setup, false);
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(ask(&setup, FUSE_SETATTR, node, &in, sizeof(in), NULL, 0), 0);
	path = shared_dir_file(&setup.dir, "hello");
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(status.st_size, 5);
	assert_int_equal(status.st_mtim.tv_sec, 1000000000);
	assert_int_equal(status.st_mtim.tv_nsec, 5);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = UINT64_MAX };
	assert_int_equal(ask(&setup, FUSE_SETATTR, node, &in, sizeof(in), NULL, 0), EFBIG);
	finish(&setup);
}

/* ---- a window ---- */

struct shown {
	uint64_t at, size, offset;
	bool shared;
	char first; /* of fd */
	unsigned maps, unmaps, clears;
};

static int show(void *opaque, uint64_t at, uint64_t size, int fd, uint64_t offset, bool shared)
{
	struct shown *shown = opaque;

	if (at + size > 1 << 21)
		return EINVAL;
	*shown = (struct shown){ .at = at, .size = size, .offset = offset, .shared = shared,
				 .maps = shown->maps + 1, .unmaps = shown->unmaps,
				 .clears = shown->clears };
	assert_int_equal(pread(fd, &shown->first, 1, 0), 1);
	return 0;
}

static int hide(void *opaque, uint64_t at, uint64_t size)
{
	struct shown *shown = opaque;

	shown->at = at;
	shown->size = size;
	shown->unmaps++;
	return at ? 0 : ENXIO;
}

static void clear(void *opaque)
{
	((struct shown *)opaque)->clears++;
}

static int set_up(struct setup *setup, uint64_t node, uint64_t flags, uint64_t at)
{
	struct fuse_setupmapping_in in = { .fh = UINT64_MAX, .foffset = 4096, .len = 8192,
					   .flags = flags, .moffset = at };

	return ask(setup, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0);
}

/* Which files are shown is the server's to say; where, the guest's. */
static void test_window(void **state)
{
	struct shown shown = { 0 };
	const struct fuse_window window = { .map = show, .unmap = hide, .clear = clear, .opaque = &shown };
	struct fuse_init_in init = { .major = 7, .minor = 36, .flags = ~0u, .flags2 = ~0u };
	const struct fuse_init_out *out;
	struct {
		struct fuse_removemapping_in head;
		struct fuse_removemapping_one one[2];
	} __attribute__((packed)) remove = { { 3 }, { { 4096, 8192 }, { 0, 4096 } } };
	struct setup setup;
	uint64_t file;

	(void)state;
	start_with(&setup, false, &window);
	assert_int_equal(ask(&setup, FUSE_INIT, 0, &init, sizeof(init), NULL, 0), 0);
	out = (const void *)setup.reply.data;
	assert_true(out->flags & FUSE_MAP_ALIGNMENT && out->flags2 == FUSE_HAS_INODE_DAX >> 32);
	assert_false(out->flags & FUSE_HANDLE_KILLPRIV_V2);
	assert_int_equal(out->map_alignment, FUSE_WINDOW_SHIFT);
	file = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(((struct fuse_entry_out *)setup.reply.data)->attr.flags, FUSE_ATTR_DAX);
	assert_int_equal(set_up(&setup, file, FUSE_SETUPMAPPING_FLAG_READ, 4096), 0);
	assert_true(shown.at == 4096 && shown.size == 8192 && shown.offset == 4096 && !shown.shared);
	assert_int_equal(shown.first, 'h');
	assert_int_equal(set_up(&setup, file, FUSE_SETUPMAPPING_FLAG_WRITE, 0), 0);
	assert_true(shown.shared);
	assert_int_equal(set_up(&setup, file, 0, 1 << 21), EINVAL);
	assert_int_equal(set_up(&setup, FUSE_ROOT_ID, 0, 0), EINVAL);
	assert_int_equal(set_up(&setup, 99, 0, 0), ESTALE);
	assert_int_equal(shown.maps, 2);
	/* No more than there are, until one fails. */
	assert_int_equal(ask(&setup, FUSE_REMOVEMAPPING, 0, &remove, sizeof(remove), NULL, 0), ENXIO);
	assert_int_equal(shown.unmaps, 2);
	fuse_reset(setup.fuse);
	assert_int_equal(shown.clears, 1);
	finish(&setup);
	start_with(&setup, true, &window);
	file = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(set_up(&setup, file, FUSE_SETUPMAPPING_FLAG_WRITE, 0), EROFS);
	finish(&setup);
	start(&setup, false);
	assert_int_equal(ask(&setup, FUSE_INIT, 0, &init, sizeof(init), NULL, 0), 0);
	assert_false(((const struct fuse_init_out *)setup.reply.data)->flags & FUSE_MAP_ALIGNMENT);
	file = look_up(&setup, FUSE_ROOT_ID, "hello");
	assert_int_equal(((struct fuse_entry_out *)setup.reply.data)->attr.flags, 0);
	assert_int_equal(set_up(&setup, file, 0, 0), ENOSYS);
	finish(&setup);
}

/* Asks for a write of size bytes as the guest's CPU does. */
static size_t write_now(struct setup *setup, uint64_t fh, uint32_t size)
{
	static char data[1 << 20];
	struct fuse_write_in args = { .fh = fh, .size = size };
	struct fuse_in_header head = { .len = (uint32_t)(sizeof(head) + sizeof(args) + size),
				       .opcode = FUSE_WRITE, .nodeid = FUSE_ROOT_ID };
	struct iovec in[3] = { { &head, sizeof(head) }, { &args, sizeof(args) }, { data, size } };
	struct iovec out = { &setup->reply, sizeof(setup->reply) };

	return fuse_serve_now(setup->fuse, in, 3, &out, 1);
}

/* Small writes are done at once; those that take long, or have to reach the disk, are not begun. */
static void test_now(void **state)
{
	const size_t answer = sizeof(struct fuse_out_header) + sizeof(struct fuse_write_out);
	struct setup setup;
	struct stat status;
	uint64_t node, fh, through;

	(void)state;
	start(&setup, false);
	node = look_up(&setup, FUSE_ROOT_ID, "hello");
	fh = open_file(&setup, node, FUSE_OPEN, O_RDWR);
	through = open_file(&setup, node, FUSE_OPEN, O_RDWR | O_SYNC);
	assert_int_equal(write_now(&setup, fh, 1 << 20), TREE_LATER);
	assert_int_equal(write_now(&setup, through, 100), TREE_LATER);
	assert_int_equal(stat(shared_dir_file(&setup.dir, "hello"), &status), 0);
	assert_int_equal(status.st_size, 12);
	assert_int_equal(write_now(&setup, fh, 100), answer);
	assert_int_equal(setup.reply.head.error, 0);
	assert_int_equal(((struct fuse_write_out *)setup.reply.data)->size, 100);
	assert_int_equal(stat(shared_dir_file(&setup.dir, "hello"), &status), 0);
	assert_int_equal(status.st_size, 100);
	finish(&setup);
}

/* Too short for what they say they are; with no room for an answer. */
static void test_truncated(void **state)
{
	struct fuse_in_header head = { .len = sizeof(head), .opcode = FUSE_OPEN, .nodeid = 1 };
	char reply[32] = { 0 };
	struct iovec in = { &head, sizeof(head) }, out = { reply, sizeof(reply) }, none = { reply, 4 };
	struct setup setup;

	(void)state;
	start(&setup, false);
	assert_int_equal(fuse_serve(setup.fuse, &in, 1, &out, 1), sizeof(struct fuse_out_header));
	assert_int_equal(((struct fuse_out_header *)reply)->error, -EINVAL);
	assert_int_equal(fuse_serve(setup.fuse, &in, 1, &none, 1), 0);
	in.iov_len = 20;
	assert_int_equal(fuse_serve(setup.fuse, &in, 1, &out, 1), 0);
	assert_int_equal(fuse_serve(setup.fuse, &in, 0, &out, 0), 0);
	finish(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_now),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_session),    cmocka_unit_test(test_read),
		cmocka_unit_test(test_readonly),   cmocka_unit_test(test_write),
		cmocka_unit_test(test_privileges),
		cmocka_unit_test(test_names),      cmocka_unit_test(test_special_files),
		cmocka_unit_test(test_readdir),    cmocka_unit_test(test_forget),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
