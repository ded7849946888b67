/* SPDX-License-Identifier: MIT */
/* See emit.h. */
#include "gen/emit.h"

#define REX_W 0x48
#define MOD_DISP32 0x80
#define MOD_REG 0xc0

void emit_byte(struct emitter *e, uint8_t byte)
{
	if (e->size == EMIT_MAX)
		e->overflow = true;
	else
		e->code[e->size++] = byte;
}

void emit_bytes(struct emitter *e, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		emit_byte(e, bytes[i]);
}

void emit_u32(struct emitter *e, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		emit_byte(e, (uint8_t)(value >> (8 * i)));
}

static uint8_t rex(uint8_t base, unsigned reg, unsigned rm)
{
	return (uint8_t)(base | (reg >> 3) << 2 | rm >> 3);
}

static void emit_modrm(struct emitter *e, uint8_t mod, unsigned reg, unsigned rm)
{
	emit_byte(e, (uint8_t)(mod | (reg & 7) << 3 | (rm & 7)));
}

static void emit_memory(struct emitter *e, unsigned reg, unsigned base, int32_t disp)
{
	emit_modrm(e, MOD_DISP32, reg, base);
	emit_u32(e, (uint32_t)disp);
}

static void emit_alu(struct emitter *e, uint8_t opcode, unsigned reg, unsigned rm)
{
	emit_byte(e, rex(REX_W, reg, rm));
	emit_byte(e, opcode);
	emit_modrm(e, MOD_REG, reg, rm);
}

void emit_load64(struct emitter *e, enum emit_reg reg, enum emit_reg base, int32_t disp)
{
	emit_byte(e, rex(REX_W, reg, base));
	emit_byte(e, 0x8b);
	emit_memory(e, reg, base, disp);
}

void emit_load8(struct emitter *e, enum emit_reg reg, enum emit_reg base, int32_t disp)
{
	emit_byte(e, rex(REX_W, reg, base));
	emit_byte(e, 0x0f);
	emit_byte(e, 0xb6);
	emit_memory(e, reg, base, disp);
}

void emit_store(struct emitter *e, enum emit_reg reg, unsigned size_bytes, enum emit_reg base,
		int32_t disp)
{
	if (size_bytes == 2)
		emit_byte(e, 0x66);
	/* A REX prefix of any kind makes SPL of AH and so on. */
	emit_byte(e, rex(size_bytes == 8 ? REX_W : 0x40, reg, base));
	emit_byte(e, size_bytes == 1 ? 0x88 : 0x89);
	emit_memory(e, reg, base, disp);
}

void emit_move(struct emitter *e, enum emit_reg to, enum emit_reg from)
{
	emit_alu(e, 0x89, from, to);
}

void emit_and_imm(struct emitter *e, enum emit_reg reg, int32_t imm)
{
	emit_alu(e, 0x81, 4, reg);
	emit_u32(e, (uint32_t)imm);
}

void emit_or(struct emitter *e, enum emit_reg to, enum emit_reg from)
{
	emit_alu(e, 0x09, from, to);
}

void emit_zero(struct emitter *e, enum emit_reg reg)
{
	emit_alu(e, 0x31, reg, reg);
}

void emit_push(struct emitter *e, enum emit_reg reg)
{
	emit_byte(e, rex(0x40, 0, reg));
	emit_byte(e, (uint8_t)(0x50 | (reg & 7)));
}

void emit_pop(struct emitter *e, enum emit_reg reg)
{
	emit_byte(e, rex(0x40, 0, reg));
	emit_byte(e, (uint8_t)(0x58 | (reg & 7)));
}

void emit_pushf(struct emitter *e)
{
	emit_byte(e, 0x9c);
}

void emit_popf(struct emitter *e)
{
	emit_byte(e, 0x9d);
}

void emit_ret(struct emitter *e)
{
	emit_byte(e, 0xc3);
}
