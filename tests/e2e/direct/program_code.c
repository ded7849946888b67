/* SPDX-License-Identifier: MIT */
/* Code that is written, changed, and taken away. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cases.h"

#define PAGE 4096ul
#define LARGE (2ul << 20)

typedef unsigned (*function)(void);

/* A function that returns a number: MOV EAX, number; RET. */
static void put_function(uint8_t *at, unsigned number)
{
	at[0] = 0xb8;
	memcpy(at + 1, &number, sizeof(number));
	at[5] = 0xc3;
	__asm__ volatile("" : : : "memory");
}

static uint8_t *map(size_t bytes, int protection, int flags, int fd)
{
	void *at = mmap(NULL, bytes, protection, flags, fd, 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	return at;
}

static unsigned run(const void *at)
{
	/* Through a register that the compiler knows nothing of. */
	function what = (function)(uintptr_t)at;

	__asm__ volatile("" : "+r"(what) : : "memory");
	return what();
}

static void one_mapping(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 1000; i++) {
		put_function(at + i % 64, i);
		wrong += run(at + i % 64) != i;
	}
	say(" wrong %u", wrong);
}

/* Code and what it writes lie in one page. */
static void data_beside_code(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* mov $1000, %ecx; 1: incl 0x800-…(%rip); dec %ecx; jnz 1b; ret */
	static const uint8_t loop[] = { 0xb9, 0xe8, 3, 0, 0, 0xff, 0x05, 0xf5, 7, 0, 0, 0xff, 0xc9,
					0x75, 0xf6, 0xc3 };

	memcpy(at, loop, sizeof(loop));
	run(at);
	say(" %u", *(unsigned *)(at + 0x800));
}

/* The next instruction is written by the one before. */
static void right_ahead(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	/* movb $5, 1(%rip); mov $0, %eax; ret */
	static const uint8_t code[] = { 0xc6, 0x05, 1, 0, 0, 0, 5, 0xb8, 0, 0, 0, 0, 0xc3 };
	unsigned sum = 0;

	for (unsigned i = 0; i < 100; i++) {
		memcpy(at, code, sizeof(code));
		at[6] = (uint8_t)i;
		sum = sum * 3 + run(at);
	}
	say(" %u", sum);
}

static void two_mappings(void)
{
	int fd = must(memfd_create("code", 0));
	uint8_t *write, *execute;
	unsigned wrong = 0;

	must(ftruncate(fd, 2 * PAGE));
	write = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	execute = map(2 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned at = i * 37 % (2 * PAGE - 8);

		put_function(write + at, i);
		wrong += run(execute + at) != i;
	}
	say(" wrong %u", wrong);
}

static void rights_that_change(void)
{
	uint8_t *at = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 300; i++) {
		must(mprotect(at, 2 * PAGE, PROT_READ | PROT_WRITE));
		put_function(at + PAGE - 3, i);
		put_function(at + 16, ~i);
		must(mprotect(at, 2 * PAGE, PROT_READ | PROT_EXEC));
		wrong += run(at + PAGE - 3) != i;
		wrong += run(at + 16) != ~i;
	}
	say(" wrong %u", wrong);
}

/* An instruction that lies in two pages, of which either is changed or replaced. */
static void across_pages(void)
{
	uint8_t *at = map(3 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 300; i++) {
		uint8_t *code = at + PAGE - 1 - i % 5;

		put_function(code, i);
		wrong += run(code) != i;
		code[4] = 1;
		wrong += run(code) != (i & 0xffffff) + 0x1000000;
		must(mmap(at + PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		put_function(code, i + 1);
		wrong += run(code) != i + 1;
	}
	say(" wrong %u", wrong);
}

/* CPUID, RDTSCP and LSL in two pages, of which the second one comes later. */
static void told_across_pages(void)
{
	/* push %rbx; xor %eax, %eax; xor %ecx, %ecx; cpuid; mov %ecx, %eax; pop %rbx; ret */
	static const uint8_t cpuid[] = { 0x53, 0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2, 0x89, 0xc8, 0x5b, 0xc3 };
	/* rdtscp; mov %ecx, %eax; and $0xfff, %eax; shr $8, %eax; ret */
	static const uint8_t rdtscp[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x01, 0xf9, 0x89, 0xc8,
					  0x25, 0xff, 0x0f, 0, 0, 0xc1, 0xe8, 8, 0xc3 };
	/* rdpid %rax behind prefixes that do nothing */
	static const uint8_t rdpid[] = { 0xf3, 0x2e, 0x2e, 0x40, 0x90, 0xf3, 0x2e, 0x0f, 0xc7, 0xf8, 0x25, 0xff, 0x0f, 0, 0,
					 0xc1, 0xe8, 8, 0xc3 };
	/* mov $0x7b, %eax; lsl %eax, %eax; … */
	static const uint8_t lsl[] = { 0xb8, 0x7b, 0, 0, 0, 0x0f, 0x03, 0xc0, 0x25, 0xff, 0x0f, 0, 0,
				       0xc1, 0xe8, 8, 0xc3 };
	static const struct {
		const uint8_t *code;
		unsigned bytes;
	} pieces[] = { { cpuid, sizeof(cpuid) }, { rdtscp, sizeof(rdtscp) }, { rdpid, sizeof(rdpid) },
		       { lsl, sizeof(lsl) } };

	for (unsigned i = 0; i < 4; i++) {
		unsigned answer = 0, wrong = 0;

		for (unsigned before = 1; before < 12; before++) {
			uint8_t *at = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1);
			uint8_t *code = at + PAGE - before;

			/* A page that was clean before its successor came. */
			put_function(at, 5);
			wrong += run(at) != 5;
			memcpy(code, pieces[i].code, pieces[i].bytes);
			if (before > 1 && run(code) != answer)
				wrong++;
			answer = run(code);
			must(munmap(at, 2 * PAGE));
		}
		say(" %x/%u", answer, wrong);
	}
}

/* Another thread writes the code that this one is to run next, and says so. */
static uint8_t *volatile shared_code;
static volatile unsigned written, ran;

static void *write_code(void *opaque)
{
	for (unsigned i = 1; i <= 20; i++) {
		put_function(shared_code, i);
		written = i;
		while (ran < i)
			;
	}
	return opaque;
}

static void by_another_thread(void)
{
	pthread_t thread;
	unsigned wrong = 0;

	shared_code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	must(-!!pthread_create(&thread, NULL, write_code, NULL));
	for (unsigned i = 1; i <= 20; i++) {
		unsigned a, b, c, d;

		while (written < i)
			;
		__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0) : "memory");
		wrong += run(shared_code) != i;
		ran = i;
	}
	pthread_join(thread, NULL);
	say(" wrong %u", wrong);
}

/* A loop that another thread ends by changing it, in one store: half of it would be no code. */
static void *end_loop(void *opaque)
{
	usleep(20000);
	*(volatile uint16_t *)shared_code = 0x9090;
	return opaque;
}

static void loop_ended_by_another_thread(void)
{
	pthread_t thread;

	for (unsigned i = 0; i < 5; i++) {
		shared_code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		memcpy(shared_code, "\xeb\xfe", 2);
		put_function(shared_code + 2, i);
		must(-!!pthread_create(&thread, NULL, end_loop, NULL));
		say(" %u", run(shared_code));
		pthread_join(thread, NULL);
	}
}

static void by_the_kernel(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;
	int pipes[2];

	must(pipe(pipes));
	for (unsigned i = 0; i < 200; i++) {
		uint8_t code[6];

		put_function(code, i);
		must(write(pipes[1], code, sizeof(code)));
		must(read(pipes[0], at, sizeof(code)));
		wrong += run(at) != i;
	}
	say(" wrong %u", wrong);
}

static void by_a_child(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	put_function(at, 77);
	wrong += run(at) != 77;
	for (unsigned i = 0; i < 20; i++) {
		int pid = must(fork());

		if (!pid) {
			put_function(at, i);
			_exit(run(at) == i ? 0 : 1);
		}
		say_end_of(pid);
		wrong += run(at) != i;
	}
	say(" wrong %u", wrong);
}

/* After fork, code is private again. */
static void copied_on_write(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	put_function(at, 1);
	run(at);
	for (unsigned i = 0; i < 10; i++) {
		int pid = must(fork());

		if (!pid) {
			put_function(at, 50 + i);
			_exit((int)run(at));
		}
		say(" %u", run(at));
		say_end_of(pid);
		put_function(at, i);
		say(" %u", run(at));
	}
}

static void in_huge_pages(void)
{
	uint8_t *area = map(3 * LARGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint8_t *at = (uint8_t *)(((uintptr_t)area + LARGE - 1) & ~(LARGE - 1));
	unsigned wrong = 0;

	madvise(at, 2 * LARGE, MADV_HUGEPAGE);
	memset(at, 0xcc, 2 * LARGE);
	for (unsigned i = 0; i < 500; i++) {
		size_t where = (i * 8191u) % (2 * LARGE - 8);

		put_function(at + where, i);
		wrong += run(at + where) != i;
		*(volatile uint8_t *)(at + (where + LARGE) % (2 * LARGE)) ^= 1;
	}
	say(" wrong %u", wrong);
}

/* Unmapped and mapped again elsewhere, with other code, at the same address. */
static void replaced(void)
{
	uint8_t *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd = must(memfd_create("code", 0));
	unsigned wrong = 0;

	must(ftruncate(fd, 8 * PAGE));
	for (unsigned i = 0; i < 8; i++) {
		uint8_t code[6];

		put_function(code, i);
		must(pwrite(fd, code, sizeof(code), (off_t)(i * PAGE)));
	}
	for (unsigned i = 0; i < 300; i++) {
		/* A page that was written before it was run. */
		must(mmap(at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0));
		put_function(at, 99);
		wrong += run(at) != 99;
		must(mmap(at, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, (off_t)(i % 8 * PAGE)));
		wrong += run(at) != i % 8;
	}
	say(" wrong %u", wrong);
}

static const struct direct_case cases[] = {
	{ "one mapping", one_mapping, false },
	{ "data beside code", data_beside_code, false },
	{ "right ahead", right_ahead, false },
	{ "two mappings", two_mappings, false },
	{ "rights that change", rights_that_change, false },
	{ "across pages", across_pages, false },
	{ "told across pages", told_across_pages, true },
	{ "by another thread", by_another_thread, false },
	{ "loop ended by another thread", loop_ended_by_another_thread, false },
	{ "by the kernel", by_the_kernel, false },
	{ "by a child", by_a_child, false },
	{ "copied on write", copied_on_write, false },
	{ "in huge pages", in_huge_pages, false },
	{ "replaced", replaced, false },
	{ NULL, NULL, false },
};
const struct direct_group code_group = { "code", cases, false };
