/* SPDX-License-Identifier: MIT */
/* What a confined process can no longer do, and what it still can. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/sandbox.h"
#include "net/confine.h"

/* Runs what in a process of its own, confined as user mode's is; its result. */
static int confined(int (*what)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		_exit(net_user_confine(NULL) ? 99 : what());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int refused(long result)
{
	return result < 0 && (errno == EPERM || errno == EACCES) ? 0 : 1;
}

static int run_program(void)
{
	char *const argv[] = { (char *)"true", NULL };

	return refused(execv("/bin/true", argv));
}

static int start_process(void)
{
	return refused(syscall(SYS_fork));
}

static int write_file(void)
{
	return refused(open("/tmp/ringlet-test-sandbox", O_WRONLY | O_CREAT, 0600));
}

static int unix_socket(void)
{
	return refused(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	return page == MAP_FAILED && errno == EPERM ? 0 : 1;
}

static int kill_parent(void)
{
	return refused(syscall(SYS_kill, getppid(), 0));
}

static int trace_parent(void)
{
	return refused(syscall(SYS_ptrace, 16, getppid(), 0, 0));
}

static int other_calls(void)
{
	return refused(syscall(SYS_unlink, "/nonexistent")) + refused(syscall(SYS_setuid, 0)) +
	       refused(syscall(SYS_open_by_handle_at, 0, NULL, 0)) + refused(syscall(SYS_mount, 0)) +
	       refused(syscall(SYS_io_uring_setup, 1, NULL));
}

static int work(void)
{
	int fd = open("/etc/passwd", O_RDONLY), inet = socket(AF_INET, SOCK_DGRAM, 0);
	char byte;
	void *memory = malloc(1 << 20);

	return fd < 0 || read(fd, &byte, 1) != 1 || inet < 0 || close(inet) || !memory;
}

static void test_what_is_gone(void **state)
{
	(void)state;
	assert_int_equal(confined(run_program), 0);
	assert_int_equal(confined(start_process), 0);
	assert_int_equal(confined(write_file), 0);
	assert_int_equal(confined(unix_socket), 0);
	assert_int_equal(confined(make_code), 0);
	assert_int_equal(confined(kill_parent), 0);
	assert_int_equal(confined(trace_parent), 0);
	assert_int_equal(confined(other_calls), 0);
}

static void test_what_stays(void **state)
{
	(void)state;
	assert_int_equal(confined(work), 0);
}

static char secret[] = "/tmp/ringlet-test.XXXXXX";

static int read_secret(void)
{
	return refused(open(secret, O_RDONLY));
}

/* Where the kernel has Landlock. */
static void test_hidden_files(void **state)
{
	bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	int fd = mkstemp(secret);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	if (landlock)
		assert_int_equal(confined(read_secret), 0);
	unlink(secret);
	if (!landlock)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_gone),
		cmocka_unit_test(test_what_stays),
		cmocka_unit_test(test_hidden_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
