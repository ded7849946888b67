/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL and SYSRET in 64-bit code: system/syscall.c's semantics as thunks, with what the run loop
 * would do between two blocks. All that is out of the ordinary is asked for before anything
 * changes, and is then the interpreter's: TF and AC on their way, an interrupt that SYSRET may let
 * in, jump tables that belong to another mapping or another kind of code, direct execution (a
 * program's, perhaps this one's). Intel SDM vol. 2, SYSCALL and SYSRET.
 */
#include "isa/x86/mirror/translate.h"
#include "isa/x86/system/system.h"

#define CPU(field) ((int32_t)offsetof(struct x86_cpu, field))
#define SEG(index, field) \
	(CPU(state.seg) + (int32_t)((index) * sizeof(struct x86_seg) + offsetof(struct x86_seg, field)))
#define OWNER(table, field) \
	(CPU(mirror.owner) + (int32_t)((table) * sizeof(struct x86_table_owner) + \
				       offsetof(struct x86_table_owner, field)))
#define PUSHED 16 /* RAX and RDX are on the stack meanwhile */
#define CANONICAL_SHIFT 16
#define LAHF_FLAGS (X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF)
#define OF_SHIFT 11
#define SMAP_KEY_SHIFT 6
#define TSD_TO_KEY_SHIFT 3

_Static_assert(!offsetof(struct x86_tlb, entry), "mirror.tlb points at a set as well");
_Static_assert(X86_KEY_SMAP >> SMAP_KEY_SHIFT == 1 && X86_MMU_KERNEL == 1 &&
	       X86_MMU_KERNEL_SMAP == 2, "a set's number is computed from the key");
_Static_assert((X86_CR4_TSD << TSD_TO_KEY_SHIFT) == X86_KEY_TSC, "the key's bit is CR4's");

enum { ALU_ADD, ALU_OR, ALU_AND = 4, ALU_CMP = 7, SHIFT_LEFT = 4, SHIFT_RIGHT = 5, SHIFT_SIGNED = 7 };

static void shift(struct masm *m, bool wide, uint8_t op, uint8_t reg, uint8_t count)
{
	masm_rr(m, wide, 0xc1, op, reg);
	masm_byte(m, count);
}

/* test dword [cpu + field], mask */
static void test_mask(struct masm *m, int32_t field, uint32_t mask)
{
	masm_rm(m, false, 0xf7, 0, H_CPU, field);
	masm_u32(m, mask);
}

/* mov dword (qword) [cpu + field], value */
static void put(struct masm *m, bool wide, int32_t field, uint32_t value)
{
	masm_rm(m, wide, 0xc7, 0, H_CPU, field);
	masm_u32(m, value);
}

static void put_byte(struct masm *m, int32_t field, uint8_t value)
{
	masm_rm(m, false, 0xc6, 0, H_CPU, field);
	masm_byte(m, value);
}

static void push_two(struct masm *m)
{
	masm_push(m, H_RAX);
	masm_push(m, H_RDX);
}

static void pop_two(struct masm *m)
{
	masm_pop(m, H_RDX);
	masm_pop(m, H_RAX);
}

/* The table that is gone to has to be the current mapping's. */
static void check_turn(struct masm *m, enum x86_jump_table table, struct masm_label *undo)
{
	masm_load(m, H_RAX, H_CPU, (size_t)CPU(mapping_generation) + 8 * table + PUSHED);
	masm_rm(m, true, 0x3b, H_RAX, H_CPU, OWNER(table, generation) + PUSHED);
	masm_jcc(m, COND_NE, undo);
	masm_alu_imm_mem(m, false, ALU_CMP, H_CPU, (size_t)OWNER(table, turn) + PUSHED, 0);
	masm_jcc(m, COND_E, undo);
}

/* EDX is the block key to be, which has to be the table's; then both are changed. */
static void change_key(struct masm *m, enum x86_jump_table table, struct masm_label *undo)
{
	masm_rm(m, false, 0x3b, H_RDX, H_CPU, OWNER(table, key) + PUSHED);
	masm_jcc(m, COND_NE, undo);
	masm_rm(m, false, 0x89, H_RDX, H_CPU, CPU(block_key) + PUSHED);
	masm_lea(m, H_RAX, H_CPU, JUMPS_FIELD(table, way) + PUSHED);
	masm_store(m, (size_t)CPU(mirror.jumps) + PUSHED, H_CPU, H_RAX);
}

/* RFLAGS := EAX, clobbering EDX. */
static void set_flags(struct masm *m)
{
	masm_alu_imm(m, false, ALU_OR, H_RAX, X86_F1);
	masm_store(m, (size_t)CPU(state.rflags) + PUSHED, H_CPU, H_RAX);
	masm_rm(m, false, 0x88, H_RAX, H_CPU, CPU(mirror.flags) + 1 + PUSHED);
	masm_rr(m, false, 0x89, H_RAX, H_RDX);
	shift(m, false, SHIFT_RIGHT, H_RDX, OF_SHIFT);
	masm_alu_imm(m, false, ALU_AND, H_RDX, 1);
	masm_rm(m, false, 0x88, H_RDX, H_CPU, CPU(mirror.flags) + PUSHED);
}

/* EAX := RFLAGS, clobbering EDX. */
static void get_flags(struct masm *m)
{
	masm_load32(m, H_RAX, H_CPU, (size_t)CPU(state.rflags) + PUSHED);
	masm_alu_imm(m, false, ALU_AND, H_RAX, (int32_t)~(X86_STATUS_FLAGS | X86_RF));
	masm_rm(m, false, 0x0fb6, H_RDX, H_CPU, CPU(mirror.flags) + 1 + PUSHED);
	masm_alu_imm(m, false, ALU_AND, H_RDX, LAHF_FLAGS);
	masm_rr(m, false, 0x09, H_RDX, H_RAX);
	masm_rm(m, false, 0x0fb6, H_RDX, H_CPU, CPU(mirror.flags) + PUSHED);
	shift(m, false, SHIFT_LEFT, H_RDX, OF_SHIFT);
	masm_rr(m, false, 0x09, H_RDX, H_RAX);
}

/* CS or SS becomes flat, with the selector in AX. */
static void set_segment(struct masm *m, enum x86_seg_index seg, uint32_t attr)
{
	put(m, true, SEG(seg, base) + PUSHED, 0);
	put(m, false, SEG(seg, limit) + PUSHED, ~0u);
	put(m, false, SEG(seg, attr) + PUSHED, attr);
	masm_rm(m, false, MASM_66 | 0x89, H_RAX, H_CPU, SEG(seg, selector) + PUSHED);
}

/* The set in RAX is that of data accesses now. */
static void set_mmu(struct masm *m)
{
	masm_rm(m, false, 0x88, H_RAX, H_CPU, CPU(mmu) + PUSHED);
	masm_rx(m, true, 0x8b, H_RAX, H_CPU, H_RAX, 3, CPU(tlb) + PUSHED);
	masm_store(m, (size_t)CPU(mirror.tlb) + PUSHED, H_CPU, H_RAX);
}

/* To the block at RCX. */
static void go(struct translator *t, const uint8_t *at, enum x86_jump_table table)
{
	unsigned slot = t->far_jumps++ % X86_FAR_JUMPS;
	struct masm *m = &t->masm;

	pop_two(m);
	masm_lea(m, H_SCRATCH, H_CPU, JUMPS_FIELD(table, far[slot]));
	masm_jmp_to(m, at, t->thunks.far[table]);
}

static void finish(struct translator *t, const uint8_t *at, struct masm_label *undo,
		   struct masm_label *leave)
{
	masm_bind(&t->masm, undo);
	pop_two(&t->masm);
	masm_bind(&t->masm, leave);
	masm_jmp_to(&t->masm, at, t->thunks.leave);
}

/* RCX: the next instruction's address; R11: the instruction. */
void mirror_make_syscall(struct translator *t, const uint8_t *at)
{
	struct masm_label undo = MASM_LABEL_INIT, leave = MASM_LABEL_INIT;
	struct masm *m = &t->masm;

	test_mask(m, CPU(state.efer), X86_EFER_SCE);
	masm_jcc(m, COND_E, &leave);
	test_mask(m, CPU(state.rflags), X86_AC);
	masm_jcc(m, COND_NE, &leave);
	masm_cmp_byte(m, H_CPU, (size_t)CPU(direct_rests), 0);
	masm_jcc(m, COND_NE, &leave);
	push_two(m);
	check_turn(m, X86_JUMP_SUPERVISOR, &undo);
	masm_load32(m, H_RDX, H_CPU, (size_t)CPU(block_key) + PUSHED);
	masm_alu_imm(m, false, ALU_OR, H_RDX, X86_KEY_CPL0 | X86_KEY_TSC);
	change_key(m, X86_JUMP_SUPERVISOR, &undo);
	masm_mov(m, mirror_reg(X86_RCX), H_RCX);
	get_flags(m);
	masm_store(m, GPR_FIELD(X86_R11) + PUSHED, H_CPU, H_RAX);
	masm_load32(m, H_RDX, H_CPU, (size_t)CPU(state.sfmask) + PUSHED);
	masm_rr(m, false, 0xf7, 2, H_RDX); /* not */
	masm_rr(m, false, 0x21, H_RDX, H_RAX);
	set_flags(m);
	put_byte(m, CPU(cpl) + PUSHED, 0);
	masm_load32(m, H_RAX, H_CPU, (size_t)CPU(block_key) + PUSHED);
	shift(m, false, SHIFT_RIGHT, H_RAX, SMAP_KEY_SHIFT);
	masm_alu_imm(m, false, ALU_AND, H_RAX, 1);
	masm_alu_imm(m, false, ALU_ADD, H_RAX, X86_MMU_KERNEL);
	set_mmu(m);
	masm_load32(m, H_RAX, H_CPU, (size_t)CPU(state.star) + 4 + PUSHED);
	masm_alu_imm(m, false, ALU_AND, H_RAX, X86_STAR_SELECTOR);
	set_segment(m, X86_CS, x86_flat_code_attr(0, true));
	masm_alu_imm(m, false, ALU_ADD, H_RAX, 8);
	set_segment(m, X86_SS, x86_flat_stack_attr(0));
	masm_load(m, H_RCX, H_CPU, (size_t)CPU(state.lstar) + PUSHED);
	go(t, at, X86_JUMP_SUPERVISOR);
	finish(t, at, &undo, &leave);
}

/* To the cold way: what SYSRET would fault on, or what would be to be looked at behind it. */
static void check_sysret(struct masm *m, struct masm_label *leave)
{
	uint8_t to = mirror_reg(X86_RCX);

	test_mask(m, CPU(state.efer), X86_EFER_SCE);
	masm_jcc(m, COND_E, leave);
	masm_mov(m, H_RCX, to);
	shift(m, true, SHIFT_LEFT, H_RCX, CANONICAL_SHIFT);
	shift(m, true, SHIFT_SIGNED, H_RCX, CANONICAL_SHIFT);
	masm_rr(m, true, 0x39, to, H_RCX);
	masm_jcc(m, COND_NE, leave);
	test_mask(m, (int32_t)GPR_FIELD(X86_R11), X86_TF | X86_AC);
	masm_jcc(m, COND_NE, leave);
	masm_cmp_byte(m, H_CPU, (size_t)CPU(interrupt_maybe), 0);
	masm_jcc(m, COND_NE, leave);
	masm_cmp_byte(m, H_CPU, (size_t)CPU(direct_on), 0);
	masm_jcc(m, COND_NE, leave);
}

/* R11: the instruction. To 64-bit code alone. */
void mirror_make_sysret(struct translator *t, const uint8_t *at)
{
	struct masm_label undo = MASM_LABEL_INIT, leave = MASM_LABEL_INIT;
	struct masm *m = &t->masm;

	check_sysret(m, &leave);
	push_two(m);
	check_turn(m, X86_JUMP_USER, &undo);
	masm_load32(m, H_RCX, H_CPU, (size_t)CPU(state.cr4) + PUSHED);
	masm_rr(m, false, 0xf7, 2, H_RCX); /* not */
	masm_alu_imm(m, false, ALU_AND, H_RCX, (int32_t)X86_CR4_TSD);
	shift(m, false, SHIFT_LEFT, H_RCX, TSD_TO_KEY_SHIFT);
	masm_load32(m, H_RDX, H_CPU, (size_t)CPU(block_key) + PUSHED);
	masm_alu_imm(m, false, ALU_AND, H_RDX, ~(X86_KEY_CPL0 | X86_KEY_TSC));
	masm_rr(m, false, 0x09, H_RCX, H_RDX);
	change_key(m, X86_JUMP_USER, &undo);
	masm_load32(m, H_RAX, H_CPU, GPR_FIELD(X86_R11) + PUSHED);
	masm_alu_imm(m, false, ALU_AND, H_RAX, X86_SYSRET_FLAGS);
	set_flags(m);
	put_byte(m, CPU(cpl) + PUSHED, 3);
	masm_imm64(m, H_RAX, X86_MMU_USER);
	set_mmu(m);
	masm_rm(m, false, 0x0fb7, H_RAX, H_CPU, CPU(state.star) + 6 + PUSHED); /* movzx */
	masm_alu_imm(m, false, ALU_AND, H_RAX, X86_STAR_SELECTOR);
	masm_alu_imm(m, false, ALU_ADD, H_RAX, 8 + 3);
	set_segment(m, X86_SS, x86_flat_stack_attr(3));
	masm_alu_imm(m, false, ALU_ADD, H_RAX, 8);
	set_segment(m, X86_CS, x86_flat_code_attr(3, true));
	masm_mov(m, H_RCX, mirror_reg(X86_RCX));
	go(t, at, X86_JUMP_USER);
	finish(t, at, &undo, &leave);
}

bool mirror_emit_ring(struct emit *e)
{
	const struct mirror_thunks *thunks = &e->translator->thunks;
	bool call = e->insn->fn == x86_syscall;

	if (!mirror_wide(e) || !(call || (e->insn->fn == x86_sysret && e->insn->imm &&
					  e->cpu->block_key & X86_KEY_CPL0)))
		return false;
	mirror_save_flags(e);
	if (call) {
		masm_load(e->m, H_RCX, H_CPU, CPU_FIELD(mirror.code_base));
		masm_lea(e->m, H_RCX, H_RCX, (int32_t)e->member->ending.next);
	}
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)e->insn);
	masm_jmp_to(e->m, e->at, call ? thunks->syscall : thunks->sysret);
	e->flags_in_host = false;
	e->flags_in_memory = true;
	return true;
}
