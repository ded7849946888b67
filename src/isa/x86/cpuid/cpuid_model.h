/* SPDX-License-Identifier: MIT */
/* The inside of a CPU model, for the files that build it. See cpuid.h. */
#ifndef RINGLET_ISA_X86_CPUID_MODEL_H
#define RINGLET_ISA_X86_CPUID_MODEL_H

#include "isa/x86/cpuid/cpuid.h"

#define X86_CPUID_MAX_BASIC 0x1fu
#define X86_CPUID_MAX_EXTENDED 0x80000008u

struct x86_cpuid {
	unsigned index, count;
	unsigned phys_bits;
	bool host; /* the host model: named and numbered as this processor is */
	const char *name;
	uint64_t tsc_hz, crystal_hz;
	uint64_t xcr0_mask, cr4_mask;
	uint32_t feature[X86_FEATURE_WORD_COUNT];
	struct x86_cpuid_leaves leaves;
};

static inline bool x86_model_has(const struct x86_cpuid *cpuid, enum x86_feature feature)
{
	return cpuid->feature[feature / 32] >> feature % 32 & 1;
}

/* The host's answer; zeros for a leaf past its highest. */
void x86_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* model.c: name, host and the features of the named model, within limit (NULL: none). Errors as
 * x86_cpuid_create. */
int x86_model_choose(struct x86_cpuid *cpuid, const char *model,
		     const struct x86_cpuid_leaves *limit, struct error *err);

/* leaves.c: fills the leaves from everything else. */
void x86_cpuid_build(struct x86_cpuid *cpuid);

#endif
