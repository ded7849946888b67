/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers. Intel SDM vol. 4. On the CPU's own thread (or while it does not run);
 * both calls may park the vector state.
 */
#ifndef RINGLET_ISA_X86_MSR_H
#define RINGLET_ISA_X86_MSR_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

/* As RDMSR and WRMSR at CPL 0; false: #GP(0). */
bool x86_msr_read(struct x86_cpu *cpu, uint32_t index, uint64_t *value);
bool x86_msr_write(struct x86_cpu *cpu, uint32_t index, uint64_t value);

/* Power-on values of the MSRs that struct x86_state holds, where they are not zero. */
void x86_msr_reset(struct x86_cpu *cpu);

/* The guest's time-stamp counter now. */
uint64_t x86_tsc_read(const struct x86_cpu *cpu);

#endif
