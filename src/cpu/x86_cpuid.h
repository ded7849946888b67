/* SPDX-License-Identifier: MIT */
/*
 * CPUID's answers as a list: what a CPU model says, what an accelerator can give. Leaves without
 * subleaves have subleaf 0. Intel SDM vol. 2A, CPUID.
 */
#ifndef RINGLET_CPU_X86_CPUID_H
#define RINGLET_CPU_X86_CPUID_H

#include <stdint.h>

#define X86_CPUID_LEAVES 160u

enum { X86_EAX, X86_EBX, X86_ECX, X86_EDX };

struct x86_cpuid_leaf {
	uint32_t leaf, subleaf;
	uint32_t regs[4];
};

struct x86_cpuid_leaves {
	unsigned count;
	struct x86_cpuid_leaf leaf[X86_CPUID_LEAVES];
};

#endif
