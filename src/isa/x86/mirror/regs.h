/* SPDX-License-Identifier: MIT */
/*
 * Where the guest's registers are while translated code runs. Host RSP points at struct x86_cpu (the
 * memory below it is the stack of the C code that translated code calls). Most guest registers have
 * the host register of the same name; RCX and RSP had to move, because
 *   - RCX is the scratch that JRCXZ tests and that can address memory without a REX prefix, so that
 *     AH … BH stay usable beside a memory operand;
 *   - R11 is the second scratch;
 * and R9 … R11 live in struct x86_cpu: compilers use them least.
 *
 *   guest  RAX RCX RDX RBX RSP RBP RSI RDI R8 R9  R10 R11 R12 R13 R14 R15
 *   host   RAX R9  RDX RBX R10 RBP RSI RDI R8 mem mem mem R12 R13 R14 R15
 */
#ifndef RINGLET_ISA_X86_MIRROR_REGS_H
#define RINGLET_ISA_X86_MIRROR_REGS_H

#include <stdint.h>

#include "cpu/x86_state.h"

/* Host registers, in encoding order. */
enum host_reg {
	H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15,
	H_MEMORY = 0xff, /* of a guest register: it is in struct x86_cpu */
};

#define H_CPU H_RSP      /* points at struct x86_cpu */
#define H_ADDRESS H_RCX  /* scratch: the host address of a memory operand */
#define H_SCRATCH H_R11

static inline uint8_t mirror_reg(unsigned gpr)
{
	static const uint8_t map[X86_GPRS] = {
		[X86_RAX] = H_RAX, [X86_RCX] = H_R9, [X86_RDX] = H_RDX, [X86_RBX] = H_RBX,
		[X86_RSP] = H_R10, [X86_RBP] = H_RBP, [X86_RSI] = H_RSI, [X86_RDI] = H_RDI,
		[X86_R8] = H_R8, [X86_R9] = H_MEMORY, [X86_R10] = H_MEMORY, [X86_R11] = H_MEMORY,
		[X86_R12] = H_R12, [X86_R13] = H_R13, [X86_R14] = H_R14, [X86_R15] = H_R15,
	};

	return map[gpr];
}

#endif
