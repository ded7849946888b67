/* SPDX-License-Identifier: MIT */
/*
 * Far transfers and what else is chosen by far_select.c: the semantics (see insn_fn) and what they
 * share. The CPU's own thread; all may raise.
 */
#ifndef RINGLET_ISA_X86_FAR_H
#define RINGLET_ISA_X86_FAR_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/insn.h"
#include "isa/x86/memory/segment.h"

/* far.c: JMP and CALL to ptr16:16/32 and m16:16/32/64. */
insn_fn x86_far_jump, x86_far_call;
/* far_return.c */
insn_fn x86_far_return;
/* iret.c */
insn_fn x86_iret;
/* intr.c */
insn_fn x86_int, x86_int3, x86_into, x86_int1;
/* segment_ops.c */
insn_fn x86_mov_to_seg, x86_mov_from_seg, x86_push_seg, x86_pop_seg, x86_load_far_pointer;
/* descriptor_ops.c */
insn_fn x86_lldt, x86_ltr, x86_sldt, x86_str, x86_verr, x86_verw, x86_lar, x86_lsl, x86_arpl;

/* Where a return goes: RETF and IRET. */
struct x86_return {
	uint64_t rip, sp;
	uint16_t cs, ss;
	uint64_t flags;      /* IRET */
	bool outer;          /* sp and ss count */
	struct x86_seg code, stack; /* filled by x86_return_check */
};

/*
 * Checks cs, and with outer ss, of a return in protected or IA-32e mode by the rules that RETF and
 * IRET share; raises with the state unchanged.
 */
void x86_return_check(struct x86_cpu *cpu, struct x86_return *ret);

/* Loads CS:RIP and with outer SS:SP, drops what the outer ring may not keep. Does not raise; the
 * caller moves SP before (same ring) or after (RETF n) and updates the mode last. */
void x86_return_commit(struct x86_cpu *cpu, const struct x86_return *ret);

/* A far transfer in real or virtual-8086 mode: checks rip, then loads CS:RIP. */
void x86_enter_8086(struct x86_cpu *cpu, uint16_t selector, uint64_t rip);

#endif
