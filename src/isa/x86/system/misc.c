/* SPDX-License-Identifier: MIT */
/*
 * CPUID, time, MSRs, extended control registers, protection keys, segment bases, HLT. Intel SDM
 * vol. 2.
 */
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/system/msr.h"
#include "isa/x86/system/system.h"
#include "isa/x86/vector/hostexec.h"

enum { XCR0_X87 = 1 << 0, XCR0_SSE = 1 << 1, XCR0_AVX = 1 << 2, XCR0_AVX512 = 7 << 5,
       XCR0_AMX = 3 << 17 };

void x86_cpuid_insn(struct x86_cpu *cpu, const struct insn *insn)
{
	uint32_t regs[4];

	(void)insn;
	x86_cpuid_execute(cpu, (uint32_t)cpu->state.gpr[X86_RAX],
			  (uint32_t)cpu->state.gpr[X86_RCX], regs);
	cpu->state.gpr[X86_RAX] = regs[X86_EAX];
	cpu->state.gpr[X86_RBX] = regs[X86_EBX];
	cpu->state.gpr[X86_RCX] = regs[X86_ECX];
	cpu->state.gpr[X86_RDX] = regs[X86_EDX];
}

/* ---- time ---- */

void x86_rdtsc(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (cpu->cpl && cpu->state.cr4 & X86_CR4_TSD)
		x86_general_protection(cpu);
	x86_set_edx_eax(cpu, x86_tsc_read(cpu));
}

void x86_rdtscp(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_rdtsc(cpu, insn);
	cpu->state.gpr[X86_RCX] = (uint32_t)cpu->state.tsc_aux;
}

void x86_rdpid(struct x86_cpu *cpu, const struct insn *insn)
{
	insn_write_reg(cpu, insn->dst, insn->opsize, (uint32_t)cpu->state.tsc_aux);
}

/* There are no counters, so any number is a wrong one. */
void x86_rdpmc(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_general_protection(cpu);
}

/* ---- MSRs ---- */

void x86_rdmsr(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value;

	(void)insn;
	x86_require_cpl0(cpu);
	if (!x86_msr_read(cpu, (uint32_t)cpu->state.gpr[X86_RCX], &value))
		x86_general_protection(cpu);
	x86_set_edx_eax(cpu, value);
}

void x86_wrmsr(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_require_cpl0(cpu);
	if (!x86_msr_write(cpu, (uint32_t)cpu->state.gpr[X86_RCX], x86_edx_eax(cpu)))
		x86_general_protection(cpu);
	cpu->block_stop = true;
}

/* ---- XCR0 ---- */

void x86_xgetbv(struct x86_cpu *cpu, const struct insn *insn)
{
	uint32_t index = (uint32_t)cpu->state.gpr[X86_RCX];

	(void)insn;
	if (!(cpu->state.cr4 & X86_CR4_OSXSAVE))
		x86_undefined(cpu);
	if (index == 0)
		x86_set_edx_eax(cpu, cpu->state.xcr0);
	else if (index == 1 && x86_cpuid_has(cpu, X86_FEATURE_XGETBV1))
		x86_set_edx_eax(cpu, x86_vec_inuse(cpu));
	else
		x86_general_protection(cpu);
}

static bool xcr0_valid(const struct x86_cpu *cpu, uint64_t value)
{
	if (value & ~x86_xcr0_mask(cpu) || !(value & XCR0_X87))
		return false;
	if (value & XCR0_AVX && !(value & XCR0_SSE))
		return false;
	if (value & XCR0_AMX && (value & XCR0_AMX) != XCR0_AMX)
		return false;
	if (!(value & XCR0_AVX512))
		return true;
	return (value & XCR0_AVX512) == XCR0_AVX512 && value & XCR0_AVX;
}

void x86_xsetbv(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t value = x86_edx_eax(cpu);

	(void)insn;
	if (!(cpu->state.cr4 & X86_CR4_OSXSAVE))
		x86_undefined(cpu);
	x86_require_cpl0(cpu);
	if ((uint32_t)cpu->state.gpr[X86_RCX] || !xcr0_valid(cpu, value))
		x86_general_protection(cpu);
	cpu->state.xcr0 = value;
	x86_update_mode(cpu);
}

/* ---- protection keys ---- */

static void check_pkru(struct x86_cpu *cpu, bool write)
{
	if (!(cpu->state.cr4 & X86_CR4_PKE))
		x86_undefined(cpu);
	if ((uint32_t)cpu->state.gpr[X86_RCX] || (write && (uint32_t)cpu->state.gpr[X86_RDX]))
		x86_general_protection(cpu);
}

void x86_rdpkru(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	check_pkru(cpu, false);
	x86_set_edx_eax(cpu, cpu->state.pkru);
}

void x86_wrpkru(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	check_pkru(cpu, true);
	if (cpu->state.pkru == (uint32_t)cpu->state.gpr[X86_RAX])
		return;
	cpu->state.pkru = (uint32_t)cpu->state.gpr[X86_RAX];
	/* Translations hold what the keys allowed. */
	x86_update_mode(cpu);
}

/* ---- FS and GS ---- */

static void check_fsgsbase(struct x86_cpu *cpu)
{
	if (cpu->mode != X86_MODE_64 || !(cpu->state.cr4 & X86_CR4_FSGSBASE))
		x86_undefined(cpu);
}

/* An operand-size prefix changes nothing. */
static unsigned base_size(const struct insn *insn)
{
	return insn->opsize == 8 ? 8 : 4;
}

static void write_base(struct x86_cpu *cpu, const struct insn *insn, unsigned seg)
{
	uint64_t base = insn_read_reg(cpu, insn->dst, base_size(insn));

	check_fsgsbase(cpu);
	if (!x86_is_canonical(base))
		x86_general_protection(cpu);
	cpu->state.seg[seg].base = base;
}

void x86_rdfsbase(struct x86_cpu *cpu, const struct insn *insn)
{
	check_fsgsbase(cpu);
	insn_write_reg(cpu, insn->dst, base_size(insn), cpu->state.seg[X86_FS].base);
}

void x86_rdgsbase(struct x86_cpu *cpu, const struct insn *insn)
{
	check_fsgsbase(cpu);
	insn_write_reg(cpu, insn->dst, base_size(insn), cpu->state.seg[X86_GS].base);
}

void x86_wrfsbase(struct x86_cpu *cpu, const struct insn *insn)
{
	write_base(cpu, insn, X86_FS);
}

void x86_wrgsbase(struct x86_cpu *cpu, const struct insn *insn)
{
	write_base(cpu, insn, X86_GS);
}

/* ---- HLT ---- */

void x86_hlt(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_require_cpl0(cpu);
	cpu->state.halted = true;
	cpu->block_stop = true;
}
