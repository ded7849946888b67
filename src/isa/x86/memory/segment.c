/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and segment registers: see segment.h. Intel SDM vol. 3, 3.4, 3.5, 5.2 to 5.7.
 *
 * Descriptors are read once into a struct and judged there, so a guest that changes its tables
 * meanwhile is judged by one consistent copy.
 */
#include "isa/x86/memory/segment.h"

#include "isa/x86/memory/access.h"

_Noreturn void x86_raise_selector(struct x86_cpu *cpu, enum x86_vector vector, uint16_t selector,
				  uint32_t ext)
{
	x86_raise_error(cpu, vector, (selector & 0xfffcu) | ext);
}

/* ---- descriptor tables ---- */

static bool table_of(const struct x86_cpu *cpu, uint16_t selector, uint64_t *base, uint32_t *limit)
{
	if (!(selector & 4)) {
		*base = cpu->state.gdtr.base;
		*limit = cpu->state.gdtr.limit;
		return true;
	}
	*base = cpu->state.ldtr.base;
	*limit = cpu->state.ldtr.limit;
	return !(cpu->state.ldtr.attr & X86_SEG_UNUSABLE);
}

bool x86_descriptor_find(struct x86_cpu *cpu, uint16_t selector, struct x86_descriptor *desc)
{
	uint32_t offset = selector & 0xfff8, limit;
	uint64_t base;

	if (x86_selector_null(selector) || !table_of(cpu, selector, &base, &limit) ||
	    offset + 7 > limit)
		return false;
	desc->selector = selector;
	desc->linear = base + offset;
	if (!cpu->long_mode)
		desc->linear = (uint32_t)desc->linear;
	desc->low = x86_load_system(cpu, desc->linear, 8);
	desc->high = 0;
	if (!cpu->long_mode || !x86_descriptor_is_system(desc))
		return true;
	if (offset + 15 > limit)
		return false;
	desc->high = x86_load_system(cpu, desc->linear + 8, 8);
	return true;
}

void x86_descriptor_get(struct x86_cpu *cpu, uint16_t selector, struct x86_report report,
			struct x86_descriptor *desc)
{
	if (!x86_descriptor_find(cpu, selector, desc))
		x86_raise_selector(cpu, report.vector, selector, report.ext);
}

void x86_descriptor_update(struct x86_cpu *cpu, uint64_t linear, uint8_t set, uint8_t clear)
{
	uint8_t mmu = cpu->mmu;
	struct x86_rmw rmw;

	x86_probe_system(cpu, linear + 5, 1, X86_RMW);
	/* The probe has raised what there is to raise; should the mapping change right now and
	 * rmw_begin raise after all, delivery recomputes mmu. */
	cpu->mmu = (uint8_t)x86_system_mmu(cpu);
	x86_rmw_begin(cpu, linear + 5, 1, true, &rmw);
	if (set)
		__atomic_fetch_or((uint8_t *)rmw.host, set, __ATOMIC_SEQ_CST);
	if (clear)
		__atomic_fetch_and((uint8_t *)rmw.host, (uint8_t)~clear, __ATOMIC_SEQ_CST);
	x86_rmw_end(cpu, &rmw);
	cpu->mmu = mmu;
}

void x86_descriptor_accessed(struct x86_cpu *cpu, struct x86_descriptor *desc)
{
	if (x86_descriptor_attr(desc) & X86_SEG_ACCESSED)
		return;
	x86_descriptor_update(cpu, desc->linear, X86_SEG_ACCESSED, 0);
	desc->low |= (uint64_t)X86_SEG_ACCESSED << 40;
}

void x86_descriptor_to_seg(const struct x86_descriptor *desc, struct x86_seg *seg)
{
	uint64_t low = desc->low;

	seg->selector = desc->selector;
	seg->attr = x86_descriptor_attr(desc);
	seg->base = ((low >> 16) & 0xffffff) | ((low >> 32) & 0xff000000) | (desc->high << 32);
	seg->limit = (uint32_t)((low & 0xffff) | ((low >> 32) & 0xf0000));
	if (seg->attr & X86_SEG_G)
		seg->limit = seg->limit << 12 | 0xfff;
}

void x86_gate_parse(uint64_t low, uint64_t high, struct x86_gate *gate)
{
	gate->type = (low >> 40) & 0xf;
	gate->dpl = (low >> 45) & 3;
	gate->present = (low >> 47) & 1;
	gate->selector = (uint16_t)(low >> 16);
	gate->count = (low >> 32) & 0x1f;
	gate->offset = low & 0xffff;
	if (gate->type & 8)
		gate->offset |= ((low >> 32) & 0xffff0000) | (high << 32);
}

/* ---- checks ---- */

void x86_check_data(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, struct x86_report report,
		    struct x86_seg *seg)
{
	struct x86_descriptor desc;
	uint32_t attr;
	unsigned dpl;

	if (x86_selector_null(selector)) {
		*seg = (struct x86_seg){ .selector = selector, .attr = X86_SEG_UNUSABLE };
		return;
	}
	x86_descriptor_get(cpu, selector, report, &desc);
	attr = x86_descriptor_attr(&desc);
	dpl = x86_descriptor_dpl(&desc);
	if (!(attr & X86_SEG_S) || (attr & (X86_SEG_CODE | X86_SEG_READABLE)) == X86_SEG_CODE)
		x86_raise_selector(cpu, report.vector, selector, report.ext);
	if (!x86_attr_is_conforming(attr) && ((selector & 3u) > dpl || cpl > dpl))
		x86_raise_selector(cpu, report.vector, selector, report.ext);
	if (!(attr & X86_SEG_P))
		x86_raise_selector(cpu, X86_NP, selector, report.ext);
	x86_descriptor_accessed(cpu, &desc);
	x86_descriptor_to_seg(&desc, seg);
}

void x86_check_stack(struct x86_cpu *cpu, uint16_t selector, unsigned cpl,
		     struct x86_report report, struct x86_seg *seg)
{
	struct x86_descriptor desc;
	uint32_t attr;

	if (x86_selector_null(selector))
		x86_raise_error(cpu, report.vector, report.ext);
	x86_descriptor_get(cpu, selector, report, &desc);
	attr = x86_descriptor_attr(&desc);
	if ((selector & 3u) != cpl || x86_descriptor_dpl(&desc) != cpl ||
	    (attr & (X86_SEG_S | X86_SEG_CODE | X86_SEG_WRITABLE)) != (X86_SEG_S | X86_SEG_WRITABLE))
		x86_raise_selector(cpu, report.vector, selector, report.ext);
	if (!(attr & X86_SEG_P))
		x86_raise_selector(cpu, X86_SS_FAULT, selector, report.ext);
	x86_descriptor_accessed(cpu, &desc);
	x86_descriptor_to_seg(&desc, seg);
}

void x86_check_code_finish(struct x86_cpu *cpu, struct x86_descriptor *desc, unsigned cpl,
			   uint32_t ext, struct x86_seg *seg)
{
	uint32_t attr = x86_descriptor_attr(desc);

	if (cpu->long_mode && (attr & X86_SEG_L) && (attr & X86_SEG_DB))
		x86_raise_selector(cpu, X86_GP, desc->selector, ext);
	if (!(attr & X86_SEG_P))
		x86_raise_selector(cpu, X86_NP, desc->selector, ext);
	x86_descriptor_accessed(cpu, desc);
	x86_descriptor_to_seg(desc, seg);
	seg->selector = (uint16_t)((seg->selector & 0xfffc) | cpl);
}

void x86_check_target(struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip, uint32_t ext)
{
	if (x86_is_code64(cpu, cs) ? !x86_canonical(cpu, rip) : rip > cs->limit)
		x86_raise_error(cpu, X86_GP, ext);
}

/* ---- loading ---- */

void x86_seg_set_null_stack(struct x86_seg *seg, uint16_t selector, unsigned cpl)
{
	*seg = (struct x86_seg){ .selector = selector,
				 .attr = X86_SEG_UNUSABLE | cpl << X86_SEG_DPL_SHIFT };
}

void x86_seg_set_v86(struct x86_seg *seg, uint16_t selector)
{
	seg->selector = selector;
	seg->base = (uint64_t)selector << 4;
	seg->limit = 0xffff;
	seg->attr = X86_SEG_P | X86_SEG_DPL | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_ACCESSED;
}

void x86_seg_set_real(struct x86_seg *seg, uint16_t selector, bool code)
{
	seg->selector = selector;
	seg->base = (uint64_t)selector << 4;
	/* A null selector left no limit to keep. */
	if (seg->attr & X86_SEG_UNUSABLE)
		*seg = (struct x86_seg){ .selector = selector, .base = seg->base, .limit = 0xffff };
	seg->attr &= X86_SEG_G | X86_SEG_DB | X86_SEG_AVL;
	seg->attr |= X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_ACCESSED;
	if (code)
		seg->attr |= X86_SEG_CODE;
}

static void load_stack_segment(struct x86_cpu *cpu, uint16_t selector)
{
	struct x86_seg *ss = &cpu->state.seg[X86_SS];
	const struct x86_report report = { X86_GP, 0 };
	struct x86_seg loaded;

	if (x86_selector_null(selector) && x86_in_64bit(cpu) && cpu->cpl < 3 &&
	    (selector & 3) == cpu->cpl) {
		x86_seg_set_null_stack(ss, selector, cpu->cpl);
		return;
	}
	x86_check_stack(cpu, selector, cpu->cpl, report, &loaded);
	*ss = loaded;
}

void x86_load_segment(struct x86_cpu *cpu, enum x86_seg_index index, uint16_t selector)
{
	struct x86_seg *seg = &cpu->state.seg[index], loaded;
	const struct x86_report report = { X86_GP, 0 };

	if (cpu->v86) {
		x86_seg_set_v86(seg, selector);
	} else if (!cpu->protected_mode) {
		x86_seg_set_real(seg, selector, false);
	} else if (index == X86_SS) {
		load_stack_segment(cpu, selector);
	} else {
		x86_check_data(cpu, selector, cpu->cpl, report, &loaded);
		*seg = loaded;
	}
	/* SS says how wide the stack pointer is. */
	if (index == X86_SS)
		x86_update_mode(cpu);
	else
		x86_update_segments(cpu);
}

void x86_invalidate_inner_segments(struct x86_cpu *cpu, unsigned cpl)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < sizeof(data); i++) {
		struct x86_seg *seg = &cpu->state.seg[data[i]];

		if (seg->attr & X86_SEG_UNUSABLE || x86_attr_is_conforming(seg->attr) ||
		    ((seg->attr & X86_SEG_DPL) >> X86_SEG_DPL_SHIFT) >= cpl)
			continue;
		seg->selector = 0;
		seg->attr |= X86_SEG_UNUSABLE;
	}
}

void x86_load_ldt(struct x86_cpu *cpu, uint16_t selector, struct x86_report report)
{
	struct x86_descriptor desc;
	struct x86_seg seg;

	if (x86_selector_null(selector)) {
		cpu->state.ldtr = (struct x86_seg){ .selector = selector, .attr = X86_SEG_UNUSABLE };
		return;
	}
	if (selector & 4)
		x86_raise_selector(cpu, report.vector, selector, report.ext);
	x86_descriptor_get(cpu, selector, report, &desc);
	x86_descriptor_to_seg(&desc, &seg);
	if (!x86_descriptor_is_system(&desc) || x86_descriptor_type(&desc) != X86_TYPE_LDT ||
	    ((desc.high >> 40) & 0x1f) || !x86_canonical(cpu, seg.base))
		x86_raise_selector(cpu, report.vector, selector, report.ext);
	if (!x86_descriptor_present(&desc))
		x86_raise_selector(cpu, report.vector == X86_GP ? X86_NP : report.vector, selector,
				   report.ext);
	cpu->state.ldtr = seg;
}

/* ---- stacks in the task-state segment (SDM vol. 3, figures 8-2, 8-10 and 8-11) ---- */

void x86_tss_stack(struct x86_cpu *cpu, unsigned dpl, uint32_t ext, uint16_t *ss, uint32_t *sp)
{
	const struct x86_seg *tr = &cpu->state.tr;
	unsigned size = tr->attr & 8 ? 4 : 2;
	uint32_t offset = size + dpl * 2 * size;

	if (offset + size + 1 > tr->limit)
		x86_raise_selector(cpu, X86_TS, tr->selector, ext);
	*sp = (uint32_t)x86_load_system(cpu, (uint32_t)(tr->base + offset), size);
	*ss = (uint16_t)x86_load_system(cpu, (uint32_t)(tr->base + offset + size), 2);
}

uint64_t x86_tss_stack64(struct x86_cpu *cpu, unsigned slot, uint32_t ext)
{
	const struct x86_seg *tr = &cpu->state.tr;
	uint32_t offset = 4 + slot * 8;
	uint64_t sp;

	if (offset + 7 > tr->limit)
		x86_raise_selector(cpu, X86_TS, tr->selector, ext);
	sp = x86_load_system(cpu, tr->base + offset, 8);
	if (!x86_canonical(cpu, sp))
		x86_raise_error(cpu, X86_SS_FAULT, ext);
	return sp;
}
