/* SPDX-License-Identifier: MIT */
#include "x86_tables.h"

uint64_t x86_make_descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
	if (attr & X86_SEG_G)
		limit >>= 12;
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(attr >> 12 & 0xf) << 52 |
	       (uint64_t)(base >> 24) << 56;
}

void x86_set_descriptor(struct x86_fixture *fixture, uint16_t selector, uint64_t descriptor)
{
	x86_poke(fixture, (selector & 4 ? TABLES_LDT : TABLES_GDT) + (selector & 0xfff8u),
		 descriptor, 8);
}

uint64_t x86_get_descriptor(struct x86_fixture *fixture, uint16_t selector)
{
	return x86_peek(fixture, (selector & 4 ? TABLES_LDT : TABLES_GDT) + (selector & 0xfff8u),
			8);
}

uint64_t x86_make_gate(uint16_t selector, uint32_t offset, unsigned attr, unsigned count)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)count << 32 |
	       (uint64_t)attr << 40 | (uint64_t)(offset >> 16) << 48;
}

void x86_set_gate32(struct x86_fixture *fixture, unsigned vector, uint64_t gate)
{
	x86_poke(fixture, TABLES_IDT + vector * 8, gate, 8);
}

void x86_set_gate64(struct x86_fixture *fixture, unsigned vector, uint16_t selector,
		    uint64_t offset, unsigned attr, unsigned ist)
{
	x86_poke(fixture, TABLES_IDT + vector * 16,
		 x86_make_gate(selector, (uint32_t)offset, attr, ist), 8);
	x86_poke(fixture, TABLES_IDT + vector * 16 + 8, offset >> 32, 8);
}

static void set_tables(struct x86_fixture *fixture, uint32_t code, unsigned gate_bytes)
{
	struct x86_state *state = &fixture->cpu->state;

	x86_set_descriptor(fixture, SEL_CODE0, x86_make_descriptor(0, ~0u, code));
	x86_set_descriptor(fixture, SEL_DATA0, x86_make_descriptor(0, ~0u, ATTR_DATA));
	x86_set_descriptor(fixture, SEL_CODE3, x86_make_descriptor(0, ~0u, code | X86_SEG_DPL));
	x86_set_descriptor(fixture, SEL_DATA3, x86_make_descriptor(0, ~0u, ATTR_DATA | X86_SEG_DPL));
	x86_set_descriptor(fixture, SEL_CONFORMING,
			   x86_make_descriptor(0, ~0u, code | X86_SEG_CONFORMING));
	x86_set_descriptor(fixture, SEL_LDT, x86_make_descriptor(TABLES_LDT, 0xff, 0x82));
	state->gdtr = (struct x86_table){ TABLES_GDT, 0x6f };
	state->idtr = (struct x86_table){ TABLES_IDT, (uint16_t)(256 * gate_bytes - 1) };
	state->ldtr = (struct x86_seg){ TABLES_LDT, 0xff, 0x82, SEL_LDT };
	state->tr = (struct x86_seg){ TABLES_TSS, 0x3ff, 0x8b, SEL_TSS };
	x86_set_descriptor(fixture, SEL_TSS, x86_make_descriptor(TABLES_TSS, 0x3ff, 0x8b));
}

static void start(struct x86_fixture *fixture, unsigned cpl)
{
	struct x86_state *state = &fixture->cpu->state;

	state->seg[X86_CS].selector = cpl ? SEL_CODE3 : SEL_CODE0;
	for (unsigned i = 0; i < X86_SEGS; i++)
		if (i != X86_CS)
			state->seg[i].selector = cpl ? SEL_DATA3 : SEL_DATA0;
	state->gpr[X86_RSP] = cpl ? TABLES_STACK3 : TABLES_STACK0;
	state->rip = TABLES_CODE;
	state->rflags = X86_F1 | X86_IF;
	x86_update_mode(fixture->cpu);
}

void x86_tables_protected(struct x86_fixture *fixture, unsigned cpl)
{
	x86_fixture_protected(fixture, cpl);
	set_tables(fixture, ATTR_CODE32, 8);
	x86_poke(fixture, TABLES_TSS + 4, TABLES_STACK0, 4);
	x86_poke(fixture, TABLES_TSS + 8, SEL_DATA0, 2);
	start(fixture, cpl);
}

void x86_tables_long(struct x86_fixture *fixture, unsigned cpl)
{
	x86_poke(fixture, TABLES_ROOT, (TABLES_ROOT + 0x1000) | 7, 8);
	x86_poke(fixture, TABLES_ROOT + 0x1000, (TABLES_ROOT + 0x2000) | 7, 8);
	for (unsigned i = 0; i < 16; i++)
		x86_poke(fixture, TABLES_ROOT + 0x2000 + 8 * i, (uint64_t)i << 21 | 0x87, 8);
	x86_fixture_long(fixture, cpl, TABLES_ROOT);
	set_tables(fixture, ATTR_CODE64, 16);
	x86_poke(fixture, TABLES_TSS + 4, TABLES_STACK0, 8);
	x86_poke(fixture, TABLES_TSS + 36, TABLES_IST1, 8);
	start(fixture, cpl);
}

bool x86_step(struct x86_fixture *fixture, insn_fn *fn, struct insn insn)
{
	struct x86_cpu *cpu = fixture->cpu;
	bool raised;

	insn.length = 2;
	cpu->insn = &insn;
	cpu->state.rip += 2;
	raised = X86_RAISES(fixture, fn(cpu, &insn));
	if (raised && !cpu->fault.is_trap)
		cpu->state.rip -= 2;
	cpu->insn = NULL;
	return raised;
}
