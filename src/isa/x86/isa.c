/* SPDX-License-Identifier: MIT */
/* The x86 instruction set as accelerators see it: cpu/isa.h. */
#include "cpu/isa.h"

#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "isa/x86/block.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/decode.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/inspect.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/run.h"
#include "isa/x86/memory/tlb.h"
#include "mem/mem.h"

/* A CPU with the stack below it and the jump tables behind it; what is not touched costs nothing. */
#define CPU_BYTES (MIRROR_STACK_BYTES + X86_TABLES_OFFSET + \
		   X86_JUMP_TABLES * sizeof(struct x86_jumps))

static void destroy(struct cpu *generic)
{
	struct x86_cpu *cpu = x86_cpu(generic);

	lockstep_destroy(cpu);
	direct_destroy(cpu);
	mirror_cpu_destroy(cpu);
	x86_hostexec_destroy(cpu);
	x86_blocks_destroy(cpu);
	x86_decode_destroy(cpu);
	x86_tlb_destroy(cpu);
	x86_cpuid_destroy(cpu->cpuid);
	munmap((char *)cpu - MIRROR_STACK_BYTES, CPU_BYTES);
}

static int create(const struct cpu_env *env, unsigned index, unsigned count, const char *model,
		  struct cpu **out, struct error *err)
{
	char *memory = mmap(NULL, CPU_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct x86_cpu *cpu;
	int ret;

	if (memory == MAP_FAILED)
		return error_set(err, ENOMEM, "no memory for CPU %u", index);
	cpu = (struct x86_cpu *)(memory + MIRROR_STACK_BYTES);
	*cpu = (struct x86_cpu){ .cpu = { .isa = &isa_x86, .env = *env, .index = index,
					  .count = count } };
	ret = x86_cpuid_create(model, index, count, env, &cpu->cpuid, err);
	if (!ret)
		ret = x86_tlb_create(cpu, err);
	if (!ret)
		ret = x86_decode_create(cpu, err);
	if (!ret)
		ret = x86_blocks_create(cpu, err);
	if (!ret)
		ret = mirror_cpu_create(cpu, err);
	if (!ret)
		ret = x86_hostexec_create(cpu, err);
	if (!ret)
		direct_create(cpu, model);
	if (!ret)
		ret = lockstep_create(cpu, err);
	if (ret) {
		destroy(&cpu->cpu);
		return ret;
	}
	x86_reset(cpu);
	*out = &cpu->cpu;
	return 0;
}

static void reset(struct cpu *generic)
{
	x86_reset(x86_cpu(generic));
}

static void describe_stats(struct cpu *generic, char *text, size_t size)
{
	struct x86_cpu *cpu = x86_cpu(generic);
	int used = snprintf(text, size, "instructions, about: %lu\n", cpu->instructions);

	used += direct_describe_stats(cpu, text + used, size - (size_t)used);
	if (cpu->lockstep)
		lockstep_describe_stats(cpu, text + used, size - (size_t)used);
	else
		mirror_describe_stats(cpu, text + used, size - (size_t)used);
}

static void *state(struct cpu *generic)
{
	x86_vec_park(x86_cpu(generic));
	return &x86_cpu(generic)->state;
}

static void state_changed(struct cpu *generic)
{
	struct x86_cpu *cpu = x86_cpu(generic);

	x86_vec_park(cpu);
	x86_tlb_flush_all(cpu);
	x86_update_mode(cpu);
}

/* The host's doing, which the guest's TSC_ADJUST does not show. */
static void clock_set_back(struct cpu *generic, uint64_t ticks)
{
	x86_cpu(generic)->state.tsc_offset -= ticks;
}

static uint64_t instructions(struct cpu *generic)
{
	return x86_cpu(generic)->instructions;
}

static const struct x86_cpuid_leaves *cpuid(struct cpu *generic)
{
	return x86_cpuid_leaves(x86_cpu(generic)->cpuid);
}

const struct isa isa_x86 = {
	.name = "x86",
	.translator_create = translator_create,
	.translator_destroy = translator_destroy,
	.cpu_create = create,
	.cpu_destroy = destroy,
	.clock_known = x86_host_tsc_known,
	.clock_sample = x86_host_tsc_sample,
	.clock_set_back = clock_set_back,
	.cpuid = cpuid,
	.cpu_reset = reset,
	.take_requests = x86_take_requests,
	.poll = x86_poll,
	.run = x86_run,
	.describe = x86_describe,
	.describe_code = x86_describe_code,
	.describe_address = x86_describe_address,
	.describe_stats = describe_stats,
	.state = state,
	.state_changed = state_changed,
	.instructions = instructions,
};
