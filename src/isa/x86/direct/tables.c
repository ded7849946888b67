/* SPDX-License-Identifier: MIT */
/*
 * See tables.h. The host's tables are known by what LAR says of them, which is all that user code
 * may learn (Intel SDM vol. 2, LAR): nothing of what it may not use. Limits are not compared: Linux
 * has one for all, but in the descriptor that holds the CPU's number.
 */
#include "isa/x86/direct/tables.h"

#include <stddef.h>
#include <sys/auxv.h>

#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define HWCAP2_RING3_FSGSBASE 2u /* the kernel lets user code use them */
#define LINUX_GDT_LIMIT 0x7f
#define LINUX_TSS 0x40
#define LAR_MASK 0xf0ff00u
#define HOST_ENTRIES 64u /* of which some are beyond any host's limit */

bool tables_host_can(void)
{
	return getauxval(AT_HWCAP2) & HWCAP2_RING3_FSGSBASE;
}

/* 0: not for user code. */
static uint32_t host_rights(uint16_t selector)
{
	uint32_t rights = 0;
	bool valid;

	__asm__("lar %2, %0" : "+r"(rights), "=@ccz"(valid) : "r"((uint32_t)selector));
	return valid ? rights & LAR_MASK : 0;
}

/* What LAR answers to user code about a descriptor. */
static uint32_t guest_rights(uint64_t low)
{
	const struct x86_descriptor desc = { .low = low };
	unsigned type = x86_descriptor_type(&desc);

	if (x86_descriptor_is_system(&desc) && type != X86_TYPE_LDT && type != X86_TYPE_TSS &&
	    type != X86_TYPE_TSS_BUSY && type != X86_TYPE_CALL_GATE)
		return 0;
	if (!x86_attr_is_conforming(x86_descriptor_attr(&desc)) && x86_descriptor_dpl(&desc) != 3)
		return 0;
	return (uint32_t)(low >> 32) & LAR_MASK;
}

static bool entry_of(struct x86_cpu *cpu, unsigned index, uint64_t *low)
{
	struct x86_walk walk;

	return x86_walk_look(cpu, cpu->state.gdtr.base + index * 8, X86_MMU_KERNEL, &walk) &&
	       walk.readable && !mem_read(cpu->cpu.env.mem, walk.phys, low, sizeof(*low));
}

bool tables_agree(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;
	uint64_t low;

	if (state->gdtr.limit != LINUX_GDT_LIMIT || state->gdtr.base & 7 || state->ldtr.selector ||
	    state->tr.selector != LINUX_TSS)
		return false;
	for (unsigned i = 1; i < HOST_ENTRIES; i++) {
		if (i * 8 > state->gdtr.limit)
			low = 0;
		else if (!entry_of(cpu, i, &low))
			return false;
		if (host_rights((uint16_t)(i * 8 | 3)) != guest_rights(low))
			return false;
	}
	return true;
}
