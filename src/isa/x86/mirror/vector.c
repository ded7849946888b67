/* SPDX-License-Identifier: MIT */
/*
 * Which vector instructions are copied. Most of what hostexec's semantics do beside running the
 * instruction is for operands that cannot be accessed whole and directly; behind a check that this one
 * can, the host's instruction alone is right: with a mask, it leaves out what it has to, and before a
 * fault of its own nothing has changed.
 */
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

bool mirror_uses_vector(const struct emit *e, const struct insn *insn)
{
	return insn->stub && e->cpu->block_key & X86_KEY_VECTOR;
}

bool mirror_vector_simple(const struct emit *e)
{
	const struct insn *insn = e->insn;
	static insn_fn *const simple[] = {
		host_run_reg, host_run_load, host_run_store,
		host_run_x87_reg, host_run_x87_load, host_run_x87_store,
		host_run_masked_load, host_run_masked_store,
		host_run_mmx_store, host_run_computed_store,
	};

	/* In 32-bit code these are for eight registers, not for sixteen. */
	if (!mirror_wide(e) && (insn->mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
				insn->mnemonic == ZYDIS_MNEMONIC_VZEROALL))
		return false;
	for (unsigned i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
		if (insn->fn == simple[i])
			return true;
	return false;
}

/* PCMPISTRI and PCMPESTRI leave an index in RCX, which is the guest's R9 here. They do not fault. */
static bool emit_string_index(struct emit *e)
{
	const ZydisDecodedOperand *op = &e->info.op[1];
	struct masm_place place = { .base = H_ADDRESS, .index = H_MEMORY };
	bool memory = e->insn->flags & INSN_MEM, encodable;
	uint8_t host_of[X86_GPRS];
	uint32_t size = e->m->size;

	if (!mirror_uses_vector(e, e->insn) || (memory && !mirror_operand_simple(e, op)))
		return false;
	/* Zydis 4.0 does not know that it widens RAX and RDX, but not in 32-bit code. */
	if (!mirror_wide(e) && e->info.z.raw.vex.W)
		return false;
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		host_of[gpr] = mirror_reg(gpr);
	encodable = mirror_recode(e->m, &e->info, e->insn->bytes, host_of, &place);
	e->m->size = size;
	if (!encodable)
		return false;
	if (memory) {
		struct mirror_address address = mirror_address_of(e, op);

		mirror_spare_flags(e);
		place = mirror_emit_access(e, &address, e->insn->stub->memory_bytes, false, false);
	}
	mirror_recode(e->m, &e->info, e->insn->bytes, host_of, &place);
	masm_rr(e->m, false, 0x89, H_RCX, mirror_reg(X86_RCX));
	e->flags_in_host = true;
	e->flags_in_memory = false;
	return true;
}

bool mirror_emit_vector(struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_VPCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_VPCMPESTRI:
		return emit_string_index(e);
	default:
		return false;
	}
}
