/* SPDX-License-Identifier: MIT */
/*
 * LLDT, LTR, SLDT, STR, VERR, VERW, LAR, LSL, ARPL: Intel SDM vol. 2, by their names. The decoder
 * lets none of them through in real and virtual-8086 mode.
 *
 * Registers in struct insn: a lone operand is dst; ARPL with a memory operand has its source there.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/far.h"

static const struct x86_report protection = { X86_GP, 0 };

static uint16_t read_operand(struct x86_cpu *cpu, const struct insn *insn, uint16_t reg)
{
	if (insn->flags & INSN_MEM)
		return x86_load16(cpu, x86_operand_linear(cpu, insn, 2, X86_READ));
	return INSN_GPR16(cpu, reg);
}

static void set_zf(struct x86_cpu *cpu, bool set)
{
	cpu->state.rflags = (cpu->state.rflags & ~X86_ZF) | (set ? X86_ZF : 0);
}

static void require_ring0(struct x86_cpu *cpu)
{
	if (cpu->cpl)
		x86_general_protection(cpu);
}

/* ---- LDTR and TR ---- */

void x86_lldt(struct x86_cpu *cpu, const struct insn *insn)
{
	require_ring0(cpu);
	x86_load_ldt(cpu, read_operand(cpu, insn, insn->dst), protection);
}

static void check_task_segment(struct x86_cpu *cpu, const struct x86_descriptor *desc,
			       const struct x86_seg *seg)
{
	unsigned type = x86_descriptor_type(desc);
	bool available = type == X86_TYPE_TSS || (type == X86_TYPE_TSS16 && !cpu->long_mode);

	if (!x86_descriptor_is_system(desc) || !available || ((desc->high >> 40) & 0x1f) ||
	    !x86_canonical(cpu, seg->base))
		x86_raise_selector(cpu, X86_GP, desc->selector, 0);
	if (!x86_descriptor_present(desc))
		x86_raise_selector(cpu, X86_NP, desc->selector, 0);
}

void x86_ltr(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_descriptor desc;
	uint16_t selector;
	struct x86_seg seg;

	require_ring0(cpu);
	selector = read_operand(cpu, insn, insn->dst);
	if (x86_selector_null(selector))
		x86_general_protection(cpu);
	if (selector & 4)
		x86_raise_selector(cpu, X86_GP, selector, 0);
	x86_descriptor_get(cpu, selector, protection, &desc);
	x86_descriptor_to_seg(&desc, &seg);
	check_task_segment(cpu, &desc, &seg);
	x86_descriptor_update(cpu, desc.linear, X86_TYPE_BUSY, 0);
	seg.attr |= X86_TYPE_BUSY;
	cpu->state.tr = seg;
}

static void store_selector(struct x86_cpu *cpu, const struct insn *insn, uint16_t selector)
{
	if ((cpu->state.cr4 & X86_CR4_UMIP) && cpu->cpl)
		x86_general_protection(cpu);
	if (insn->flags & INSN_MEM)
		x86_store16(cpu, x86_operand_linear(cpu, insn, 2, X86_WRITE), selector);
	else
		insn_write_reg(cpu, insn->dst, insn->opsize, selector);
}

void x86_sldt(struct x86_cpu *cpu, const struct insn *insn)
{
	store_selector(cpu, insn, cpu->state.ldtr.selector);
}

void x86_str(struct x86_cpu *cpu, const struct insn *insn)
{
	store_selector(cpu, insn, cpu->state.tr.selector);
}

/* ---- asking about descriptors ---- */

/* Visible to this CPL under the selector's RPL? Conforming code is to everyone. */
static bool visible(const struct x86_cpu *cpu, const struct x86_descriptor *desc)
{
	unsigned dpl = x86_descriptor_dpl(desc);

	if (!x86_descriptor_is_system(desc) && x86_attr_is_conforming(x86_descriptor_attr(desc)))
		return true;
	return dpl >= cpu->cpl && dpl >= (desc->selector & 3u);
}

static void verify(struct x86_cpu *cpu, const struct insn *insn, bool write)
{
	struct x86_descriptor desc;
	bool allowed = false;
	uint32_t attr;

	if (x86_descriptor_find(cpu, read_operand(cpu, insn, insn->dst), &desc) &&
	    !x86_descriptor_is_system(&desc) && visible(cpu, &desc)) {
		attr = x86_descriptor_attr(&desc);
		if (attr & X86_SEG_CODE)
			allowed = !write && (attr & X86_SEG_READABLE);
		else
			allowed = !write || (attr & X86_SEG_WRITABLE);
	}
	set_zf(cpu, allowed);
}

void x86_verr(struct x86_cpu *cpu, const struct insn *insn)
{
	verify(cpu, insn, false);
}

void x86_verw(struct x86_cpu *cpu, const struct insn *insn)
{
	verify(cpu, insn, true);
}

/* types: bit masks of the system types that the instruction knows, in legacy and IA-32e mode. */
static bool inspect(struct x86_cpu *cpu, const struct insn *insn, uint32_t types,
		    uint32_t long_types, struct x86_descriptor *desc)
{
	if (!x86_descriptor_find(cpu, read_operand(cpu, insn, insn->src), desc))
		return false;
	if (cpu->long_mode)
		types = long_types;
	if (x86_descriptor_is_system(desc) && (!(types >> x86_descriptor_type(desc) & 1) ||
					       ((desc->high >> 40) & 0x1f)))
		return false;
	return visible(cpu, desc);
}

void x86_lar(struct x86_cpu *cpu, const struct insn *insn)
{
	const uint32_t types = 1u << X86_TYPE_TSS16 | 1u << X86_TYPE_LDT |
			       1u << X86_TYPE_TSS16_BUSY | 1u << X86_TYPE_CALL_GATE16 |
			       1u << X86_TYPE_TASK_GATE | 1u << X86_TYPE_TSS |
			       1u << X86_TYPE_TSS_BUSY | 1u << X86_TYPE_CALL_GATE;
	const uint32_t long_types = 1u << X86_TYPE_LDT | 1u << X86_TYPE_TSS |
				    1u << X86_TYPE_TSS_BUSY | 1u << X86_TYPE_CALL_GATE;
	struct x86_descriptor desc;
	bool found = inspect(cpu, insn, types, long_types, &desc);

	/* Processors leave the limit's upper bits in. */
	if (found)
		insn_write_reg(cpu, insn->dst, insn->opsize, (desc.low >> 32) & 0x00ffff00);
	set_zf(cpu, found);
}

void x86_lsl(struct x86_cpu *cpu, const struct insn *insn)
{
	const uint32_t long_types = 1u << X86_TYPE_LDT | 1u << X86_TYPE_TSS |
				    1u << X86_TYPE_TSS_BUSY;
	const uint32_t types = long_types | 1u << X86_TYPE_TSS16 | 1u << X86_TYPE_TSS16_BUSY;
	struct x86_descriptor desc;
	bool found = inspect(cpu, insn, types, long_types, &desc);
	struct x86_seg seg;

	if (found) {
		x86_descriptor_to_seg(&desc, &seg);
		insn_write_reg(cpu, insn->dst, insn->opsize, seg.limit);
	}
	set_zf(cpu, found);
}

/* ---- ARPL ---- */

static bool raise_rpl(uint16_t *selector, uint16_t by)
{
	if ((*selector & 3) >= (by & 3))
		return false;
	*selector = (uint16_t)((*selector & ~3u) | (by & 3));
	return true;
}

/* Written only when it changes. */
void x86_arpl(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t linear;
	uint16_t selector;
	bool raised;

	if (!(insn->flags & INSN_MEM)) {
		set_zf(cpu, raise_rpl(&INSN_GPR16(cpu, insn->dst), INSN_GPR16(cpu, insn->src)));
		return;
	}
	linear = x86_operand_linear(cpu, insn, 2, X86_READ);
	selector = x86_load16(cpu, linear);
	raised = raise_rpl(&selector, INSN_GPR16(cpu, insn->dst));
	if (raised)
		x86_store16(cpu, x86_operand_linear(cpu, insn, 2, X86_WRITE), selector);
	set_zf(cpu, raised);
}
