/* SPDX-License-Identifier: MIT */
/*
 * Bytes to struct insn. Zydis describes the instruction; decode.c fills in everything that is the
 * same for all (registers, memory operand, immediate, prefixes), then asks each group of semantics
 * for the function that carries it out: the first that knows the instruction wins.
 */
#ifndef RINGLET_ISA_X86_DECODE_H
#define RINGLET_ISA_X86_DECODE_H

#include <Zydis/Zydis.h>

#include "isa/x86/insn.h"

/* What a group may look at to choose. op[] are the explicit and implicit operands, as Zydis says. */
struct insn_info {
	ZydisDecodedInstruction z;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t mode;    /* enum x86_mode */
	struct x86_cpu *cpu; /* for the model's features and for hostexec's stubs */
};

/*
 * Each returns the semantics of info, or NULL when the instruction is none of its own; insn has its
 * common fields filled and may be completed (flags, imm, opsize) by the group.
 */
insn_fn *x86_select_gp(const struct insn_info *info, struct insn *insn);      /* gp_*.c */
insn_fn *x86_select_string(const struct insn_info *info, struct insn *insn);  /* string.c */
insn_fn *x86_select_flow(const struct insn_info *info, struct insn *insn);    /* flow.c: near */
insn_fn *x86_select_far(const struct insn_info *info, struct insn *insn);     /* far.c, segments */
insn_fn *x86_select_system(const struct insn_info *info, struct insn *insn);  /* system*.c */
insn_fn *x86_select_host(const struct insn_info *info, struct insn *insn);    /* hostexec.c */

struct error;

/* cpu->decoded; -ENOMEM. */
int x86_decode_create(struct x86_cpu *cpu, struct error *err);
void x86_decode_destroy(struct x86_cpu *cpu);

/*
 * Decodes one instruction of at most size (1 … 15) bytes. Always yields an insn that can be executed:
 * an invalid one's fn raises #UD, one longer than 15 bytes #GP. Returns its length, or 0 when the
 * bytes end too early (the caller has fewer than 15 bytes because the page ends).
 * May park the vector state.
 */
unsigned x86_decode(struct x86_cpu *cpu, enum x86_mode mode, const uint8_t *bytes, unsigned size,
		    struct insn *insn);

#endif
