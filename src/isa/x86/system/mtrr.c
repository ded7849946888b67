/* SPDX-License-Identifier: MIT */
/*
 * Memory types: MTRRs and PAT. All guest memory is the host's write-back memory, so the registers
 * only remember; but they refuse what hardware refuses. Intel SDM vol. 3A, 12.11 and 12.12.
 */
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/system/msr_table.h"
#include "isa/x86/x86.h"

#define MTRR_CAP_FIXED (1ull << 8)
#define MTRR_CAP_WC (1ull << 10)
#define MTRR_VALID (1ull << 11)
#define MTRR_DEF_FLAGS (3ull << 10) /* E, FE */

enum { TYPE_UC = 0, TYPE_WC = 1, TYPE_WT = 4, TYPE_WP = 5, TYPE_WB = 6, TYPE_UC_MINUS = 7 };

static bool mtrr_type(uint64_t type)
{
	return type == TYPE_UC || type == TYPE_WC || (type >= TYPE_WT && type <= TYPE_WB);
}

/* Page-address bits that exist. */
static uint64_t address_bits(const struct x86_cpu *cpu)
{
	return ((1ull << x86_maxphyaddr(cpu)) - 1) & ~0xfffull;
}

bool x86_mtrr_read_cap(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = MTRR_CAP_FIXED | MTRR_CAP_WC |
		 sizeof(cpu->state.mtrr_phys_base) / sizeof(cpu->state.mtrr_phys_base[0]);
	return true;
}

bool x86_mtrr_write_base(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	if (!mtrr_type(value & 0xff) || value & ~(address_bits(cpu) | 0xff))
		return false;
	cpu->state.mtrr_phys_base[(index - 0x200) / 2] = value;
	return true;
}

bool x86_mtrr_write_mask(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	if (value & ~(address_bits(cpu) | MTRR_VALID))
		return false;
	cpu->state.mtrr_phys_mask[(index - 0x201) / 2] = value;
	return true;
}

bool x86_mtrr_write_fixed(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	unsigned slot = index == 0x250 ? 0 : index < 0x268 ? index - 0x258 + 1 : index - 0x268 + 3;

	for (unsigned i = 0; i < 64; i += 8)
		if (!mtrr_type(value >> i & 0xff))
			return false;
	cpu->state.mtrr_fixed[slot] = value;
	return true;
}

bool x86_mtrr_write_def_type(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	if (!mtrr_type(value & 0xff) || value & ~(MTRR_DEF_FLAGS | 0xff))
		return false;
	cpu->state.mtrr_def_type = value;
	return true;
}

bool x86_mtrr_write_pat(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	for (unsigned i = 0; i < 64; i += 8)
		if (!mtrr_type(value >> i & 0xff) && (value >> i & 0xff) != TYPE_UC_MINUS)
			return false;
	cpu->state.pat = value;
	return true;
}
