/* SPDX-License-Identifier: MIT */
#include "isa/x86/mirror/masm.h"

#define MOD_DISP8 0x40
#define MOD_DISP32 0x80
#define MOD_REG 0xc0
#define RM_SIB 4

void masm_byte(struct masm *m, uint8_t byte)
{
	if (m->size < MASM_CAPACITY)
		m->code[m->size++] = byte;
	else
		m->overflow = true;
}

void masm_u32(struct masm *m, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		masm_byte(m, (uint8_t)(value >> (8 * i)));
}

static void masm_u64(struct masm *m, uint64_t value)
{
	masm_u32(m, (uint32_t)value);
	masm_u32(m, (uint32_t)(value >> 32));
}

/* Prefixes, REX and opcode; the bits that extend ModRM and SIB come as whole register numbers. */
static void head(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t index, uint8_t base)
{
	uint8_t rex = (uint8_t)((wide ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3);

	if (reg == H_SCRATCH || base == H_SCRATCH)
		m->scratch_touched = true;
	if (opcode & MASM_66)
		masm_byte(m, 0x66);
	if (opcode & MASM_F2)
		masm_byte(m, 0xf2);
	if (opcode & MASM_F3)
		masm_byte(m, 0xf3);
	if (rex)
		masm_byte(m, 0x40 | rex);
	if (opcode & 0xff0000)
		masm_byte(m, (uint8_t)(opcode >> 16));
	if (opcode & 0xffff00)
		masm_byte(m, (uint8_t)(opcode >> 8));
	masm_byte(m, (uint8_t)opcode);
}

void masm_rr(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t rm)
{
	head(m, wide, opcode, reg, 0, rm);
	masm_byte(m, (uint8_t)(MOD_REG | (reg & 7) << 3 | (rm & 7)));
}

static void displacement(struct masm *m, uint8_t mod, int32_t disp)
{
	if (mod == MOD_DISP8)
		masm_byte(m, (uint8_t)disp);
	else if (mod == MOD_DISP32)
		masm_u32(m, (uint32_t)disp);
}

/* RBP and R13 as a base have no form without a displacement. */
static uint8_t mod_for(uint8_t base, int32_t disp)
{
	if (!disp && (base & 7) != H_RBP)
		return 0;
	return disp == (int8_t)disp ? MOD_DISP8 : MOD_DISP32;
}

void masm_rm(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t base, int32_t disp)
{
	uint8_t mod = mod_for(base, disp);

	head(m, wide, opcode, reg, 0, base);
	masm_byte(m, (uint8_t)(mod | (reg & 7) << 3 | (base & 7)));
	if ((base & 7) == RM_SIB)
		masm_byte(m, 0x24);
	displacement(m, mod, disp);
}

void masm_rx(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, uint8_t base, uint8_t index,
	     uint8_t scale, int32_t disp)
{
	uint8_t index_bits = index == H_MEMORY ? H_RSP : index;
	uint8_t mod;

	if (index == H_MEMORY && base != H_MEMORY) {
		masm_rm(m, wide, opcode, reg, base, disp);
		return;
	}
	if (base == H_MEMORY) {
		head(m, wide, opcode, reg, index_bits, 0);
		masm_byte(m, (uint8_t)((reg & 7) << 3 | RM_SIB));
		masm_byte(m, (uint8_t)(scale << 6 | (index_bits & 7) << 3 | H_RBP));
		masm_u32(m, (uint32_t)disp);
		return;
	}
	mod = mod_for(base, disp);
	head(m, wide, opcode, reg, index, base);
	masm_byte(m, (uint8_t)(mod | (reg & 7) << 3 | RM_SIB));
	masm_byte(m, (uint8_t)(scale << 6 | (index & 7) << 3 | (base & 7)));
	displacement(m, mod, disp);
}

void masm_at(struct masm *m, bool wide, uint32_t opcode, uint8_t reg, const struct masm_place *place)
{
	masm_rx(m, wide, opcode, reg, place->base, place->index, 0, place->disp);
}

void masm_modrm(struct masm *m, uint8_t reg, const struct masm_place *place, bool disp8)
{
	uint8_t mod = mod_for(place->base, place->disp);
	bool sib = place->index != H_MEMORY || (place->base & 7) == RM_SIB;
	uint8_t index = place->index == H_MEMORY ? H_RSP : place->index;

	if (mod == MOD_DISP8 && !disp8)
		mod = MOD_DISP32;
	masm_byte(m, (uint8_t)(mod | (reg & 7) << 3 | (sib ? RM_SIB : place->base & 7)));
	if (sib)
		masm_byte(m, (uint8_t)((index & 7) << 3 | (place->base & 7)));
	displacement(m, mod, place->disp);
}

void masm_mov(struct masm *m, uint8_t to, uint8_t from)
{
	if (to != from)
		masm_rr(m, true, 0x89, from, to);
}

void masm_load(struct masm *m, uint8_t to, uint8_t base, size_t disp)
{
	masm_rm(m, true, 0x8b, to, base, (int32_t)disp);
}

void masm_load32(struct masm *m, uint8_t to, uint8_t base, size_t disp)
{
	masm_rm(m, false, 0x8b, to, base, (int32_t)disp);
}

void masm_store(struct masm *m, size_t disp, uint8_t base, uint8_t from)
{
	masm_rm(m, true, 0x89, from, base, (int32_t)disp);
}

void masm_lea(struct masm *m, uint8_t to, uint8_t base, int32_t disp)
{
	if (!disp)
		masm_mov(m, to, base);
	else
		masm_rm(m, true, 0x8d, to, base, disp);
}

void masm_imm64(struct masm *m, uint8_t to, uint64_t value)
{
	if (value == (uint32_t)value) {
		head(m, false, 0xb8u | (to & 7), 0, 0, to);
		masm_u32(m, (uint32_t)value);
	} else if ((int64_t)value == (int32_t)value) {
		masm_rr(m, true, 0xc7, 0, to);
		masm_u32(m, (uint32_t)value);
	} else {
		head(m, true, 0xb8u | (to & 7), 0, 0, to);
		masm_u64(m, value);
	}
}

void masm_push(struct masm *m, uint8_t reg)
{
	head(m, false, 0x50u | (reg & 7), 0, 0, reg);
}

void masm_pop(struct masm *m, uint8_t reg)
{
	head(m, false, 0x58u | (reg & 7), 0, 0, reg);
}

static void immediate(struct masm *m, bool byte, int32_t imm)
{
	if (byte)
		masm_byte(m, (uint8_t)imm);
	else
		masm_u32(m, (uint32_t)imm);
}

void masm_alu_imm(struct masm *m, bool wide, uint8_t op, uint8_t rm, int32_t imm)
{
	bool byte = imm == (int8_t)imm;

	masm_rr(m, wide, byte ? 0x83 : 0x81, op, rm);
	immediate(m, byte, imm);
}

void masm_alu_imm_mem(struct masm *m, bool wide, uint8_t op, uint8_t base, size_t disp, int32_t imm)
{
	bool byte = imm == (int8_t)imm;

	masm_rm(m, wide, byte ? 0x83 : 0x81, op, base, (int32_t)disp);
	immediate(m, byte, imm);
}

void masm_cmp_byte(struct masm *m, uint8_t base, size_t disp, uint8_t imm)
{
	masm_rm(m, false, 0x80, 7, base, (int32_t)disp);
	masm_byte(m, imm);
}

void masm_rorx(struct masm *m, uint8_t to, uint8_t from, uint8_t count)
{
	m->scratch_touched |= to == H_SCRATCH;
	masm_byte(m, 0xc4);
	masm_byte(m, (uint8_t)((to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 3));
	masm_byte(m, 0xfb); /* W1, no vvvv, F2 */
	masm_byte(m, 0xf0);
	masm_byte(m, (uint8_t)(MOD_REG | (to & 7) << 3 | (from & 7)));
	masm_byte(m, count);
}

static void label_rel32(struct masm *m, struct masm_label *label)
{
	uint32_t at = m->size;

	if (label->position != ~0u) {
		masm_u32(m, label->position - (at + 4));
	} else {
		masm_u32(m, label->fixups);
		label->fixups = at;
	}
}

void masm_jcc(struct masm *m, uint8_t condition, struct masm_label *label)
{
	masm_byte(m, 0x0f);
	masm_byte(m, 0x80 | condition);
	label_rel32(m, label);
}

void masm_jmp(struct masm *m, struct masm_label *label)
{
	masm_byte(m, 0xe9);
	label_rel32(m, label);
}

void masm_bind(struct masm *m, struct masm_label *label)
{
	uint32_t at = label->fixups;

	label->position = m->size;
	while (at && !m->overflow) {
		uint32_t *field = (uint32_t *)(m->code + at);
		uint32_t next = *field;

		*field = m->size - (at + 4);
		at = next;
	}
	label->fixups = 0;
}

static void rel32_to(struct masm *m, uint8_t opcode, const uint8_t *at, const void *target)
{
	masm_byte(m, opcode);
	masm_u32(m, (uint32_t)((const uint8_t *)target - (at + m->size + 4)));
}

void masm_jmp_to(struct masm *m, const uint8_t *at, const void *target)
{
	rel32_to(m, 0xe9, at, target);
}

void masm_call_to(struct masm *m, const uint8_t *at, const void *target)
{
	rel32_to(m, 0xe8, at, target);
}
