/* SPDX-License-Identifier: MIT */
/*
 * See shapes.h. Where the head of an instruction ends is computed here without knowing all opcodes: it
 * may be too long, which makes several shapes of one. What makes it exact is checked when a shape is
 * completed: outside of its head the instruction has but a displacement and an immediate, and Zydis
 * tells nothing of them but their values, in one operand each.
 */
#include "isa/x86/shapes.h"

#define HEAD_BYTES 8
#define BITS_A_BYTE 8

/* ---- heads ---- */

static bool is_prefix(uint8_t byte, bool wide)
{
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
	case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return wide && (byte & 0xf0) == 0x40;
	}
}

/* A bit an opcode: whether a ModRM byte follows it. Intel SDM vol. 2, tables. */
static bool has_modrm(uint8_t opcode, bool two_bytes)
{
	static const uint32_t one[8] = {
		0x0f0f0f0f, 0x0f0f0f0f, 0x00000000, 0x00000a0c,
		0x0000ffff, 0x00000000, 0xff0f00f3, 0xc0c00000,
	};
	static const uint32_t two[8] = {
		0xffffa00f, 0x0500ff0f, 0xffffffff, 0xff7fffff,
		0xffff0000, 0xfffff8f8, 0xffff00ff, 0xffffffff,
	};

	return (two_bytes ? two : one)[opcode / 32] >> opcode % 32 & 1;
}

/* Bytes up to ModRM and SIB; more than size where there are fewer. */
static unsigned head_size(const uint8_t *bytes, unsigned size, bool wide)
{
	bool two_bytes = false, three_bytes = false;
	unsigned at = 0;

	while (at < size && is_prefix(bytes[at], wide))
		at++;
	if (at + 1 < size && bytes[at] == 0x0f) {
		two_bytes = true;
		at++;
		three_bytes = bytes[at] == 0x38 || bytes[at] == 0x3a;
		at += three_bytes;
	}
	if (at < size && !has_modrm(bytes[at], two_bytes) && !three_bytes)
		return at + 1;
	at++;
	if (at < size && bytes[at] >> 6 != 3 && (bytes[at] & 7) == 4)
		at++;
	return at + 1;
}

bool x86_shape_of(const ZydisDecoder *decoder, bool flat, const uint8_t *bytes, unsigned size,
		  struct x86_shape *shape)
{
	unsigned count = head_size(bytes, size, decoder->machine_mode == ZYDIS_MACHINE_MODE_LONG_64);

	if (count > HEAD_BYTES || count > size)
		return false;
	*shape = (struct x86_shape){
		.head_bytes = (uint8_t)count,
		.decoder = (uint8_t)(decoder->machine_mode << 3 | flat << 2 |
				     decoder->decoder_mode[ZYDIS_DECODER_MODE_LZCNT] << 1 |
				     decoder->decoder_mode[ZYDIS_DECODER_MODE_TZCNT]),
	};
	for (unsigned i = 0; i < count; i++)
		shape->head |= (uint64_t)bytes[i] << BITS_A_BYTE * i;
	return true;
}

/* ---- displacement and immediate ---- */

static uint64_t value_at(const uint8_t *bytes, unsigned bits)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bits / BITS_A_BYTE; i++)
		value |= (uint64_t)bytes[i] << BITS_A_BYTE * i;
	return value;
}

static int64_t extend(uint64_t value, unsigned bits)
{
	return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

int64_t x86_shape_disp(const struct x86_shape *shape, const uint8_t *bytes)
{
	return extend(value_at(bytes + shape->disp_at, shape->disp_bits), shape->disp_bits);
}

int64_t x86_shape_imm(const struct x86_shape *shape, const uint8_t *bytes)
{
	uint64_t value = value_at(bytes + shape->imm_at, shape->imm_bits);

	return shape->imm_signed ? extend(value, shape->imm_bits) : (int64_t)value;
}

/* The one operand that shows the displacement does so as it is. */
static bool shows_displacement(const struct insn_info *info)
{
	const ZydisDecodedInstruction *z = &info->z;
	unsigned shown = 0;

	for (unsigned i = 0; i < z->operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || !op->mem.disp.has_displacement)
			continue;
		if (op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM ||
		    op->mem.disp.value != z->raw.disp.value)
			return false;
		shown++;
	}
	return shown == (z->raw.disp.size != 0);
}

/* An immediate that is in the bytes: there are implied ones, too. */
static bool is_encoded(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	       op->encoding != ZYDIS_OPERAND_ENCODING_NONE;
}

static bool shows_immediate(const struct insn_info *info)
{
	const ZydisDecodedInstruction *z = &info->z;
	unsigned shown = 0;

	for (unsigned i = 0; i < z->operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_POINTER)
			return false;
		if (!is_encoded(op))
			continue;
		if (op->imm.is_signed != z->raw.imm[0].is_signed ||
		    op->imm.value.u != z->raw.imm[0].value.u)
			return false;
		shown++;
	}
	return shown == (z->raw.imm[0].size != 0) && !z->raw.imm[1].size;
}

bool x86_shape_complete(struct x86_shape *shape, const struct insn_info *info)
{
	const ZydisDecodedInstruction *z = &info->z;
	unsigned values = (z->raw.disp.size + z->raw.imm[0].size) / BITS_A_BYTE;

	shape->length = z->length;
	shape->disp_at = z->raw.disp.offset;
	shape->disp_bits = z->raw.disp.size;
	shape->imm_at = z->raw.imm[0].offset;
	shape->imm_bits = z->raw.imm[0].size;
	shape->imm_signed = z->raw.imm[0].is_signed;
	return z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && shows_displacement(info) &&
	       shows_immediate(info) && z->length - values <= shape->head_bytes;
}
