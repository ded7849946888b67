/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic by the host's own instruction, flags included. RFLAGS travels through AX: AH holds the
 * low byte as LAHF and SAHF have it (SF ZF AF PF CF), AL holds OF as 0 or 1. That is cheaper than
 * PUSHF/POPF and leaves the stack (and its red zone) alone.
 *
 * ALU_FLAGS_IN turns AX into host flags: adding 0x7f overflows exactly when AL is 1, and SAHF
 * leaves OF alone. ALU_FLAGS_OUT is the way back. Between the two stands the instruction.
 */
#ifndef RINGLET_ISA_X86_ALU_H
#define RINGLET_ISA_X86_ALU_H

#include "isa/x86/x86.h"

#define ALU_FLAGS_IN "addb $0x7f, %%al\n\tsahf\n\t"
#define ALU_FLAGS_OUT "\n\tlahf\n\tseto %%al"

/* CF alone, for instructions whose other results do not depend on old flags; f: RFLAGS. */
#define ALU_CARRY_IN "btl $0, %[f]\n\t"

static inline uint16_t alu_flags(const struct x86_cpu *cpu)
{
	uint64_t f = cpu->state.rflags;

	return (uint16_t)((f & 0xff) << 8 | (f >> 11 & 1));
}

static inline void alu_set_flags(struct x86_cpu *cpu, uint16_t ax)
{
	cpu->state.rflags = (cpu->state.rflags & ~X86_STATUS_FLAGS) | ax >> 8 |
			    (uint64_t)(ax & 1) << 11;
}

#endif
