/* SPDX-License-Identifier: MIT */
/*
 * The CPUID leaves of a model. The processor is always an Intel one, because the instructions that
 * differ (SYSCALL and SYSENTER outside of 64-bit mode, SYSRET's fault) are carried out as Intel's
 * do; caches and XSAVE offsets are the host's, since programs size their copies by the first and the
 * host itself saves by the second. One package of count cores. Intel SDM vol. 2A, CPUID.
 */
#include <cpuid.h>
#include <string.h>

#include "cpu/x86_state.h"
#include "isa/x86/cpuid/cpuid_model.h"

#define SIGNATURE 0x000806f8u /* family 6, model 8fH: where the host's own does not apply */
#define HYPERVISOR_LEAVES 0x40000000u
#define HYPERVISOR_TIMING (HYPERVISOR_LEAVES + 0x10)
#define CLFLUSH_QUADWORDS 8u
#define LINEAR_BITS 48u
#define XSAVE_LEGACY 576u /* legacy region and header */

static void add(struct x86_cpuid *cpuid, uint32_t leaf, uint32_t subleaf, uint32_t eax,
		uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	struct x86_cpuid_leaves *leaves = &cpuid->leaves;

	if (leaves->count < X86_CPUID_LEAVES)
		leaves->leaf[leaves->count++] = (struct x86_cpuid_leaf){
			leaf, subleaf, { eax, ebx, ecx, edx } };
}

static bool host_is_intel(void)
{
	uint32_t regs[4];

	x86_host_cpuid(0, 0, regs);
	return regs[X86_EBX] == signature_INTEL_ebx && regs[X86_ECX] == signature_INTEL_ecx &&
	       regs[X86_EDX] == signature_INTEL_edx;
}

/* Bits of an APIC ID that tell the cores apart. */
static unsigned core_bits(const struct x86_cpuid *cpuid)
{
	return cpuid->count > 1 ? 32 - (unsigned)__builtin_clz(cpuid->count - 1) : 0;
}

static void add_identity(struct x86_cpuid *cpuid)
{
	uint32_t regs[4], signature = SIGNATURE;
	uint32_t logical = cpuid->count < 255 ? cpuid->count : 255;

	if (cpuid->host && host_is_intel()) {
		x86_host_cpuid(1, 0, regs);
		signature = regs[X86_EAX];
	}
	add(cpuid, 0, 0, X86_CPUID_MAX_BASIC, signature_INTEL_ebx, signature_INTEL_ecx,
	    signature_INTEL_edx);
	add(cpuid, 1, 0, signature,
	    (cpuid->index & 0xff) << 24 | logical << 16 | CLFLUSH_QUADWORDS << 8,
	    cpuid->feature[X86_WORD_1_ECX], cpuid->feature[X86_WORD_1_EDX]);
	/* "See leaf 4." */
	add(cpuid, 2, 0, 0xff01, 0, 0, 0);
}

/* Where the host describes no caches: 32 KiB L1, 1 MiB L2, 16 MiB L3, in the form of leaf 4. */
static void cache_default(unsigned subleaf, uint32_t regs[4])
{
	static const uint32_t caches[][4] = {
		{ 0x121, 0x01c0003f, 63, 0 },
		{ 0x122, 0x01c0003f, 63, 0 },
		{ 0x143, 0x03c0003f, 1023, 0 },
		{ 0x163, 0x03c0003f, 16383, 0 },
		{ 0 },
	};

	memcpy(regs, caches[subleaf < 4 ? subleaf : 4], sizeof(caches[0]));
}

static void add_caches(struct x86_cpuid *cpuid)
{
	const uint32_t type = 0x1f, kept = 0x3fff;
	uint32_t cores = (1u << core_bits(cpuid)) - 1;
	uint32_t regs[4], source = 4;

	x86_host_cpuid(source, 0, regs);
	if (!(regs[X86_EAX] & type)) {
		source = 0x8000001d; /* AMD's, the same in form */
		x86_host_cpuid(source, 0, regs);
	}
	if (!(regs[X86_EAX] & type))
		source = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint32_t level, sharing;

		if (source)
			x86_host_cpuid(source, i, regs);
		else
			cache_default(i, regs);
		if (!(regs[X86_EAX] & type))
			break;
		level = regs[X86_EAX] >> 5 & 7;
		sharing = level >= 3 ? cores : 0;
		add(cpuid, 4, i,
		    (regs[X86_EAX] & kept) | sharing << 14 | (cores < 63 ? cores : 63) << 26,
		    regs[X86_EBX], regs[X86_ECX], regs[X86_EDX]);
	}
}

static void add_features(struct x86_cpuid *cpuid)
{
	const uint32_t *word = cpuid->feature;

	add(cpuid, 6, 0, word[X86_WORD_6_EAX], 0, 0, 0);
	add(cpuid, 7, 0, 2, word[X86_WORD_7_EBX], word[X86_WORD_7_ECX], word[X86_WORD_7_EDX]);
	add(cpuid, 7, 1, word[X86_WORD_7_1_EAX], 0, 0, 0);
	add(cpuid, 7, 2, 0, 0, 0, word[X86_WORD_7_2_EDX]);
}

static void add_topology(struct x86_cpuid *cpuid, uint32_t leaf)
{
	const uint32_t smt = 1 << 8, core = 2 << 8;

	add(cpuid, leaf, 0, 0, 1, smt, cpuid->index);
	add(cpuid, leaf, 1, core_bits(cpuid), cpuid->count & 0xffff, core | 1, cpuid->index);
}

/* Components that fit the state's XSAVE image, at the host's offsets. */
static void add_xsave(struct x86_cpuid *cpuid)
{
	uint32_t end = XSAVE_LEGACY, regs[4];

	if (!x86_model_has(cpuid, X86_FEATURE_XSAVE))
		return;
	for (unsigned i = 2; i < 63; i++) {
		if (!(cpuid->xcr0_mask >> i & 1))
			continue;
		x86_host_cpuid(0xd, i, regs);
		if (regs[X86_EBX] + regs[X86_EAX] > end)
			end = regs[X86_EBX] + regs[X86_EAX];
		add(cpuid, 0xd, i, regs[X86_EAX], regs[X86_EBX], regs[X86_ECX], 0);
	}
	add(cpuid, 0xd, 0, (uint32_t)cpuid->xcr0_mask, XSAVE_LEGACY, end,
	    (uint32_t)(cpuid->xcr0_mask >> 32));
	add(cpuid, 0xd, 1, cpuid->feature[X86_WORD_D_1_EAX], XSAVE_LEGACY, 0, 0);
}

/* Tiles and what multiplies them are the host's. */
static void add_tiles(struct x86_cpuid *cpuid)
{
	static const struct {
		uint32_t leaf, subleaf;
	} leaves[] = { { 0x1d, 0 }, { 0x1d, 1 }, { 0x1e, 0 } };
	uint32_t regs[4];

	if (!x86_model_has(cpuid, X86_FEATURE_AMX_TILE))
		return;
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		x86_host_cpuid(leaves[i].leaf, leaves[i].subleaf, regs);
		/* Palette 1 is all there is. */
		if (leaves[i].leaf == 0x1d && !leaves[i].subleaf)
			regs[X86_EAX] = 1;
		add(cpuid, leaves[i].leaf, leaves[i].subleaf, regs[X86_EAX], regs[X86_EBX],
		    regs[X86_ECX], regs[X86_EDX]);
	}
}

static void add_timing(struct x86_cpuid *cpuid)
{
	uint32_t mhz = (uint32_t)(cpuid->tsc_hz / 1000000);
	uint64_t ratio = cpuid->tsc_hz / cpuid->crystal_hz;

	/* A clock of the timer that is no crystal of the TSC's is for the guest to measure. */
	if (ratio && ratio * cpuid->crystal_hz == cpuid->tsc_hz)
		add(cpuid, 0x15, 0, 1, (uint32_t)ratio, (uint32_t)cpuid->crystal_hz, 0);
	else
		add(cpuid, 0x15, 0, 0, 0, 0, 0);
	add(cpuid, 0x16, 0, mhz, mhz, 100, 0);
}

static void add_hypervisor(struct x86_cpuid *cpuid)
{
	static const char signature[] = "RingletRingl";
	uint32_t text[3];

	memcpy(text, signature, sizeof(text));
	add(cpuid, HYPERVISOR_LEAVES, 0, HYPERVISOR_TIMING, text[0], text[1], text[2]);
	add(cpuid, HYPERVISOR_TIMING, 0, (uint32_t)(cpuid->tsc_hz / 1000),
	    (uint32_t)(cpuid->crystal_hz / 1000), 0, 0);
}

static void add_brand(struct x86_cpuid *cpuid)
{
	uint32_t text[3][4] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		x86_host_cpuid(0x80000002 + i, 0, text[i]);
	if (!cpuid->host || !host_is_intel()) {
		size_t length = strlen(cpuid->name);

		memset(text, 0, sizeof(text));
		memcpy(text, cpuid->name, length < sizeof(text) ? length : sizeof(text) - 1);
	}
	for (unsigned i = 0; i < 3; i++)
		add(cpuid, 0x80000002 + i, 0, text[i][0], text[i][1], text[i][2], text[i][3]);
}

static void add_extended(struct x86_cpuid *cpuid)
{
	uint32_t l2[4];

	add(cpuid, 0x80000000, 0, X86_CPUID_MAX_EXTENDED, 0, 0, 0);
	add(cpuid, 0x80000001, 0, 0, 0, cpuid->feature[X86_WORD_X1_ECX],
	    cpuid->feature[X86_WORD_X1_EDX]);
	add_brand(cpuid);
	x86_host_cpuid(0x80000006, 0, l2);
	add(cpuid, 0x80000006, 0, 0, 0, l2[X86_ECX], 0);
	add(cpuid, 0x80000007, 0, 0, 0, 0, cpuid->feature[X86_WORD_X7_EDX]);
	add(cpuid, 0x80000008, 0, cpuid->phys_bits | LINEAR_BITS << 8,
	    cpuid->feature[X86_WORD_X8_EBX], 0, 0);
}

void x86_cpuid_build(struct x86_cpuid *cpuid)
{
	add_identity(cpuid);
	add_caches(cpuid);
	add_features(cpuid);
	add_topology(cpuid, 0xb);
	add_xsave(cpuid);
	add_timing(cpuid);
	add_tiles(cpuid);
	add_topology(cpuid, 0x1f);
	add_hypervisor(cpuid);
	add_extended(cpuid);
}
