/* SPDX-License-Identifier: MIT */
/* Processes and threads: made, ended, traced; what they share. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"

static unsigned tree(unsigned depth)
{
	volatile unsigned own = depth * 1000;
	int left, right, a = 0, b = 0;

	if (!depth)
		return 1;
	left = must(fork());
	if (!left)
		_exit((int)tree(depth - 1));
	right = must(fork());
	if (!right)
		_exit((int)tree(depth - 1));
	must(waitpid(left, &a, 0));
	must(waitpid(right, &b, 0));
	return own == depth * 1000 ? (unsigned)(WEXITSTATUS(a) + WEXITSTATUS(b)) : 0;
}

static void forks(void)
{
	say(" %u", tree(4));
}

static void executed(void)
{
	for (volatile unsigned i = 0; i < 10; i++) {
		int pid = i & 1 ? vfork() : fork();

		if (!pid) {
			execl("/proc/self/exe", "direct", "--nothing", NULL);
			_exit(99);
		}
		say_end_of(must(pid));
	}
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 50000

static _Atomic uint64_t counter;
static uint64_t pairs[2] __attribute__((aligned(16)));
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t guarded;

static void *count(void *opaque)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t low = pairs[0], high = pairs[1];

		atomic_fetch_add(&counter, 1);
		__asm__ volatile("1:\tlea 1(%%rax), %%rbx\n\tlea 2(%%rdx), %%rcx\n\tlock cmpxchg16b %2\n\tjnz 1b"
				 : "+a"(low), "+d"(high), "+m"(pairs)
				 :
				 : "rbx", "rcx", "cc");
		if (i % 50 == 0) {
			pthread_mutex_lock(&mutex);
			guarded++;
			pthread_mutex_unlock(&mutex);
		}
	}
	return opaque;
}

static void atomics(void)
{
	pthread_t thread[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		must(-!!pthread_create(&thread[i], NULL, count, NULL));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	say(" %lu %lu %lu %lu", counter, pairs[0], pairs[1], guarded);
}

static _Atomic uint32_t turn;

static void wait_for(uint32_t value)
{
	uint32_t now;

	while ((now = turn) != value)
		syscall(SYS_futex, &turn, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void *answer(void *opaque)
{
	for (uint32_t i = 0; i < 1000; i++) {
		wait_for(2 * i + 1);
		turn = 2 * i + 2;
		syscall(SYS_futex, &turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return opaque;
}

static void futexes(void)
{
	pthread_t thread;

	must(-!!pthread_create(&thread, NULL, answer, NULL));
	for (uint32_t i = 0; i < 1000; i++) {
		turn = 2 * i + 1;
		syscall(SYS_futex, &turn, FUTEX_WAKE, 1, NULL, NULL, 0);
		wait_for(2 * i + 2);
	}
	pthread_join(thread, NULL);
	say(" %u", turn);
}

/* A process that ends with the mutex in its hands. */
static void robust_mutex(void)
{
	pthread_mutex_t *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
					    -1, 0));
	pthread_mutexattr_t kind;
	int pid;

	pthread_mutexattr_init(&kind);
	pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(shared, &kind);
	pid = must(fork());
	if (!pid) {
		pthread_mutex_lock(shared);
		kill(getpid(), SIGKILL);
	}
	say_end_of(pid);
	say(" %s", strerrorname_np(pthread_mutex_lock(shared)));
	say(" %d", pthread_mutex_consistent(shared));
	say(" %d", pthread_mutex_unlock(shared));
}

/* ---- tracing ---- */

static __attribute__((noinline, used)) void traced_code(void)
{
	__asm__ volatile(".globl traced_start, traced_call, traced_end\n"
			 "traced_start:\n\tmov $5, %%ecx\n1:\tdec %%ecx\n\tjnz 1b\n\tmov $0x1234, %%ebx\n"
			 "traced_call:\n\tmov $39, %%eax\n\tsyscall\n\tnop\n"
			 "traced_end:\n\tnop"
			 :
			 :
			 : "rax", "rbx", "rcx", "r11", "memory", "cc");
}

extern const char traced_start[], traced_call[], traced_end[];

static int traced(void)
{
	int pid = must(fork()), status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		traced_code();
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	return pid;
}

/* Goes on in one of ptrace's ways until the child stops again; false: it has ended. */
static int go_on(int pid, int how, struct user_regs_struct *regs)
{
	int status;

	must(ptrace(how, pid, 0, 0));
	must(waitpid(pid, &status, 0));
	if (!WIFSTOPPED(status)) {
		say(" end %x", status);
		return 0;
	}
	must(ptrace(PTRACE_GETREGS, pid, 0, regs));
	return WSTOPSIG(status);
}

static unsigned place(const struct user_regs_struct *regs)
{
	return (unsigned)(regs->rip - (uintptr_t)traced_start);
}

static void put_breakpoint(int pid, const char *at, long *before)
{
	*before = ptrace(PTRACE_PEEKTEXT, pid, at, 0);
	must(ptrace(PTRACE_POKETEXT, pid, at, (*before & ~0xffl) | 0xcc));
}

static void breakpoints_and_steps(void)
{
	struct user_regs_struct regs;
	int pid = traced();
	long before;

	put_breakpoint(pid, traced_start, &before);
	say(" %d", go_on(pid, PTRACE_CONT, &regs));
	say(" at %x", place(&regs));
	must(ptrace(PTRACE_POKETEXT, pid, traced_start, before));
	regs.rip--;
	must(ptrace(PTRACE_SETREGS, pid, 0, &regs));
	for (unsigned i = 0; i < 18; i++) {
		int signal = go_on(pid, PTRACE_SINGLESTEP, &regs);

		say(" %d:%x/%llx/%llx", signal, place(&regs), regs.rcx < 6 ? regs.rcx : 99, regs.eflags & 0x1cd);
		if (regs.rip >= (uintptr_t)traced_end)
			break;
	}
	say(" %llx", regs.rbx);
	while (go_on(pid, PTRACE_CONT, &regs))
		;
}

static void calls_traced(void)
{
	struct user_regs_struct regs;
	int pid = traced(), signal;

	while ((signal = go_on(pid, PTRACE_SYSCALL, &regs)))
		if (regs.rip - (uintptr_t)traced_start < 64)
			say(" %d:%x call %lld", signal, place(&regs), regs.orig_rax);
}

/* Debug registers: of execution, and of a write. */
static void hardware_breakpoints(void)
{
	struct user_regs_struct regs;
	int pid = traced();

	must(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), traced_call));
	must(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 1));
	say(" %d", go_on(pid, PTRACE_CONT, &regs));
	say(" at %x, %llx", place(&regs), regs.rbx);
	must(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0));
	while (go_on(pid, PTRACE_CONT, &regs))
		;
}

static void registers_changed(void)
{
	struct user_regs_struct regs;
	int pid = traced();
	long before;

	put_breakpoint(pid, traced_call, &before);
	say(" %d", go_on(pid, PTRACE_CONT, &regs));
	must(ptrace(PTRACE_POKETEXT, pid, traced_call, before));
	/* exit_group(44), by the SYSCALL behind. */
	regs.rip = (uintptr_t)traced_call + 5;
	regs.rax = SYS_exit_group;
	regs.orig_rax = (unsigned long long)-1;
	regs.rdi = 44;
	must(ptrace(PTRACE_SETREGS, pid, 0, &regs));
	while (go_on(pid, PTRACE_CONT, &regs))
		;
}

static const struct direct_case cases[] = {
	{ "forks", forks, false },
	{ "executed", executed, false },
	{ "atomics", atomics, false },
	{ "futexes", futexes, false },
	{ "robust mutex", robust_mutex, false },
	{ "breakpoints and steps", breakpoints_and_steps, false },
	{ "calls traced", calls_traced, false },
	{ "hardware breakpoints", hardware_breakpoints, false },
	{ "registers changed", registers_changed, false },
	{ NULL, NULL, false },
};
const struct direct_group processes_group = { "processes", cases, false };
