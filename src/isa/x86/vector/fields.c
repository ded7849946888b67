/* SPDX-License-Identifier: MIT */
/* See fields.h. Nearly all images end before the address size does, and are accessed whole. */
#include "isa/x86/vector/fields.h"

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

struct fields fields_open(struct x86_cpu *cpu, const struct insn *insn, unsigned size,
			  enum x86_access access)
{
	struct fields image = { .insn = insn, .room = FIELDS_ROOM, .access = access };

	if (insn->addrsize != 8) {
		uint64_t room = (1ull << 8 * insn->addrsize) - x86_effective(cpu, insn);

		if (room < X86_XSAVE_MAX)
			image.room = (unsigned)room;
	}
	image.linear = x86_operand_linear(cpu, insn, smaller(size, image.room), access);
	return image;
}

/* Of a piece that does not begin before the end of the address size, or goes beyond it. */
static uint64_t beyond(struct x86_cpu *cpu, const struct fields *image, unsigned at, unsigned len)
{
	const struct insn *insn = image->insn;
	uint64_t offset = x86_effective(cpu, insn) + at;

	offset = insn->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
	if (insn->flags & INSN_SEG_FLAT)
		return offset;
	return x86_linear(cpu, insn->seg, offset, len, image->access);
}

static uint64_t piece_linear(struct x86_cpu *cpu, const struct fields *image, unsigned at,
			     unsigned len)
{
	uint64_t linear = image->linear + at;

	if (unlikely(at >= image->room || len > image->room - at))
		return beyond(cpu, image, at, len);
	return cpu->mode == X86_MODE_64 ? linear : (uint32_t)linear;
}

/* How many of len bytes lie one behind the other: all, or the fields that begin before the end. */
static unsigned piece_bytes(const struct fields *image, unsigned at, unsigned len, unsigned field)
{
	unsigned room = image->room - at;

	if (likely(at >= image->room || len <= room))
		return len;
	return smaller(len, (room + field - 1) / field * field);
}

void fields_probe(struct x86_cpu *cpu, const struct fields *image, unsigned at, unsigned len,
		  unsigned field)
{
	while (len) {
		unsigned piece = piece_bytes(image, at, len, field);

		x86_probe(cpu, piece_linear(cpu, image, at, piece), piece, image->access);
		at += piece;
		len -= piece;
	}
}

void fields_load(struct x86_cpu *cpu, const struct fields *image, unsigned at, void *data,
		 unsigned len, unsigned field)
{
	uint8_t *to = data;

	while (len) {
		unsigned piece = piece_bytes(image, at, len, field);

		x86_load_bytes(cpu, piece_linear(cpu, image, at, piece), to, piece);
		to += piece;
		at += piece;
		len -= piece;
	}
}

void fields_store(struct x86_cpu *cpu, const struct fields *image, unsigned at, const void *data,
		  unsigned len, unsigned field)
{
	const uint8_t *from = data;

	while (len) {
		unsigned piece = piece_bytes(image, at, len, field);

		x86_store_bytes(cpu, piece_linear(cpu, image, at, piece), from, piece);
		from += piece;
		at += piece;
		len -= piece;
	}
}
