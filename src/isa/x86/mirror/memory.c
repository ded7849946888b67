/* SPDX-License-Identifier: MIT */
/*
 * Memory operands. The check looks the page up in the software TLB and leaves the host address in RCX:
 *
 *	lea   rcx, [the operand's address]
 *	rorx  r11, rcx, 7            ; page number × 32, the size of an entry
 *	and   r11d, 0x7fe0           ; … modulo the number of entries
 *	add   r11, [rsp + tlb]
 *	sub   rcx, [r11 + tag]       ; offset in the page, if it is this page
 *	cmp   rcx, 4096 - size       ; also catches what runs past the page's end
 *	ja    second way             ; out of line: the same for the entry's other place, or cold
 *	add   rcx, [r11 + host]
 *
 * A tag that stands for "no" is the address of a page that belongs to another entry (x86.h), so the
 * difference is never small by accident.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define ENTRY_SHIFT 5
#define WAY_BYTES (int32_t)(X86_TLB_ENTRIES << ENTRY_SHIFT)
#define ENTRY_FIELD(field) (int32_t)offsetof(struct x86_tlb_entry, field)

_Static_assert(sizeof(struct x86_tlb_entry) == 1 << ENTRY_SHIFT, "the check scales by it");

bool mirror_operand_simple(const struct emit *e, const ZydisDecodedOperand *op)
{
	int64_t disp = op->mem.disp.value;

	if (op->mem.base == ZYDIS_REGISTER_RIP)
		disp += e->insn->page_offset + e->insn->length;
	return disp == (int32_t)disp && op->mem.type != ZYDIS_MEMOP_TYPE_VSIB &&
	       op->mem.base != ZYDIS_REGISTER_EIP;
}

/* The host register of an address register; one that lives in memory is loaded into scratch. */
static uint8_t address_register(struct emit *e, ZydisRegister reg, uint8_t scratch)
{
	bool high;
	int gpr = mirror_gpr(reg, &high);

	if (gpr < 0)
		return H_MEMORY;
	if (mirror_reg((unsigned)gpr) != H_MEMORY)
		return mirror_reg((unsigned)gpr);
	masm_load(e->m, scratch, H_CPU, GPR_FIELD(gpr));
	return scratch;
}

void mirror_emit_address(struct emit *e, const ZydisDecodedOperand *op, bool with_segment)
{
	struct masm *m = e->m;

	if (op->mem.base == ZYDIS_REGISTER_RIP) {
		masm_load(m, H_RCX, H_CPU, CPU_FIELD(mirror.code_base));
		masm_lea(m, H_RCX, H_RCX, (int32_t)(op->mem.disp.value + e->insn->page_offset +
						    e->insn->length));
	} else {
		uint8_t base = address_register(e, op->mem.base, H_RCX);
		uint8_t index = address_register(e, op->mem.index, H_SCRATCH);

		masm_rx(m, e->insn->addrsize == 8, 0x8d, H_RCX, base, index, e->insn->scale,
			(int32_t)op->mem.disp.value);
	}
	if (with_segment && !(e->insn->flags & INSN_SEG_FLAT)) {
		masm_load(m, H_SCRATCH, H_CPU,
			  CPU_FIELD(state.seg[0]) + e->insn->seg * sizeof(struct x86_seg) +
				  offsetof(struct x86_seg, base));
		masm_rx(m, true, 0x8d, H_RCX, H_RCX, H_SCRATCH, 0, 0);
	}
}

void mirror_spare_flags(struct emit *e)
{
	if (mirror_flags_through(e) | e->use[e->insn->position].reads)
		mirror_save_flags(e);
}

/* Out of line: the second way, before the access is given up as cold. */
static void second_way(struct emit *e, unsigned size_bytes, int32_t tag)
{
	struct second_way *second = &e->second[e->second_ways++];

	*second = (struct second_way){
		.enter = MASM_LABEL_INIT, .back = MASM_LABEL_INIT, .cold = mirror_cold(e),
		.tag = tag, .limit = PAGE_BYTES - (int32_t)size_bytes,
	};
	masm_jcc(e->m, COND_A, &second->enter);
	masm_bind(e->m, &second->back);
}

void mirror_emit_second_ways(struct emit *e)
{
	struct masm *m = e->m;

	for (unsigned i = 0; i < e->second_ways; i++) {
		struct second_way *second = &e->second[i];

		masm_bind(m, &second->enter);
		masm_rm(m, true, 0x03, H_RCX, H_SCRATCH, second->tag);
		masm_alu_imm(m, true, 0, H_SCRATCH, WAY_BYTES);
		masm_rm(m, true, 0x2b, H_RCX, H_SCRATCH, second->tag);
		masm_alu_imm(m, true, 7, H_RCX, second->limit);
		masm_jcc(m, COND_A, &second->cold->enter);
		masm_jmp(m, &second->back);
	}
}

void mirror_emit_check(struct emit *e, unsigned size_bytes, bool write)
{
	struct masm *m = e->m;

	masm_rorx(m, H_SCRATCH, H_RCX, MEM_PAGE_SHIFT - ENTRY_SHIFT);
	masm_alu_imm(m, false, 4, H_SCRATCH, (X86_TLB_ENTRIES - 1) << ENTRY_SHIFT);
	masm_rm(m, true, 0x03, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.tlb));
	masm_rm(m, true, 0x2b, H_RCX, H_SCRATCH,
		write ? ENTRY_FIELD(write_tag) : ENTRY_FIELD(read_tag));
	masm_alu_imm(m, true, 7, H_RCX, PAGE_BYTES - (int32_t)size_bytes);
	second_way(e, size_bytes, write ? ENTRY_FIELD(write_tag) : ENTRY_FIELD(read_tag));
	masm_rm(m, true, 0x03, H_RCX, H_SCRATCH, ENTRY_FIELD(host));
	e->flags_in_host = false;
}

void mirror_emit_lock_check(struct emit *e, unsigned size_bytes)
{
	if (size_bytes == 1)
		return;
	masm_mov(e->m, H_SCRATCH, H_RCX);
	masm_alu_imm(e->m, false, 4, H_SCRATCH, (int32_t)size_bytes - 1);
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
}
