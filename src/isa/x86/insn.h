/* SPDX-License-Identifier: MIT */
/*
 * One decoded instruction. decode.c makes it from Zydis' description once; semantics read it many
 * times. Registers are byte offsets into struct x86_cpu, so that AH is RAX's offset plus one and a
 * missing base or index is the offset of a constant zero; a partial register is just a narrower load.
 */
#ifndef RINGLET_ISA_X86_INSN_H
#define RINGLET_ISA_X86_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

struct host_stub;

/* What an instruction does: reads and writes cpu, may raise (see x86.h, rules 2 and 3). */
typedef void insn_fn(struct x86_cpu *cpu, const struct insn *insn);

enum insn_rep { INSN_REP_NONE, INSN_REP_E /* F3 */, INSN_REP_NE /* F2 */ };

enum {
	INSN_ENDS_BLOCK = 1 << 0, /* changes control flow or mode */
	INSN_LOCK = 1 << 1,
	INSN_MEM = 1 << 2,        /* has an explicit memory operand */
	INSN_MEM_FIRST = 1 << 3,  /* … which is the first (destination) operand */
	INSN_SEG_FLAT = 1 << 4,   /* memory operand's segment has no base and no limit here (64-bit
				     mode, flat 32-bit code, not FS/GS): linear = effective address */
	INSN_PLAIN = 1 << 5,      /* … which is just base + index * scale + disp: SEG_FLAT, and
				     64-bit addresses */
};

/* … so often: from then on it is not looked for there. */
#define INSN_ELSEWHERE 4

struct insn {
	insn_fn *fn;
	int64_t imm;      /* immediate, sign- or zero-extended as the manual says; branch displacement;
			     far pointer: selector << 32 | offset; ENTER: level << 16 | size */
	int64_t disp;     /* displacement of the memory operand (a 64-bit moffs too) */
	uint16_t base, index; /* byte offsets into struct x86_cpu of 64-bit registers */
	uint16_t dst, src, src2; /* register operands in operand order, memory ones left out */
	uint8_t scale;    /* log2 */
	uint8_t seg;      /* enum x86_seg_index of the memory operand (override applied) */
	uint8_t length;   /* bytes */
	uint8_t opsize;   /* operand size in bytes: 1, 2, 4, 8 */
	uint8_t addrsize; /* 2, 4, 8 */
	uint8_t rep;      /* enum insn_rep */
	uint8_t flags;
	uint8_t opcode;   /* last opcode byte, for handlers that share code */
	uint8_t modrm_reg; /* ModRM.reg with REX.R: control, debug, segment register number */
	uint8_t bytes[15];
	uint16_t mnemonic; /* ZydisMnemonic */
	uint16_t position;    /* in its block */
	uint16_t page_offset; /* of its first byte */
	uint8_t elsewhere;    /* how often its operand was not where memory/hostmap.h has them, up to … */
	struct host_stub *stub; /* hostexec's, for instructions the host runs itself */
};

#define INSN_GPR64(cpu, off) (*(uint64_t *)((char *)(cpu) + (off)))
#define INSN_GPR32(cpu, off) (*(uint32_t *)((char *)(cpu) + (off)))
#define INSN_GPR16(cpu, off) (*(uint16_t *)((char *)(cpu) + (off)))
#define INSN_GPR8(cpu, off) (*(uint8_t *)((char *)(cpu) + (off)))

/* Writes a register operand of opsize bytes as the architecture does: 32 bits clear the upper half. */
static inline void insn_write_reg(struct x86_cpu *cpu, uint16_t off, unsigned size, uint64_t value)
{
	switch (size) {
	case 1: INSN_GPR8(cpu, off) = (uint8_t)value; break;
	case 2: INSN_GPR16(cpu, off) = (uint16_t)value; break;
	case 4: INSN_GPR64(cpu, off) = (uint32_t)value; break;
	default: INSN_GPR64(cpu, off) = value; break;
	}
}

static inline uint64_t insn_read_reg(const struct x86_cpu *cpu, uint16_t off, unsigned size)
{
	switch (size) {
	case 1: return *((const uint8_t *)cpu + off);
	case 2: return *(const uint16_t *)((const char *)cpu + off);
	case 4: return *(const uint32_t *)((const char *)cpu + off);
	default: return *(const uint64_t *)((const char *)cpu + off);
	}
}

#endif
