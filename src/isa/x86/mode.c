/* SPDX-License-Identifier: MIT */
/*
 * What is derived from control registers, segments and flags: see struct x86_cpu. The CPL is the
 * DPL of SS, which loads of SS, interrupt delivery and returns keep so (Intel SDM vol. 3, 24.4.1
 * describes the same convention), a null SS included.
 */
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/vector/vec.h"
#include "isa/x86/x86.h"

static uint8_t code_mode(const struct x86_cpu *cpu)
{
	uint32_t attr = cpu->state.seg[X86_CS].attr;

	if (cpu->long_mode && (attr & X86_SEG_L))
		return X86_MODE_64;
	return attr & X86_SEG_DB ? X86_MODE_32 : X86_MODE_16;
}

static uint8_t stack_width(const struct x86_cpu *cpu)
{
	if (cpu->mode == X86_MODE_64)
		return 8;
	return cpu->state.seg[X86_SS].attr & X86_SEG_DB ? 4 : 2;
}

static uint8_t privilege(const struct x86_cpu *cpu)
{
	if (cpu->v86)
		return 3;
	if (!cpu->protected_mode)
		return 0;
	return (cpu->state.seg[X86_SS].attr & X86_SEG_DPL) >> X86_SEG_DPL_SHIFT;
}

void x86_update_mmu(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;
	bool ac = state->rflags & X86_AC;

	if (cpu->cpl == 3)
		cpu->mmu = X86_MMU_USER;
	else
		cpu->mmu = (state->cr4 & X86_CR4_SMAP) && !ac ? X86_MMU_KERNEL_SMAP
							      : X86_MMU_KERNEL;
	x86_tlb_check_alignment(cpu, cpu->cpl == 3 && ac && (state->cr0 & X86_CR0_AM));
}

/* Vector instructions can be translated where no control register forbids any. AMX's are not. */
static bool vector_ready(const struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;

	return !(state->cr0 & (X86_CR0_EM | X86_CR0_TS)) && (state->cr4 & X86_CR4_OSFXSR) &&
	       (state->cr4 & X86_CR4_OSXSAVE) &&
	       (state->xcr0 | VEC_AMX) == (x86_xcr0_mask(cpu) | VEC_AMX);
}

/* Reads and writes at every offset are within the segment. */
static bool is_open(const struct x86_seg *seg)
{
	uint32_t want = X86_SEG_S | X86_SEG_P | X86_SEG_WRITABLE;

	return seg->limit == 0xffffffff &&
	       (seg->attr & (want | X86_SEG_CODE | X86_SEG_EXPAND_DOWN | X86_SEG_UNUSABLE)) == want;
}

static bool is_flat(const struct x86_cpu *cpu)
{
	const struct x86_seg *seg = cpu->state.seg;

	return !seg[X86_CS].base && seg[X86_CS].limit == 0xffffffff &&
	       cpu->open[X86_SS] && !seg[X86_SS].base && (seg[X86_SS].attr & X86_SEG_DB) &&
	       cpu->open[X86_DS] && !seg[X86_DS].base &&
	       cpu->open[X86_ES] && !seg[X86_ES].base;
}

void x86_update_segments(struct x86_cpu *cpu)
{
	uint32_t flat;

	if (cpu->mode != X86_MODE_32 || !cpu->protected_mode)
		return;
	for (unsigned i = 0; i < X86_SEGS; i++)
		cpu->open[i] = is_open(&cpu->state.seg[i]);
	flat = is_flat(cpu) ? X86_KEY_FLAT : 0;
	if ((cpu->block_key & X86_KEY_FLAT) == flat)
		return;
	cpu->block_key ^= X86_KEY_FLAT;
	cpu->block_stop = true;
}

static uint32_t privilege_key(const struct x86_cpu *cpu)
{
	if (cpu->cpl == 0)
		return X86_KEY_CPL0 | X86_KEY_TSC;
	return cpu->state.cr4 & X86_CR4_TSD ? 0 : X86_KEY_TSC;
}

/* What follows from the privilege level alone. */
static void privilege_changed(struct x86_cpu *cpu)
{
	x86_update_mmu(cpu);
	/* Code of privilege 1 and 2 is translated as the user's, but has rights of its own. */
	if (unlikely(cpu->cpl == 1 || cpu->cpl == 2))
		x86_tlb_forget(cpu);
	cpu->block_stop = true;
}

void x86_update_transfer(struct x86_cpu *cpu)
{
	const uint32_t keys = X86_KEY_CPL0 | X86_KEY_TSC;

	if (unlikely(cpu->mode != X86_MODE_64 || !(cpu->state.seg[X86_CS].attr & X86_SEG_L))) {
		x86_update_mode(cpu);
		return;
	}
	cpu->cpl = privilege(cpu);
	cpu->block_key = (cpu->block_key & ~keys) | privilege_key(cpu);
	privilege_changed(cpu);
}

void x86_update_mode(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;
	bool protection = state->cr0 & X86_CR0_PE;

	cpu->long_mode = state->efer & X86_EFER_LMA;
	cpu->v86 = protection && !cpu->long_mode && (state->rflags & X86_VM);
	cpu->protected_mode = protection && !cpu->v86;
	cpu->mode = code_mode(cpu);
	cpu->cpl = privilege(cpu);
	cpu->stack_size = stack_width(cpu);
	cpu->debug_active = state->dr7 & 0xff;
	cpu->block_key = cpu->mode | (cpu->protected_mode ? X86_KEY_PROTECTED : 0) |
			 (vector_ready(cpu) ? X86_KEY_VECTOR : 0) | privilege_key(cpu) |
			 (state->cr4 & X86_CR4_SMAP ? X86_KEY_SMAP : 0);
	x86_update_segments(cpu);
	x86_tlb_sync(cpu);
	privilege_changed(cpu);
	direct_space_changed(cpu);
}
