/* SPDX-License-Identifier: MIT */
/* Events through IVT and IDT: frames, stacks, error codes, faults inside delivery. */
#include <stdarg.h>
#include <stddef.h>

#include "x86_tables.h"

#include <cmocka.h>

#include "isa/x86/system/debug.h"
#include "isa/x86/system/far.h"

#define GATE_INT 0x8e
#define GATE_USER 0xee
#define GATE_TRAP 0x8f
#define UNMAPPED 0x40000000ull

static int shutdowns;

static void count_shutdown(void *opaque, struct cpu *cpu)
{
	(void)opaque;
	(void)cpu;
	shutdowns++;
}

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	fixture.cpu->cpu.env.shutdown = count_shutdown;
	shutdowns = 0;
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

static uint64_t stacked(struct x86_fixture *f, unsigned slot, unsigned size)
{
	struct x86_state *s = &f->cpu->state;
	uint64_t sp = s->gpr[X86_RSP];

	if (f->cpu->stack_size == 2)
		sp = (uint16_t)sp;
	return x86_peek(f, s->seg[X86_SS].base + sp + slot * size, size);
}

static void real_mode(struct x86_fixture *f)
{
	struct x86_state *s = &f->cpu->state;

	s->idtr = (struct x86_table){ 0, 0x3ff };
	s->seg[X86_CS] = (struct x86_seg){ 0x10000, 0xffff, 0x9b, 0x1000 };
	s->seg[X86_SS] = (struct x86_seg){ 0x20000, 0xffff, 0x93, 0x2000 };
	s->gpr[X86_RSP] = 0xabcd0002;
	s->rip = 0x100;
	s->rflags = X86_F1 | X86_IF | X86_TF | X86_CF;
	x86_update_mode(f->cpu);
}

static void test_real_int_and_iret(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	real_mode(f);
	x86_poke(f, 0x21 * 4, 0x12345678, 4);
	assert_false(x86_step(f, x86_int, (struct insn){ .imm = 0x21 }));
	assert_int_equal(s->seg[X86_CS].selector, 0x1234);
	assert_int_equal(s->seg[X86_CS].base, 0x12340);
	assert_int_equal(s->rip, 0x5678);
	assert_int_equal(s->gpr[X86_RSP], 0xabcdfffc); /* wrapped within 64 KiB */
	assert_int_equal(s->rflags, X86_F1 | X86_CF);
	assert_int_equal(stacked(f, 0, 2), 0x102);
	assert_int_equal(stacked(f, 1, 2), 0x1000);
	assert_int_equal(x86_peek(f, 0x20000, 2), X86_F1 | X86_IF | X86_TF | X86_CF);

	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 2 }));
	assert_int_equal(s->seg[X86_CS].base, 0x10000);
	assert_int_equal(s->rip, 0x102);
	assert_int_equal(s->gpr[X86_RSP], 0xabcd0002);
	assert_int_equal(s->rflags, X86_F1 | X86_IF | X86_TF | X86_CF);
}

static void test_real_triple_fault(void **state)
{
	struct x86_fixture *f = *state;

	real_mode(f);
	f->cpu->state.idtr.limit = 3;
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x20, false, 0);
	assert_int_equal(shutdowns, 1);
	assert_true(f->cpu->state.halted);
	assert_int_equal(f->cpu->state.rip, 0x100);
}

static void test_long_from_user(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_long(f, 3);
	x86_set_gate64(f, X86_PF_FAULT, SEL_CODE0, 0x123456789abull, GATE_INT, 0);
	s->rflags |= X86_NT | X86_TF;
	f->cpu->fault_address = 0xdead000;
	x86_deliver(f->cpu, X86_EVENT_EXCEPTION, X86_PF_FAULT, true, 6);
	assert_int_equal(shutdowns, 0);
	assert_int_equal(f->cpu->cpl, 0);
	assert_int_equal(s->rip, 0x123456789abull);
	assert_int_equal(s->cr2, 0xdead000);
	assert_int_equal(s->seg[X86_CS].selector, SEL_CODE0);
	assert_int_equal(s->seg[X86_SS].selector, 0);
	assert_int_equal(s->rflags, X86_F1);
	assert_int_equal(s->gpr[X86_RSP], 0x8000 - 48);
	assert_int_equal(stacked(f, 0, 8), 6);
	assert_int_equal(stacked(f, 1, 8), TABLES_CODE);
	assert_int_equal(stacked(f, 2, 8), SEL_CODE3);
	assert_int_equal(stacked(f, 3, 8), X86_F1 | X86_IF | X86_NT | X86_TF | X86_RF);
	assert_int_equal(stacked(f, 4, 8), TABLES_STACK3);
	assert_int_equal(stacked(f, 5, 8), SEL_DATA3);

	s->gpr[X86_RSP] += 8;
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->rip, TABLES_CODE);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3);
	assert_int_equal(s->seg[X86_SS].selector, SEL_DATA3);
	assert_int_equal(s->rflags, X86_F1 | X86_IF | X86_NT | X86_TF | X86_RF);
}

static void test_long_same_ring(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_long(f, 0);
	x86_set_gate64(f, 0x30, SEL_CODE0, TABLES_HANDLER, GATE_TRAP, 0);
	x86_set_gate64(f, 0x31, SEL_CODE0, TABLES_HANDLER, GATE_INT, 1);
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x30, false, 0);
	assert_int_equal(s->gpr[X86_RSP], 0x8000 - 40);
	assert_int_equal(stacked(f, 3, 8), TABLES_STACK0);
	assert_int_equal(stacked(f, 2, 8), X86_F1 | X86_IF);
	assert_int_equal(s->seg[X86_SS].selector, SEL_DATA0);
	assert_true(s->rflags & X86_IF);

	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x31, false, 0);
	assert_int_equal(s->gpr[X86_RSP], TABLES_IST1 - 40);
	assert_false(s->rflags & X86_IF);
	/* And back with the SS that was kept. */
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(s->gpr[X86_RSP], 0x8000 - 40);
	assert_int_equal(s->seg[X86_SS].selector, SEL_DATA0);
}

static void assert_there_and_back(struct x86_fixture *f, uint64_t sp)
{
	struct x86_state *s = &f->cpu->state;
	uint64_t frame = (sp & ~15ull) - 40;

	s->gpr[X86_RSP] = sp;
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x30, false, 0);
	assert_int_equal(s->gpr[X86_RSP], frame);
	assert_int_equal(x86_peek(f, frame, 8), TABLES_CODE);
	assert_int_equal(x86_peek(f, frame + 8, 8), SEL_CODE0);
	assert_int_equal(x86_peek(f, frame + 16, 8), X86_F1 | X86_IF);
	assert_int_equal(x86_peek(f, frame + 24, 8), sp);
	assert_int_equal(x86_peek(f, frame + 32, 8), SEL_DATA0);
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(s->rip, TABLES_CODE);
	assert_int_equal(s->gpr[X86_RSP], sp);
	assert_int_equal(s->rflags, X86_F1 | X86_IF);
}

/* In pages that the TLB knows, across their ends, and where each access is watched. */
static void test_long_frames(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_long(f, 0);
	x86_set_gate64(f, 0x30, SEL_CODE0, TABLES_HANDLER, GATE_INT, 0);
	for (unsigned round = 0; round < 2; round++)
		for (uint64_t sp = TABLES_STACK0 - 64; sp < TABLES_STACK0 + 64; sp += 4)
			assert_there_and_back(f, sp);

	f->cpu->state.dr[0] = TABLES_STACK0 - 0x108;
	f->cpu->state.dr7 = X86_DR7_FIXED | 1 | 0x9 << 16;
	x86_update_mode(f->cpu);
	assert_there_and_back(f, TABLES_STACK0 - 0x58);
	assert_there_and_back(f, TABLES_STACK0 - 0x58);
	assert_int_equal(f->cpu->debug_hits, 0);
	assert_there_and_back(f, TABLES_STACK0 - 0xe8);
	assert_int_equal(f->cpu->debug_hits, 1);
}

/* Frame of the first event's successor: its error code. */
static void assert_delivered(struct x86_fixture *f, uint64_t handler, uint64_t error)
{
	assert_int_equal(shutdowns, 0);
	assert_int_equal(f->cpu->state.rip, handler);
	assert_int_equal(stacked(f, 0, 8), error);
	assert_int_equal(stacked(f, 1, 8), TABLES_CODE);
}

static void test_faults_in_delivery(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_long(f, 3);
	x86_set_gate64(f, X86_NP, SEL_CODE0, 0xb00, GATE_INT, 0);
	x86_set_gate64(f, X86_DF_FAULT, SEL_CODE0, 0x800, GATE_INT, 1);
	x86_set_gate64(f, X86_GP, SEL_CODE0, 0xd00, GATE_INT, 0);

	/* An external interrupt is benign: its gate's #NP comes instead. */
	x86_set_gate64(f, 0x40, SEL_CODE0, TABLES_HANDLER, 0x0e, 0);
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x40, false, 0);
	assert_delivered(f, 0xb00, 0x40 * 8 + 2 + 1);

	x86_tables_long(f, 3);
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x41, false, 0);
	assert_delivered(f, 0xd00, 0x41 * 8 + 2 + 1);

	/* #TS is contributory, and so is what its missing gate raises. */
	x86_tables_long(f, 3);
	x86_deliver(f->cpu, X86_EVENT_EXCEPTION, X86_TS, true, 0x28);
	assert_delivered(f, 0x800, 0);
	assert_int_equal(f->cpu->state.gpr[X86_RSP], TABLES_IST1 - 48);

	/* Without a gate for #DF, too, that was it. */
	x86_tables_long(f, 3);
	x86_set_gate64(f, X86_DF_FAULT, SEL_CODE0, 0x800, 0x0e, 1);
	x86_deliver(f->cpu, X86_EVENT_EXCEPTION, X86_TS, true, 0x28);
	assert_int_equal(shutdowns, 1);
	assert_int_equal(f->cpu->state.rip, TABLES_CODE);
	assert_int_equal(f->cpu->cpl, 3);
}

static void test_stack_faults(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_long(f, 3);
	x86_set_gate64(f, X86_PF_FAULT, SEL_CODE0, 0xe00, GATE_INT, 1);
	x86_set_gate64(f, X86_SS_FAULT, SEL_CODE0, 0xc00, GATE_INT, 1);
	x86_set_gate64(f, 0x40, SEL_CODE0, TABLES_HANDLER, GATE_INT, 0);

	x86_poke(f, TABLES_TSS + 4, UNMAPPED, 8);
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x40, false, 0);
	assert_delivered(f, 0xe00, 2);
	assert_int_equal(f->cpu->state.cr2, UNMAPPED - 8);
	assert_int_equal(stacked(f, 2, 8), SEL_CODE3);

	x86_tables_long(f, 3);
	x86_poke(f, TABLES_TSS + 4, 1ull << 60, 8);
	x86_deliver(f->cpu, X86_EVENT_EXTERNAL, 0x40, false, 0);
	assert_delivered(f, 0xc00, 1);
}

static void test_software_privilege(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_long(f, 3);
	x86_set_gate64(f, 0x80, SEL_CODE0, TABLES_HANDLER, GATE_INT, 0);
	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x80 }));
	assert_int_equal(f->cpu->fault.vector, X86_GP);
	assert_int_equal(f->cpu->fault.error, 0x80 * 8 + 2);
	assert_int_equal(s->rip, TABLES_CODE);

	x86_set_gate64(f, 0x80, SEL_CODE0, TABLES_HANDLER, GATE_USER, 0);
	assert_false(x86_step(f, x86_int, (struct insn){ .imm = 0x80 }));
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_int_equal(stacked(f, 0, 8), TABLES_CODE + 2);
	assert_int_equal(stacked(f, 2, 8), X86_F1 | X86_IF);

	/* INT1 asks nobody. */
	x86_tables_long(f, 3);
	x86_set_gate64(f, X86_DB, SEL_CODE0, TABLES_HANDLER, GATE_INT, 0);
	assert_false(x86_step(f, x86_int1, (struct insn){ 0 }));
	assert_int_equal(s->rip, TABLES_HANDLER);
}

static void test_iret_faults(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	uint64_t sp = TABLES_STACK0 - 40;

	x86_tables_long(f, 0);
	s->gpr[X86_RSP] = sp;
	s->nmi_blocked = true;
	x86_poke(f, sp, 1ull << 50, 8);
	x86_poke(f, sp + 8, SEL_CODE3, 8);
	x86_poke(f, sp + 16, X86_IF, 8);
	x86_poke(f, sp + 24, TABLES_STACK3, 8);
	x86_poke(f, sp + 32, SEL_DATA3, 8);
	assert_true(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(f->cpu->fault.vector, X86_GP);
	assert_int_equal(f->cpu->fault.error, 0);
	assert_int_equal(s->gpr[X86_RSP], sp);
	assert_int_equal(f->cpu->cpl, 0);
	assert_false(s->nmi_blocked);

	/* A null SS is for rings 0 to 2 only. */
	x86_poke(f, sp, TABLES_CODE, 8);
	x86_poke(f, sp + 32, 3, 8);
	assert_true(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	x86_poke(f, sp + 8, SEL_CODE0, 8);
	x86_poke(f, sp + 32, 0, 8);
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(s->seg[X86_SS].selector, 0);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3);

	s->rflags |= X86_NT;
	assert_true(x86_step(f, x86_iret, (struct insn){ .opsize = 8 }));
	assert_int_equal(f->cpu->fault.error, 0);
}

static void test_protected_from_user(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_protected(f, 3);
	x86_set_gate32(f, X86_GP, x86_make_gate(SEL_CODE0, 0x12340000, GATE_INT, 0));
	x86_deliver(f->cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0x33);
	assert_int_equal(s->rip, 0x12340000);
	assert_int_equal(f->cpu->cpl, 0);
	assert_int_equal(s->seg[X86_SS].selector, SEL_DATA0);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK0 - 24);
	assert_int_equal(stacked(f, 0, 4), 0x33);
	assert_int_equal(stacked(f, 1, 4), TABLES_CODE);
	assert_int_equal(stacked(f, 4, 4), TABLES_STACK3);
	assert_int_equal(stacked(f, 5, 4), SEL_DATA3);

	/* Data segments of ring 0 do not survive the return. */
	x86_load_segment(f->cpu, X86_ES, SEL_DATA0);
	s->gpr[X86_RSP] += 4;
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 4 }));
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->seg[X86_ES].selector, 0);
	assert_true(s->seg[X86_ES].attr & X86_SEG_UNUSABLE);
	assert_int_equal(s->seg[X86_DS].selector, SEL_DATA3);
}

static void test_protected_stack_limits(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_protected(f, 3);
	x86_set_gate32(f, 0x40, x86_make_gate(SEL_CODE0, TABLES_HANDLER, GATE_USER, 0));
	x86_poke(f, TABLES_TSS + 8, SEL_DATA3, 2);
	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x40 }));
	assert_int_equal(f->cpu->fault.vector, X86_TS);
	assert_int_equal(f->cpu->fault.error, SEL_DATA3 & ~3);

	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, 0x7fff, 0x4092));
	x86_poke(f, TABLES_TSS + 8, SEL_FREE, 2);
	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x40 }));
	assert_int_equal(f->cpu->fault.vector, X86_SS_FAULT);
	assert_int_equal(f->cpu->fault.error, SEL_FREE);

	f->cpu->state.tr.limit = 8;
	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x40 }));
	assert_int_equal(f->cpu->fault.vector, X86_TS);
	assert_int_equal(f->cpu->fault.error, SEL_TSS);
	assert_int_equal(f->cpu->cpl, 3);
}

/* Ring 0 enters an 8086 program, whose INT comes back to ring 0. */
static void enter_v86(struct x86_fixture *f, uint64_t eflags)
{
	static const uint32_t segments[] = { 0x2000, 0x3000, 0x4000, 0x5000, 0x5100 };
	uint64_t sp = TABLES_STACK0 - 64;

	x86_tables_protected(f, 0);
	x86_poke(f, sp, 0x100, 4);
	x86_poke(f, sp + 4, 0x1000, 4);
	x86_poke(f, sp + 8, eflags | X86_VM | X86_F1, 4);
	x86_poke(f, sp + 12, 0xfff0, 4);
	for (unsigned i = 0; i < 5; i++)
		x86_poke(f, sp + 16 + 4 * i, segments[i], 4);
	f->cpu->state.gpr[X86_RSP] = sp;
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 4 }));
}

static void test_v86(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	enter_v86(f, X86_IF);
	assert_true(f->cpu->v86);
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->seg[X86_CS].base, 0x10000);
	assert_int_equal(s->seg[X86_GS].base, 0x51000);
	assert_int_equal(s->gpr[X86_RSP], 0xfff0);

	x86_set_gate32(f, 0x21, x86_make_gate(SEL_CODE0, TABLES_HANDLER, GATE_USER, 0));
	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x21 }));
	assert_int_equal(f->cpu->fault.vector, X86_GP);
	s->rflags |= X86_IOPL;
	assert_false(x86_step(f, x86_int, (struct insn){ .imm = 0x21 }));
	assert_false(f->cpu->v86);
	assert_int_equal(f->cpu->cpl, 0);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK0 - 36);
	assert_int_equal(stacked(f, 0, 4), 0x102);
	assert_true(stacked(f, 2, 4) & X86_VM);
	assert_int_equal(stacked(f, 3, 4), 0xfff0);
	assert_int_equal(stacked(f, 4, 4), 0x2000);
	assert_int_equal(stacked(f, 5, 4), 0x3000);
	assert_int_equal(stacked(f, 8, 4), 0x5100);
	assert_true(s->seg[X86_DS].attr & X86_SEG_UNUSABLE);
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 4 }));
	assert_true(f->cpu->v86);
	assert_int_equal(s->rip, 0x102);
}

static void test_v86_redirection(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	enter_v86(f, X86_VIF);
	s->cr4 |= X86_CR4_VME;
	x86_poke(f, TABLES_TSS + 0x66, 0x88, 2);
	x86_poke(f, TABLES_TSS + 0x68 + 0x21 / 8, 0, 1);
	x86_poke(f, TABLES_TSS + 0x68 + 0x40 / 8, 1, 1);
	x86_poke(f, 0x21 * 4, 0x12340010, 4);
	assert_false(x86_step(f, x86_int, (struct insn){ .imm = 0x21 }));
	assert_true(f->cpu->v86);
	assert_int_equal(s->seg[X86_CS].base, 0x12340);
	assert_int_equal(s->rip, 0x10);
	assert_false(s->rflags & X86_VIF);
	assert_int_equal(stacked(f, 2, 2), X86_F1 | X86_IF | X86_IOPL);
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 2 }));
	assert_true(s->rflags & X86_VIF);
	assert_int_equal(s->rip, 0x102);

	assert_true(x86_step(f, x86_int, (struct insn){ .imm = 0x40 }));
	assert_int_equal(f->cpu->fault.vector, X86_GP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_real_int_and_iret, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real_triple_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_from_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_same_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults_in_delivery, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stack_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_software_privilege, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iret_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_from_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_stack_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v86, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v86_redirection, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
