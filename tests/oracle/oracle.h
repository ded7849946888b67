/* SPDX-License-Identifier: MIT */
/*
 * The native oracle: generated user-mode code runs on the processor itself and in an engine, from
 * the same state, and everything that user code can see afterwards is compared.
 *
 *	forms.c      which instruction forms there are: enumerated, not listed
 *	generate.c, operand.c   cases: code, and registers that make it touch something
 *	image.c      what a case's seeds stand for: vector registers, pages
 *	native.c     a case on the processor, in a child process
 *	engine.c     a case in an engine, as a machine of one CPU
 *	compare.c    their outcomes side by side
 *	shrink.c     a smaller case that differs, too
 *	text.c       cases as lines of text, for reports and for the list of regressions
 *
 * Both sides see the same linear addresses: two pages of code filled with INT3, so that a case ends
 * with a trap; three pages of data and a fourth that is read-only; two pages of stack; holes around
 * them. One thread a process.
 */
#ifndef RINGLET_TESTS_ORACLE_H
#define RINGLET_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/x86_state.h"

#define CASE_CODE_BYTES 160
#define CASE_PATCHES 16
#define CASE_PAGES 6 /* data, then stack */
#define CASE_INSNS 12

#define PAGE_BYTES 4096u
#define CODE_BASE 0x10000000ull
#define CODE_PAGES 2u
#define DATA_BASE 0x20000000ull
#define DATA_PAGES 4u
#define DATA_WRITABLE 3u
#define STACK_BASE 0x30000000ull
#define STACK_PAGES 2u

/* Selectors as Linux has them, and the engine's descriptor table too. */
#define USER_CS32 0x23
#define USER_DS 0x2b
#define USER_CS 0x33

/* Flags that a case may begin with, and those that user code sees. */
#define FLAGS_INITIAL                                                                              \
	(X86_STATUS_FLAGS | X86_DF | X86_AC)
#define FLAGS_SEEN                                                                                 \
	(FLAGS_INITIAL | X86_TF | X86_NT | X86_RF | X86_ID)

struct patch {
	uint64_t address, value; /* eight bytes of a page; value replaces what the seed gives */
};

/* All that a case begins with. Seeds of 0 stand for the initial configuration, and for zeros. */
struct oracle_case {
	uint8_t bits; /* 64 or 32 */
	uint8_t code_size;
	uint8_t insns;
	uint8_t code[CASE_CODE_BYTES];
	uint8_t insn_at[CASE_INSNS + 1]; /* where each begins, and the end */
	int32_t form[CASE_INSNS];        /* index of its form, or -1 */
	uint16_t code_offset;            /* into the code pages */
	uint64_t gpr[X86_GPRS];
	uint64_t rflags, fs_base, gs_base;
	uint32_t mxcsr;
	uint64_t x87_seed, vector_seed, mask_seed, tile_seed;
	uint16_t page_seed[CASE_PAGES];
	struct patch patch[CASE_PATCHES];
	uint8_t patches;
};

/* Standard format; offsets checked against CPUID. PKRU is between vectors and tiles. */
#define XSAVE_VECTORS_END 2688 /* x87 … ZMM16-31 */
#define XSAVE_TILECFG 2752
#define XSAVE_TILES 2816
#define XSAVE_BYTES (XSAVE_TILES + 8192)
#define XSTATE_COMPARED 0x600e7ull

enum outcome_kind {
	OUTCOME_NONE,    /* not run */
	OUTCOME_STOPPED, /* by the exception in vector */
	OUTCOME_ENDLESS, /* until it was stopped */
	OUTCOME_SYSCALL, /* strayed into a system call */
	OUTCOME_DIED,    /* took its process with it */
};

struct outcome {
	uint32_t kind;
	uint32_t vector, error;
	uint64_t fault_address; /* page faults */
	uint64_t gpr[X86_GPRS];
	uint64_t rip, rflags, fs_base, gs_base;
	uint64_t vague_flags;   /* of rflags, that this side does not vouch for */
	uint16_t selector[X86_SEGS];
	uint8_t xsave[XSAVE_BYTES] __attribute__((aligned(64)));
	uint8_t page[CASE_PAGES][PAGE_BYTES] __attribute__((aligned(64)));
};

/* ---- image.c ---- */

static inline uint64_t random_next(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline unsigned random_below(uint64_t *seed, unsigned n)
{
	return (unsigned)((random_next(seed) >> 32) * n >> 32);
}

static inline bool one_in(uint64_t *seed, unsigned n)
{
	return !random_below(seed, n);
}

/* Pages 0 … IMAGE_PAGES - 1 are what page seeds name; made once. */
#define IMAGE_PAGES 64u
const uint8_t *image_page(unsigned seed);
uint64_t image_page_address(unsigned page);
/* Where [address, address+8) is in a case's pages, or -1. */
int image_page_of(uint64_t address, unsigned *offset);
/* A tile configuration that can be loaded: 64 bytes. */
void image_tile_config(uint64_t *seed, uint8_t *config);
/* The case's pages and the XSAVE image, header included. */
void image_pages(const struct oracle_case *c, uint8_t page[CASE_PAGES][PAGE_BYTES]);
void image_xsave(const struct oracle_case *c, uint8_t *xsave);

/* ---- native.c ---- */

#define NATIVE_BATCH 64u
struct native;

/* PKRU as the child has it. NULL: no memory or no process. */
struct native *native_create(void);
void native_destroy(struct native *native);
uint32_t native_pkru(const struct native *native);
/* Begins a batch of at most NATIVE_BATCH cases, which the child copies; native_finish waits. */
void native_begin(struct native *native, const struct oracle_case *cases, unsigned count);
const struct outcome *native_finish(struct native *native);

/* ---- engine.c ---- */

struct engine;
struct x86_cpu;

/* name: "interp" …; NULL and a message on stderr when there is no such engine. */
struct engine *engine_create(const char *name, uint32_t pkru);
void engine_destroy(struct engine *engine);
/* No host stub is cached from now on: each instruction that the host executes is one by itself. */
void engine_fill_stubs(struct engine *engine);
/* patient: give it seconds, because it ends natively. */
void engine_run(struct engine *engine, const struct oracle_case *c, bool patient,
		struct outcome *out);
const struct x86_cpu *engine_cpu(const struct engine *engine);

/* ---- compare.c ---- */

/* True when they are the same to user code; else the first difference in text (may be NULL). */
bool outcome_equal(const struct outcome *native, const struct outcome *engine, char *text,
		   size_t size);
void outcome_print(FILE *stream, const struct outcome *native, const struct outcome *engine);

/* ---- text.c ---- */

void case_write(FILE *stream, const struct oracle_case *c);
/* False when text is no case. */
bool case_read(const char *text, struct oracle_case *c);
void case_disassemble(FILE *stream, const struct oracle_case *c);

/* ---- shrink.c ---- */

/* Makes the differing case smaller as long as it differs. */
void case_shrink(struct native *native, struct engine *engine, struct oracle_case *c);
/* Runs one case on both sides, one after the other. Returns outcome_equal's answer; outcomes may be
 * NULL. */
bool case_check(struct native *native, struct engine *engine, const struct oracle_case *c,
		struct outcome *on_native, struct outcome *on_engine);

#endif
