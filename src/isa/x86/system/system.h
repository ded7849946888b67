/* SPDX-License-Identifier: MIT */
/*
 * Semantics of the system instructions, for x86_select_system (system.c), and the checks that they
 * share. All on the CPU's own thread; all may raise.
 */
#ifndef RINGLET_ISA_X86_SYSTEM_H
#define RINGLET_ISA_X86_SYSTEM_H

#include "isa/x86/insn.h"
#include "isa/x86/x86.h"

/* #GP(0) unless CPL is 0; virtual-8086 mode runs at CPL 3. */
static inline void x86_require_cpl0(struct x86_cpu *cpu)
{
	if (unlikely(cpu->cpl != 0))
		x86_general_protection(cpu);
}

/* Width of control and debug register moves: the mode's, whatever the prefixes say. */
static inline unsigned x86_system_width(const struct x86_cpu *cpu)
{
	return cpu->mode == X86_MODE_64 ? 8 : 4;
}

static inline bool x86_is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* EDX:EAX */
static inline uint64_t x86_edx_eax(const struct x86_cpu *cpu)
{
	return cpu->state.gpr[X86_RDX] << 32 | (uint32_t)cpu->state.gpr[X86_RAX];
}

static inline void x86_set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
	cpu->state.gpr[X86_RAX] = (uint32_t)value;
	cpu->state.gpr[X86_RDX] = value >> 32;
}

/* control.c. The general-purpose register of a move is in insn->dst, whichever its direction. */
insn_fn x86_mov_from_cr, x86_mov_to_cr, x86_lmsw, x86_smsw, x86_clts;

/* mmu.c */
insn_fn x86_invlpg, x86_invpcid, x86_cache_control;

/* table.c */
insn_fn x86_lgdt, x86_lidt, x86_sgdt, x86_sidt;

/* debug.c */
insn_fn x86_mov_from_dr, x86_mov_to_dr;

/* What SYSRET takes from R11: RF and VM cannot be brought in. */
#define X86_SYSRET_FLAGS 0x3c7fd7

#define X86_STAR_SELECTOR 0xfffcu

/* The flat segments that SYSCALL, SYSRET and their like load: segment attributes. */
static inline uint32_t x86_flat_code_attr(unsigned dpl, bool is64)
{
	const uint32_t type = X86_SEG_CODE | X86_SEG_READABLE | X86_SEG_ACCESSED;

	return type | X86_SEG_S | dpl << X86_SEG_DPL_SHIFT | X86_SEG_P | X86_SEG_G |
	       (is64 ? X86_SEG_L : X86_SEG_DB);
}

static inline uint32_t x86_flat_stack_attr(unsigned dpl)
{
	return X86_SEG_WRITABLE | X86_SEG_ACCESSED | X86_SEG_S | dpl << X86_SEG_DPL_SHIFT |
	       X86_SEG_P | X86_SEG_G | X86_SEG_DB;
}

/* syscall.c. insn->imm of SYSRET and SYSEXIT is REX.W. */
insn_fn x86_syscall, x86_sysret, x86_sysenter, x86_sysexit, x86_swapgs;

/* misc.c. insn->opsize of RDPID and the segment-base moves is 4 or 8. */
insn_fn x86_cpuid_insn, x86_rdtsc, x86_rdtscp, x86_rdpid, x86_rdpmc, x86_rdmsr, x86_wrmsr;
insn_fn x86_xgetbv, x86_xsetbv, x86_rdpkru, x86_wrpkru, x86_hlt;
insn_fn x86_rdfsbase, x86_rdgsbase, x86_wrfsbase, x86_wrgsbase;

/* io.c. insn->opsize is the port access's, insn->imm the port of the immediate forms. */
insn_fn x86_in_imm, x86_in_dx, x86_out_imm, x86_out_dx, x86_ins, x86_outs;

#endif
