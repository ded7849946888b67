/* SPDX-License-Identifier: MIT */
/* The glue between C and translated code, generated once a machine. */
#include "isa/x86/mirror/translator.h"

#define CPU(field) offsetof(struct x86_cpu, field)

static const uint8_t callee_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

/* base: the register that holds the CPU's address, plus what RSP has moved since. */
static void store_guest(struct masm *m, size_t moved)
{
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		if (mirror_reg(gpr) != H_MEMORY)
			masm_store(m, CPU(state.gpr[0]) + 8 * gpr + moved, H_CPU, mirror_reg(gpr));
}

static void load_guest(struct masm *m, size_t moved)
{
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		if (mirror_reg(gpr) != H_MEMORY)
			masm_load(m, mirror_reg(gpr), H_CPU, CPU(state.gpr[0]) + 8 * gpr + moved);
}

static void call_c(struct masm *m, uint64_t function)
{
	masm_imm64(m, H_RAX, function);
	masm_rr(m, false, 0xff, 2, H_RAX);
}

static void return_to_c(struct masm *m)
{
	masm_load(m, H_RSP, H_CPU, CPU(mirror.host_rsp));
	for (unsigned i = sizeof(callee_saved); i-- > 0;)
		masm_pop(m, callee_saved[i]);
	masm_byte(m, 0xc3);
}

/*
 * To the code of the block in R11. Not by an address that C read: when another CPU invalidates the block
 * meanwhile, its code is the dead thunk, which wants the block in R11.
 */
static void jump_to_block(struct masm *m)
{
	masm_rm(m, false, 0xff, 4, H_SCRATCH, offsetof(struct block, code));
}

/* void enter(struct x86_cpu *cpu, struct x86_block *block) */
static void make_enter(struct masm *m)
{
	for (unsigned i = 0; i < sizeof(callee_saved); i++)
		masm_push(m, callee_saved[i]);
	masm_store(m, CPU(mirror.host_rsp), H_RDI, H_RSP);
	masm_mov(m, H_RSP, H_RDI);
	masm_mov(m, H_SCRATCH, H_RSI);
	load_guest(m, 0);
	jump_to_block(m);
}

static void make_exit(struct masm *m)
{
	masm_store(m, CPU(mirror.exit), H_CPU, H_SCRATCH);
	store_guest(m, 0);
	return_to_c(m);
}

static void make_dead(struct masm *m, const uint8_t *at, const void *miss_thunk)
{
	masm_load32(m, H_RCX, H_SCRATCH, offsetof(struct block, phys));
	masm_alu_imm(m, false, 4, H_RCX, 0xfff);
	masm_rm(m, true, 0x03, H_RCX, H_CPU, (int32_t)CPU(mirror.code_base));
	masm_jmp_to(m, at, miss_thunk);
}

/* Calls interpret(cpu, the instruction in R11), whatever RSP has moved. */
static void call_interpret(struct masm *m, size_t moved, uint64_t interpret)
{
	masm_lea(m, H_RDI, H_CPU, (int32_t)moved);
	masm_mov(m, H_RSI, H_SCRATCH);
	call_c(m, interpret);
}

/* Called, so that RSP is 8 below the CPU; 8 more keep the stack aligned for C. */
static void make_call(struct masm *m)
{
	struct masm_label leave = MASM_LABEL_INIT;

	masm_lea(m, H_RSP, H_RSP, -8);
	store_guest(m, 16);
	call_interpret(m, 16, (uint64_t)(uintptr_t)mirror_interpret);
	masm_rr(m, false, 0x84, H_RAX, H_RAX); /* test al, al */
	masm_jcc(m, COND_NE, &leave);
	load_guest(m, 16);
	masm_lea(m, H_RSP, H_RSP, 8);
	masm_byte(m, 0xc3);
	masm_bind(m, &leave);
	masm_lea(m, H_RSP, H_RSP, 16);
	return_to_c(m);
}

/* Behind a call that returned the block to go on with: NULL leaves. */
static void go_on(struct masm *m)
{
	struct masm_label leave = MASM_LABEL_INIT;

	masm_rr(m, true, 0x85, H_RAX, H_RAX); /* test rax, rax */
	masm_jcc(m, COND_E, &leave);
	masm_mov(m, H_SCRATCH, H_RAX);
	load_guest(m, 0);
	jump_to_block(m);
	masm_bind(m, &leave);
	return_to_c(m);
}

static void make_leave(struct masm *m)
{
	store_guest(m, 0);
	call_interpret(m, 0, (uint64_t)(uintptr_t)mirror_interpret_last);
	go_on(m);
}

static void make_miss(struct masm *m)
{
	masm_store(m, CPU(state.rip), H_CPU, H_RCX);
	store_guest(m, 0);
	masm_lea(m, H_RDI, H_CPU, 0);
	call_c(m, (uint64_t)(uintptr_t)mirror_go_on);
	go_on(m);
}

static void make_vec(struct masm *m)
{
	masm_lea(m, H_RSP, H_RSP, -8);
	store_guest(m, 16);
	masm_lea(m, H_RDI, H_CPU, 16);
	call_c(m, (uint64_t)(uintptr_t)x86_vec_load);
	load_guest(m, 16);
	masm_lea(m, H_RSP, H_RSP, 8);
	masm_byte(m, 0xc3);
}

static const void *place(struct translator *t)
{
	const void *code = t->masm.overflow ? NULL :
			   codebuf_add(&t->code, t->masm.code, t->masm.size);

	t->masm.size = 0;
	return code;
}

/* Where the next piece will run: codebuf_add aligns to 16. */
static const uint8_t *next_place(const struct translator *t)
{
	return t->code.rx + ((t->code.used_bytes + 15) & ~15ul);
}

bool mirror_make_thunks(struct translator *t)
{
	struct mirror_thunks *thunks = &t->thunks;

	make_enter(&t->masm);
	thunks->enter = (void (*)(struct x86_cpu *, struct x86_block *))(uintptr_t)place(t);
	make_exit(&t->masm);
	thunks->exit = place(t);
	make_miss(&t->masm);
	thunks->miss = place(t);
	for (unsigned table = 0; table < X86_JUMP_TABLES; table++) {
		mirror_make_far(t, next_place(t), table);
		thunks->far[table] = place(t);
	}
	make_dead(&t->masm, next_place(t), thunks->miss);
	thunks->dead = place(t);
	make_call(&t->masm);
	thunks->call = place(t);
	make_leave(&t->masm);
	thunks->leave = place(t);
	make_vec(&t->masm);
	thunks->vec = place(t);
	mirror_make_syscall(t, next_place(t));
	thunks->syscall = place(t);
	mirror_make_sysret(t, next_place(t));
	thunks->sysret = place(t);
	t->thunk_bytes = t->code.used_bytes;
	return thunks->enter && thunks->exit && thunks->miss && thunks->dead && thunks->call &&
	       thunks->leave && thunks->far[X86_JUMP_SUPERVISOR] &&
	       thunks->far[X86_JUMP_USER] && thunks->vec && thunks->syscall && thunks->sysret;
}
