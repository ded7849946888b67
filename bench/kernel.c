/* SPDX-License-Identifier: MIT */
/* What costs the kernel time, not the program: entries, exceptions, processes, memory maps. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGE 4096

/* ---- null_syscall ---- */

#define SYSCALLS 2000

static uint64_t null_syscall_run(void *data)
{
	(void)data;
	for (unsigned i = 0; i < SYSCALLS; i++)
		bench_check(syscall(SYS_getppid) >= 0, "getppid");
	return SYSCALLS;
}

const struct bench bench_null_syscall = { "null_syscall", "kernel", NULL, null_syscall_run, NULL };

/* ---- signal: to oneself, with a handler ---- */

#define SIGNALS 200

static void count_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	++*(volatile uint64_t *)info->si_value.sival_ptr;
}

static void *signal_prepare(void)
{
	struct sigaction action = { .sa_sigaction = count_signal, .sa_flags = SA_SIGINFO };

	bench_check(!sigaction(SIGRTMIN, &action, NULL), "sigaction");
	return bench_alloc(sizeof(uint64_t));
}

static uint64_t signal_run(void *data)
{
	uint64_t *count = data;

	*count = 0;
	for (unsigned i = 0; i < SIGNALS; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_ptr = count });
	return *(volatile uint64_t *)count;
}

const struct bench bench_signal = { "signal", "kernel", signal_prepare, signal_run, NULL };

/* ---- segv: a handler makes the page writable that was written to ---- */

#define FAULTS 100

static void allow_page(int number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);

	(void)number;
	(void)context;
	if (mprotect((void *)address, PAGE, PROT_READ | PROT_WRITE))
		_exit(1);
}

static void *segv_prepare(void)
{
	struct sigaction action = { .sa_sigaction = allow_page, .sa_flags = SA_SIGINFO };
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bench_check(page != MAP_FAILED && !sigaction(SIGSEGV, &action, NULL), "segv");
	return page;
}

static uint64_t segv_run(void *data)
{
	volatile char *page = data;

	for (unsigned i = 0; i < FAULTS; i++) {
		bench_check(!mprotect(data, PAGE, PROT_READ), "mprotect");
		*page = (char)i;
	}
	return (unsigned char)*page;
}

const struct bench bench_segv = { "segv", "kernel", segv_prepare, segv_run, NULL };

/* ---- fork, fork_exec, script ---- */

static unsigned wait_for(pid_t child)
{
	int status = 0;

	bench_check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status), "child");
	return (unsigned)WEXITSTATUS(status);
}

static uint64_t fork_run(void *data)
{
	uint64_t sum = 0;

	(void)data;
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();

		if (!child)
			_exit(i);
		sum += wait_for(child);
	}
	return sum;
}

const struct bench bench_fork = { "fork", "kernel", NULL, fork_run, NULL };

static unsigned spawn(const char *path, const char *const *args)
{
	pid_t child = fork();

	if (!child) {
		execv(path, (char *const *)args);
		_exit(127);
	}
	return wait_for(child);
}

static uint64_t fork_exec_run(void *data)
{
	const char *const args[] = { "bench", "exit", NULL };
	uint64_t sum = 0;

	(void)data;
	for (unsigned i = 0; i < 2; i++)
		sum += spawn("/proc/self/exe", args);
	bench_check(!sum, "exec");
	return sum;
}

const struct bench bench_fork_exec = { "fork_exec", "kernel", NULL, fork_exec_run, NULL };

#define SCRIPT                                                                                     \
	"i=0; while [ $i -lt 10 ]; do /bin/busybox expr $i + 1 >/dev/null; i=$((i+1)); done; "     \
	"exit $i"

static bool has_busybox(void)
{
	return !access("/bin/busybox", X_OK);
}

static uint64_t script_run(void *data)
{
	const char *const args[] = { "sh", "-c", SCRIPT, NULL };
	unsigned status = spawn("/bin/busybox", args);

	(void)data;
	bench_check(status == 10, "script");
	return status;
}

const struct bench bench_script = { "script", "kernel", NULL, script_run, has_busybox };

/* ---- page_fault, mmap ---- */

#define FAULT_PAGES 512

static uint64_t page_fault_run(void *data)
{
	char *area = mmap(NULL, FAULT_PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;

	(void)data;
	bench_check(area != MAP_FAILED, "mmap");
	for (unsigned i = 0; i < FAULT_PAGES; i++)
		area[i * PAGE] = 1;
	for (unsigned i = 0; i < FAULT_PAGES; i++)
		sum += (unsigned char)area[i * PAGE];
	bench_check(!munmap(area, FAULT_PAGES * PAGE), "munmap");
	return sum;
}

const struct bench bench_page_fault = { "page_fault", "kernel", NULL, page_fault_run, NULL };

static uint64_t mmap_run(void *data)
{
	(void)data;
	for (unsigned i = 0; i < 100; i++) {
		char *area = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		bench_check(area != MAP_FAILED, "mmap");
		area[PAGE] = 1;
		bench_check(!munmap(area, 16 * PAGE), "munmap");
	}
	return 0;
}

const struct bench bench_mmap = { "mmap", "kernel", NULL, mmap_run, NULL };

/* ---- tmpfs: files come and go ---- */

static uint64_t tmpfs_run(void *data)
{
	char path[64];

	(void)data;
	for (unsigned i = 0; i < 100; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/shm/bench-%d-%u", (int)getpid(), i);
		fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		bench_check(fd >= 0 && write(fd, path, sizeof(path)) == sizeof(path), "tmpfs");
		close(fd);
		bench_check(!unlink(path), "unlink");
	}
	return 0;
}

const struct bench bench_tmpfs = { "tmpfs", "kernel", NULL, tmpfs_run, NULL };

/* ---- pipe, switch16: a byte goes round a ring of processes ---- */

#define RING_MAX 16
#define PIPE_ROUNDS 200
#define SWITCH_ROUNDS 20

struct ring {
	unsigned count;
	int pipe[RING_MAX][2]; /* member i reads pipe i and writes to pipe i + 1 */
};

static void ring_member(const struct ring *ring, unsigned index)
{
	int from = ring->pipe[index][0], to = ring->pipe[(index + 1) % ring->count][1];
	char byte;

	/* No member sees the end of its input: each has inherited all ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
		;
	_exit(0);
}

static void *ring_prepare(unsigned count)
{
	struct ring *ring = bench_alloc(sizeof(*ring));

	ring->count = count;
	for (unsigned i = 0; i < count; i++)
		bench_check(!pipe(ring->pipe[i]), "pipe");
	for (unsigned i = 1; i < count; i++) {
		pid_t child = fork();

		bench_check(child >= 0, "fork");
		if (!child)
			ring_member(ring, i);
	}
	return ring;
}

static uint64_t ring_run(const struct ring *ring, unsigned rounds)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds; i++) {
		unsigned char byte = (unsigned char)i;

		bench_check(write(ring->pipe[1][1], &byte, 1) == 1 &&
			    read(ring->pipe[0][0], &byte, 1) == 1, "ring");
		sum += byte;
	}
	return sum;
}

static void *pipe_prepare(void)
{
	return ring_prepare(2);
}

static uint64_t pipe_run(void *data)
{
	return ring_run(data, PIPE_ROUNDS);
}

const struct bench bench_pipe = { "pipe", "kernel", pipe_prepare, pipe_run, NULL };

static void *switch16_prepare(void)
{
	return ring_prepare(RING_MAX);
}

static uint64_t switch16_run(void *data)
{
	return ring_run(data, SWITCH_ROUNDS);
}

const struct bench bench_switch16 = { "switch16", "kernel", switch16_prepare, switch16_run, NULL };
