/* SPDX-License-Identifier: MIT */
/* See cpuid.h. */
#include "isa/x86/cpuid/cpuid.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "isa/x86/cpuid/cpuid_model.h"
#include "isa/x86/x86.h"

#define XSAVE_LEGACY 576u

/* State components whose absence takes the feature with it, and what XCR0 may hold then. */
static uint64_t model_xcr0(struct x86_cpuid *cpuid)
{
	uint64_t mask = 3;

	if (!x86_model_has(cpuid, X86_FEATURE_XSAVE))
		return 0;
	if (x86_model_has(cpuid, X86_FEATURE_AVX))
		mask |= 1 << 2;
	if (x86_model_has(cpuid, X86_FEATURE_AVX512F))
		mask |= 7 << 5;
	if (x86_model_has(cpuid, X86_FEATURE_PKU))
		mask |= 1 << 9;
	if (x86_model_has(cpuid, X86_FEATURE_AMX_TILE))
		mask |= 3 << 17;
	return mask;
}

static uint64_t model_cr4(const struct x86_cpuid *cpuid)
{
	static const struct {
		uint64_t bits;
		enum x86_feature feature;
	} rules[] = {
		{ X86_CR4_VME | X86_CR4_PVI, X86_FEATURE_VME },
		{ X86_CR4_TSD, X86_FEATURE_TSC },
		{ X86_CR4_DE, X86_FEATURE_DE },
		{ X86_CR4_PSE, X86_FEATURE_PSE },
		{ X86_CR4_PAE, X86_FEATURE_PAE },
		{ X86_CR4_MCE, X86_FEATURE_MCE },
		{ X86_CR4_PGE, X86_FEATURE_PGE },
		{ X86_CR4_PCE, X86_FEATURE_FPU },
		{ X86_CR4_OSFXSR, X86_FEATURE_FXSR },
		{ X86_CR4_OSXMMEXCPT, X86_FEATURE_SSE },
		{ X86_CR4_UMIP, X86_FEATURE_UMIP },
		{ X86_CR4_FSGSBASE, X86_FEATURE_FSGSBASE },
		{ X86_CR4_PCIDE, X86_FEATURE_PCID },
		{ X86_CR4_OSXSAVE, X86_FEATURE_XSAVE },
		{ X86_CR4_SMEP, X86_FEATURE_SMEP },
		{ X86_CR4_SMAP, X86_FEATURE_SMAP },
		{ X86_CR4_PKE, X86_FEATURE_PKU },
	};
	uint64_t mask = 0;

	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (x86_model_has(cpuid, rules[i].feature))
			mask |= rules[i].bits;
	return mask;
}

static unsigned model_phys_bits(void)
{
	uint32_t regs[4];
	unsigned bits;

	x86_host_cpuid(0x80000008, 0, regs);
	bits = regs[X86_EAX] & 0xff;
	return bits < 39 ? 39 : bits > 46 ? 46 : bits;
}

int x86_cpuid_create(const char *model, unsigned index, unsigned count, const struct cpu_env *env,
		     struct x86_cpuid **out, struct error *err)
{
	struct x86_cpuid *cpuid = calloc(1, sizeof(*cpuid));
	int ret;

	if (!cpuid)
		return error_set_errno(err, ENOMEM, "CPU model");
	ret = x86_model_choose(cpuid, model, env ? env->limit : NULL, err);
	if (ret) {
		free(cpuid);
		return ret;
	}
	if (count < 2)
		cpuid->feature[X86_FEATURE_HTT / 32] &= ~(1u << X86_FEATURE_HTT % 32);
	cpuid->index = index;
	cpuid->count = count;
	cpuid->phys_bits = model_phys_bits();
	cpuid->tsc_hz = x86_host_tsc_hz();
	cpuid->crystal_hz = env && env->apic_timer_hz ? env->apic_timer_hz : x86_crystal_hz(cpuid->tsc_hz);
	cpuid->xcr0_mask = model_xcr0(cpuid);
	cpuid->cr4_mask = model_cr4(cpuid);
	x86_cpuid_build(cpuid);
	*out = cpuid;
	return 0;
}

void x86_cpuid_destroy(struct x86_cpuid *cpuid)
{
	free(cpuid);
}

/* A leaf past the highest of its range answers as the highest basic one does. */
static uint32_t existing_leaf(uint32_t leaf)
{
	if (leaf >= 0x40000000 && leaf < 0x50000000)
		return leaf;
	if (leaf >= 0x80000000 && leaf <= X86_CPUID_MAX_EXTENDED)
		return leaf;
	return leaf < X86_CPUID_MAX_BASIC ? leaf : X86_CPUID_MAX_BASIC;
}

const struct x86_cpuid_leaves *x86_cpuid_leaves(const struct x86_cpuid *cpuid)
{
	return &cpuid->leaves;
}

static bool has_subleaves(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1d ||
	       leaf == 0x1e || leaf == 0x1f;
}

void x86_cpuid_query(const struct x86_cpuid *cpuid, uint32_t leaf, uint32_t subleaf,
		     uint32_t regs[4])
{
	leaf = existing_leaf(leaf);
	for (unsigned i = 0; i < cpuid->leaves.count; i++) {
		const struct x86_cpuid_leaf *l = &cpuid->leaves.leaf[i];

		if (l->leaf != leaf || (has_subleaves(leaf) && l->subleaf != subleaf))
			continue;
		for (unsigned r = 0; r < 4; r++)
			regs[r] = l->regs[r];
		return;
	}
	for (unsigned r = 0; r < 4; r++)
		regs[r] = 0;
	/* Levels past the last still say which one was asked for and who answers. */
	if (leaf == 0xb || leaf == 0x1f) {
		regs[X86_ECX] = subleaf & 0xff;
		regs[X86_EDX] = cpuid->index;
	}
}

/* Bytes of an XSAVE area of these components, in the standard or the compacted form. */
static uint32_t xsave_size(const struct x86_cpuid *cpuid, uint64_t components, bool compacted)
{
	const uint32_t aligned = 1 << 1;
	uint32_t size = XSAVE_LEGACY;

	for (unsigned i = 2; i < 63; i++) {
		uint32_t regs[4];

		if (!(components >> i & 1))
			continue;
		x86_cpuid_query(cpuid, 0xd, i, regs);
		if (!compacted) {
			uint32_t end = regs[X86_EBX] + regs[X86_EAX];

			size = end > size ? end : size;
			continue;
		}
		if (regs[X86_ECX] & aligned)
			size = (size + 63) & ~63u;
		size += regs[X86_EAX];
	}
	return size;
}

/* The local APIC is there as long as its base register enables it. */
static bool apic_is_disabled(struct x86_cpu *cpu)
{
	const uint32_t base_index = 0x1b;
	const uint64_t base_enable = 1u << 11;
	const struct cpu_intc *intc = cpu->cpu.env.intc;
	uint64_t base;

	if (!intc)
		return false;
	x86_vec_park(cpu);
	return intc->msr_read(intc->opaque, base_index, &base) && !(base & base_enable);
}

void x86_cpuid_execute(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		       uint32_t regs[4])
{
	const uint32_t osxsave = 1u << 27, ospke = 1u << 4, syscall = 1u << 11, apic = 1u << 9;

	x86_cpuid_query(cpu->cpuid, leaf, subleaf, regs);
	if (leaf == 1 && cpu->state.cr4 & X86_CR4_OSXSAVE)
		regs[X86_ECX] |= osxsave;
	if (leaf == 1 && apic_is_disabled(cpu))
		regs[X86_EDX] &= ~apic;
	if (leaf == 7 && subleaf == 0 && cpu->state.cr4 & X86_CR4_PKE)
		regs[X86_ECX] |= ospke;
	if (leaf == 0xd && cpu->cpuid->xcr0_mask && subleaf < 2)
		regs[X86_EBX] = xsave_size(cpu->cpuid, cpu->state.xcr0, subleaf == 1);
	/* On Intel the bit speaks of the mode it is read in. */
	if (leaf == 0x80000001 && cpu->mode != X86_MODE_64)
		regs[X86_EDX] &= ~syscall;
}

bool x86_cpuid_has(const struct x86_cpu *cpu, enum x86_feature feature)
{
	return x86_model_has(cpu->cpuid, feature);
}

unsigned x86_maxphyaddr(const struct x86_cpu *cpu)
{
	return cpu->cpuid->phys_bits;
}

uint64_t x86_xcr0_mask(const struct x86_cpu *cpu)
{
	return cpu->cpuid->xcr0_mask;
}

uint64_t x86_cr4_mask(const struct x86_cpu *cpu)
{
	return cpu->cpuid->cr4_mask;
}

uint64_t x86_tsc_hz(const struct x86_cpuid *cpuid)
{
	return cpuid->tsc_hz;
}

uint64_t x86_apic_timer_hz(const struct x86_cpuid *cpuid)
{
	return cpuid->crystal_hz;
}
