/* SPDX-License-Identifier: MIT */
/* Names of machines: who has one, what the dead leave, what is not ours. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/machines.h"

static char runtime[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(runtime, "/tmp/ringlet-test-XXXXXX");
	assert_non_null(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", runtime);
	return system(command);
}

static int open_directory(void)
{
	struct error err;
	int dir = machines_open(&err);

	assert_true(dir >= 0);
	return dir;
}

static bool exists(int dir, const char *file)
{
	return !faccessat(dir, file, F_OK, AT_SYMLINK_NOFOLLOW);
}

static void make_file(int dir, const char *file)
{
	int fd = openat(dir, file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void test_modes(void **state)
{
	int dir = open_directory(), fd = machines_claim(dir, "one", NULL);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(fstatat(dir, "one.sock", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	machines_release(dir, "one");
	assert_false(exists(dir, "one.sock"));
	close(fd);
	close(dir);
}

static void test_directory_of_others(void **state)
{
	char path[80];
	struct error err;

	(void)state;
	snprintf(path, sizeof(path), "%s/ringlet", runtime);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(machines_open(&err), -EACCES);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(machines_open(&err) < 0);
}

static void test_names(void **state)
{
	static const char *const refused[] = {
		"", ".a", "-a", "_a", "a/b", "a b", "..", ".", "/a", "../a", "a\n", "a\x7f", "a\xc3\xa9", "a%s",
	};
	char longest[MACHINES_NAME_BYTES + 1], text[65536];
	struct error err;

	(void)state;
	assert_int_equal(machines_check_name("a.b_c-1", NULL), 0);
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(machines_check_name(refused[i], NULL), -EINVAL);
		assert_int_equal(machines_connect(-1, refused[i], NULL), -EINVAL);
		assert_int_equal(machines_claim(-1, refused[i], NULL), -EINVAL);
	}
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	assert_int_equal(machines_check_name(text, &err), -EINVAL);
	assert_non_null(strstr(err.message, "letter or digit"));
	memset(longest, 'x', sizeof(longest));
	longest[MACHINES_NAME_BYTES] = 0;
	assert_int_equal(machines_check_name(longest, NULL), -EINVAL);
	longest[MACHINES_NAME_BYTES - 1] = 0;
	assert_int_equal(machines_check_name(longest, NULL), 0);
}

/* A name has one owner; what is beside its socket is his, what only looks like it is not. */
static void test_one_owner(void **state)
{
	int dir = open_directory(), other = open_directory(), fd = machines_claim(dir, "one", NULL);
	struct error err;
	int peer;

	(void)state;
	assert_int_equal(machines_claim(other, "one", &err), -EEXIST);
	assert_non_null(strstr(err.message, "'one' runs already"));
	peer = machines_connect(other, "one", &err);
	assert_true(peer >= 0);
	close(peer);
	make_file(dir, "one.vsock");
	make_file(dir, "one.two.vsock");
	machines_release(dir, "one");
	assert_false(exists(dir, "one.vsock"));
	assert_true(exists(dir, "one.two.vsock"));
	close(fd);
	assert_int_equal(machines_connect(other, "one", &err), -ENOENT);
	close(other);
	close(dir);
}

static void claim_and_die(const char *name)
{
	pid_t child = fork();
	int status;

	if (!child) {
		int dir = machines_open(NULL);

		_exit(machines_claim(dir, name, NULL) < 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_the_dead(void **state)
{
	int dir = open_directory(), fd;
	char **names;

	(void)state;
	claim_and_die("another");
	claim_and_die("dead");
	assert_false(exists(dir, "another.sock"));
	assert_true(exists(dir, "dead.sock"));
	make_file(dir, "dead.vsock");
	assert_int_equal(machines_connect(dir, "another", NULL), -ENOENT);
	assert_true(exists(dir, "dead.sock"));
	assert_int_equal(machines_connect(dir, "dead", NULL), -ENOENT);
	assert_false(exists(dir, "dead.sock"));
	assert_false(exists(dir, "dead.vsock"));
	claim_and_die("another");
	fd = machines_claim(dir, "dead", NULL);
	assert_false(exists(dir, "another.sock"));
	assert_true(fd >= 0);
	claim_and_die("other");
	make_file(dir, "other.vsock");
	assert_int_equal(machines_list(dir, &names, NULL), 0);
	assert_string_equal(names[0], "dead");
	assert_null(names[1]);
	machines_free_names(names);
	assert_false(exists(dir, "other.sock"));
	assert_false(exists(dir, "other.vsock"));
	close(fd);
	close(dir);
}

enum { RACERS = 16 };

/* Ends with 0 if it has got the name; whoever has it keeps it until the pipe ends. */
static pid_t race_for(const char *name, const int *start)
{
	pid_t child = fork();
	char byte;
	int dir, fd;

	if (child)
		return child;
	close(start[1]);
	dir = machines_open(NULL);
	(void)!read(start[0], &byte, 1);
	fd = machines_claim(dir, name, NULL);
	if (fd < 0)
		_exit(fd == -EEXIST ? 1 : 2);
	sleep(1);
	_exit(0);
}

/* Of many that want one name at once, where a dead one has it, one gets it. */
static void test_a_race(void **state)
{
	pid_t racer[RACERS];
	unsigned won = 0;
	int start[2];

	(void)state;
	claim_and_die("one");
	assert_int_equal(pipe(start), 0);
	for (unsigned i = 0; i < RACERS; i++)
		racer[i] = race_for("one", start);
	close(start[0]);
	close(start[1]);
	for (unsigned i = 0; i < RACERS; i++) {
		int status;

		assert_int_equal(waitpid(racer[i], &status, 0), racer[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		won += !WEXITSTATUS(status);
	}
	assert_int_equal(won, 1);
}

static void test_order(void **state)
{
	static const char *const given[] = { "vm-10", "vm-2", "a" };
	static const char *const sorted[] = { "a", "vm-2", "vm-10" };
	int dir = open_directory(), fds[3];
	char **names;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		fds[i] = machines_claim(dir, given[i], NULL);
	make_file(dir, "no socket");
	make_file(dir, "-.sock");
	assert_int_equal(machines_list(dir, &names, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_string_equal(names[i], sorted[i]);
	assert_null(names[3]);
	machines_free_names(names);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_modes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_directory_of_others, set_up, tear_down),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_one_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_dead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_race, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
