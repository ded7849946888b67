/* SPDX-License-Identifier: MIT */
/*
 * x87 instructions are themselves (copy.c), in regions that run only while x87_live: no error is
 * unmasked, so none is ever reported and no instruction of theirs faults.
 *
 * What FNSTENV and its like tell of the last instruction is noted lazily: FIP and FCS, of a block's last
 * x87 instruction, at the block's end and before whatever may look or fault in between; cold paths do
 * it for themselves. FOP and FDP are noted by processors at unmasked errors only, which means nothing
 * here; of older ones, FOP with FIP and FDP at once. Intel SDM vol. 1, 8.1.8 and 8.1.9.
 */
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"
#include "isa/x86/vector/vec.h"

#define CONTROL_BYTES 2
#define OP_MOVZX_WORD 0x0fb7
#define OP_STORE_WORD (MASM_66 | 0x89)

static void note_selector(struct emit *e, unsigned seg, size_t field)
{
	masm_rm(e->m, false, OP_MOVZX_WORD, H_SCRATCH, H_CPU,
		(int32_t)CPU_FIELD(state.seg[seg].selector));
	masm_rm(e->m, false, OP_STORE_WORD, H_SCRATCH, H_CPU, (int32_t)field);
}

void mirror_note_x87(struct emit *e, const struct insn *last)
{
	struct masm *m = e->m;

	if (!last)
		return;
	masm_load(m, H_SCRATCH, H_CPU, CPU_FIELD(mirror.code_base));
	masm_lea(m, H_SCRATCH, H_SCRATCH, last->page_offset);
	masm_store(m, CPU_FIELD(state.fpu_ip), H_CPU, H_SCRATCH);
	note_selector(e, X86_CS, CPU_FIELD(state.fpu_cs));
	if (e->cpu->hostexec->fop_on_error)
		return;
	masm_imm64(m, H_SCRATCH, last->stub->x87_opcode);
	masm_rm(m, false, OP_STORE_WORD, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(state.fpu_opcode));
}

void mirror_settle_x87(struct emit *e)
{
	mirror_note_x87(e, e->x87_last);
	e->x87_last = NULL;
}

void mirror_keep_x87_operand(struct emit *e, const struct mirror_address *operand)
{
	struct mirror_address offset = *operand;

	offset.seg = MIRROR_FLAT;
	if (e->cpu->hostexec->fdp_on_error)
		return;
	mirror_emit_address(e, &offset);
	masm_store(e->m, CPU_FIELD(mirror.spare), H_CPU, H_RCX);
}

void mirror_after_x87(struct emit *e)
{
	e->x87_last = e->insn;
	if (!(e->insn->flags & INSN_MEM) || e->cpu->hostexec->fdp_on_error)
		return;
	masm_load(e->m, H_SCRATCH, H_CPU, CPU_FIELD(mirror.spare));
	masm_store(e->m, CPU_FIELD(state.fpu_dp), H_CPU, H_SCRATCH);
	note_selector(e, e->insn->seg, CPU_FIELD(state.fpu_ds));
}

/*
 * A word that unmasks an error is the interpreter's. Loaded from a copy: another CPU may change the
 * operand meanwhile.
 */
static bool emit_fldcw(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[0];
	struct mirror_address address;
	struct masm *m = e->m;

	if (!e->uses_x87 || !mirror_operand_simple(e, op))
		return false;
	address = mirror_address_of(e, op);
	mirror_spare_flags(e);
	mirror_emit_access(e, &address, CONTROL_BYTES, false, false);
	masm_rm(m, false, OP_MOVZX_WORD, H_RCX, H_RCX, 0);
	masm_rm(m, false, OP_STORE_WORD, H_RCX, H_CPU, (int32_t)CPU_FIELD(mirror.spare));
	masm_rr(m, false, 0xf7, 2, H_RCX); /* not ecx */
	masm_rr(m, false, 0xf7, 0, H_RCX); /* test ecx, imm32 */
	masm_u32(m, VEC_FCW_MASKS);
	masm_jcc(m, COND_NE, &mirror_cold(e)->enter);
	e->flags_in_host = false;
	masm_rm(m, false, 0xd9, 5, H_CPU, (int32_t)CPU_FIELD(mirror.spare));
	return true;
}

bool mirror_emit_x87(struct emit *e)
{
	return e->info.z.mnemonic == ZYDIS_MNEMONIC_FLDCW && emit_fldcw(e);
}
