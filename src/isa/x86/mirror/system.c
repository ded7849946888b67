/* SPDX-License-Identifier: MIT */
/*
 * What a kernel does all the time and what takes a few instructions here: interrupt flag, flags on the
 * stack, SWAPGS, STAC and CLAC, bases and selectors of segments, control registers that are read, the
 * time-stamp counter, fences. Privilege is part of the block's key.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define FLAG_SHIFT_OF 11
/* POPF goes the short way when it changes status flags alone. */
#define POPF_SPECIAL ((uint32_t)~(X86_STATUS_FLAGS | X86_RF | X86_VM))
#define PUSHF_KEPT ((uint32_t)~(X86_STATUS_FLAGS | X86_RF | X86_VM))
#define ALU_OR 1
#define ALU_AND 4
#define ALU_CMP 7
#define LINEAR_BITS 48

static bool in_kernel(const struct emit *e)
{
	return e->cpu->block_key & X86_KEY_CPL0;
}

/* op dword [cpu + disp], imm32 */
static void alu_rflags(struct emit *e, uint8_t op, uint32_t imm)
{
	masm_alu_imm_mem(e->m, false, op, H_CPU, CPU_FIELD(state.rflags), (int32_t)imm);
	e->flags_in_host = false;
}

static bool emit_cli(struct emit *e)
{
	if (!in_kernel(e))
		return false;
	mirror_spare_flags(e);
	alu_rflags(e, ALU_AND, (uint32_t)~X86_IF);
	return true;
}

/*
 * Interrupts are taken between blocks only, which is later than the one instruction that STI holds
 * them off for, as long as STI does not end its block. One that waits already is taken behind
 * that instruction, by the interpreter: the next one may be CLI. In lock-step a stretch may end before that
 * instruction, where the shadow that is not cast here would be missed.
 */
static bool emit_sti(struct emit *e)
{
	if (!in_kernel(e) || e->insn->position + 1u == e->member->count || e->translator->lockstep)
		return false;
	mirror_spare_flags(e);
	masm_alu_imm_mem(e->m, false, ALU_CMP, H_CPU, CPU_FIELD(cpu.requests), 0);
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
	masm_rm(e->m, false, 0x80, ALU_CMP, H_CPU, (int32_t)CPU_FIELD(interrupt_maybe));
	masm_byte(e->m, 0);
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
	alu_rflags(e, ALU_OR, (uint32_t)X86_IF);
	return true;
}

static bool emit_pushf(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	bool wide = mirror_wide(e);
	struct mirror_address top = mirror_stack_address(e, X86_RSP, -word);
	uint8_t rsp = mirror_reg(X86_RSP);
	struct masm *m = e->m;

	if (e->insn->opsize != word)
		return false;
	mirror_save_flags(e);
	mirror_emit_access(e, &top, (unsigned)word, true, false);
	masm_load32(m, H_SCRATCH, H_CPU, CPU_FIELD(state.rflags));
	masm_alu_imm(m, false, ALU_AND, H_SCRATCH, (int32_t)PUSHF_KEPT);
	masm_rm(m, wide, 0x89, H_SCRATCH, H_RCX, 0);
	masm_rm(m, false, 0x0fb6, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.flags) + 1);
	masm_rm(m, wide, 0x09, H_SCRATCH, H_RCX, 0);
	masm_rm(m, false, 0x0fb6, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.flags));
	masm_rr(m, false, 0xc1, 4, H_SCRATCH);
	masm_byte(m, FLAG_SHIFT_OF);
	masm_rm(m, wide, 0x09, H_SCRATCH, H_RCX, 0);
	mirror_emit_lea(e, rsp, rsp, -word);
	return true;
}

static bool emit_popf(struct emit *e)
{
	int32_t word = (int32_t)mirror_word_bytes(e);
	struct mirror_address top = mirror_stack_address(e, X86_RSP, 0);
	uint8_t rsp = mirror_reg(X86_RSP);
	struct masm *m = e->m;

	if (e->insn->opsize != word)
		return false;
	/* The cold path shows the interpreter the old flags. */
	mirror_save_flags(e);
	mirror_emit_access(e, &top, (unsigned)word, false, false);
	masm_load32(m, H_RCX, H_RCX, 0);
	masm_load32(m, H_SCRATCH, H_CPU, CPU_FIELD(state.rflags));
	masm_rr(m, false, 0x33, H_SCRATCH, H_RCX);
	masm_rr(m, false, 0xf7, 0, H_SCRATCH); /* test r11d, imm32 */
	masm_u32(m, POPF_SPECIAL);
	masm_jcc(m, COND_NE, &mirror_cold(e)->enter);
	masm_mov(m, H_SCRATCH, H_RCX);
	masm_rr(m, false, 0xc1, 5, H_SCRATCH);
	masm_byte(m, FLAG_SHIFT_OF);
	masm_alu_imm(m, false, ALU_AND, H_SCRATCH, 1);
	masm_rr(m, false, 0xc1, 4, H_RCX);
	masm_byte(m, 8);
	masm_rr(m, false, 0x09, H_RCX, H_SCRATCH);
	masm_rm(m, false, MASM_66 | 0x89, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.flags));
	mirror_emit_lea(e, rsp, rsp, word);
	e->flags_in_memory = true;
	e->flags_in_host = false;
	return true;
}

static bool emit_swapgs(struct emit *e)
{
	size_t gs = CPU_FIELD(state.seg[X86_GS].base), kernel_gs = CPU_FIELD(state.kernel_gs_base);

	if (!in_kernel(e))
		return false;
	masm_load(e->m, H_SCRATCH, H_CPU, gs);
	masm_load(e->m, H_RCX, H_CPU, kernel_gs);
	masm_store(e->m, gs, H_CPU, H_RCX);
	masm_store(e->m, kernel_gs, H_CPU, H_SCRATCH);
	return true;
}

static bool emit_smap(struct emit *e, bool set_ac)
{
	uint8_t mmu = set_ac || !(e->cpu->block_key & X86_KEY_SMAP) ? X86_MMU_KERNEL :
								       X86_MMU_KERNEL_SMAP;

	if (!in_kernel(e))
		return false;
	mirror_spare_flags(e);
	alu_rflags(e, set_ac ? ALU_OR : ALU_AND, (uint32_t)(set_ac ? X86_AC : ~X86_AC));
	masm_rm(e->m, false, 0xc6, 0, H_CPU, (int32_t)CPU_FIELD(mmu)); /* mov byte [mmu], imm8 */
	masm_byte(e->m, mmu);
	masm_load(e->m, H_SCRATCH, H_CPU, CPU_FIELD(tlb[0]) + mmu * sizeof(struct x86_tlb *));
	masm_store(e->m, CPU_FIELD(mirror.tlb), H_CPU, H_SCRATCH);
	e->user_access = set_ac;
	return true;
}

static bool emit_rdtsc(struct emit *e)
{
	struct masm *m = e->m;

	if (!(e->cpu->block_key & X86_KEY_TSC) || e->translator->lockstep)
		return false;
	mirror_spare_flags(e);
	masm_byte(m, 0x0f);
	masm_byte(m, 0x31);
	masm_rr(m, true, 0xc1, 4, H_RDX);
	masm_byte(m, 32);
	masm_rr(m, true, 0x09, H_RDX, H_RAX);
	masm_rm(m, true, 0x03, H_RAX, H_CPU, (int32_t)CPU_FIELD(state.tsc_offset));
	masm_mov(m, H_RDX, H_RAX);
	masm_rr(m, true, 0xc1, 5, H_RDX);
	masm_byte(m, 32);
	masm_rr(m, false, 0x89, H_RAX, H_RAX);
	e->flags_in_host = false;
	return true;
}

static bool emit_rdtscp(struct emit *e)
{
	if (!emit_rdtsc(e))
		return false;
	masm_load32(e->m, mirror_reg(X86_RCX), H_CPU, CPU_FIELD(state.tsc_aux));
	return true;
}

/* Where CR4 has it enabled, with ECX 0. */
static bool emit_rdpkru(struct emit *e)
{
	struct masm *m = e->m;

	mirror_spare_flags(e);
	masm_rm(m, false, 0xf7, 0, H_CPU, (int32_t)CPU_FIELD(state.cr4)); /* test dword [cr4], imm32 */
	masm_u32(m, (uint32_t)X86_CR4_PKE);
	masm_jcc(m, COND_E, &mirror_cold(e)->enter);
	masm_rr(m, false, 0x85, mirror_reg(X86_RCX), mirror_reg(X86_RCX));
	masm_jcc(m, COND_NE, &mirror_cold(e)->enter);
	masm_load32(m, H_RAX, H_CPU, CPU_FIELD(state.pkru));
	masm_imm64(m, H_RDX, 0);
	e->flags_in_host = false;
	return true;
}

/* From a field of the state to a general-purpose register. */
static void emit_read(struct emit *e, const ZydisDecodedOperand *to, size_t field, bool wide)
{
	bool high;
	unsigned gpr = (unsigned)mirror_gpr(to->reg.value, &high);
	uint8_t host = mirror_reg(gpr) == H_MEMORY ? H_SCRATCH : mirror_reg(gpr);

	if (wide)
		masm_load(e->m, host, H_CPU, field);
	else
		masm_load32(e->m, host, H_CPU, field);
	if (host == H_SCRATCH)
		masm_store(e->m, GPR_FIELD(gpr), H_CPU, host);
}

static bool emit_read_control(struct emit *e)
{
	size_t field;

	if (!in_kernel(e) || !mirror_wide(e) || e->info.op[0].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	switch (e->info.op[1].reg.value) {
	case ZYDIS_REGISTER_CR0: field = CPU_FIELD(state.cr0); break;
	case ZYDIS_REGISTER_CR2: field = CPU_FIELD(state.cr2); break;
	case ZYDIS_REGISTER_CR3: field = CPU_FIELD(state.cr3); break;
	case ZYDIS_REGISTER_CR4: field = CPU_FIELD(state.cr4); break;
	default: return false;
	}
	emit_read(e, &e->info.op[0], field, true);
	return true;
}

/* To 16 bits of a register, or to all of it. */
static bool emit_read_selector(struct emit *e)
{
	size_t field = CPU_FIELD(state.seg[0].selector) + e->insn->modrm_reg * sizeof(struct x86_seg);
	const ZydisDecodedOperand *to = &e->info.op[0];
	uint32_t opcode = e->insn->opsize == 2 ? MASM_66 | 0x89 : 0x89;
	unsigned gpr;
	bool high;

	if (to->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	gpr = (unsigned)mirror_gpr(to->reg.value, &high);
	masm_rm(e->m, false, 0x0fb7, H_SCRATCH, H_CPU, (int32_t)field); /* movzx */
	if (mirror_reg(gpr) == H_MEMORY)
		masm_rm(e->m, e->insn->opsize != 2, opcode, H_SCRATCH, H_CPU, (int32_t)GPR_FIELD(gpr));
	else
		masm_rr(e->m, false, opcode, H_SCRATCH, mirror_reg(gpr));
	return true;
}

static bool emit_move(struct emit *e)
{
	ZydisRegister from = e->info.op[1].reg.value;

	if (e->info.op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	switch (ZydisRegisterGetClass(from)) {
	case ZYDIS_REGCLASS_CONTROL: return emit_read_control(e);
	case ZYDIS_REGCLASS_SEGMENT: return emit_read_selector(e);
	default: return false;
	}
}

static void emit_need_fsgsbase(struct emit *e)
{
	mirror_spare_flags(e);
	masm_rm(e->m, false, 0xf7, 0, H_CPU, (int32_t)CPU_FIELD(state.cr4)); /* test dword [cr4], imm32 */
	masm_u32(e->m, (uint32_t)X86_CR4_FSGSBASE);
	masm_jcc(e->m, COND_E, &mirror_cold(e)->enter);
	e->flags_in_host = false;
}

static bool emit_read_base(struct emit *e, enum x86_seg_index seg)
{
	if (!mirror_wide(e))
		return false;
	emit_need_fsgsbase(e);
	emit_read(e, &e->info.op[0], CPU_FIELD(state.seg[0].base) + seg * sizeof(struct x86_seg),
		  e->insn->opsize == 8);
	return true;
}

/* What is not canonical is left to the interpreter. */
static bool emit_write_base(struct emit *e, enum x86_seg_index seg)
{
	bool wide = e->insn->opsize == 8, high;
	struct masm *m = e->m;
	unsigned gpr;

	if (!mirror_wide(e))
		return false;
	emit_need_fsgsbase(e);
	gpr = (unsigned)mirror_gpr(e->info.op[0].reg.value, &high);
	if (mirror_reg(gpr) == H_MEMORY)
		masm_rm(m, wide, 0x8b, H_SCRATCH, H_CPU, (int32_t)GPR_FIELD(gpr));
	else
		masm_rr(m, wide, 0x89, mirror_reg(gpr), H_SCRATCH);
	masm_mov(m, H_RCX, H_SCRATCH);
	masm_rr(m, true, 0xc1, 4, H_RCX); /* shl rcx, 16; sar rcx, 16 */
	masm_byte(m, 64 - LINEAR_BITS);
	masm_rr(m, true, 0xc1, 7, H_RCX);
	masm_byte(m, 64 - LINEAR_BITS);
	masm_rr(m, true, 0x39, H_SCRATCH, H_RCX);
	masm_jcc(m, COND_NE, &mirror_cold(e)->enter);
	masm_store(m, CPU_FIELD(state.seg[0].base) + seg * sizeof(struct x86_seg), H_CPU, H_SCRATCH);
	return true;
}

/* Code that was modified has told so in the requests; then the interpreter looks for it. */
static bool emit_serialize(struct emit *e)
{
	mirror_spare_flags(e);
	masm_byte(e->m, 0x0f); /* mfence */
	masm_byte(e->m, 0xae);
	masm_byte(e->m, 0xf0);
	masm_alu_imm_mem(e->m, false, ALU_CMP, H_CPU, CPU_FIELD(cpu.requests), 0);
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
	e->flags_in_host = false;
	return true;
}

static bool emit_itself(struct emit *e)
{
	for (unsigned i = 0; i < e->insn->length; i++)
		masm_byte(e->m, e->insn->bytes[i]);
	return true;
}

bool mirror_emit_system(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_CLI: return emit_cli(e);
	case ZYDIS_MNEMONIC_STI: return emit_sti(e);
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ: return emit_pushf(e);
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ: return emit_popf(e);
	case ZYDIS_MNEMONIC_SWAPGS: return emit_swapgs(e);
	case ZYDIS_MNEMONIC_STAC: return emit_smap(e, true);
	case ZYDIS_MNEMONIC_CLAC: return emit_smap(e, false);
	case ZYDIS_MNEMONIC_RDTSC: return emit_rdtsc(e);
	case ZYDIS_MNEMONIC_RDTSCP: return emit_rdtscp(e);
	case ZYDIS_MNEMONIC_RDPKRU: return emit_rdpkru(e);
	case ZYDIS_MNEMONIC_MOV: return emit_move(e);
	case ZYDIS_MNEMONIC_RDFSBASE: return emit_read_base(e, X86_FS);
	case ZYDIS_MNEMONIC_RDGSBASE: return emit_read_base(e, X86_GS);
	case ZYDIS_MNEMONIC_WRFSBASE: return emit_write_base(e, X86_FS);
	case ZYDIS_MNEMONIC_WRGSBASE: return emit_write_base(e, X86_GS);
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
		return emit_itself(e);
	case ZYDIS_MNEMONIC_SERIALIZE: return emit_serialize(e);
	case ZYDIS_MNEMONIC_CLD:
		mirror_spare_flags(e);
		alu_rflags(e, ALU_AND, (uint32_t)~X86_DF);
		return true;
	default:
		return false;
	}
}
