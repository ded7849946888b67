/* SPDX-License-Identifier: MIT */
/*
 * Control registers: what may be written, and what follows. Translations that depend on a bit are
 * dropped by x86_update_mode; only what flushes without a change of bits is said here. Intel SDM
 * vol. 3, 2.5, 4.10 and 9.8.5; vol. 2, MOV to and from control registers.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/system/system.h"
#include "isa/x86/memory/tlb.h"

#define CR0_DEFINED                                                                                \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE |             \
	 X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define CR0_MSW (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)
#define CR3_NO_FLUSH (1ull << 63)

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return cr0 & X86_CR0_PG && cr4 & X86_CR4_PAE && !(efer & X86_EFER_LME);
}

static void load_pdptrs(struct x86_cpu *cpu, uint64_t cr3)
{
	if (!x86_load_pdptrs(cpu, cr3))
		x86_general_protection(cpu);
}

/* Paging comes on under EFER.LME: IA-32e mode begins, if everything is ready for it. */
static void check_long_mode_entry(struct x86_cpu *cpu)
{
	unsigned tss = cpu->state.tr.attr & X86_SEG_TYPE;
	const unsigned tss16 = 1, tss16_busy = 3;

	if (!(cpu->state.cr4 & X86_CR4_PAE) || cpu->state.seg[X86_CS].attr & X86_SEG_L ||
	    tss == tss16 || tss == tss16_busy)
		x86_general_protection(cpu);
}

static void check_cr0(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t old = cpu->state.cr0;

	if (value >> 32)
		x86_general_protection(cpu);
	if (value & X86_CR0_PG && !(value & X86_CR0_PE))
		x86_general_protection(cpu);
	if (value & X86_CR0_NW && !(value & X86_CR0_CD))
		x86_general_protection(cpu);
	if (old & ~value & X86_CR0_PG &&
	    (cpu->mode == X86_MODE_64 || cpu->state.cr4 & X86_CR4_PCIDE))
		x86_general_protection(cpu);
	if (value & ~old & X86_CR0_PG && cpu->state.efer & X86_EFER_LME)
		check_long_mode_entry(cpu);
}

static void write_cr0(struct x86_cpu *cpu, uint64_t value)
{
	const uint64_t reload = X86_CR0_PG | X86_CR0_CD | X86_CR0_NW;
	uint64_t changed;

	check_cr0(cpu, value);
	value = (value & CR0_DEFINED) | X86_CR0_ET;
	changed = value ^ cpu->state.cr0;
	if (changed & reload && pae_paging(value, cpu->state.cr4, cpu->state.efer))
		load_pdptrs(cpu, cpu->state.cr3);
	if (value & X86_CR0_PG && cpu->state.efer & X86_EFER_LME)
		cpu->state.efer |= X86_EFER_LMA;
	else
		cpu->state.efer &= ~X86_EFER_LMA;
	cpu->state.cr0 = value;
	x86_update_mode(cpu);
}

static void write_cr3(struct x86_cpu *cpu, uint64_t value)
{
	bool pcide = cpu->state.cr4 & X86_CR4_PCIDE;
	bool keep = pcide && value & CR3_NO_FLUSH;

	if (pcide)
		value &= ~CR3_NO_FLUSH;
	if (value >> x86_maxphyaddr(cpu) && cpu->long_mode)
		x86_general_protection(cpu);
	if (pae_paging(cpu->state.cr0, cpu->state.cr4, cpu->state.efer))
		load_pdptrs(cpu, value);
	cpu->state.cr3 = value;
	direct_space_changed(cpu);
	x86_tlb_switch(cpu, pcide ? value & X86_CR3_PCID : 0, keep);
	cpu->block_stop = true;
}

static void check_cr4(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t old = cpu->state.cr4;

	if (value & ~x86_cr4_mask(cpu))
		x86_general_protection(cpu);
	if (cpu->long_mode && !(value & X86_CR4_PAE))
		x86_general_protection(cpu);
	if (value & ~old & X86_CR4_PCIDE && (!cpu->long_mode || cpu->state.cr3 & X86_CR3_PCID))
		x86_general_protection(cpu);
}

static void write_cr4(struct x86_cpu *cpu, uint64_t value)
{
	const uint64_t reload = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_SMEP;
	uint64_t changed = value ^ cpu->state.cr4, old = cpu->state.cr4;

	check_cr4(cpu, value);
	if (changed & reload && pae_paging(cpu->state.cr0, value, cpu->state.efer)) {
		cpu->state.cr4 = value;
		if (!x86_load_pdptrs(cpu, cpu->state.cr3)) {
			cpu->state.cr4 = old;
			x86_general_protection(cpu);
		}
	}
	cpu->state.cr4 = value;
	x86_update_mode(cpu);
	if (changed & X86_CR4_PCIDE)
		x86_tlb_switch(cpu, value & X86_CR4_PCIDE ? cpu->state.cr3 & X86_CR3_PCID : 0,
			       false);
}

static uint64_t read_cr8(struct x86_cpu *cpu)
{
	const struct cpu_intc *intc = cpu->cpu.env.intc;

	if (!intc)
		return cpu->state.cr8;
	x86_vec_park(cpu);
	return intc->cr8_read(intc->opaque);
}

static void write_cr8(struct x86_cpu *cpu, uint64_t value)
{
	const struct cpu_intc *intc = cpu->cpu.env.intc;

	if (value & ~0xfull)
		x86_general_protection(cpu);
	cpu->state.cr8 = value;
	if (intc) {
		x86_vec_park(cpu);
		intc->cr8_write(intc->opaque, value);
	}
	/* A lower priority may let a waiting interrupt through. */
	cpu->interrupt_maybe = true;
	cpu->block_stop = true;
}

void x86_mov_from_cr(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value;

	x86_require_cpl0(cpu);
	switch (insn->modrm_reg) {
	case 0: value = cpu->state.cr0; break;
	case 2: value = cpu->state.cr2; break;
	case 3: value = cpu->state.cr3; break;
	case 4: value = cpu->state.cr4; break;
	case 8: value = read_cr8(cpu); break;
	default: x86_undefined(cpu);
	}
	insn_write_reg(cpu, insn->dst, x86_system_width(cpu), value);
}

void x86_mov_to_cr(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value = insn_read_reg(cpu, insn->dst, x86_system_width(cpu));

	x86_require_cpl0(cpu);
	switch (insn->modrm_reg) {
	case 0: write_cr0(cpu, value); break;
	case 2: cpu->state.cr2 = value; break;
	case 3: write_cr3(cpu, value); break;
	case 4: write_cr4(cpu, value); break;
	case 8: write_cr8(cpu, value); break;
	default: x86_undefined(cpu);
	}
}

/* Sets PE, MP, EM and TS; PE cannot be cleared by it. */
void x86_lmsw(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value, cr0 = cpu->state.cr0;

	x86_require_cpl0(cpu);
	if (insn->flags & INSN_MEM)
		value = x86_load16(cpu, x86_operand_linear(cpu, insn, 2, X86_READ));
	else
		value = insn_read_reg(cpu, insn->dst, 2);
	write_cr0(cpu, (cr0 & ~(CR0_MSW & ~X86_CR0_PE)) | (value & CR0_MSW));
}

void x86_smsw(struct x86_cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl && cpu->state.cr4 & X86_CR4_UMIP)
		x86_general_protection(cpu);
	if (insn->flags & INSN_MEM)
		x86_store16(cpu, x86_operand_linear(cpu, insn, 2, X86_WRITE),
			    (uint16_t)cpu->state.cr0);
	else
		insn_write_reg(cpu, insn->dst, insn->opsize, cpu->state.cr0);
}

void x86_clts(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_require_cpl0(cpu);
	cpu->state.cr0 &= ~X86_CR0_TS;
	x86_update_mode(cpu);
}
