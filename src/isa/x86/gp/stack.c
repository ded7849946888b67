/* SPDX-License-Identifier: MIT */
/*
 * The stack as PUSH, POP and their kin use it: see access.h. The width of SP is the stack
 * segment's, not the operand's; bits of RSP above it stay for 16 bits and are cleared for 32.
 */
#include "isa/x86/memory/access.h"

static uint64_t wrap(const struct x86_cpu *cpu, uint64_t sp)
{
	switch (cpu->stack_size) {
	case 8: return sp;
	case 4: return (uint32_t)sp;
	default: return (uint16_t)sp;
	}
}

static void set_sp(struct x86_cpu *cpu, uint64_t sp)
{
	uint64_t *rsp = &cpu->state.gpr[X86_RSP];

	if (cpu->stack_size == 2)
		*rsp = (*rsp & ~0xffffull) | (uint16_t)sp;
	else
		*rsp = wrap(cpu, sp);
}

void x86_push(struct x86_cpu *cpu, uint64_t value, unsigned size)
{
	uint64_t sp = wrap(cpu, cpu->state.gpr[X86_RSP] - size);

	x86_store(cpu, x86_linear(cpu, X86_SS, sp, size, X86_WRITE), size, value);
	set_sp(cpu, sp);
}

uint64_t x86_stack_peek(struct x86_cpu *cpu, uint64_t displacement, unsigned size)
{
	uint64_t sp = wrap(cpu, cpu->state.gpr[X86_RSP] + displacement);

	return x86_load(cpu, x86_linear(cpu, X86_SS, sp, size, X86_READ), size);
}

uint64_t x86_pop(struct x86_cpu *cpu, unsigned size)
{
	uint64_t value = x86_stack_peek(cpu, 0, size);

	x86_stack_adjust(cpu, size);
	return value;
}

void x86_stack_adjust(struct x86_cpu *cpu, int64_t delta)
{
	set_sp(cpu, wrap(cpu, cpu->state.gpr[X86_RSP]) + (uint64_t)delta);
}
