/* SPDX-License-Identifier: MIT */
/*
 * x86-64 machine code into a small array: just the forms that glue needs. An emitter that runs out
 * of room drops bytes and says so at the end. Encodings: Intel SDM vol. 2.
 */
#ifndef RINGLET_GEN_EMIT_H
#define RINGLET_GEN_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#define EMIT_MAX 512

/* In encoding order. */
enum emit_reg {
	EMIT_RAX, EMIT_RCX, EMIT_RDX, EMIT_RBX, EMIT_RSP, EMIT_RBP, EMIT_RSI, EMIT_RDI,
	EMIT_R8, EMIT_R9, EMIT_R10, EMIT_R11,
};

struct emitter {
	uint8_t code[EMIT_MAX];
	unsigned size;
	bool overflow;
};

void emit_byte(struct emitter *e, uint8_t byte);
void emit_bytes(struct emitter *e, const uint8_t *bytes, unsigned count);
void emit_u32(struct emitter *e, uint32_t value);

/* reg = [base + disp], all 64 bits, or one byte zero-extended; base is neither RSP nor R12. */
void emit_load64(struct emitter *e, enum emit_reg reg, enum emit_reg base, int32_t disp);
void emit_load8(struct emitter *e, enum emit_reg reg, enum emit_reg base, int32_t disp);
/* [base + disp] = the low size_bytes (1, 2, 4, 8) of reg. */
void emit_store(struct emitter *e, enum emit_reg reg, unsigned size_bytes, enum emit_reg base,
		int32_t disp);

/* 64-bit register moves and arithmetic; immediates are sign-extended. */
void emit_move(struct emitter *e, enum emit_reg to, enum emit_reg from);
void emit_and_imm(struct emitter *e, enum emit_reg reg, int32_t imm);
void emit_or(struct emitter *e, enum emit_reg to, enum emit_reg from);
void emit_zero(struct emitter *e, enum emit_reg reg);
void emit_push(struct emitter *e, enum emit_reg reg);
void emit_pop(struct emitter *e, enum emit_reg reg);
void emit_pushf(struct emitter *e);
void emit_popf(struct emitter *e);
void emit_ret(struct emitter *e);

#endif
