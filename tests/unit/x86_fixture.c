/* SPDX-License-Identifier: MIT */
#include "x86_fixture.h"

#include <stdlib.h>

#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "dev/bus.h"
#include "host/loop.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/decode.h"
#include "isa/x86/memory/tlb.h"
#include "mem/mem.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void release(struct block *block)
{
	free(block);
}

static void create_env(struct x86_fixture *fixture)
{
	struct cpu_env *env = &fixture->cpu->cpu.env;

	must(!mem_create(&fixture->mem, NULL));
	must(!mem_add(fixture->mem, 0, FIXTURE_RAM, false, "ram", NULL));
	must(!mem_add(fixture->mem, FIXTURE_ROM, 1u << 20, true, "rom", NULL));
	must(!mem_add(fixture->mem, FIXTURE_HIGH, FIXTURE_HIGH_SIZE, false, "high", NULL));
	must(!loop_create(&fixture->loop, NULL));
	env->mem = fixture->mem;
	env->loop = fixture->loop;
	must(!bus_create(&env->pio, "pio", fixture->loop, NULL));
	must(!bus_create(&env->mmio, "mmio", fixture->loop, NULL));
	must(!blocks_create(&env->blocks, fixture->mem, 1u << 20, release, NULL));
	must(!exclusive_create(&env->exclusive, NULL));
}

void x86_fixture_create(struct x86_fixture *fixture)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~63ul);

	must(cpu);
	*cpu = (struct x86_cpu){ .cpu.count = 1 };
	fixture->cpu = cpu;
	create_env(fixture);
	must(!exclusive_add(cpu->cpu.env.exclusive, &cpu->cpu, NULL));
	exclusive_enter(&cpu->cpu);
	must(!x86_cpuid_create("baseline", 0, 1, NULL, &cpu->cpuid, NULL));
	must(!x86_tlb_create(cpu, NULL));
	must(!x86_decode_create(cpu, NULL));
	for (unsigned i = 0; i < X86_SEGS; i++)
		cpu->state.seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = 0x93 };
	cpu->state.rflags = X86_F1;
	x86_update_mode(cpu);
}

void x86_fixture_destroy(struct x86_fixture *fixture)
{
	struct x86_cpu *cpu = fixture->cpu;
	struct cpu_env *env = &cpu->cpu.env;

	exclusive_leave(&cpu->cpu);
	x86_decode_destroy(cpu);
	x86_tlb_destroy(cpu);
	x86_cpuid_destroy(cpu->cpuid);
	exclusive_destroy(env->exclusive);
	blocks_destroy(env->blocks);
	bus_destroy(env->mmio);
	bus_destroy(env->pio);
	loop_destroy(fixture->loop);
	mem_destroy(fixture->mem);
	free(cpu);
}

static void set_flat(struct x86_cpu *cpu, unsigned cpl, uint32_t code_size)
{
	uint32_t common = X86_SEG_S | X86_SEG_P | X86_SEG_G | cpl << X86_SEG_DPL_SHIFT;

	for (unsigned i = 0; i < X86_SEGS; i++)
		cpu->state.seg[i] = (struct x86_seg){
			.limit = 0xffffffff, .selector = (uint16_t)(8 | cpl),
			.attr = common | X86_SEG_DB | X86_SEG_WRITABLE | X86_SEG_ACCESSED,
		};
	cpu->state.seg[X86_CS].attr = common | code_size | X86_SEG_CODE | X86_SEG_READABLE |
				      X86_SEG_ACCESSED;
}

void x86_fixture_protected(struct x86_fixture *fixture, unsigned cpl)
{
	struct x86_cpu *cpu = fixture->cpu;

	set_flat(cpu, cpl, X86_SEG_DB);
	cpu->state.cr0 |= X86_CR0_PE | X86_CR0_WP;
	x86_update_mode(cpu);
}

void x86_fixture_long(struct x86_fixture *fixture, unsigned cpl, uint64_t cr3)
{
	struct x86_cpu *cpu = fixture->cpu;

	set_flat(cpu, cpl, X86_SEG_L);
	cpu->state.cr0 |= X86_CR0_PE | X86_CR0_WP | X86_CR0_PG;
	cpu->state.cr4 |= X86_CR4_PAE;
	cpu->state.efer |= X86_EFER_LME | X86_EFER_LMA;
	cpu->state.cr3 = cr3;
	x86_update_mode(cpu);
}

void x86_poke(struct x86_fixture *fixture, uint64_t gpa, uint64_t value, unsigned size)
{
	must(!mem_write(fixture->mem, gpa, &value, size));
}

uint64_t x86_peek(struct x86_fixture *fixture, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;

	must(!mem_read(fixture->mem, gpa, &value, size));
	return value;
}
