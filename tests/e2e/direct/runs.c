/* SPDX-License-Identifier: MIT */
/* Long runs and brief ones in turn: a program earns a cell, and is not always worth it. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"

#define PAGE 4096ul
#define PAGES 8192u
#define SECONDS 1

static uint64_t mixed(uint64_t value)
{
	value ^= value >> 31;
	return value * 0xbf58476d1ce4e5b9ull;
}

/* Nobody but interrupts comes in between. */
static uint64_t compute(uint64_t value)
{
	for (unsigned i = 0; i < 3000000; i++)
		value = mixed(value + i);
	return value;
}

/* Some pages here and there, each of them new: a fault comes every few instructions. */
static uint64_t scatter(uint8_t *memory, uint64_t value, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		value = mixed(value + 1);
		memory[value % PAGES * PAGE + value % 61] += (uint8_t)value;
	}
	return value;
}

static uint64_t sum_of(const uint8_t *memory)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < PAGES * PAGE; i += PAGE)
		for (size_t at = 0; at < 61; at++)
			sum = sum * 31 + memory[i + at];
	return sum;
}

static uint8_t *map(void)
{
	void *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	return at;
}

/* The process has a cell behind it, if it can have one. */
static void earn(void)
{
	struct timespec start, now;

	must(clock_gettime(CLOCK_MONOTONIC, &start));
	do {
		compute(1);
		must(clock_gettime(CLOCK_MONOTONIC, &now));
	} while (now.tv_sec - start.tv_sec <= SECONDS);
}

static void storms(void)
{
	uint64_t value = 7, sum = 0;

	earn();
	for (unsigned round = 0; round < 12; round++) {
		uint8_t *memory = map();

		value = compute(scatter(memory, value, round % 3 ? 300 : 4000));
		sum += sum_of(memory);
		must(munmap(memory, PAGES * PAGE));
	}
	say(" %lx %lx", value, sum);
}

static sigjmp_buf out;

static void caught(int number)
{
	(void)number;
	siglongjmp(out, 1);
}

/* Pages that go are gone at once, their neighbours stay: however many of them there are. */
static void holes(void)
{
	const struct sigaction action = { .sa_handler = caught };
	volatile unsigned faults = 0, wrong = 0;
	uint8_t *memory = map();

	must(sigaction(SIGSEGV, &action, NULL));
	earn();
	for (size_t i = 0; i < PAGES; i++)
		memory[i * PAGE] = (uint8_t)(i * 7);
	for (size_t i = 0; i < PAGES; i += 3)
		must(munmap(memory + i * PAGE, PAGE));
	for (volatile size_t i = 0; i < PAGES; i++) {
		if (sigsetjmp(out, 1))
			faults++;
		else
			wrong += *(volatile uint8_t *)(memory + i * PAGE) != (uint8_t)(i * 7) ||
				 i % 3 == 0;
	}
	say(" faults %u wrong %u", faults, wrong);
	compute(1);
	must(munmap(memory, PAGES * PAGE));
}

/* Calls that follow each other closely, then computing: from one place, brief and long runs. */
static void calls(void)
{
	uint64_t value = 3;
	unsigned wrong = 0;

	earn();
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < 500; i++) {
			wrong += syscall(SYS_getppid) != getppid();
			if (i % 100 == 99)
				value = compute(value);
		}
	}
	say(" wrong %u %lx", wrong, value);
}

static const struct direct_case cases[] = {
	{ "storms", storms, false },
	{ "holes", holes, false },
	{ "calls", calls, false },
	{ NULL, NULL, false },
};

const struct direct_group runs_group = { "runs", cases, false };
