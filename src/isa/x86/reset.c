/* SPDX-License-Identifier: MIT */
/* Power-on and INIT: Intel SDM vol. 3, table 10-1. */
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/system/msr.h"
#include "isa/x86/run.h"
#include "isa/x86/x86.h"

#define CR0_POWER_ON (X86_CR0_CD | X86_CR0_NW | X86_CR0_ET)
#define DR6_POWER_ON 0xffff0ff0u
#define DR7_POWER_ON 0x400u

static void reset_segments(struct x86_state *state)
{
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){ .limit = 0xffff, .attr = 0x93 };
	state->seg[X86_CS] = (struct x86_seg){ .base = 0xffff0000, .limit = 0xffff, .attr = 0x9b,
					       .selector = 0xf000 };
	state->ldtr = (struct x86_seg){ .limit = 0xffff, .attr = 0x82 };
	state->tr = (struct x86_seg){ .limit = 0xffff, .attr = 0x8b };
	state->gdtr = (struct x86_table){ .limit = 0xffff };
	state->idtr = (struct x86_table){ .limit = 0xffff };
}

/* What power-on and INIT have in common. */
static void reset_common(struct x86_cpu *cpu)
{
	struct x86_state *state = &cpu->state;
	uint32_t signature[4];

	x86_cpuid_query(cpu->cpuid, 1, 0, signature);
	for (unsigned i = 0; i < X86_GPRS; i++)
		state->gpr[i] = 0;
	state->gpr[X86_RDX] = signature[0];
	state->rip = 0xfff0;
	state->rflags = X86_F1;
	reset_segments(state);
	state->cr2 = state->cr3 = state->cr4 = 0;
	state->efer = 0;
	for (unsigned i = 0; i < 4; i++)
		state->dr[i] = 0;
	state->dr6 = DR6_POWER_ON;
	state->dr7 = DR7_POWER_ON;
	state->nmi_blocked = state->nmi_pending = false;
	state->shadow_sti = state->shadow_mov_ss = false;
	state->halted = false;
	state->wait_for_sipi = cpu->cpu.index != 0;
	x86_tlb_flush_all(cpu);
	x86_update_mode(cpu);
}

void x86_reset(struct x86_cpu *cpu)
{
	struct x86_state *state = &cpu->state;

	x86_vec_park(cpu);
	*state = (struct x86_state){ 0 };
	state->cr0 = CR0_POWER_ON;
	state->xcr0 = 1;
	x86_msr_reset(cpu);
	x86_vec_reset(cpu);
	reset_common(cpu);
	atomic_store(&cpu->cpu.requests, atomic_load(&cpu->cpu.requests) & CPU_REQ_STOP);
}

void x86_init(struct x86_cpu *cpu)
{
	cpu->state.cr0 = (cpu->state.cr0 & (X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
	reset_common(cpu);
	cpu->cpu.env.intc->init(cpu->cpu.env.intc->opaque);
}
