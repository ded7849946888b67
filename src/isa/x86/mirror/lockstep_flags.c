/* SPDX-License-Identifier: MIT */
/*
 * The translator's one inexactness: status flags that the next writer replaces before anybody
 * reads them may be stale where translated code is left. Here the code that follows is read to see
 * which these are, further than the translator looks; everything unknown reads all flags.
 */
#include "isa/x86/mirror/lockstep_impl.h"
#include "isa/x86/mirror/translate.h"
#include "isa/x86/memory/paging.h"

#define MAX_PLACES 256 /* that branches lead to */
#define MAX_INSNS 4096
#define MAX_LENGTH 15

/* A search for readers. A place that is come to again has no other ones the second time. */
struct search {
	struct x86_cpu *cpu;
	unsigned places, insns;
	struct {
		uint64_t linear, asked;
	} place[MAX_PLACES];
};

/* At most size bytes of code at linear; how many there are. */
static unsigned fetch(struct x86_cpu *cpu, uint64_t linear, uint8_t *bytes)
{
	unsigned size;

	for (size = 0; size < MAX_LENGTH; size++) {
		uint64_t phys;
		const uint8_t *host;

		if (!x86_walk_debug(cpu, linear + size, &phys))
			break;
		host = mem_ptr(cpu->cpu.env.mem, phys, 1);
		if (!host)
			break;
		bytes[size] = *host;
	}
	return size;
}

/*
 * Leads elsewhere with the flags on a stack or in a register; a fault's image is allowed to be
 * stale.
 */
static bool shows_flags(const struct insn_info *info)
{
	return info->z.meta.category == ZYDIS_CATEGORY_SYSCALL ||
	       info->z.meta.category == ZYDIS_CATEGORY_SYSRET ||
	       info->z.meta.category == ZYDIS_CATEGORY_INTERRUPT;
}

/*
 * Whether readers of these flags have been looked for at linear; false: they have not, but are
 * now.
 */
static bool been_here(struct search *search, uint64_t linear, uint64_t asked)
{
	for (unsigned i = 0; i < search->places; i++)
		if (search->place[i].linear == linear && !(asked & ~search->place[i].asked))
			return true;
	search->place[search->places].linear = linear;
	search->place[search->places++].asked = asked;
	return false;
}

/* Flags that code at linear may read before it replaces them, of those in asked. */
static uint64_t wanted(struct search *search, uint64_t linear, uint64_t asked)
{
	uint64_t found = 0;

	if (search->cpu->mode != X86_MODE_64)
		linear = (uint32_t)linear;
	if (search->places == MAX_PLACES)
		return asked;
	if (!asked || been_here(search, linear, asked))
		return 0;
	while (search->insns++ < MAX_INSNS) {
		uint8_t bytes[MAX_LENGTH];
		struct insn_info info;
		struct flag_use use;

		unsigned size = fetch(search->cpu, linear, bytes);

		if (!mirror_describe(search->cpu, bytes, size, &info) || shows_flags(&info))
			break;
		linear += info.z.length;
		use = mirror_flag_use(&info);
		found |= use.reads & asked;
		asked &= ~(uint64_t)(use.reads | use.kills);
		if (!asked)
			return found;
		if (info.z.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE)
			continue;
		if (!info.op[0].imm.is_relative)
			break;
		found |= wanted(search, linear + (uint64_t)info.op[0].imm.value.s, asked);
		if (info.z.meta.category == ZYDIS_CATEGORY_COND_BR)
			found |= wanted(search, linear, asked & ~found);
		return found;
	}
	return found | asked;
}

uint64_t lockstep_dead_flags(struct x86_cpu *cpu, const struct snapshot *translated,
			     const struct snapshot *interpreted)
{
	uint64_t differ = (snapshot_state(translated)->rflags ^
			   snapshot_state(interpreted)->rflags) & X86_STATUS_FLAGS;
	struct search search = { .cpu = cpu };

	if (!differ)
		return 0;
	return differ & ~wanted(&search, snapshot_state(interpreted)->rip, differ);
}
