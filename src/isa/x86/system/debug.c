/* SPDX-License-Identifier: MIT */
/* MOV to and from debug registers, and what they match: see debug.h. Intel SDM vol. 3, 17. */
#include "isa/x86/system/debug.h"

#include "isa/x86/system/system.h"

enum { RW_EXECUTE = 0, RW_IO = 2 };

static bool enabled(uint64_t dr7, unsigned index)
{
	return dr7 >> index * 2 & 3;
}

static unsigned kind(uint64_t dr7, unsigned index)
{
	return dr7 >> (16 + index * 4) & 3;
}

uint64_t x86_debug_fetch_hits(const struct x86_cpu *cpu, uint64_t linear)
{
	uint64_t dr7 = cpu->state.dr7, hits = 0;

	for (unsigned i = 0; i < 4; i++)
		if (enabled(dr7, i) && kind(dr7, i) == RW_EXECUTE && cpu->state.dr[i] == linear)
			hits |= 1u << i;
	return hits;
}

uint64_t x86_debug_io_hits(const struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	uint64_t dr7 = cpu->state.dr7, hits = 0;

	if (likely(!(dr7 & X86_DR7_ENABLES)) || !(cpu->state.cr4 & X86_CR4_DE))
		return 0;
	for (unsigned i = 0; i < 4; i++) {
		unsigned length = x86_debug_length(dr7, i);
		uint64_t start = cpu->state.dr[i] & ~(uint64_t)(length - 1);

		if (enabled(dr7, i) && kind(dr7, i) == RW_IO && port < start + length &&
		    start < (uint64_t)port + size)
			hits |= 1u << i;
	}
	return hits;
}

/* DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE takes them away. */
static unsigned check_access(struct x86_cpu *cpu, unsigned index)
{
	if (index > 7)
		x86_undefined(cpu);
	x86_require_cpl0(cpu);
	if (index == 4 || index == 5) {
		if (cpu->state.cr4 & X86_CR4_DE)
			x86_undefined(cpu);
		index += 2;
	}
	if (cpu->state.dr7 & X86_DR7_GD) {
		cpu->state.dr6 |= X86_DR6_BD;
		x86_raise(cpu, X86_DB);
	}
	return index;
}

void x86_mov_from_dr(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned index = check_access(cpu, insn->modrm_reg);
	uint64_t value = index == 7 ? cpu->state.dr7 :
			 index == 6 ? cpu->state.dr6 : cpu->state.dr[index];

	insn_write_reg(cpu, insn->dst, x86_system_width(cpu), value);
}

void x86_mov_to_dr(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned index = check_access(cpu, insn->modrm_reg);
	uint64_t value = insn_read_reg(cpu, insn->dst, x86_system_width(cpu));

	if (index >= 6 && value >> 32)
		x86_general_protection(cpu);
	if (index == 6) {
		cpu->state.dr6 = (value & X86_DR6_WRITABLE) | X86_DR6_FIXED;
		return;
	}
	if (index == 7)
		cpu->state.dr7 = (value & X86_DR7_WRITABLE) | X86_DR7_FIXED;
	else
		cpu->state.dr[index] = value;
	/* Watched pages must miss the TLB's fast path, and those that no longer are may hit it. */
	x86_update_mode(cpu);
}
