/* SPDX-License-Identifier: MIT */
/*
 * Cases from forms. A case is determined by forms, form and seed. generate.c writes instructions,
 * operand.c chooses what registers hold so that they mean something.
 */
#ifndef RINGLET_TESTS_ORACLE_GENERATE_H
#define RINGLET_TESTS_ORACLE_GENERATE_H

#include "forms.h"
#include "oracle.h"

/* first: index of the form that the first instruction has. */
void generate_case(const struct forms *forms, const struct x86_cpu *cpu, unsigned first,
		   uint64_t seed, struct oracle_case *c);

/* A case in the making. */
struct builder {
	const struct forms *forms;
	const struct x86_cpu *cpu;
	struct oracle_case *c;
	uint64_t seed;
	uint16_t touched; /* registers whose initial value is settled, a bit each */
	uint16_t written; /* registers whose value is no longer known */
	/* A relative branch's displacement, to be filled in when its target is known. */
	unsigned branch_at, branch_bytes, branch_end;
};

/* Linear address of the code at a position. */
static inline uint64_t builder_address(const struct builder *b, unsigned position)
{
	return CODE_BASE + b->c->code_offset + position;
}

void builder_append(struct builder *b, const uint8_t *bytes, unsigned size, int form);
bool builder_has_room(const struct builder *b, unsigned bytes);

/* A number of a kind that finds mistakes. */
uint64_t operand_value(uint64_t *seed);
/*
 * Settles registers, memory and displacements of the instruction that is about to be appended;
 * appends MOVs where a register must be loaded first. bytes may be changed where it has addresses.
 */
void operand_prepare(struct builder *b, const struct decoded *d, uint8_t *bytes);
/* Notes what the instruction reads and writes. */
void operand_note(struct builder *b, const struct decoded *d);

#endif
