/* SPDX-License-Identifier: MIT */
/*
 * PUSH and POP of 64 bits in 64-bit mode, where SS is flat: inline when the TLB knows the page, by
 * x86_push and x86_pop, which raise what there is to raise, when it does not.
 */
#ifndef RINGLET_ISA_X86_STACK_FAST_H
#define RINGLET_ISA_X86_STACK_FAST_H

#include "isa/x86/memory/access.h"
#include "isa/x86/gp/gp.h"

static inline void stack_push64(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t sp = cpu->state.gpr[X86_RSP] - 8;
	struct x86_tlb_entry *e = x86_tlb_at(cpu, sp);

	if (unlikely(!x86_tag_covers(e->write_tag, sp, 8))) {
		x86_push(cpu, value, 8);
		return;
	}
	*(volatile uint64_t *)(sp + e->addend) = value;
	cpu->state.gpr[X86_RSP] = sp;
}

/* The word at SS:sp. */
static inline uint64_t stack_load64(struct x86_cpu *cpu, uint64_t sp)
{
	struct x86_tlb_entry *e = x86_tlb_at(cpu, sp);

	if (likely(x86_tag_covers(e->read_tag, sp, 8)))
		return *(volatile uint64_t *)(sp + e->addend);
	return x86_load_slow(cpu, x86_linear(cpu, X86_SS, sp, 8, X86_READ), 8);
}

#endif
