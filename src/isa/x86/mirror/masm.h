/* SPDX-License-Identifier: MIT */
/*
 * The translator's assembler: host instructions into a buffer, with forward jumps that are resolved
 * when their label is bound. Only forms that translated code needs. What does not fit sets overflow
 * and is dropped. Encodings: Intel SDM vol. 2, chapter 2.
 */
#ifndef RINGLET_ISA_X86_MIRROR_MASM_H
#define RINGLET_ISA_X86_MIRROR_MASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isa/x86/mirror/regs.h"

#define MASM_CAPACITY 65536

struct masm {
	uint8_t code[MASM_CAPACITY];
	uint32_t size;
	bool overflow;
	bool scratch_touched; /* H_SCRATCH may have another value than when its user cleared this */
};

/* A place that is jumped to. position is ~0 until bound; fixups chain through the rel32 fields. */
struct masm_label {
	uint32_t position;
	uint32_t fixups; /* offset of the last rel32 that waits, 0: none */
};

#define MASM_LABEL_INIT { .position = ~0u }

void masm_byte(struct masm *m, uint8_t byte);
void masm_u32(struct masm *m, uint32_t value);

/* Opcodes: the byte, plus 0x0f00, 0x0f3800 or 0x0f3a00 for the maps; MASM_F3 and so on for prefixes. */
#define MASM_66 0x1000000u
#define MASM_F2 0x2000000u
#define MASM_F3 0x4000000u

/* opcode reg, rm; wide: REX.W. */
void masm_rr(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t rm);
/* opcode reg, [base + disp] */
void masm_rm(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t base, int32_t disp);
/* opcode reg, [base + index << scale + disp]; base or index H_MEMORY: none. index is not RSP. */
void masm_rx(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t base, uint8_t index,
	     uint8_t scale, int32_t disp);

/* A memory operand: base + index + disp; index H_MEMORY: none. */
struct masm_place {
	uint8_t base, index;
	int32_t disp;
};

/* opcode reg, place */
void masm_at(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, const struct masm_place *place);
/* ModRM, SIB and displacement of place; disp8: the short form has the usual meaning. */
void masm_modrm(struct masm *m, uint8_t reg, const struct masm_place *place, bool disp8);

/* The commonest. */
void masm_mov(struct masm *m, uint8_t to, uint8_t from);
void masm_load(struct masm *m, uint8_t to, uint8_t base, size_t disp);
void masm_store(struct masm *m, size_t disp, uint8_t base, uint8_t from);
void masm_load32(struct masm *m, uint8_t to, uint8_t base, size_t disp);
void masm_lea(struct masm *m, uint8_t to, uint8_t base, int32_t disp);
void masm_imm64(struct masm *m, uint8_t to, uint64_t value); /* shortest form; keeps flags */
void masm_push(struct masm *m, uint8_t reg);
void masm_pop(struct masm *m, uint8_t reg);
/* 81 /op and 83 /op: 0 add, 4 and, 5 sub, 7 cmp */
void masm_alu_imm(struct masm *m, bool wide, uint8_t op, uint8_t rm, int32_t imm);
void masm_cmp_byte(struct masm *m, uint8_t base, size_t disp, uint8_t imm);
void masm_alu_imm_mem(struct masm *m, bool wide, uint8_t op, uint8_t base, size_t disp, int32_t imm);
/* RORX to, from, count: a rotation that keeps flags. */
void masm_rorx(struct masm *m, uint8_t to, uint8_t from, uint8_t count);

void masm_jcc(struct masm *m, uint8_t condition, struct masm_label *label); /* 0f 80+condition */
void masm_jmp(struct masm *m, struct masm_label *label);
void masm_bind(struct masm *m, struct masm_label *label);
/* jmp / call to an absolute address that is within 2 GiB of where this code will run (at). */
void masm_jmp_to(struct masm *m, const uint8_t *at, const void *target);
void masm_call_to(struct masm *m, const uint8_t *at, const void *target);

enum { COND_O = 0, COND_B = 2, COND_AE = 3, COND_E = 4, COND_NE = 5, COND_A = 7 };

#endif
