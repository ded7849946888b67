/* SPDX-License-Identifier: MIT */
/*
 * Single instructions run natively on a given register file, faults included: the reference that
 * test_hostexec.c compares with. RSI and RDI are offsets into two pages of memory.
 */
#ifndef RINGLET_TESTS_HOSTEXEC_NATIVE_H
#define RINGLET_TESTS_HOSTEXEC_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "gen/codebuf.h"

#define NATIVE_IMAGE 2816 /* an XSAVE image up to PKRU */

/* What the generated code works on, at fixed offsets. */
struct native_context {
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t fault;       /* vector */
	uint64_t components;
	uint8_t image[NATIVE_IMAGE] __attribute__((aligned(64)));
	uint8_t clean[NATIVE_IMAGE] __attribute__((aligned(64)));
};

struct native {
	struct native_context *context;
	uint8_t *memory;      /* two pages */
	struct codebuf code;
	const void *room;
};

struct native_insn {
	const uint8_t *bytes;
	unsigned size;
	char name[96];
};

/* Takes over SIGSEGV, SIGFPE and SIGILL, as something that was there before the monitor. */
int native_create(struct native *native);
void native_destroy(struct native *native);

/* Makes the second page inaccessible, or not. */
void native_hole(struct native *native, bool hole);

/* The first instruction of the list after *insn (zeroed: the first) that this processor has; false
 * at the end. */
bool native_next(struct native_insn *insn);

/* Runs it on *native->context. */
void native_run(struct native *native, const struct native_insn *insn);

#endif
