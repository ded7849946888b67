/* SPDX-License-Identifier: MIT */
/* What a program does to its memory, and sees of it then. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sched.h>
#include <unistd.h>

#include "cases.h"

#define PAGE 4096ul
#define LARGE (2ul << 20)

static sigjmp_buf out;
static volatile int last_signal, last_code;

static void caught(int number, siginfo_t *info, void *context)
{
	(void)context;
	last_signal = number;
	last_code = info->si_code;
	siglongjmp(out, 1);
}

static void catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

	must(sigaction(SIGSEGV, &action, NULL));
	must(sigaction(SIGBUS, &action, NULL));
}

/* Reads, or writes what it has read; says what happened. */
static void try_read(volatile uint8_t *at)
{
	if (sigsetjmp(out, 1))
		say(" r!%d/%d", last_signal, last_code);
	else
		say(" r%x", *at);
}

static void try_write(volatile uint8_t *at)
{
	if (sigsetjmp(out, 1))
		say(" w!%d/%d", last_signal, last_code);
	else
		say(" w%x", ++*at);
}

static uint8_t *map(size_t bytes, int flags, int fd)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	return at;
}

static int file_of(size_t bytes)
{
	int fd = must(memfd_create("direct", 0));

	must(ftruncate(fd, (off_t)bytes));
	return fd;
}

static void unmapping(void)
{
	catch_faults();
	for (unsigned i = 0; i < 200; i++) {
		uint8_t *at = map(8 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		for (unsigned page = 0; page < 8; page++)
			at[page * PAGE] = (uint8_t)page;
		must(munmap(at + (i % 8) * PAGE, PAGE));
		if (i % 20 == 0)
			for (unsigned page = 0; page < 8; page++)
				try_write(at + page * PAGE);
		must(munmap(at, 8 * PAGE));
		if (i % 20 == 0)
			try_read(at);
	}
}

/* Other memory at the same address at once. */
static void replacing(void)
{
	uint8_t *at = map(4 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 500; i++) {
		wrong += at[0] != 0 || at[3 * PAGE] != 0;
		at[0] = at[3 * PAGE] = 0xee;
		must(mmap(at, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
	say(" wrong %u", wrong);
}

static void protecting(void)
{
	uint8_t *at = map(4 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	catch_faults();
	for (unsigned i = 0; i < 30; i++) {
		static const int rights[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_WRITE,
					      PROT_READ | PROT_EXEC };

		must(mprotect(at + PAGE, PAGE, rights[i % 5]));
		try_read(at + PAGE);
		try_write(at + PAGE);
		try_write(at + 2 * PAGE);
	}
}

static void moving(void)
{
	uint8_t *at = map(4 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1), *place, *moved;

	catch_faults();
	place = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (unsigned i = 0; i < 4; i++)
		at[i * PAGE] = (uint8_t)(i + 1);
	for (unsigned i = 0; i < 16; i++) {
		moved = mremap(at, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + 4 * PAGE * i);
		if (moved == MAP_FAILED)
			give_up("mremap");
		try_read(at);
		try_write(moved);
		try_write(moved + 3 * PAGE);
		at = moved;
	}
}

static void emptied(void)
{
	uint8_t *at = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 100; i++) {
		for (unsigned page = 0; page < 64; page++)
			wrong += at[page * PAGE]++ != 0;
		must(madvise(at, 64 * PAGE, MADV_DONTNEED));
	}
	say(" wrong %u", wrong);
}

static void zero_page(void)
{
	uint8_t *at = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned sum = 0;

	for (unsigned page = 0; page < 64; page++)
		sum += at[page * PAGE];
	for (unsigned page = 0; page < 64; page += 2)
		at[page * PAGE] = (uint8_t)page;
	for (unsigned page = 0; page < 64; page++)
		sum += at[page * PAGE];
	say(" %u", sum);
}

/* Parent and child write what both had, one before the other. */
static void copied_on_write(void)
{
	uint8_t *at = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (unsigned round = 0; round < 20; round++) {
		unsigned wrong = 0;
		int pid;

		for (unsigned page = 0; page < 64; page++)
			at[page * PAGE] = (uint8_t)(page + round);
		pid = must(fork());
		for (unsigned page = 0; page < 64; page++) {
			wrong += at[page * PAGE] != (uint8_t)(page + round);
			at[page * PAGE] = (uint8_t)(pid ? page + 100 : page + 200);
		}
		if (!pid)
			usleep(1000);
		for (unsigned page = 0; page < 64; page++)
			wrong += at[page * PAGE] != (uint8_t)(pid ? page + 100 : page + 200);
		if (!pid)
			_exit(wrong ? 1 : 0);
		say(" %u", wrong);
		say_end_of(pid);
	}
}

static void two_addresses(void)
{
	int fd = file_of(16 * PAGE);
	volatile uint8_t *one = map(16 * PAGE, MAP_SHARED, fd), *two = map(16 * PAGE, MAP_SHARED, fd);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 16 * 200; i++) {
		unsigned at = (unsigned)(i % 16 * PAGE) + i;

		one[at % (16 * PAGE)] = (uint8_t)i;
		wrong += two[at % (16 * PAGE)] != (uint8_t)i;
		two[at % (16 * PAGE)]++;
		wrong += one[at % (16 * PAGE)] != (uint8_t)(i + 1);
	}
	say(" wrong %u", wrong);
}

/* A private mapping of a file is a copy only where it was written. */
static void private_file(void)
{
	int fd = file_of(4 * PAGE);
	volatile uint8_t *shared = map(4 * PAGE, MAP_SHARED, fd), *own = map(4 * PAGE, MAP_PRIVATE, fd);

	say(" %x", own[0]);
	shared[0] = 1;
	shared[PAGE] = 1;
	say(" %x", own[0]);
	own[0] = 7;
	shared[0] = 2;
	shared[PAGE] = 2;
	say(" %x %x %x", own[0], own[PAGE], shared[0]);
	must(pwrite(fd, "\x55", 1, PAGE));
	say(" %x %x", own[PAGE], shared[PAGE]);
}

static void truncated(void)
{
	int fd = file_of(4 * PAGE);
	uint8_t *at = map(4 * PAGE, MAP_SHARED, fd);

	catch_faults();
	for (unsigned page = 0; page < 4; page++)
		at[page * PAGE] = (uint8_t)(page + 1);
	must(ftruncate(fd, 2 * PAGE));
	for (unsigned page = 0; page < 4; page++) {
		try_read(at + page * PAGE);
		try_write(at + page * PAGE);
	}
	must(ftruncate(fd, 4 * PAGE));
	for (unsigned page = 0; page < 4; page++)
		try_read(at + page * PAGE);
}

static uint64_t fill_and_sum(uint8_t *at, size_t bytes, size_t step)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < bytes; i += step)
		*(uint64_t *)(at + i) = i * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < bytes; i += step)
		sum = sum * 31 + *(uint64_t *)(at + i);
	return sum;
}

static void huge_pages(void)
{
	uint8_t *area = map(8 * LARGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint8_t *at = (uint8_t *)(((uintptr_t)area + LARGE - 1) & ~(LARGE - 1));
	int pid;

	catch_faults();
	madvise(at, 6 * LARGE, MADV_HUGEPAGE);
	say(" %lx", fill_and_sum(at, 6 * LARGE, 512));
	/* Taken apart by rights, by holes, by a child that writes. */
	must(mprotect(at + 5 * PAGE, PAGE, PROT_READ));
	try_write(at + 4 * PAGE);
	try_write(at + 5 * PAGE);
	try_read(at + 5 * PAGE);
	must(munmap(at + LARGE + 7 * PAGE, PAGE));
	try_write(at + LARGE + 6 * PAGE);
	try_read(at + LARGE + 7 * PAGE);
	must(madvise(at + 2 * LARGE, PAGE, MADV_DONTNEED));
	try_read(at + 2 * LARGE + 8);
	try_read(at + 2 * LARGE + PAGE + 8);
	pid = must(fork());
	if (!pid) {
		for (size_t i = 3 * LARGE; i < 4 * LARGE; i += PAGE)
			at[i] ^= 0xff;
		_exit(at[3 * LARGE] == 0xff ? 0 : 1);
	}
	say_end_of(pid);
	say(" %x", at[3 * LARGE]);
	must(madvise(at + 2 * LARGE, 4 * LARGE, MADV_DONTNEED));
	say(" %x", at[4 * LARGE]);
	must(mprotect(at + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	say(" %lx", fill_and_sum(at, LARGE, 64));
}

static unsigned deeper(unsigned depth)
{
	volatile uint8_t frame[3000];

	frame[0] = (uint8_t)depth;
	frame[2999] = (uint8_t)(depth >> 8);
	return depth ? deeper(depth - 1) + frame[0] + frame[2999] : 0;
}

static void growing_stack(void)
{
	say(" %u", deeper(2000));
}

static void odd_places(void)
{
	static const uintptr_t places[] = { 0x10000, 0x7fff0000, 0xfffff000, 0x100000000, 0x3fffffe00000,
					    0x555500000000, 0x7ffffff00000, 0x7fffffffe000 };

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint8_t *at = mmap((void *)places[i], PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (at == MAP_FAILED) {
			say(" no");
			continue;
		}
		say(" %lx", fill_and_sum(at, PAGE, 8));
		must(munmap(at, PAGE));
	}
}

/* More pages than a cell can have mappings, each other one with other rights. */
static void many_pages(void)
{
	const size_t pages = 100000;
	uint8_t *at = map(pages * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t sum = 0;

	for (size_t i = 0; i < pages; i++)
		at[i * PAGE] = (uint8_t)(i * 31);
	for (size_t i = 0; i < pages; i++)
		sum = sum * 3 + at[(i + i % 3) % pages * PAGE];
	say(" %lx", sum);
}

static void many_mappings(void)
{
	const unsigned count = 3000;
	uint8_t *at = map(2 * count * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t sum = 0;

	catch_faults();
	for (unsigned i = 0; i < count; i++)
		must(mprotect(at + 2 * i * PAGE, PAGE, PROT_READ));
	for (unsigned i = 0; i < count; i++) {
		at[(2 * i + 1) * PAGE] = (uint8_t)i;
		sum += at[2 * i * PAGE];
	}
	for (unsigned i = 0; i < count; i++)
		sum += at[(2 * i + 1) * PAGE] * i;
	say(" %lx", sum);
	try_write(at + 2 * 1500 * PAGE);
	try_write(at + 2 * 1500 * PAGE + PAGE);
}

/* Given back and taken again; what others gave back must not be seen. */
static void given_back(void)
{
	unsigned wrong = 0;

	for (unsigned round = 0; round < 30; round++) {
		size_t bytes = (16 + round * 8) * PAGE;
		uint8_t *at = map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		for (size_t i = 0; i < bytes; i += 512) {
			wrong += at[i] != 0;
			at[i] = 0xa5;
		}
		must(munmap(at, bytes));
	}
	say(" wrong %u", wrong);
}

/* One thread takes pages away, which the other one writes to. */
static uint8_t *volatile contended;
static volatile unsigned faults, writes;
static volatile bool done;

static void count_fault(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info, (void)context;
	faults++;
	sched_yield();
}

static void *write_for_ever(void *opaque)
{
	while (!done) {
		for (unsigned i = 0; i < 16; i++)
			contended[i * PAGE]++;
		writes++;
	}
	return opaque;
}

static void taken_away_by_another_thread(void)
{
	struct sigaction action = { .sa_sigaction = count_fault, .sa_flags = SA_SIGINFO };
	pthread_t thread;
	unsigned wrong = 0;

	must(sigaction(SIGSEGV, &action, NULL));
	contended = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	must(-!!pthread_create(&thread, NULL, write_for_ever, NULL));
	for (unsigned i = 0; i < 60; i++) {
		unsigned before;
		uint8_t values[16];

		must(mprotect(contended, 16 * PAGE, PROT_READ));
		for (unsigned page = 0; page < 16; page++)
			values[page] = contended[page * PAGE];
		before = writes;
		usleep(50);
		for (unsigned page = 0; page < 16; page++)
			wrong += values[page] != contended[page * PAGE];
		wrong += writes - before > 1;
		must(mprotect(contended, 16 * PAGE, PROT_READ | PROT_WRITE));
	}
	done = true;
	pthread_join(thread, NULL);
	say(" wrong %u", wrong);
}

static const struct direct_case cases[] = {
	{ "unmapping", unmapping, false },
	{ "replacing", replacing, false },
	{ "protecting", protecting, false },
	{ "moving", moving, false },
	{ "emptied", emptied, false },
	{ "zero page", zero_page, false },
	{ "copied on write", copied_on_write, false },
	{ "two addresses", two_addresses, false },
	{ "private file", private_file, false },
	{ "truncated", truncated, false },
	{ "huge pages", huge_pages, false },
	{ "growing stack", growing_stack, false },
	{ "odd places", odd_places, false },
	{ "many mappings", many_mappings, false },
	{ "many pages", many_pages, false },
	{ "given back", given_back, false },
	{ "taken away by another thread", taken_away_by_another_thread, false },
	{ NULL, NULL, false },
};
const struct direct_group memory_group = { "memory", cases, false };
