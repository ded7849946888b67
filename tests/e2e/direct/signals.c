/* SPDX-License-Identifier: MIT */
/* Signals that come from outside, while a program computes or waits. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "cases.h"

static volatile unsigned counted;

static void count(int number)
{
	(void)number;
	counted++;
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	must(sigaction(number, &action, NULL));
}

static void timer(long us)
{
	const struct itimerval interval = { { 0, us }, { 0, us } };

	must(setitimer(ITIMER_REAL, &interval, NULL));
}

/* Computes with all registers that a compiler uses until some signals have come. */
static uint64_t compute_until(unsigned signals, uint64_t seed)
{
	uint64_t a = seed, b = 1, c = 2, d = 3, e = 4, rounds = 0, wrong = 0;
	double x = 1.5;

	while (counted < signals) {
		uint64_t before = a + b + c + d + e;
		double y = x * 2 - x;

		for (unsigned i = 0; i < 1000; i++) {
			__asm__ volatile("inc %0\n\tdec %1\n\tadd $3, %2\n\tsub $2, %3\n\tsub $1, %4"
					 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
			__asm__ volatile("" : "+x"(x), "+x"(y));
			wrong += x != y;
		}
		wrong += before != a + b + c + d + e;
		rounds++;
	}
	return rounds ? wrong : 0;
}

static void tight_loop(void)
{
	uint64_t wrong;

	handle(SIGALRM, count, 0);
	timer(1000);
	wrong = compute_until(100, 7);
	timer(0);
	say(" wrong %lu", wrong);
}

/* JMP to itself? */
static bool in_the_loop(const greg_t *regs)
{
	return !memcmp((const void *)regs[REG_RIP], "\xeb\xfe", 2);
}

/* Not even a loop with memory accesses: JMP to itself, until the handler moves RIP on. */
static void leave_loop(int number, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number, (void)info;
	if (in_the_loop(regs) && ++counted == 20)
		regs[REG_RIP] += 2;
}

static void jump_to_itself(void)
{
	struct sigaction action = { .sa_sigaction = leave_loop, .sa_flags = SA_SIGINFO };
	uint64_t rsp_before, rsp_after;

	must(sigaction(SIGALRM, &action, NULL));
	timer(2000);
	__asm__ volatile("mov %%rsp, %0\n\tjmp .\n\tmov %%rsp, %1" : "=&r"(rsp_before), "=&r"(rsp_after));
	timer(0);
	say(" %u, stack %s", counted, rsp_before == rsp_after ? "as before" : "differs");
}

/* A handler changes registers, flags and vector registers of what it has interrupted. */
static void change_all(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;

	(void)number, (void)info;
	if (!in_the_loop(regs))
		return;
	regs[REG_RAX] = 0x1122334455667788;
	regs[REG_R15] = -2;
	regs[REG_EFL] |= 1;
	memset(&uc->uc_mcontext.fpregs->_xmm[3], 0x5a, 16);
	regs[REG_RIP] += 2;
}

static void changed_by_the_handler(void)
{
	struct sigaction action = { .sa_sigaction = change_all, .sa_flags = SA_SIGINFO };
	uint64_t rax, r15, xmm3, carry;

	must(sigaction(SIGALRM, &action, NULL));
	timer(2000);
	__asm__ volatile("pxor %%xmm3, %%xmm3\n\tclc\n\tjmp .\n\tmov %%r15, %1\n\tmovq %%xmm3, %2\n\tsetc %b3"
			 : "=&a"(rax), "=&b"(r15), "=&c"(xmm3), "=&d"(carry)
			 :
			 : "r15", "xmm3", "cc");
	timer(0);
	say(" %lx %lx %lx %lx", rax, r15, xmm3, carry & 0xff);
}

/* A process computes; another one sends it signals, each when the last one was taken. */
static void between_processes(void)
{
	volatile unsigned *taken = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					     MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int pid;

	handle(SIGUSR1, count, 0);
	pid = must(fork());
	if (!pid) {
		while (counted < 200)
			*taken = counted;
		_exit(counted == 200 ? 7 : 8);
	}
	for (unsigned i = 0; i < 200; i++) {
		while (*taken < i && !waitpid(pid, NULL, WNOHANG))
			usleep(100);
		must(kill(pid, SIGUSR1));
	}
	say_end_of(pid);
}

/* Blocks, is interrupted, and goes on or not. */
static void restarted(void)
{
	const struct timespec rest = { 0, 30000000 };
	int pipes[2], sent = 0;
	char byte = 0;
	ssize_t got;

	must(pipe(pipes));
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		int pid;

		handle(SIGUSR1, count, flags);
		pid = must(fork());
		if (!pid) {
			for (; sent < 3; sent++) {
				nanosleep(&rest, NULL);
				kill(getppid(), SIGUSR1);
			}
			nanosleep(&rest, NULL);
			_exit(write(pipes[1], "x", 1) == 1 ? 3 : 4);
		}
		got = read(pipes[0], &byte, 1);
		say(" %zd %s %x", got, got < 0 ? strerrorname_np(errno) : "", byte);
		say_end_of(pid);
		if (got < 0)
			must(read(pipes[0], &byte, 1));
	}
	/* On a busy machine two may have become one. */
	say(" %d", counted >= 2 && counted <= 6);
}

static void slept(void)
{
	struct timespec rest = { 0, 60000000 }, left;

	handle(SIGALRM, count, 0);
	timer(10000);
	say(" %d", nanosleep(&rest, &left));
	timer(0);
	say(" %s, left %d", strerrorname_np(errno), left.tv_nsec > 0 && left.tv_nsec < 60000000);
}

/* A signal while another's handler runs, and the mask afterwards. */
static volatile int depth, deepest, raised;

static void nest(int number)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (deepest < 5 && ++raised < 8)
		raise(number);
	depth--;
	counted++;
}

static void nested(void)
{
	handle(SIGUSR1, nest, SA_NODEFER);
	raise(SIGUSR1);
	say(" deepest %d, %u", deepest, counted);
	handle(SIGUSR1, nest, 0);
	deepest = raised = 0;
	raise(SIGUSR1);
	say(" deepest %d, %u", deepest, counted);
}

/* A thread computes, another one is sent signals. */
static void *compute_thread(void *opaque)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	*(uint64_t *)opaque = compute_until(50, 99);
	return NULL;
}

static void threads(void)
{
	uint64_t wrong[2] = { 1, 1 };
	pthread_t thread[2];

	handle(SIGALRM, count, 0);
	for (unsigned i = 0; i < 2; i++)
		must(-!!pthread_create(&thread[i], NULL, compute_thread, &wrong[i]));
	timer(1000);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	timer(0);
	say(" wrong %lu %lu", wrong[0], wrong[1]);
}

static const struct direct_case cases[] = {
	{ "tight loop", tight_loop, false },
	{ "jump to itself", jump_to_itself, false },
	{ "changed by the handler", changed_by_the_handler, false },
	{ "between processes", between_processes, false },
	{ "restarted", restarted, false },
	{ "slept", slept, false },
	{ "nested", nested, false },
	{ "threads", threads, false },
	{ NULL, NULL, false },
};
const struct direct_group signals_group = { "signals", cases, false };
