/* SPDX-License-Identifier: MIT */
/* CPUID that faults in a thread of ours (host/cpuid.h). */
#include <asm/prctl.h>
#include <cpuid.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/cpuid.h"
#include "host/thread.h"

static unsigned done, others;
static sigjmp_buf back;

static void handle(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	if (cpuid_fault(&((ucontext_t *)context)->uc_mcontext)) {
		done++;
		return;
	}
	others++;
	siglongjmp(back, 1);
}

static bool is_denied(void)
{
	return !syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0);
}

static int tear_down(void **state)
{
	(void)state;
	cpuid_allow();
	return is_denied();
}

/* The test runner's own handler is back after each test. */
static void begin(void)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };

	done = others = 0;
	cpuid_deny();
	if (!is_denied())
		skip();
	sigaction(SIGSEGV, &action, NULL);
}

/* The brand string: the same on all processors. RAX and RCX are used as 32 bits. */
static void read_brand(uint32_t regs[4])
{
	uint64_t a = 0xffffffff80000002, c = 0xffffffff00000000, b, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	assert_int_equal((a | b | c | d) >> 32, 0);
	regs[0] = (uint32_t)a;
	regs[1] = (uint32_t)b;
	regs[2] = (uint32_t)c;
	regs[3] = (uint32_t)d;
}

static void is_done_in_the_handler(void **state)
{
	uint32_t got[4], expected[4];

	(void)state;
	begin();
	for (unsigned i = 0; i < 3; i++)
		read_brand(got);
	assert_int_equal(done, 3);
	assert_true(is_denied());
	cpuid_allow();
	assert_false(is_denied());
	read_brand(expected);
	assert_int_equal(done, 3);
	assert_memory_equal(got, expected, sizeof(got));
}

static void *look(void *denied)
{
	uint32_t regs[4];

	*(bool *)denied = is_denied();
	read_brand(regs);
	return NULL;
}

/* A thread that somebody else's code starts has it, too, without having asked; one of ours has not. */
static void goes_to_new_threads(void **state)
{
	struct error err;
	pthread_t thread;
	bool denied;

	(void)state;
	begin();
	assert_int_equal(pthread_create(&thread, NULL, look, &denied), 0);
	pthread_join(thread, NULL);
	assert_true(denied);
	assert_int_equal(done, 1);
	assert_int_equal(thread_create(&thread, "test", look, &denied, &err), 0);
	pthread_join(thread, NULL);
	assert_false(denied);
	assert_int_equal(done, 1);
}

static void read_byte(uint64_t address)
{
	__asm__ volatile("movb (%0), %%al" : : "r"(address) : "rax");
}

/* Other faults are not CPUID, whatever stands there, nor is CPUID what nobody has denied. */
static void is_nothing_else(void **state)
{
	mcontext_t machine;

	(void)state;
	begin();
	if (!sigsetjmp(back, 1))
		read_byte(0);
	assert_int_equal(others, 1);
	if (!sigsetjmp(back, 1))
		read_byte(1ull << 63);
	assert_int_equal(others, 2);
	cpuid_allow();
	memset(&machine, 0, sizeof(machine));
	machine.gregs[REG_TRAPNO] = 13;
	machine.gregs[REG_RIP] = (greg_t)(uintptr_t) "\x0f\xa2";
	assert_false(cpuid_fault(&machine));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(is_done_in_the_handler, tear_down),
		cmocka_unit_test_teardown(goes_to_new_threads, tear_down),
		cmocka_unit_test_teardown(is_nothing_else, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
