/* SPDX-License-Identifier: MIT */
/* Control flow: a switch in a loop, deep recursion, calls through pointers. */
#include <stdlib.h>

#include "bench.h"

/* ---- dispatch: an interpreter of a small machine ---- */

#define CODE_LENGTH 4096
#define DISPATCH_STEPS 100000

enum op { OP_ADD, OP_SUB, OP_XOR, OP_SHIFT, OP_LOAD, OP_STORE, OP_SKIP, OP_MULTIPLY, OPS };

struct machine {
	uint8_t code[CODE_LENGTH];
	uint64_t memory[256];
};

static void *dispatch_prepare(void)
{
	struct machine *machine = bench_alloc(sizeof(*machine));
	uint64_t state = 7;

	for (unsigned i = 0; i < CODE_LENGTH; i++)
		machine->code[i] = (uint8_t)(bench_next(&state) >> 32);
	return machine;
}

static uint64_t dispatch_run(void *data)
{
	struct machine *machine = data;
	uint64_t a = 1, b = 2;
	unsigned pc = 0;

	for (unsigned i = 0; i < 256; i++)
		machine->memory[i] = i;
	for (unsigned step = 0; step < DISPATCH_STEPS; step++) {
		uint8_t code = machine->code[pc++ % CODE_LENGTH];

		switch ((enum op)(code % OPS)) {
		case OP_ADD: a += b; break;
		case OP_SUB: b -= a; break;
		case OP_XOR: a ^= b; break;
		case OP_SHIFT: b = b >> 3 | a << 7; break;
		case OP_LOAD: a = machine->memory[b & 255]; break;
		case OP_STORE: machine->memory[a & 255] = b; break;
		case OP_SKIP: pc += a & 1; break;
		case OP_MULTIPLY: b = b * 5 + code; break;
		default: break;
		}
	}
	return bench_mix(a, b);
}

const struct bench bench_dispatch = { "dispatch", "integer", dispatch_prepare, dispatch_run,
				      NULL };

/* ---- recursion: Fibonacci, and Ackermann's deep stack ---- */

static __attribute__((noinline)) uint64_t fibonacci(uint64_t n)
{
	if (n < 2)
		return n;
	BENCH_OPAQUE(n);
	return fibonacci(n - 1) + fibonacci(n - 2);
}

static __attribute__((noinline)) uint64_t ackermann(uint64_t m, uint64_t n)
{
	if (!m)
		return n + 1;
	if (!n)
		return ackermann(m - 1, 1);
	return ackermann(m - 1, ackermann(m, n - 1));
}

static uint64_t recursion_run(void *data)
{
	(void)data;
	return fibonacci(23) + ackermann(2, 150);
}

const struct bench bench_recursion = { "recursion", "integer", NULL, recursion_run, NULL };

/* ---- indirect: calls through a table, in an order that no predictor knows ---- */

#define INDIRECT_CALLS 60000

#define STEP(name, expression)                                                                     \
	static __attribute__((noinline)) uint64_t name(uint64_t x)                                 \
	{                                                                                          \
		return expression;                                                                 \
	}
STEP(step0, x + 0x1234567)
STEP(step1, x ^ x >> 7)
STEP(step2, x * 3)
STEP(step3, x - 99)
STEP(step4, x << 1 | x >> 63)
STEP(step5, ~x)
STEP(step6, x + (x >> 3))
STEP(step7, x ^ 0x5555)

static uint64_t indirect_run(void *data)
{
	static uint64_t (*const steps[])(uint64_t) = { step0, step1, step2, step3,
						       step4, step5, step6, step7 };
	uint64_t state = 8, x = 1;

	(void)data;
	for (unsigned i = 0; i < INDIRECT_CALLS; i++)
		x = steps[bench_next(&state) >> 61](x);
	return x;
}

const struct bench bench_indirect = { "indirect", "integer", NULL, indirect_run, NULL };
