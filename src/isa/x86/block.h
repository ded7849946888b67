/* SPDX-License-Identifier: MIT */
/*
 * Decoded blocks: straight-line pieces of guest code, made once and executed often. x86_block_find
 * gives the one at the current CS:RIP, from this CPU's jump cache, the machine's code cache, or
 * new.
 */
#ifndef RINGLET_ISA_X86_BLOCK_H
#define RINGLET_ISA_X86_BLOCK_H

#include "cpu/blocks.h"
#include "isa/x86/insn.h"

#define X86_BLOCK_INSNS 64

struct x86_block {
	struct block block; /* must be first */
	uint16_t count;
	uint16_t heat;     /* executions, until it is hot enough to be translated */
	uint8_t translations; /* how often code was made of it */
	bool uses_vec;     /* its translation wants the vector state live */
	bool uses_x87;     /* … and x87_live */
	struct insn insn[];
};

int x86_blocks_create(struct x86_cpu *cpu, struct error *err);
void x86_blocks_destroy(struct x86_cpu *cpu);

/* Throws all blocks of the machine away; nobody is in one but between two instructions. */
void x86_blocks_forget(struct x86_cpu *cpu);
/* The next look-up is a slow one, which makes room for code where none is left. */
void x86_blocks_look_up(struct x86_cpu *cpu);

/*
 * Who is about to make code of a page gives it MEM_PAGE_CODE, and takes every CPU's direct ways to
 * write to it away: see cpu/blocks.h. In an exclusive section of its own, if it is news.
 */
void x86_mark_code_page(struct x86_cpu *cpu, uint64_t phys);

/* The same, and MEM_PAGE_EXEC. false: somebody writes to the page now, and it does not get that. */
bool x86_mark_exec_page(struct x86_cpu *cpu, uint64_t phys);

static inline struct x86_block *x86_block_of(const struct insn *insn)
{
	return (struct x86_block *)((char *)(insn - insn->position) - offsetof(struct x86_block, insn));
}

/*
 * Never NULL; raises what fetching raises (cpu->insn is NULL then, and rip at the instruction). The
 * block may be a scratch one of a single instruction, valid until the next call.
 */
struct x86_block *x86_block_find(struct x86_cpu *cpu);

#endif
