/* SPDX-License-Identifier: MIT */
/* The interpreter's run loop and what happens between instructions: see run.c. */
#ifndef RINGLET_ISA_X86_RUN_H
#define RINGLET_ISA_X86_RUN_H

#include "cpu/isa.h"

struct x86_cpu;

/* Both as struct isa says. */
enum isa_next x86_poll(struct cpu *cpu);
void x86_run(struct cpu *cpu, uint64_t budget);

/* Power-on state, and the state after INIT (Intel SDM vol. 3, table 10-1). */
void x86_reset(struct x86_cpu *cpu);
void x86_init(struct x86_cpu *cpu);

#endif
