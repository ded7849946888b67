/* SPDX-License-Identifier: MIT */
/*
 * Descriptor tables, gates and a TSS in the fixture's memory, at fixed places, for tests of
 * segments, far transfers and delivery.
 */
#ifndef RINGLET_TESTS_X86_TABLES_H
#define RINGLET_TESTS_X86_TABLES_H

#include "x86_fixture.h"

#include "isa/x86/insn.h"
#include "isa/x86/memory/segment.h"

/* Physical (and linear) addresses. */
enum {
	TABLES_GDT = 0x1000, TABLES_IDT = 0x2000, TABLES_TSS = 0x3000, TABLES_TSS2 = 0x3800,
	TABLES_LDT = 0x4000,
	TABLES_STACK3 = 0x7000, TABLES_STACK0 = 0x8008, TABLES_IST1 = 0x9000,
	TABLES_CODE = 0x6000, TABLES_HANDLER = 0x6800,
	TABLES_ROOT = 0x10000, /* page tables: 32 MiB identity */
};

/* GDT selectors; the code is 32-bit, or 64-bit after x86_tables_long. */
enum {
	SEL_CODE0 = 0x08, SEL_DATA0 = 0x10, SEL_CODE3 = 0x18 | 3, SEL_DATA3 = 0x20 | 3,
	SEL_TSS = 0x28, /* 16 bytes in IA-32e mode */
	SEL_LDT = 0x38, SEL_CONFORMING = 0x48, SEL_TSS2 = 0x50, SEL_FREE = 0x60,
};

/* Attribute bytes without DPL. */
enum { ATTR_CODE32 = 0xc09a, ATTR_CODE64 = 0xa09a, ATTR_DATA = 0xc092, ATTR_CODE16 = 0x9a };

uint64_t x86_make_descriptor(uint32_t base, uint32_t limit, uint32_t attr);
void x86_set_descriptor(struct x86_fixture *fixture, uint16_t selector, uint64_t descriptor);
uint64_t x86_get_descriptor(struct x86_fixture *fixture, uint16_t selector);

/* attr: type | DPL | P, as in bits 47:40 of the gate. */
uint64_t x86_make_gate(uint16_t selector, uint32_t offset, unsigned attr, unsigned count);
void x86_set_gate32(struct x86_fixture *fixture, unsigned vector, uint64_t gate);
void x86_set_gate64(struct x86_fixture *fixture, unsigned vector, uint16_t selector,
		    uint64_t offset, unsigned attr, unsigned ist);

/* Tables in place, CPU in that mode at cpl, running at TABLES_CODE on that ring's stack. */
void x86_tables_protected(struct x86_fixture *fixture, unsigned cpl);
void x86_tables_long(struct x86_fixture *fixture, unsigned cpl);

/* Runs fn as the run loop does, insn being two bytes long; true when it raised: RIP is rewound. */
bool x86_step(struct x86_fixture *fixture, insn_fn *fn, struct insn insn);

#endif
