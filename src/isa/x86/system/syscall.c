/* SPDX-License-Identifier: MIT */
/*
 * The fast ways between rings: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, as Intel's processors
 * do them. They load no descriptors: CS and SS get fixed flat contents. Intel SDM vol. 2; vol. 3,
 * 5.8.7.
 */
#include "isa/x86/direct/direct.h"
#include "isa/x86/system/system.h"

static void enter_ring(struct x86_cpu *cpu, unsigned cpl, unsigned cs, unsigned ss, bool is64)
{
	if (!cpl)
		direct_left(cpu, false);
	cpu->state.seg[X86_CS] = (struct x86_seg){ .limit = ~0u, .attr = x86_flat_code_attr(cpl, is64),
						   .selector = (uint16_t)(cs | cpl) };
	cpu->state.seg[X86_SS] = (struct x86_seg){ .limit = ~0u, .attr = x86_flat_stack_attr(cpl),
						   .selector = (uint16_t)(ss | cpl) };
	x86_update_transfer(cpu);
}

void x86_syscall(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;
	unsigned cs = state->star >> 32 & X86_STAR_SELECTOR;

	(void)insn;
	if (cpu->mode != X86_MODE_64 || !(state->efer & X86_EFER_SCE))
		x86_undefined(cpu);
	state->gpr[X86_RCX] = state->rip;
	state->gpr[X86_R11] = state->rflags & ~X86_RF;
	state->rip = state->lstar;
	state->rflags = (state->rflags & ~(state->sfmask | X86_RF)) | X86_F1;
	/* TF counts as it is now, so that its mask keeps single steps out of the kernel's entry. */
	cpu->single_step = state->rflags & X86_TF;
	enter_ring(cpu, 0, cs, cs + 8, true);
}

void x86_sysret(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;
	unsigned cs = state->star >> 48 & X86_STAR_SELECTOR;
	bool to64 = insn->imm;

	if (cpu->mode != X86_MODE_64 || !(state->efer & X86_EFER_SCE))
		x86_undefined(cpu);
	x86_require_cpl0(cpu);
	/* Checked here, while still in ring 0: Intel's way. */
	if (to64 && !x86_is_canonical(state->gpr[X86_RCX]))
		x86_general_protection(cpu);
	state->rip = to64 ? state->gpr[X86_RCX] : (uint32_t)state->gpr[X86_RCX];
	state->rflags = (state->gpr[X86_R11] & X86_SYSRET_FLAGS) | X86_F1;
	/* A step over SYSCALL ends here. */
	cpu->single_step = state->rflags & X86_TF;
	enter_ring(cpu, 3, to64 ? cs + 16 : cs, cs + 8, to64);
}

void x86_sysenter(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;
	unsigned cs = state->sysenter_cs & X86_STAR_SELECTOR;
	bool is64 = cpu->long_mode;

	(void)insn;
	if (!(state->cr0 & X86_CR0_PE) || !cs)
		x86_general_protection(cpu);
	state->rflags &= ~(X86_VM | X86_IF);
	state->gpr[X86_RSP] = is64 ? state->sysenter_esp : (uint32_t)state->sysenter_esp;
	state->rip = is64 ? state->sysenter_eip : (uint32_t)state->sysenter_eip;
	enter_ring(cpu, 0, cs, cs + 8, is64);
}

void x86_sysexit(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;
	unsigned cs = state->sysenter_cs & X86_STAR_SELECTOR;
	uint64_t rip = state->gpr[X86_RDX], rsp = state->gpr[X86_RCX];
	bool to64 = insn->imm;

	if (!(state->cr0 & X86_CR0_PE) || !cs)
		x86_general_protection(cpu);
	x86_require_cpl0(cpu);
	if (to64 && (!x86_is_canonical(rip) || !x86_is_canonical(rsp)))
		x86_general_protection(cpu);
	state->rip = to64 ? rip : (uint32_t)rip;
	state->gpr[X86_RSP] = to64 ? rsp : (uint32_t)rsp;
	cs += to64 ? 32 : 16;
	enter_ring(cpu, 3, cs, cs + 8, to64);
}

void x86_swapgs(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t base = cpu->state.seg[X86_GS].base;

	(void)insn;
	if (cpu->mode != X86_MODE_64)
		x86_undefined(cpu);
	x86_require_cpl0(cpu);
	cpu->state.seg[X86_GS].base = cpu->state.kernel_gs_base;
	cpu->state.kernel_gs_base = base;
}
