/* SPDX-License-Identifier: MIT */
/*
 * Random bytes as code, and jumps to random places: the same becomes of them everywhere. Each has a process
 * and a timer, for it may do anything that user code can, but system calls.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "cases.h"
#include "code.h"

#define CASES 120u

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* What answers with time, or with what a machine has of its own, or enters the system, is no case. */
static bool is_sayable(const uint8_t *code, unsigned bytes)
{
	for (unsigned i = 0; i + 1 < bytes; i++) {
		if (code[i] == 0xcd && code[i + 1] == 0x80)
			return false;
		if (code[i] != 0x0f)
			continue;
		switch (code[i + 1]) {
		case 0x00: case 0x01: case 0x02: case 0x03: case 0x05: case 0x31: case 0x33: case 0x34:
		case 0xa2: case 0xae: case 0xc7:
			return false;
		}
	}
	return true;
}

static void make_code(uint64_t *state, uint8_t *code, unsigned bytes)
{
	do
		for (unsigned i = 0; i < bytes; i++)
			code[i] = (uint8_t)(next(state) >> 24);
	while (!is_sayable(code, bytes));
}

/* Ends the case with a status made of its outcome. */
static void run_one(const uint8_t *code, unsigned bytes, uint64_t target)
{
	const struct itimerval patience = { .it_value = { 20, 0 } };
	struct outcome outcome;
	greg_t regs[NGREG];
	uint32_t sum = 0;

	must(setitimer(ITIMER_VIRTUAL, &patience, NULL));
	code_prepare();
	code_start(regs);
	memset((void *)CODE_AT, 0xcc, CODE_BYTES);
	code_put(CODE_AT, code, bytes);
	if (target)
		regs[REG_RIP] = (greg_t)target;
	code_run(regs, &outcome);
	sum = (uint32_t)(outcome.signal * 31 + outcome.code);
	sum = sum * 31 + (uint32_t)outcome.regs[REG_TRAPNO];
	sum = sum * 31 + (uint32_t)(outcome.regs[REG_RIP] - (greg_t)CODE_AT);
	sum = sum * 31 + (uint32_t)outcome.regs[REG_RSP];
	_exit((int)((sum ^ sum >> 8 ^ sum >> 16) & 0xff));
}

/* Also where nobody can be; but not in this program, which could do anything. */
static uint64_t anywhere(uint64_t *state)
{
	uint64_t bits = next(state) % 40, target = next(state) >> bits;

	return target >= 0x400000 && target < 0x1000000 ? target | 0x8000000 : target;
}

static void run_many(uint64_t seed, bool jump)
{
	for (unsigned i = 0; i < CASES; i++) {
		uint64_t target = 0;
		uint8_t code[24];
		int status, pid;

		make_code(&seed, code, sizeof(code));
		if (jump)
			target = anywhere(&seed);
		pid = must(fork());
		if (!pid)
			run_one(code, sizeof(code), target);
		must(waitpid(pid, &status, 0));
		say(" %x", status);
	}
}

static void bytes_1(void)
{
	run_many(0x123456789, false);
}

static void bytes_2(void)
{
	run_many(0x987654321, false);
}

static void jumps(void)
{
	run_many(0x55aa55aa55, true);
}

static const struct direct_case cases[] = {
	{ "bytes 1", bytes_1, false },
	{ "bytes 2", bytes_2, false },
	{ "jumps", jumps, false },
	{ NULL, NULL, false },
};
const struct direct_group hostile_group = { "hostile", cases, false };
