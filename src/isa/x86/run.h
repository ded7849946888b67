/* SPDX-License-Identifier: MIT */
/* The interpreter's run loop and what happens between instructions: see run.c. */
#ifndef RINGLET_ISA_X86_RUN_H
#define RINGLET_ISA_X86_RUN_H

#include "cpu/isa.h"
#include "isa/x86/x86.h"


/* All as struct isa says. */
void x86_take_requests(struct cpu *cpu);
enum isa_next x86_poll(struct cpu *cpu);
void x86_run(struct cpu *cpu, uint64_t budget);

/* Something must be looked at after each instruction. */
static inline bool x86_must_be_careful(const struct x86_cpu *cpu)
{
	return (cpu->state.rflags & (X86_TF | X86_RF)) || cpu->debug_active ||
	       cpu->state.shadow_sti || cpu->state.shadow_mov_ss || cpu->debug_hits;
}

/* Power-on state, and the state after INIT (Intel SDM vol. 3, table 10-1). */
void x86_reset(struct x86_cpu *cpu);
void x86_init(struct x86_cpu *cpu);

#endif
