/* SPDX-License-Identifier: MIT */
/* LGDT, LIDT, SGDT, SIDT. Intel SDM vol. 2. */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/system.h"

/* 2 bytes of limit, then 4 bytes of base, or 8 in 64-bit mode. */
static unsigned operand_bytes(const struct x86_cpu *cpu)
{
	return cpu->mode == X86_MODE_64 ? 10 : 6;
}

static void load_table(struct x86_cpu *cpu, const struct insn *insn, struct x86_table *table)
{
	uint64_t linear, base;
	uint16_t limit;
	uint8_t bytes[10] = { 0 };

	x86_require_cpl0(cpu);
	linear = x86_operand_linear(cpu, insn, operand_bytes(cpu), X86_READ);
	x86_load_bytes(cpu, linear, bytes, operand_bytes(cpu));
	__builtin_memcpy(&limit, bytes, sizeof(limit));
	__builtin_memcpy(&base, bytes + 2, sizeof(base));
	if (cpu->mode != X86_MODE_64 && insn->opsize == 2)
		base &= 0xffffff; /* the 80286's form */
	if (!x86_is_canonical(base))
		x86_general_protection(cpu);
	*table = (struct x86_table){ .base = base, .limit = limit };
}

static void store_table(struct x86_cpu *cpu, const struct insn *insn,
			const struct x86_table *table)
{
	uint64_t linear;
	uint8_t bytes[10];

	if (cpu->cpl && cpu->state.cr4 & X86_CR4_UMIP)
		x86_general_protection(cpu);
	linear = x86_operand_linear(cpu, insn, operand_bytes(cpu), X86_WRITE);
	__builtin_memcpy(bytes, &table->limit, 2);
	__builtin_memcpy(bytes + 2, &table->base, 8);
	x86_store_bytes(cpu, linear, bytes, operand_bytes(cpu));
}

void x86_lgdt(struct x86_cpu *cpu, const struct insn *insn)
{
	load_table(cpu, insn, &cpu->state.gdtr);
}

void x86_lidt(struct x86_cpu *cpu, const struct insn *insn)
{
	load_table(cpu, insn, &cpu->state.idtr);
}

void x86_sgdt(struct x86_cpu *cpu, const struct insn *insn)
{
	store_table(cpu, insn, &cpu->state.gdtr);
}

void x86_sidt(struct x86_cpu *cpu, const struct insn *insn)
{
	store_table(cpu, insn, &cpu->state.idtr);
}
