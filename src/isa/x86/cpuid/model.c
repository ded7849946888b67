/* SPDX-License-Identifier: MIT */
/*
 * CPU models: which features of the table a CPU of a given name has on this host. Runs while CPUs
 * are created.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "cpu/x86_state.h"
#include "isa/x86/cpuid/cpuid_model.h"
#include "isa/x86/vector/hoststub.h"

enum level { LEVEL_V1 = 1, LEVEL_V2, LEVEL_V3, LEVEL_HOST };
enum source { SOURCE_OURS, SOURCE_NATIVE, SOURCE_FACT };

static const struct {
	const char *name, *brand;
	enum level level;
} models[] = {
	{ "host", "Ringlet host processor", LEVEL_HOST },
	{ "baseline", "Ringlet x86-64 processor", LEVEL_V1 },
	{ "v2", "Ringlet x86-64-v2 processor", LEVEL_V2 },
	{ "v3", "Ringlet x86-64-v3 processor", LEVEL_V3 },
};

static const struct {
	const char *name;
	uint16_t feature, needs;
	uint8_t level, source;
} features[] = {
#define X(name, word, bit, level, source, needs)                                                   \
	{ #name, X86_FEATURE_##name, X86_FEATURE_##needs, LEVEL_##level, SOURCE_##source },
	X86_FEATURES(X)
#undef X
};

static const struct {
	uint32_t leaf, subleaf;
	unsigned reg;
} words[] = {
#define X(word, leaf, subleaf, reg) { leaf, subleaf, reg },
	X86_FEATURE_WORDS(X)
#undef X
};

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

void x86_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	memset(regs, 0, 4 * sizeof(regs[0]));
	if ((uint32_t)__get_cpuid_max(leaf & 0x80000000u, NULL) < leaf)
		return;
	__cpuid_count(leaf, subleaf, regs[X86_EAX], regs[X86_EBX], regs[X86_ECX], regs[X86_EDX]);
}

/* XCR0 as the host's kernel set it: a feature whose state it does not keep cannot be used. */
static uint64_t host_xcr0(void)
{
	uint32_t regs[4], low, high;

	x86_host_cpuid(1, 0, regs);
	if (!(regs[X86_ECX] & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

static void clear(uint32_t *word, enum x86_feature feature)
{
	word[feature / 32] &= ~(1u << feature % 32);
}

static bool has(const uint32_t *word, enum x86_feature feature)
{
	return word[feature / 32] >> feature % 32 & 1;
}

/* tiles: AMX is wanted, if it can be had. */
static void read_host(uint32_t *word, bool tiles)
{
	const uint64_t avx = 6, avx512 = 0xe6, amx = 3 << 17;
	uint64_t xcr0 = host_xcr0();

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t regs[4], max[4];

		x86_host_cpuid(words[i].leaf, 0, max);
		x86_host_cpuid(words[i].leaf, words[i].subleaf, regs);
		/* Subleaves past the highest one that leaf 7 names are undefined. */
		word[i] = words[i].leaf == 7 && words[i].subleaf > max[X86_EAX] ?
			  0 : regs[words[i].reg];
	}
	if (!xcr0)
		clear(word, X86_FEATURE_XSAVE);
	if ((xcr0 & avx) != avx)
		clear(word, X86_FEATURE_AVX);
	if ((xcr0 & avx512) != avx512)
		clear(word, X86_FEATURE_AVX512F);
	if (!has(word, X86_FEATURE_AMX_TILE) || (xcr0 & amx) != amx || !tiles ||
	    !host_tiles_request())
		clear(word, X86_FEATURE_AMX_TILE);
}

static bool within(const struct x86_cpuid_leaves *limit, enum x86_feature feature)
{
	unsigned word = feature / 32;

	for (unsigned i = 0; limit && i < limit->count; i++)
		if (limit->leaf[i].leaf == words[word].leaf &&
		    limit->leaf[i].subleaf == words[word].subleaf)
			return limit->leaf[i].regs[words[word].reg] >> feature % 32 & 1;
	return !limit;
}

/* The table's order makes one pass enough: a feature is looked at after those that it needs. */
static int choose_features(uint32_t *word, enum level level, const char *model,
			   const struct x86_cpuid_leaves *limit, struct error *err)
{
	uint32_t host[X86_FEATURE_WORD_COUNT];

	read_host(host, level == LEVEL_HOST);
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		enum x86_feature feature = features[i].feature, needs = features[i].needs;
		bool on_host = (features[i].source == SOURCE_OURS || has(host, feature)) &&
			       within(limit, feature);

		if (features[i].level > level)
			continue;
		if (needs != feature && !has(word, needs))
			on_host = false;
		if (on_host)
			word[feature / 32] |= 1u << feature % 32;
		else if (level != LEVEL_HOST && features[i].source == SOURCE_NATIVE)
			return error_set(err, EINVAL,
					 "CPU model '%s' needs %s, which this processor does not have",
					 model, features[i].name);
	}
	return 0;
}

int x86_model_choose(struct x86_cpuid *cpuid, const char *model,
		     const struct x86_cpuid_leaves *limit, struct error *err)
{
	if (!model)
		model = models[0].name;
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
		if (strcmp(model, models[i].name))
			continue;
		cpuid->host = models[i].level == LEVEL_HOST;
		cpuid->name = models[i].brand;
		return choose_features(cpuid->feature, models[i].level, model, limit, err);
	}
	return error_set(err, EINVAL, "unknown CPU model '%s'; there are host, baseline, v2 and v3",
			 model);
}
