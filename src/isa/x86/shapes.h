/* SPDX-License-Identifier: MIT */
/*
 * The shape of an instruction: all of its bytes but displacement and immediate. A system has some
 * thousand of them, so what was found out about an instruction, which takes Zydis half a microsecond, is
 * kept by its shape: in decode.c what is executed, in the translator what Zydis said. All on the CPU's
 * own thread.
 */
#ifndef RINGLET_ISA_X86_SHAPES_H
#define RINGLET_ISA_X86_SHAPES_H

#include "isa/x86/decode.h"

struct error;

/* Zeroed: none. */
struct x86_shape {
	uint64_t head;       /* the bytes in front of displacement and immediate */
	uint8_t head_bytes;
	uint8_t decoder;     /* how Zydis is set, and what else the caller depends on */
	uint8_t length;      /* of the instruction */
	/* Offsets in the instruction, sizes: 0 where there is none. */
	uint8_t disp_at, disp_bits, imm_at, imm_bits;
	bool imm_signed;
};

/*
 * The shape of bytes as far as it is told by the bytes alone, to look for; false: not one of those that
 * are kept. Decoders may differ in machine mode, LZCNT and TZCNT, and in nothing else.
 */
bool x86_shape_of(const ZydisDecoder *decoder, bool flat, const uint8_t *bytes, unsigned size,
		  struct x86_shape *shape);
/* The rest, from what Zydis said; false: there is more to the instruction than its shape tells. */
bool x86_shape_complete(struct x86_shape *shape, const struct insn_info *info);

static inline unsigned x86_shape_slot(const struct x86_shape *shape, unsigned bits)
{
	uint64_t mixed = (shape->head ^ (uint64_t)shape->decoder << 56) * 0x9e3779b97f4a7c15ull;

	return (unsigned)(mixed >> (64 - bits));
}

/* Whether what is kept for a shape is about these size bytes, whose shape begins like looked_for. */
static inline bool x86_shape_fits(const struct x86_shape *kept, const struct x86_shape *looked_for,
				  unsigned size)
{
	return kept->head == looked_for->head && kept->head_bytes == looked_for->head_bytes &&
	       kept->decoder == looked_for->decoder && kept->length <= size;
}

/* Sign-extended, or for an immediate as Zydis has it; where there is one. */
int64_t x86_shape_disp(const struct x86_shape *shape, const uint8_t *bytes);
int64_t x86_shape_imm(const struct x86_shape *shape, const uint8_t *bytes);

#endif
