/* SPDX-License-Identifier: MIT */
/*
 * A small x86 machine for the engine's fuzz target: 1 MiB of RAM between pages that nobody may
 * touch, a ROM, a device that answers anything, and tables of each kind ready in RAM, where all of
 * the first 2 MiB is mapped one to one but for a few odd pages. The machine is made once and set
 * anew for each input. What must hold aborts.
 */
#ifndef RINGLET_TESTS_FUZZ_X86_MACHINE_H
#define RINGLET_TESTS_FUZZ_X86_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isa/x86/x86.h"

/* Guest-physical; linear, too. */
enum {
	MACHINE_GDT = 0x1000, MACHINE_IDT = 0x2000, MACHINE_TSS = 0x3000, MACHINE_LDT = 0x3800,
	MACHINE_PML4 = 0x4000, MACHINE_PDPT = 0x5000, MACHINE_PD = 0x6000, MACHINE_PT = 0x7000,
	MACHINE_PD32 = 0x8000, MACHINE_PT32 = 0x9000, MACHINE_PAE = 0xa000, MACHINE_PAE_PD = 0xb000,
	MACHINE_IDT32 = 0xc000,
	MACHINE_CODE = 0x10000, /* two pages of the input's code, over and over */
	MACHINE_DATA = 0x12000,
	MACHINE_ODD_PAGES = 0x14000, /* read-only, supervisor's, no-execute, missing, … */
	MACHINE_STACK = 0x20800,
	MACHINE_RAM = 0x100000,
};
#define MACHINE_MMIO 0xe0000000u
#define MACHINE_ROM 0xffff0000u

#define MACHINE_SLICES 8

struct x86_machine {
	struct cpu *cpu;
	struct cpu_env env;
	struct cpu_intc intc;
	uint8_t *ram, *rom;
	uint8_t vector;                   /* what the interrupt controller delivers */
	unsigned slices;                  /* of a run: before each but the first come … */
	uint8_t requests[MACHINE_SLICES]; /* … these */
	bool shut_down;
};

/* translate: hot code is translated. */
void x86_machine_create(struct x86_machine *machine, bool translate);

/* RAM and CPU as at power-on, tables in place; the state's owner sets the rest. */
struct x86_state *x86_machine_reset(struct x86_machine *machine);

/* Segments as state->cr0, efer and rflags want them; small: 16-bit code (32-bit, in long mode). */
void x86_machine_segments(struct x86_machine *machine, bool long_mode, bool small, bool user);

/* Writes RAM as a device would. */
void x86_machine_write(struct x86_machine *machine, uint64_t gpa, const void *data, size_t size);

/* Fills the code pages with copies of code. */
void x86_machine_code(struct x86_machine *machine, const uint8_t *code, size_t size);

/* Runs the slices, a bounded number of instructions each, and checks the state after each. */
void x86_machine_run(struct x86_machine *machine);

#endif
