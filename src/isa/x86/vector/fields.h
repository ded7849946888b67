/* SPDX-License-Identifier: MIT */
/*
 * Memory operands that are read and written field by field: x87 environments, FXSAVE's and XSAVE's
 * images. Each field has an effective address of its own, which is cut to the address size and
 * checked against the segment by itself: an image that begins below the end of 4 GiB or of 64 KiB
 * goes on at the beginning. A field that lies across that end stays whole, as any other operand
 * does. The manuals do not say so; it was measured, and so was what the fields are.
 *
 * On the CPU's own thread. Everything here may raise.
 */
#ifndef RINGLET_ISA_X86_FIELDS_H
#define RINGLET_ISA_X86_FIELDS_H

#include <stdint.h>

#include "isa/x86/memory/access.h"

struct fields {
	const struct insn *insn;
	uint64_t linear; /* of its first byte */
	unsigned room;   /* bytes before the end of the address size; FIELDS_ROOM: plenty */
	enum x86_access access;
};

#define FIELDS_ROOM (~0u)

/* insn's operand, of which the first size bytes are checked against the segment's limit. */
struct fields fields_open(struct x86_cpu *cpu, const struct insn *insn, unsigned size,
			  enum x86_access access);

/* Whole fields of field bytes each, from byte at on; as access.h's functions that are called so. */
void fields_probe(struct x86_cpu *cpu, const struct fields *image, unsigned at, unsigned len,
		  unsigned field);
void fields_load(struct x86_cpu *cpu, const struct fields *image, unsigned at, void *data,
		 unsigned len, unsigned field);
void fields_store(struct x86_cpu *cpu, const struct fields *image, unsigned at, const void *data,
		  unsigned len, unsigned field);

#endif
