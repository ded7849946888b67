/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the x86 engine. An input is a guest: the mode it starts in, its registers, changes
 * to its descriptor and page tables, its code, and what comes from outside meanwhile. Whatever it
 * does, a run ends after its budget, in a state that a processor can be in, and nothing but its RAM
 * has changed.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "input.h"
#include "x86_machine.h"

/* First byte of an input. */
enum {
	START_MODE = 3,        /* 0 real, 1 protected, 2 long, 3 virtual-8086 */
	START_PAGING = 1 << 2, /* protected and virtual-8086: 32-bit paging … */
	START_PAE = 1 << 3,    /* … or this */
	START_USER = 1 << 4,
	START_16BIT = 1 << 5,  /* protected and long: not the mode's own code size */
	START_TRANSLATE = 1 << 6,
};

#define CR0_FREE (X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM)
#define CR4_FREE                                                                                   \
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PGE |        \
	 X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_UMIP | X86_CR4_FSGSBASE |     \
	 X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE)
#define RFLAGS_FREE 0x247fd5ull
#define REQUESTS                                                                                   \
	(CPU_REQ_INTERRUPT | CPU_REQ_NMI | CPU_REQ_INIT | CPU_REQ_SIPI | CPU_REQ_SMI |             \
	 CPU_REQ_FLUSH_TLB)

static void set_modes(struct x86_state *state, unsigned start, struct fuzz_input *input)
{
	unsigned mode = start & START_MODE;

	state->cr0 = (fuzz_u32(input) & CR0_FREE) | X86_CR0_ET;
	state->cr4 = fuzz_u32(input) & CR4_FREE;
	state->efer = fuzz_u8(input) & X86_EFER_SCE;
	state->rflags = (fuzz_u32(input) & RFLAGS_FREE) | X86_F1;
	if (mode == 0)
		return;
	state->cr0 |= X86_CR0_PE;
	if (mode == 2) {
		state->cr0 |= X86_CR0_PG;
		state->cr4 |= X86_CR4_PAE;
		state->efer |= X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
		state->cr3 = MACHINE_PML4;
	} else if (start & START_PAGING) {
		state->cr0 |= X86_CR0_PG;
		state->cr3 = start & START_PAE ? MACHINE_PAE : MACHINE_PD32;
		if (start & START_PAE)
			state->cr4 |= X86_CR4_PAE;
	}
	if (mode == 3)
		state->rflags |= X86_VM;
}

static void set_registers(struct x86_state *state, struct fuzz_input *input)
{
	static const uint64_t places[] = {
		0, MACHINE_CODE, MACHINE_DATA, MACHINE_STACK, MACHINE_DATA + 0xfff,
		MACHINE_ODD_PAGES, MACHINE_ODD_PAGES + 0x2ffe, MACHINE_RAM - 4, MACHINE_MMIO,
		MACHINE_ROM + 0xfff0, 0xffff, 0xfffffffc, 0x7ffffffffffe, 0xffff800000000000,
		~0ull - 7, 1ull << 63,
	};

	for (unsigned i = 0; i < X86_GPRS; i++) {
		uint8_t what = fuzz_u8(input);

		state->gpr[i] = places[what & 15] + (what >> 4);
	}
	state->gpr[X86_RSP] = MACHINE_STACK + (state->gpr[X86_RSP] & 0xf);
	state->rip = fuzz_u16(input) % (2 * 4096);
}

/* Writes that another CPU or a device could have made at any time. */
static void patch(struct x86_machine *machine, struct fuzz_input *input)
{
	unsigned count = fuzz_u8(input) & 31;

	for (unsigned i = 0; i < count; i++) {
		uint64_t gpa = fuzz_u16(input);
		uint64_t value = fuzz_u32(input);

		x86_machine_write(machine, gpa, &value, sizeof(value) >> (gpa & 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct x86_machine machines[2];
	struct fuzz_input input = { data, size };
	unsigned start = fuzz_u8(&input), slices;
	struct x86_machine *machine = &machines[start & START_TRANSLATE ? 1 : 0];
	struct x86_state *state;

	if (!machine->cpu)
		x86_machine_create(machine, start & START_TRANSLATE);
	state = x86_machine_reset(machine);
	set_modes(state, start, &input);
	x86_machine_segments(machine, (start & START_MODE) == 2, start & START_16BIT,
			     start & START_USER || (start & START_MODE) == 3);
	set_registers(state, &input);
	patch(machine, &input);
	machine->vector = fuzz_u8(&input);
	slices = fuzz_u8(&input) & 7;
	for (unsigned i = 0; i < slices; i++)
		machine->requests[i] = fuzz_u8(&input) & REQUESTS;
	machine->slices = slices + 1;
	x86_machine_code(machine, input.data, input.left);
	x86_machine_run(machine);
	return 0;
}
