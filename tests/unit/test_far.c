/* SPDX-License-Identifier: MIT */
/* Segment loads, questions about descriptors, far transfers, call gates, task switches. */
#include <stdarg.h>
#include <stddef.h>

#include "x86_tables.h"

#include <cmocka.h>

#include "isa/x86/system/far.h"

#define DPL3 X86_SEG_DPL
#define AX ((uint16_t)offsetof(struct x86_cpu, state.gpr[X86_RAX]))
#define CX ((uint16_t)offsetof(struct x86_cpu, state.gpr[X86_RCX]))

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

static bool load(struct x86_fixture *f, enum x86_seg_index seg, uint16_t selector)
{
	f->cpu->state.gpr[X86_RAX] = selector;
	return !x86_step(f, x86_mov_to_seg, (struct insn){ .src = AX, .modrm_reg = seg });
}

static void assert_fault(struct x86_fixture *f, enum x86_vector vector, uint32_t error)
{
	assert_int_equal(f->cpu->fault.vector, vector);
	assert_int_equal(f->cpu->fault.error, error);
}

static void test_load_data(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_seg *es = &f->cpu->state.seg[X86_ES];

	x86_tables_protected(f, 3);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0x12345678, 0x54321, 0x40f2));
	assert_true(load(f, X86_ES, SEL_FREE | 3));
	assert_int_equal(es->base, 0x12345678);
	assert_int_equal(es->limit, 0x54321);
	assert_int_equal(es->attr, 0x40f3);
	assert_int_equal(es->selector, SEL_FREE | 3);
	assert_int_equal(x86_get_descriptor(f, SEL_FREE),
			 x86_make_descriptor(0x12345678, 0x54321, 0x40f3));

	assert_false(load(f, X86_ES, SEL_DATA0));
	assert_fault(f, X86_GP, SEL_DATA0);
	assert_false(load(f, X86_ES, 0x70));
	assert_fault(f, X86_GP, 0x70);
	assert_false(load(f, X86_ES, SEL_TSS | 3));
	assert_fault(f, X86_GP, SEL_TSS);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, ~0u, (ATTR_DATA | DPL3) & ~0x80u));
	assert_false(load(f, X86_ES, SEL_FREE));
	assert_fault(f, X86_NP, SEL_FREE);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, ~0u, 0xc0f8));
	assert_false(load(f, X86_ES, SEL_FREE));
	assert_fault(f, X86_GP, SEL_FREE);
	assert_int_equal(es->base, 0x12345678);

	/* Conforming code is readable for everyone. */
	assert_true(load(f, X86_ES, SEL_CONFORMING | 3));
	assert_true(load(f, X86_ES, 3));
	assert_true(es->attr & X86_SEG_UNUSABLE);
}

static void test_load_from_ldt(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_protected(f, 0);
	x86_set_descriptor(f, 0x0c, x86_make_descriptor(0x1000, 0xfff, 0x92));
	assert_true(load(f, X86_FS, 0x0c));
	assert_int_equal(f->cpu->state.seg[X86_FS].base, 0x1000);

	assert_false(x86_step(f, x86_lldt, (struct insn){ .dst = CX }));
	assert_false(load(f, X86_FS, 0x0c));
	assert_fault(f, X86_GP, 0x0c);
	f->cpu->state.gpr[X86_RCX] = SEL_DATA0;
	assert_true(x86_step(f, x86_lldt, (struct insn){ .dst = CX }));
	assert_fault(f, X86_GP, SEL_DATA0);
	f->cpu->state.gpr[X86_RCX] = SEL_LDT;
	assert_false(x86_step(f, x86_lldt, (struct insn){ .dst = CX }));
	assert_true(load(f, X86_FS, 0x0c));
}

static void test_load_stack(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_protected(f, 0);
	assert_true(load(f, X86_SS, SEL_DATA0));
	assert_true(f->cpu->state.shadow_mov_ss);
	assert_false(load(f, X86_SS, 0));
	assert_fault(f, X86_GP, 0);
	assert_false(load(f, X86_SS, SEL_DATA3));
	assert_fault(f, X86_GP, SEL_DATA3 & ~3);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, 0xffff, 0x12));
	assert_false(load(f, X86_SS, SEL_FREE));
	assert_fault(f, X86_SS_FAULT, SEL_FREE);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, 0xffff, 0x92));
	assert_true(load(f, X86_SS, SEL_FREE));
	assert_int_equal(f->cpu->stack_size, 2);
}

static void test_load_long(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_long(f, 0);
	assert_true(load(f, X86_SS, 0));
	assert_int_equal(f->cpu->cpl, 0);
	assert_false(load(f, X86_SS, 3));
	x86_tables_long(f, 3);
	assert_false(load(f, X86_SS, 3));
	assert_fault(f, X86_GP, 0);
	assert_true(load(f, X86_SS, SEL_DATA3));
	assert_int_equal(f->cpu->cpl, 3);
}

static void test_real_keeps_limit(void **state)
{
	struct x86_fixture *f = *state;

	assert_true(load(f, X86_DS, 0x1234));
	assert_int_equal(f->cpu->state.seg[X86_DS].base, 0x12340);
	assert_int_equal(f->cpu->state.seg[X86_DS].limit, 0xffffffff);
}

static void test_push_pop(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t *rsp = &f->cpu->state.gpr[X86_RSP];

	x86_tables_protected(f, 0);
	x86_poke(f, *rsp - 4, 0xaaaaaaaa, 4);
	assert_false(x86_step(f, x86_push_seg, (struct insn){ .opsize = 4, .modrm_reg = X86_DS }));
	assert_int_equal(*rsp, TABLES_STACK0 - 4);
	assert_int_equal(x86_peek(f, *rsp, 4), 0xaaaa0000 | SEL_DATA0);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, 0xffff, 0x92));
	x86_poke(f, *rsp, SEL_FREE, 4);
	assert_false(x86_step(f, x86_pop_seg, (struct insn){ .opsize = 4, .modrm_reg = X86_SS }));
	assert_int_equal(*rsp, TABLES_STACK0);
	assert_int_equal(f->cpu->stack_size, 2);
}

static void test_questions(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	struct insn ask = { .dst = AX, .src = CX, .opsize = 4 };

	x86_tables_protected(f, 3);
	s->gpr[X86_RCX] = SEL_DATA3;
	assert_false(x86_step(f, x86_lar, ask));
	assert_true(s->rflags & X86_ZF);
	assert_int_equal(s->gpr[X86_RAX], 0xcff200);
	assert_false(x86_step(f, x86_lsl, ask));
	assert_int_equal(s->gpr[X86_RAX], 0xffffffff);
	s->gpr[X86_RCX] = SEL_DATA0;
	assert_false(x86_step(f, x86_lsl, ask));
	assert_false(s->rflags & X86_ZF);
	s->gpr[X86_RCX] = 0;
	assert_false(x86_step(f, x86_lar, ask));
	assert_false(s->rflags & X86_ZF);

	s->gpr[X86_RAX] = SEL_CODE3;
	assert_false(x86_step(f, x86_verr, ask));
	assert_true(s->rflags & X86_ZF);
	assert_false(x86_step(f, x86_verw, ask));
	assert_false(s->rflags & X86_ZF);
	s->gpr[X86_RAX] = SEL_TSS;
	assert_false(x86_step(f, x86_verr, ask));
	assert_false(s->rflags & X86_ZF);

	s->gpr[X86_RAX] = 0x10;
	s->gpr[X86_RCX] = 2;
	assert_false(x86_step(f, x86_arpl, ask));
	assert_true(s->rflags & X86_ZF);
	assert_int_equal(s->gpr[X86_RAX], 0x12);
	assert_false(x86_step(f, x86_arpl, ask));
	assert_false(s->rflags & X86_ZF);
}

static void test_task_register(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	struct insn insn = { .dst = CX, .opsize = 8 };

	x86_tables_long(f, 0);
	s->gpr[X86_RCX] = SEL_TSS;
	assert_true(x86_step(f, x86_ltr, insn)); /* busy */
	assert_fault(f, X86_GP, SEL_TSS);
	x86_set_descriptor(f, SEL_TSS, x86_make_descriptor(TABLES_TSS, 0x67, 0x89));
	x86_poke(f, TABLES_GDT + SEL_TSS + 8, 0xffff8000, 8);
	assert_false(x86_step(f, x86_ltr, insn));
	assert_int_equal(s->tr.base, 0xffff800000000000ull | TABLES_TSS);
	assert_int_equal(x86_get_descriptor(f, SEL_TSS),
			 x86_make_descriptor(TABLES_TSS, 0x67, 0x8b));
	s->gpr[X86_RCX] = ~0ull;
	assert_false(x86_step(f, x86_str, insn));
	assert_int_equal(s->gpr[X86_RCX], SEL_TSS);

	x86_tables_long(f, 3);
	assert_false(x86_step(f, x86_sldt, insn));
	assert_int_equal(s->gpr[X86_RCX], SEL_LDT);
	s->cr4 |= X86_CR4_UMIP;
	assert_true(x86_step(f, x86_sldt, insn));
	assert_true(x86_step(f, x86_ltr, insn));
}

static struct insn far_to(uint16_t selector, uint32_t offset, unsigned opsize)
{
	return (struct insn){ .imm = (int64_t)selector << 32 | offset,
			      .opsize = (uint8_t)opsize };
}

static void test_jump(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	/* From real mode, as boot code does. */
	x86_tables_protected(f, 0);
	s->cr0 &= ~X86_CR0_PE;
	x86_update_mode(f->cpu);
	assert_false(x86_step(f, x86_far_jump, far_to(0x1000, 0x20, 2)));
	assert_int_equal(s->seg[X86_CS].base, 0x10000);
	s->cr0 |= X86_CR0_PE;
	x86_update_mode(f->cpu);
	assert_false(x86_step(f, x86_far_jump, far_to(SEL_CODE0, 0x123456, 4)));
	assert_int_equal(f->cpu->mode, X86_MODE_32);
	assert_int_equal(s->rip, 0x123456);
	assert_int_equal(s->seg[X86_CS].attr, 0xc09b);

	assert_true(x86_step(f, x86_far_jump, far_to(0, 0, 4)));
	assert_fault(f, X86_GP, 0);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_CODE3, 0, 4)));
	assert_fault(f, X86_GP, SEL_CODE3 & ~3);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_DATA0, 0, 4)));
	assert_fault(f, X86_GP, SEL_DATA0);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, 0xfff, ATTR_CODE16));
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_FREE, 0x1000, 4)));
	assert_fault(f, X86_GP, 0);
	assert_false(x86_step(f, x86_far_jump, far_to(SEL_FREE, 0xfff, 4)));
	assert_int_equal(f->cpu->mode, X86_MODE_16);

	x86_tables_protected(f, 3);
	assert_false(x86_step(f, x86_far_jump, far_to(SEL_CONFORMING, 0, 4)));
	assert_int_equal(s->seg[X86_CS].selector, SEL_CONFORMING | 3);
	assert_int_equal(f->cpu->cpl, 3);
}

static void test_jump_long(void **state)
{
	struct x86_fixture *f = *state;

	x86_tables_long(f, 0);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, ~0u, ATTR_CODE32 | X86_SEG_L));
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_FREE, 0, 4)));
	assert_fault(f, X86_GP, SEL_FREE);
	x86_set_descriptor(f, SEL_FREE, x86_make_descriptor(0, ~0u, ATTR_CODE32));
	assert_false(x86_step(f, x86_far_jump, far_to(SEL_FREE, TABLES_CODE, 4)));
	assert_int_equal(f->cpu->mode, X86_MODE_32);
	assert_false(x86_step(f, x86_far_jump, far_to(SEL_CODE0, TABLES_CODE, 4)));
	assert_int_equal(f->cpu->mode, X86_MODE_64);
}

static void test_call_and_return(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_long(f, 0);
	assert_false(x86_step(f, x86_far_call, far_to(SEL_CODE0, TABLES_HANDLER, 4)));
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK0 - 8);
	assert_int_equal(x86_peek(f, s->gpr[X86_RSP], 4), TABLES_CODE + 2);
	assert_false(x86_step(f, x86_far_return, (struct insn){ .opsize = 4, .imm = 0x10 }));
	assert_int_equal(s->rip, TABLES_CODE + 2);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK0 + 0x10);
}

static void test_call_gate(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	uint64_t sp = TABLES_STACK0 - 24;

	x86_tables_protected(f, 3);
	x86_set_descriptor(f, SEL_FREE, x86_make_gate(SEL_CODE0, TABLES_HANDLER, 0xec, 2));
	x86_poke(f, TABLES_STACK3, 0x11111111, 4);
	x86_poke(f, TABLES_STACK3 + 4, 0x22222222, 4);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_FREE, 0, 4)));
	assert_fault(f, X86_GP, SEL_CODE0);
	assert_false(x86_step(f, x86_far_call, far_to(SEL_FREE, 0, 4)));
	assert_int_equal(f->cpu->cpl, 0);
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_int_equal(s->gpr[X86_RSP], sp);
	assert_int_equal(x86_peek(f, sp, 4), TABLES_CODE + 2);
	assert_int_equal(x86_peek(f, sp + 4, 4), SEL_CODE3);
	assert_int_equal(x86_peek(f, sp + 8, 4), 0x11111111);
	assert_int_equal(x86_peek(f, sp + 12, 4), 0x22222222);
	assert_int_equal(x86_peek(f, sp + 16, 4), TABLES_STACK3);
	assert_int_equal(x86_peek(f, sp + 20, 4), SEL_DATA3);

	assert_false(x86_step(f, x86_far_return, (struct insn){ .opsize = 4, .imm = 8 }));
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3 + 8);
	assert_int_equal(s->seg[X86_SS].selector, SEL_DATA3);
}

static void test_call_gate_long(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	uint64_t sp = TABLES_STACK0 - 32;

	x86_tables_long(f, 3);
	x86_set_descriptor(f, SEL_FREE, x86_make_gate(SEL_CODE0, TABLES_HANDLER, 0xec, 5));
	x86_poke(f, TABLES_GDT + SEL_FREE + 8, 0x10000000000, 8);
	assert_true(x86_step(f, x86_far_call, far_to(SEL_FREE, 0, 4)));
	assert_fault(f, X86_GP, SEL_FREE); /* not a 16-byte descriptor */
	x86_poke(f, TABLES_GDT + SEL_FREE + 8, 0x1000, 8);
	assert_false(x86_step(f, x86_far_call, far_to(SEL_FREE, 0, 4)));
	assert_int_equal(s->rip, 0x100000000000ull | TABLES_HANDLER);
	assert_int_equal(s->gpr[X86_RSP], sp);
	assert_int_equal(x86_peek(f, sp, 8), TABLES_CODE + 2);
	assert_int_equal(x86_peek(f, sp + 24, 8), SEL_DATA3);
	assert_int_equal(s->seg[X86_SS].selector, 0);
	assert_false(x86_step(f, x86_far_return, (struct insn){ .opsize = 8 }));
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3);
}

/* A second 32-bit task in ring 3. */
static void make_task(struct x86_fixture *f)
{
	static const uint16_t segments[] = { SEL_DATA3, SEL_CODE3, SEL_DATA3, SEL_DATA3, 0, 0 };

	x86_set_descriptor(f, SEL_TSS2, x86_make_descriptor(TABLES_TSS2, 0x67, 0x89));
	x86_poke(f, TABLES_TSS2 + 32, TABLES_HANDLER, 4);
	x86_poke(f, TABLES_TSS2 + 36, X86_F1 | X86_IF, 4);
	x86_poke(f, TABLES_TSS2 + 40, 0xaaaa, 4);
	x86_poke(f, TABLES_TSS2 + 40 + 4 * X86_RSP, TABLES_STACK3, 4);
	for (unsigned i = 0; i < 6; i++)
		x86_poke(f, TABLES_TSS2 + 72 + 4 * i, segments[i], 4);
	x86_poke(f, TABLES_TSS2 + 96, SEL_LDT, 4);
}

static bool busy(struct x86_fixture *f, uint16_t selector)
{
	return x86_get_descriptor(f, selector) >> 41 & 1;
}

static void test_task_call(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_protected(f, 0);
	make_task(f);
	s->gpr[X86_RCX] = 0xcccc;
	assert_false(x86_step(f, x86_far_call, far_to(SEL_TSS2, 0, 4)));
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_int_equal(s->gpr[X86_RAX], 0xaaaa);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3);
	assert_int_equal(s->tr.selector, SEL_TSS2);
	assert_int_equal(s->rflags, X86_F1 | X86_IF | X86_NT);
	assert_true(s->cr0 & X86_CR0_TS);
	assert_true(busy(f, SEL_TSS));
	assert_true(busy(f, SEL_TSS2));
	assert_int_equal(x86_peek(f, TABLES_TSS2, 2), SEL_TSS);
	assert_int_equal(x86_peek(f, TABLES_TSS + 32, 4), TABLES_CODE + 2);
	assert_int_equal(x86_peek(f, TABLES_TSS + 44, 4), 0xcccc);
	assert_int_equal(x86_peek(f, TABLES_TSS + 76, 2), SEL_CODE0);
	assert_true(s->seg[X86_FS].attr & X86_SEG_UNUSABLE);

	x86_poke(f, TABLES_TSS + 96, SEL_LDT, 2);
	assert_false(x86_step(f, x86_iret, (struct insn){ .opsize = 4 }));
	assert_int_equal(f->cpu->cpl, 0);
	assert_int_equal(s->rip, TABLES_CODE + 2);
	assert_int_equal(s->gpr[X86_RCX], 0xcccc);
	assert_int_equal(s->tr.selector, SEL_TSS);
	assert_false(busy(f, SEL_TSS2));
	assert_true(busy(f, SEL_TSS));
	assert_false(s->rflags & X86_NT);
	assert_int_equal(x86_peek(f, TABLES_TSS2 + 36, 4), X86_F1 | X86_IF);
}

static void test_task_jump_and_trap(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_protected(f, 0);
	make_task(f);
	x86_poke(f, TABLES_TSS2 + 100, 1, 2);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_TSS2, 0, 4)));
	assert_int_equal(f->cpu->fault.vector, X86_DB);
	assert_true(s->dr6 & 1 << 15);
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_false(busy(f, SEL_TSS));
	assert_false(s->rflags & X86_NT);
}

static void test_task_faults(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_protected(f, 0);
	make_task(f);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_TSS, 0, 4))); /* busy */
	assert_fault(f, X86_GP, SEL_TSS);
	x86_set_descriptor(f, SEL_TSS2, x86_make_descriptor(TABLES_TSS2, 0x66, 0x89));
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_TSS2, 0, 4)));
	assert_fault(f, X86_TS, SEL_TSS2);
	assert_int_equal(s->rip, TABLES_CODE);
	assert_true(busy(f, SEL_TSS));

	/* The new task's own fault, at its own first instruction. */
	make_task(f);
	x86_poke(f, TABLES_TSS2 + 72 + 4 * X86_DS, SEL_DATA0, 2);
	assert_true(x86_step(f, x86_far_jump, far_to(SEL_TSS2, 0, 4)));
	assert_fault(f, X86_TS, SEL_DATA0);
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_int_equal(f->cpu->cpl, 3);
	assert_true(s->seg[X86_DS].attr & X86_SEG_UNUSABLE);
}

static void test_task_gate_event(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_tables_protected(f, 0);
	make_task(f);
	x86_set_gate32(f, X86_GP, x86_make_gate(SEL_TSS2, 0, 0x85, 0));
	x86_deliver(f->cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0x1234);
	assert_int_equal(s->tr.selector, SEL_TSS2);
	assert_int_equal(s->rip, TABLES_HANDLER);
	assert_int_equal(s->gpr[X86_RSP], TABLES_STACK3 - 4);
	assert_int_equal(x86_peek(f, TABLES_STACK3 - 4, 4), 0x1234);
	assert_true(x86_peek(f, TABLES_TSS + 36, 4) & X86_RF);
	assert_int_equal(x86_peek(f, TABLES_TSS + 32, 4), TABLES_CODE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_load_data, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_from_ldt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real_keeps_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_push_pop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_questions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_register, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jump, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jump_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_and_return, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_gate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_gate_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_call, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_jump_and_trap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_gate_event, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
