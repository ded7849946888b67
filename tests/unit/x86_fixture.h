/* SPDX-License-Identifier: MIT */
/*
 * A machine of one x86 CPU without devices, for tests of single parts: RAM at 0 and above 4 GiB, a
 * ROM, buses, a code cache. The CPU is in real mode with flat segments; tests set what they need.
 */
#ifndef RINGLET_TESTS_X86_FIXTURE_H
#define RINGLET_TESTS_X86_FIXTURE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

#define FIXTURE_RAM (32u << 20)
#define FIXTURE_ROM 0xfff00000u
#define FIXTURE_HIGH (1ull << 32)
#define FIXTURE_HIGH_SIZE (16u << 20)
#define FIXTURE_MMIO 0xe0000000u /* a range that tests may give to the bus */

struct x86_fixture {
	struct x86_cpu *cpu;
	struct mem *mem;
	struct loop *loop;
};

void x86_fixture_create(struct x86_fixture *fixture);
void x86_fixture_destroy(struct x86_fixture *fixture);

/* Flat segments, PE, CR0.WP, and the DPL of CS and SS. */
void x86_fixture_protected(struct x86_fixture *fixture, unsigned cpl);
/* IA-32e mode with paging, 64-bit code; cr3 as given. */
void x86_fixture_long(struct x86_fixture *fixture, unsigned cpl, uint64_t cr3);

/* Physical memory. */
void x86_poke(struct x86_fixture *fixture, uint64_t gpa, uint64_t value, unsigned size);
uint64_t x86_peek(struct x86_fixture *fixture, uint64_t gpa, unsigned size);

/* Runs statement; true when it raised (cpu->fault tells what). */
#define X86_RAISES(fixture, statement)                                                             \
	({                                                                                         \
		volatile bool raised_ = true;                                                      \
		jmp_buf here_;                                                                     \
                                                                                                   \
		(fixture)->cpu->fault.vector = 255;                                                \
		(fixture)->cpu->unwind = &here_;                                                   \
		if (!_setjmp(here_)) {                                                             \
			statement;                                                                 \
			raised_ = false;                                                           \
		}                                                                                  \
		raised_;                                                                           \
	})

#endif
