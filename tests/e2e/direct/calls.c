/* SPDX-License-Identifier: MIT */
/* System calls, by every way into the kernel. */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "code.h"

#define VSYSCALLS 0xffffffffff600000ul

/* alarm(0) answers 0. */
CODE(call, "xor %edi, %edi\n\tmov $37, %eax\n\tsyscall");
CODE(call_with_flags, "xor %edi, %edi\n\tmov $37, %eax\n\tstd\n\tstc\n\tsyscall\n\tcld");
CODE(call_with_identity,
     "xor %edi, %edi\n\tmov $37, %eax\n\tpushfq\n\torl $0x200000, (%rsp)\n\tpopfq\n\tsyscall\n\tpushfq\n\tandl $~0x200000, (%rsp)\n\t"
     "popfq");
CODE(unknown, "mov $1000, %eax\n\tsyscall");
CODE(unknown_negative, "mov $-1, %eax\n\tsyscall");
CODE(unknown_high, "movabs $0x100000000000025, %rax\n\tsyscall");
CODE(prefixed, "xor %edi, %edi\n\tmov $37, %eax\n\t.byte 0x48, 0x0f, 0x05");
CODE(in_pairs, "xor %edi, %edi\n\tmov $37, %eax\n\tsyscall\n\txor %edi, %edi\n\tmov $37, %eax\n\tsyscall");
CODE(bad_pointer, "mov $1, %eax\n\tmov $1, %edi\n\tmov $8, %esi\n\tmov $4, %edx\n\tsyscall");
CODE(old_call, "xor %ebx, %ebx\n\tmov $27, %eax\n\tint $0x80");
CODE(old_call_high, "movabs $0x123456780000001b, %rax\n\tint $0x80");
CODE(old_call_unknown, "mov $5000, %eax\n\tint $0x80");
CODE(old_call_prefixed, "xor %ebx, %ebx\n\tmov $27, %eax\n\t.byte 0x66, 0xcd, 0x80");

static void registers(void)
{
	code_prepare();
	TRY(call);
	TRY(call_with_flags);
	TRY(call_with_identity);
	TRY(unknown);
	TRY(unknown_negative);
	TRY(unknown_high);
	TRY(prefixed);
	TRY(in_pairs);
	TRY(bad_pointer);
}

static void old_calls(void)
{
	code_prepare();
	TRY(old_call);
	TRY(old_call_high);
	TRY(old_call_unknown);
	TRY(old_call_prefixed);
}

/* Linux returns to where only a 32-bit program has something. */
CODE(fast_old_call, "xor %ebx, %ebx\n\tmov $27, %eax\n\tmov %rsp, %rbp\n\tsysenter");

static void fast_old_calls(void)
{
	struct outcome outcome;

	code_prepare();
	code_try(fast_old_call, (size_t)(fast_old_call_end - fast_old_call), &outcome);
	say(" signal %d trap %lld", outcome.signal, outcome.regs[REG_TRAPNO]);
}

/* Calls what lies at an address of the page with RDI and RSI. RAX tells a time, or is lost (docs/DIRECT.md). */
static void legacy_call(const char *name, uint64_t address, uint64_t rdi, uint64_t rsi)
{
	static const uint8_t call_rbx[] = { 0xff, 0xd3 };
	struct outcome outcome;
	greg_t regs[NGREG];

	code_start(regs);
	code_put(CODE_AT, call_rbx, sizeof(call_rbx));
	code_put(CODE_AT + sizeof(call_rbx), "\xcc", 1);
	regs[REG_RBX] = (greg_t)address;
	regs[REG_RDI] = (greg_t)rdi;
	regs[REG_RSI] = (greg_t)rsi;
	code_run(regs, &outcome);
	if (outcome.signal == SIGSEGV || outcome.regs[REG_RAX] > 1000000000)
		outcome.regs[REG_RAX] = 1;
	code_say(name, &outcome);
}

static void legacy_page(void)
{
	struct timeval before, *there = (struct timeval *)DATA_AT;

	code_prepare();
	gettimeofday(&before, NULL);
	legacy_call("gettimeofday", VSYSCALLS, DATA_AT, 0);
	say(" (%d)", there->tv_sec - before.tv_sec < 10);
	legacy_call("time", VSYSCALLS + 0x400, DATA_AT, 0);
	say(" (%d)", *(time_t *)DATA_AT - before.tv_sec < 10);
	legacy_call("getcpu", VSYSCALLS + 0x800, DATA_AT, 0);
	say(" (%d)", *(uint32_t *)DATA_AT < (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
	legacy_call("between", VSYSCALLS + 0x10, DATA_AT, 0);
	legacy_call("behind", VSYSCALLS + 0x1000, DATA_AT, 0);
	legacy_call("kernel pointer", VSYSCALLS, VSYSCALLS + 16, 0);
	legacy_call("bad pointer", VSYSCALLS + 0x400, 0x7ffffffff000ul, 0);
	legacy_call("unmapped pointer", VSYSCALLS, 8, 0);
}

CODE(read_legacy_page, "mov $0xffffffffff600000, %rdx\n\tmov (%rdx), %rax");

static void read_the_legacy_page(void)
{
	code_prepare();
	TRY(read_legacy_page);
}

/* By the vDSO. */
static void clocks(void)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME,
					    CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE };

	for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct timespec start, before, now;
		bool backwards = false;

		must(clock_gettime(clocks[i], &start));
		before = start;
		do {
			must(clock_gettime(clocks[i], &now));
			backwards |= now.tv_sec < before.tv_sec ||
				     (now.tv_sec == before.tv_sec && now.tv_nsec < before.tv_nsec);
			before = now;
		} while ((now.tv_sec - start.tv_sec) * 1000000000l + now.tv_nsec - start.tv_nsec < 30000000);
		say(" %d", backwards);
	}
}

static const struct direct_case cases[] = {
	{ "registers", registers, false },
	{ "old calls", old_calls, false },
	{ "fast old calls", fast_old_calls, true },
	{ "legacy page", legacy_page, true },
	{ "read the legacy page", read_the_legacy_page, true },
	{ "clocks", clocks, false },
	{ NULL, NULL, false },
};
const struct direct_group calls_group = { "calls", cases, false };
