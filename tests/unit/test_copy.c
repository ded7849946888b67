/* SPDX-License-Identifier: MIT */
/*
 * Trees on their way through a connection (agent/copy.h), which is a file here: what is sent arrives;
 * what no honest side would send is refused, and leaves no trace outside of where the copy goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"

struct bench {
	char top[32]; /* /tmp/…; the copy goes to "in" below it, "out" must stay empty */
	struct agent_copy copy;
	unsigned warnings;
};

static void count_warning(void *opaque, const char *text)
{
	assert_non_null(strstr(text, "left out"));
	((struct bench *)opaque)->warnings++;
}

static const char *at(const struct bench *b, const char *name)
{
	static char path[2][128];
	static unsigned turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", b->top, name);
	return path[turn];
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	strcpy(b->top, "/tmp/copy-XXXXXX");
	assert_non_null(mkdtemp(b->top));
	assert_int_equal(mkdir(at(b, "in"), 0700), 0);
	assert_int_equal(mkdir(at(b, "out"), 0700), 0);
	b->copy = (struct agent_copy){ .fd = memfd_create("connection", MFD_CLOEXEC),
				       .data = malloc(AGENT_FRAME_MAX + 1), .warn = count_warning,
				       .opaque = b };
	assert_true(b->copy.fd >= 0 && b->copy.data);
	return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	/* Nothing has come out. */
	assert_int_equal(rmdir(at(b, "out")), 0);
	assert_int_equal(nftw(b->top, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
	close(b->copy.fd);
	free(b->copy.data);
	free(b);
	return 0;
}

static void put_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(chmod(path, mode), 0);
}

static void expect_file(const char *path, const char *text, mode_t mode)
{
	char have[64];
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, have, sizeof(have) - 1);

	assert_true(got >= 0);
	have[got] = 0;
	assert_string_equal(have, text);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | mode);
	close(fd);
}

static void rewind_connection(struct bench *b)
{
	assert_int_equal(lseek(b->copy.fd, 0, SEEK_SET), 0);
}

static void test_there_and_back(void **state)
{
	struct bench *b = *state;
	char target[16] = "";

	umask(022);
	mkdir(at(b, "tree"), 0755);
	mkdir(at(b, "tree/sub"), 0500);
	chmod(at(b, "tree/sub"), 0700);
	put_file(at(b, "tree/file"), "content", 0751);
	put_file(at(b, "tree/sub/inner"), "", 0400);
	chmod(at(b, "tree/sub"), 0500);
	assert_int_equal(symlink("/nowhere", at(b, "tree/link")), 0);
	assert_int_equal(mkfifo(at(b, "tree/pipe"), 0600), 0);
	assert_int_equal(agent_copy_send(&b->copy, at(b, "tree"), true), 0);
	assert_int_equal(b->warnings, 1);
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), "name"), 0);
	expect_file(at(b, "in/name/file"), "content", 0751);
	expect_file(at(b, "in/name/sub/inner"), "", 0400);
	assert_int_equal(readlink(at(b, "in/name/link"), target, sizeof(target) - 1), 8);
	assert_string_equal(target, "/nowhere");
	assert_int_equal(access(at(b, "in/name/pipe"), F_OK), -1);
	/* Once more, over what is there. */
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in/name"), ""), 0);
}

static void test_a_file(void **state)
{
	struct bench *b = *state;

	umask(027);
	put_file(at(b, "one"), "text", 0777);
	assert_int_equal(agent_copy_send(&b->copy, at(b, "one"), false), 0);
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in/two"), "one"), 0);
	expect_file(at(b, "in/two"), "text", 0750);
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), "one"), 0);
	expect_file(at(b, "in/one"), "text", 0750);
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "none/two"), "one"), -EIO);
	assert_non_null(strstr(b->copy.failure, "No such file"));
	umask(022);
}

static void test_what_cannot_be_sent(void **state)
{
	struct bench *b = *state;

	assert_int_equal(agent_copy_send(&b->copy, at(b, "none"), true), -EIO);
	assert_non_null(strstr(b->copy.failure, "No such file"));
	assert_int_equal(agent_copy_send(&b->copy, at(b, "in"), false), -EIO);
	assert_non_null(strstr(b->copy.failure, "use -r"));
	assert_int_equal(agent_copy_send(&b->copy, "/dev/null", true), -EIO);
	assert_int_equal(lseek(b->copy.fd, 0, SEEK_END), 0);
	close(b->copy.fd);
	assert_int_equal(agent_copy_send(&b->copy, at(b, "in"), true), -EBADF);
	assert_string_equal(b->copy.failure, "");
	b->copy.fd = memfd_create("connection", MFD_CLOEXEC);
}

/* ---- hostile senders ---- */

struct step {
	enum agent_type type;
	const char *text; /* NULL: an empty frame */
	size_t len;       /* 0: the text's */
};

#define NAMED(type, text) { type, "\0\0\0\0" text, 4 + sizeof(text) - 1 }
#define TOP NAMED(AGENT_DIR, "")

static void put_steps(struct bench *b, const struct step *steps)
{
	assert_int_equal(ftruncate(b->copy.fd, 0), 0);
	rewind_connection(b);
	for (; steps->type; steps++)
		assert_int_equal(agent_send(b->copy.fd, steps->type, steps->text,
					    steps->len		? steps->len :
					    steps->text ? strlen(steps->text) : 0), 0);
	rewind_connection(b);
}

static void test_names(void **state)
{
	static const struct step wrong[][4] = {
		{ TOP, NAMED(AGENT_FILE, "../out/x") },
		{ TOP, NAMED(AGENT_FILE, "..") },
		{ TOP, NAMED(AGENT_FILE, ".") },
		{ TOP, NAMED(AGENT_FILE, "") },
		{ TOP, NAMED(AGENT_FILE, "a/b") },
		{ TOP, NAMED(AGENT_FILE, "/etc/x") },
		{ TOP, NAMED(AGENT_FILE, "a\0b") },
		{ TOP, NAMED(AGENT_DIR, "..") },
		{ TOP, NAMED(AGENT_DIR, "../out/y") },
		{ TOP, NAMED(AGENT_LINK, "../out/z\0/etc") },
		{ TOP, NAMED(AGENT_LINK, "..\0/etc") },
		/* The top has no name, and is no link. */
		{ NAMED(AGENT_FILE, "x") },
		{ NAMED(AGENT_DIR, "../out/x") },
		{ NAMED(AGENT_LINK, "\0/etc") },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		put_steps(b, wrong[i]);
		assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EIO);
		assert_non_null(strstr(b->copy.failure, "does not speak as it should"));
	}
}

/* Neither through links that the sender made before, nor through those that are there. */
static void test_links_in_the_way(void **state)
{
	static const struct step through[][5] = {
		{ TOP, NAMED(AGENT_LINK, "l\0../out"), NAMED(AGENT_DIR, "l"),
		  NAMED(AGENT_FILE, "x") },
		{ TOP, NAMED(AGENT_LINK, "m\0../out/x"), NAMED(AGENT_FILE, "m") },
		{ TOP, NAMED(AGENT_FILE, "there") },
		{ TOP, NAMED(AGENT_DIR, "dir") },
	};
	struct bench *b = *state;

	assert_int_equal(symlink("../out/x", at(b, "in/there")), 0);
	assert_int_equal(symlink("../out", at(b, "in/dir")), 0);
	for (size_t i = 0; i < sizeof(through) / sizeof(through[0]); i++) {
		put_steps(b, through[i]);
		assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EIO);
		assert_true(*b->copy.failure);
	}
}

/* A pipe that nobody reads must not stop us; a directory is no file, nor the other way about. */
static void test_others_in_the_way(void **state)
{
	static const struct step into[][3] = {
		{ TOP, NAMED(AGENT_FILE, "pipe") },
		{ TOP, NAMED(AGENT_FILE, "dir") },
		{ TOP, NAMED(AGENT_DIR, "file") },
		{ TOP, NAMED(AGENT_LINK, "file\0x") },
	};
	struct bench *b = *state;

	assert_int_equal(mkfifo(at(b, "in/pipe"), 0600), 0);
	assert_int_equal(mkdir(at(b, "in/dir"), 0700), 0);
	put_file(at(b, "in/file"), "kept", 0600);
	for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++) {
		put_steps(b, into[i]);
		assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EIO);
	}
	expect_file(at(b, "in/file"), "kept", 0600);
}

static void test_order(void **state)
{
	static const struct step wrong[][5] = {
		{ { AGENT_END, NULL, 0 } },
		{ { AGENT_UP, NULL, 0 } },
		{ { AGENT_DATA, "x", 0 } },
		{ TOP, { AGENT_DATA, "x", 0 } },
		{ TOP, { AGENT_END, NULL, 0 } },
		{ TOP, { AGENT_UP, NULL, 0 }, { AGENT_UP, NULL, 0 } },
		{ TOP, { AGENT_UP, NULL, 0 }, TOP },
		{ TOP, NAMED(AGENT_FILE, "f"), NAMED(AGENT_FILE, "g") },
		{ TOP, NAMED(AGENT_FILE, "f"), { AGENT_END, NULL, 0 } },
		{ { AGENT_DIR, "abc", 0 } },
		{ { AGENT_EXIT, "abcd", 0 } },
		{ { AGENT_STDOUT, "x", 0 } },
		{ { 99, NULL, 0 } },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		put_steps(b, wrong[i]);
		assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EIO);
	}
}

static void test_ends(void **state)
{
	static const struct step failed[] = { TOP, { AGENT_FAIL, "the other's words", 0 }, { 0 } };
	static const struct step warned[] = { TOP, { AGENT_WARN, "left out x", 0 },
					      { AGENT_UP, NULL, 0 }, { AGENT_END, NULL, 0 }, { 0 } };
	static const struct step cut[] = { TOP, { 0 } };
	const struct agent_header huge = { .type = AGENT_DATA, .len = AGENT_FRAME_MAX + 1 };
	struct bench *b = *state;

	put_steps(b, failed);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EREMOTEIO);
	assert_string_equal(b->copy.failure, "the other's words");
	put_steps(b, warned);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), 0);
	assert_int_equal(b->warnings, 1);
	put_steps(b, cut);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EPIPE);
	assert_string_equal(b->copy.failure, "");
	put_steps(b, cut);
	assert_int_equal(lseek(b->copy.fd, 0, SEEK_END), 12);
	assert_int_equal(write(b->copy.fd, &huge, sizeof(huge)), sizeof(huge));
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EPROTO);
}

static void test_depth(void **state)
{
	static const struct step inner[] = { NAMED(AGENT_DIR, "d"), { 0 } };
	struct bench *b = *state;
	static const struct step top[] = { TOP, { 0 } };

	put_steps(b, top);
	assert_int_equal(lseek(b->copy.fd, 0, SEEK_END), 12);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(agent_send(b->copy.fd, inner->type, inner->text, inner->len), 0);
	rewind_connection(b);
	assert_int_equal(agent_copy_receive(&b->copy, at(b, "in"), ""), -EIO);
	assert_non_null(strstr(b->copy.failure, "too deep"));
}

static void test_last_name(void **state)
{
	static const struct {
		const char *path;
		size_t offset, length;
	} cases[] = {
		{ "a", 0, 1 }, { "/x/yz", 3, 2 }, { "/x/yz//", 3, 2 }, { "/", 0, 0 }, { "", 0, 0 },
		{ ".", 0, 0 }, { "..", 0, 0 }, { "a/.", 2, 0 }, { "a/..", 2, 0 }, { ".b", 0, 2 },
		{ "..b", 0, 3 }, { "...", 0, 3 },
	};
	const char *name;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(agent_last_name(cases[i].path, &name), cases[i].length);
		if (cases[i].length)
			assert_ptr_equal(name, cases[i].path + cases[i].offset);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back), TEST(test_a_file), TEST(test_what_cannot_be_sent),
		TEST(test_names), TEST(test_links_in_the_way), TEST(test_others_in_the_way),
		TEST(test_order), TEST(test_ends), TEST(test_depth),
		cmocka_unit_test(test_last_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
