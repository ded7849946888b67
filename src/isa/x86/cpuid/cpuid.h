/* SPDX-License-Identifier: MIT */
/*
 * A CPU model: what CPUID answers, and with it what the CPU has. Made once for each CPU; immutable
 * afterwards, so that any thread may read it. Intel SDM vol. 2A, CPUID; vol. 1, 20.
 */
#ifndef RINGLET_ISA_X86_CPUID_H
#define RINGLET_ISA_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "cpu/x86_cpuid.h"
#include "isa/x86/cpuid/features.h"

struct cpu_env;
struct error;
struct x86_cpu;
struct x86_cpuid;

/*
 * model: "host" (or NULL) for all of this processor's instructions that the engine has, "baseline",
 * "v2" or "v3" for the psABI's levels; index and count: this CPU's APIC ID and how many there are; env's
 * limit and timer clock count (NULL: neither). The caller owns *cpuid. -EINVAL: unknown model, or one that needs what
 * the host lacks; -ENOMEM. Runs before the guest does (it calls libc).
 */
int x86_cpuid_create(const char *model, unsigned index, unsigned count, const struct cpu_env *env,
		     struct x86_cpuid **cpuid, struct error *err);
void x86_cpuid_destroy(struct x86_cpuid *cpuid);

/* The leaf as the model has it, its fixed part: without what follows from control registers. */
void x86_cpuid_query(const struct x86_cpuid *cpuid, uint32_t leaf, uint32_t subleaf,
		     uint32_t regs[4]);
/* All of them. */
const struct x86_cpuid_leaves *x86_cpuid_leaves(const struct x86_cpuid *cpuid);
/* What the instruction answers on cpu now. */
void x86_cpuid_execute(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		       uint32_t regs[4]);

bool x86_cpuid_has(const struct x86_cpu *cpu, enum x86_feature feature);
/* Whether instructions of this set exist on cpu; #UD if not. */
bool x86_isa_allowed(const struct x86_cpu *cpu, ZydisISASet set, ZydisISAExt ext);

/* Guest-physical address bits, 39 … 46. */
unsigned x86_maxphyaddr(const struct x86_cpu *cpu);
/* Bits that may be set in XCR0, and in CR4. */
uint64_t x86_xcr0_mask(const struct x86_cpu *cpu);
uint64_t x86_cr4_mask(const struct x86_cpu *cpu);

/*
 * The guest's TSC runs as the host's does. The APIC timer counts the crystal of leaf 15H, whose
 * frequency is the TSC's, too, below 4 GHz: then the guest's own 32-bit arithmetic with the leaf's
 * ratio is exact.
 */
uint64_t x86_tsc_hz(const struct x86_cpuid *cpuid);
uint64_t x86_apic_timer_hz(const struct x86_cpuid *cpuid);

/* The same two before there is a CPU. The first call may take 10 ms. Any thread. */
uint64_t x86_host_tsc_hz(void);
/* Somebody knows it already. Before the first call of the other, else it has no effect. */
void x86_host_tsc_known(uint64_t hz);
/* The counter and the monotonic clock, at the same moment. */
void x86_host_tsc_sample(uint64_t *tsc, uint64_t *ns);
uint64_t x86_crystal_hz(uint64_t tsc_hz);

#endif
