/* SPDX-License-Identifier: MIT */
/* Windows of guest memory: what they show, what is refused, files that become shorter. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "mem/window.h"

#define MIB (1u << 20)
#define PAGE MEM_PAGE_SIZE
#define GPA (16ull * MIB)
#define BYTES (4ull * MIB)

static volatile sig_atomic_t faults;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	faults++;
	if (!mem_window_fault(info->si_addr))
		abort();
}

/* In a test, for before it the test's runner puts handlers of its own. */
static void watch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	faults = 0;
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

static int setup(void **state)
{
	struct mem *mem;

	if (mem_create(&mem, NULL))
		return -1;
	*state = mem;
	return mem_add(mem, 0, MIB, false, "ram", NULL) ||
	       mem_add_window(mem, GPA, BYTES, "window", NULL);
}

static int teardown(void **state)
{
	mem_destroy(*state);
	return 0;
}

/* A file of pages, each of which begins with its number. */
static int make_file(unsigned pages)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)pages * PAGE), 0);
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(pwrite(fd, (char[]){ (char)('0' + i) }, 1, (off_t)i * PAGE), 1);
	return fd;
}

static volatile char *at(const struct mem *mem, uint64_t offset)
{
	return mem_ptr(mem, GPA + offset, 1);
}

static void test_shows_files(void **state)
{
	struct mem *mem = *state;
	int fd = make_file(4);
	char byte;

	watch_faults();
	assert_int_equal(*at(mem, 0), 0);
	assert_int_equal(mem_window_map(mem, GPA, 2 * PAGE, fd, PAGE, false), 0);
	assert_int_equal(mem_window_map(mem, GPA + BYTES - PAGE, PAGE, fd, 0, true), 0);
	assert_int_equal(*at(mem, 0), '1');
	assert_int_equal(*at(mem, PAGE), '2');
	assert_int_equal(*at(mem, 2 * PAGE), 0);
	assert_int_equal(*at(mem, BYTES - PAGE), '0');
	/* What others write is seen at once. */
	assert_int_equal(pwrite(fd, "x", 1, PAGE), 1);
	assert_int_equal(*at(mem, 0), 'x');
	/* Writes go where they may. */
	*at(mem, PAGE) = 'p';
	*at(mem, BYTES - PAGE) = 's';
	assert_int_equal(pread(fd, &byte, 1, 2 * PAGE), 1);
	assert_int_equal(byte, '2');
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 's');
	assert_int_equal(mem_window_unmap(mem, GPA, BYTES), 0);
	assert_int_equal(*at(mem, 0), 0);
	assert_int_equal(*at(mem, BYTES - PAGE), 0);
	assert_int_equal(faults, 0);
	close(fd);
}

static void test_nothing_beyond_a_window(void **state)
{
	static const struct {
		uint64_t gpa, length, offset;
	} bad[] = {
		{ 0, PAGE, 0 }, { GPA - PAGE, 2 * PAGE, 0 }, { GPA, BYTES + PAGE, 0 },
		{ GPA + BYTES, PAGE, 0 }, { GPA + BYTES - PAGE, 2 * PAGE, 0 }, { GPA, 0, 0 },
		{ GPA + 1, PAGE, 0 }, { GPA, PAGE + 1, 0 }, { GPA, PAGE, 1 },
		{ GPA, PAGE, UINT64_MAX - PAGE + 1 }, { GPA, PAGE, INT64_MAX - PAGE + 1 },
		{ GPA, UINT64_MAX - PAGE + 1, 0 }, { UINT64_MAX - PAGE + 1, PAGE, 0 },
	};
	struct mem *mem = *state;
	int fd = make_file(1);

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mem_window_map(mem, bad[i].gpa, bad[i].length, fd, bad[i].offset, true),
				 -EINVAL);
	assert_int_equal(mem_window_unmap(mem, 0, PAGE), -EINVAL);
	assert_int_equal(mem_window_map(mem, GPA, PAGE, -1, 0, false), -EBADF);
	/* What is not the guest's to use freely is not given back either. */
	assert_int_equal(mem_window_map(mem, GPA, PAGE, fd, 0, false), 0);
	*at(mem, 0) = 'k';
	mem_discard(mem, GPA, PAGE);
	assert_int_equal(*at(mem, 0), 'k');
	close(fd);
}

static void test_files_that_become_shorter(void **state)
{
	struct mem *mem = *state;
	int fd = make_file(4);

	watch_faults();
	assert_int_equal(mem_window_map(mem, GPA, 4 * PAGE, fd, 0, true), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(*at(mem, 0), '0');
	assert_int_equal(*at(mem, 2 * PAGE), 0);
	assert_int_equal(faults, 1);
	*at(mem, 3 * PAGE) = 'w';
	assert_int_equal(faults, 2);
	assert_int_equal(*at(mem, 3 * PAGE), 'w');
	assert_int_equal(lseek(fd, 0, SEEK_END), PAGE);
	/* Mapped anew, it is the file again. */
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_int_equal(mem_window_map(mem, GPA, 4 * PAGE, fd, 0, true), 0);
	assert_int_equal(*at(mem, 3 * PAGE), 0);
	assert_false(mem_window_fault(mem_ptr(mem, 0, 1)));
	close(fd);
}

/* More pages that are replaced than a process may have mappings: only what is seen suffers. */
static void test_many_faults(void **state)
{
	const uint64_t bytes = 640ull * MIB;
	struct mem *mem = *state;
	int fd = make_file(1);

	watch_faults();
	assert_int_equal(mem_add_window(mem, 1ull << 32, bytes, "large", NULL), 0);
	assert_int_equal(mem_window_map(mem, 1ull << 32, bytes, fd, 0, true), 0);
	for (uint64_t offset = PAGE; offset < bytes; offset += 2 * PAGE) {
		volatile char *byte = mem_ptr(mem, (1ull << 32) + offset, 1);

		assert_int_equal(*byte, 0);
		*byte = 'x';
		assert_int_equal(*byte, 'x');
	}
	assert_true(faults > 1000);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_shows_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_beyond_a_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_that_become_shorter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_faults, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
