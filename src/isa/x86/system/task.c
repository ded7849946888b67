/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches. Intel SDM vol. 3, chapter 8 (figures 8-2 and 8-10, tables 8-1 and 8-2).
 *
 * The order keeps the promise of task.h: check the TSS descriptor, read the whole new TSS, make
 * sure of the old one, save, then change registers. From then on the new task runs, and segments
 * that do not load are its own faults; until they are loaded, its segment registers are unusable.
 *
 * A TSS is taken as linear memory at its 32-bit base; task switches do not exist in IA-32e mode.
 */
#include "isa/x86/system/task.h"

#include "isa/x86/memory/access.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/event/trap.h"

/* Offsets in the TSS; 16-bit ones hold the same in another order and have no CR3, FS, GS, T. */
enum {
	TSS32_CR3 = 28, TSS32_EIP = 32, TSS32_EFLAGS = 36, TSS32_GPR = 40, TSS32_SEG = 72,
	TSS32_LDT = 96, TSS32_TRAP = 100, TSS32_LIMIT = 103,
	TSS16_IP = 14, TSS16_FLAGS = 16, TSS16_GPR = 18, TSS16_SEG = 34, TSS16_LDT = 42,
	TSS16_LIMIT = 43,
};

#define DR7_LOCAL_ENABLES 0x155ull /* L0 … L3, LE */

/* A task's state as its TSS holds it. */
struct task {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[X86_SEGS], ldt;
	bool wide; /* 32-bit TSS */
	bool trap;
};

static bool is_wide(const struct x86_seg *tss)
{
	return tss->attr & 8;
}

static uint32_t min_limit(const struct x86_seg *tss)
{
	return is_wide(tss) ? TSS32_LIMIT : TSS16_LIMIT;
}

static uint32_t read_field(struct x86_cpu *cpu, const struct x86_seg *tss, unsigned offset,
			   unsigned size)
{
	return (uint32_t)x86_load_system(cpu, (uint32_t)(tss->base + offset), size);
}

static void write_field(struct x86_cpu *cpu, const struct x86_seg *tss, unsigned offset,
			unsigned size, uint64_t value)
{
	x86_store_system(cpu, (uint32_t)(tss->base + offset), size,
			 size == 2 ? (uint16_t)value : (uint32_t)value);
}

/* ---- before the switch ---- */

/* The TSS descriptor of the task to come: table 8-1, the first rows. */
static void find_tss(struct x86_cpu *cpu, uint16_t selector, enum x86_task_source source,
		     uint32_t ext, struct x86_descriptor *desc, struct x86_seg *tss)
{
	const struct x86_report report = { source == X86_TASK_RETURN ? X86_TS : X86_GP, ext };
	unsigned busy = source == X86_TASK_RETURN ? X86_TYPE_BUSY : 0;

	if (selector & 4)
		x86_raise_selector(cpu, report.vector, selector, ext);
	x86_descriptor_get(cpu, selector, report, desc);
	if (!x86_descriptor_is_system(desc) ||
	    (x86_descriptor_type(desc) & ~8u) != (X86_TYPE_TSS16 | busy))
		x86_raise_selector(cpu, report.vector, selector, ext);
	if (!x86_descriptor_present(desc))
		x86_raise_selector(cpu, X86_NP, selector, ext);
	x86_descriptor_to_seg(desc, tss);
	if (tss->limit < min_limit(tss))
		x86_raise_selector(cpu, X86_TS, selector, ext);
}

static void read_task32(struct x86_cpu *cpu, const struct x86_seg *tss, struct task *task)
{
	task->cr3 = read_field(cpu, tss, TSS32_CR3, 4);
	task->eip = read_field(cpu, tss, TSS32_EIP, 4);
	task->eflags = read_field(cpu, tss, TSS32_EFLAGS, 4);
	for (unsigned i = 0; i < 8; i++)
		task->gpr[i] = read_field(cpu, tss, TSS32_GPR + 4 * i, 4);
	for (unsigned i = 0; i < X86_SEGS; i++)
		task->seg[i] = (uint16_t)read_field(cpu, tss, TSS32_SEG + 4 * i, 2);
	task->ldt = (uint16_t)read_field(cpu, tss, TSS32_LDT, 2);
	task->trap = read_field(cpu, tss, TSS32_TRAP, 2) & 1;
}

static void read_task16(struct x86_cpu *cpu, const struct x86_seg *tss, struct task *task)
{
	task->cr3 = 0;
	task->eip = read_field(cpu, tss, TSS16_IP, 2);
	task->eflags = read_field(cpu, tss, TSS16_FLAGS, 2);
	for (unsigned i = 0; i < 8; i++)
		task->gpr[i] = read_field(cpu, tss, TSS16_GPR + 2 * i, 2) | 0xffff0000;
	for (unsigned i = 0; i < X86_SEGS; i++)
		task->seg[i] = i <= X86_DS ? (uint16_t)read_field(cpu, tss, TSS16_SEG + 2 * i, 2) :
					     0;
	task->ldt = (uint16_t)read_field(cpu, tss, TSS16_LDT, 2);
	task->trap = false;
}

static void read_task(struct x86_cpu *cpu, const struct x86_seg *tss, struct task *task)
{
	task->wide = is_wide(tss);
	if (task->wide)
		read_task32(cpu, tss, task);
	else
		read_task16(cpu, tss, task);
}

/* The old task's registers into its TSS; CR3 and LDT are not saved. */
static void save_task(struct x86_cpu *cpu, const struct x86_seg *tss, uint64_t eflags)
{
	bool wide = is_wide(tss);
	unsigned size = wide ? 4 : 2, segments = wide ? X86_SEGS : X86_DS + 1;
	unsigned gprs = wide ? TSS32_GPR : TSS16_GPR, segs = wide ? TSS32_SEG : TSS16_SEG;

	write_field(cpu, tss, wide ? TSS32_EIP : TSS16_IP, size, cpu->state.rip);
	write_field(cpu, tss, wide ? TSS32_EFLAGS : TSS16_FLAGS, size, eflags);
	for (unsigned i = 0; i < 8; i++)
		write_field(cpu, tss, gprs + size * i, size, cpu->state.gpr[i]);
	for (unsigned i = 0; i < segments; i++)
		write_field(cpu, tss, segs + size * i, 2, cpu->state.seg[i].selector);
}

static bool nests(enum x86_task_source source)
{
	return source == X86_TASK_CALL || source == X86_TASK_EVENT;
}

static void probe_tasks(struct x86_cpu *cpu, const struct x86_seg *old, const struct x86_seg *new,
			enum x86_task_source source, uint32_t ext)
{
	if (old->limit < min_limit(old))
		x86_raise_selector(cpu, X86_TS, old->selector, ext);
	x86_probe_system(cpu, (uint32_t)old->base, min_limit(old) + 1, X86_WRITE);
	if (nests(source))
		x86_probe_system(cpu, (uint32_t)new->base, 2, X86_WRITE);
}

static uint64_t descriptor_address(const struct x86_cpu *cpu, uint16_t selector)
{
	return (uint32_t)(cpu->state.gdtr.base + (selector & 0xfff8));
}

/* Busy bits, back link and the saved image: table 8-2. */
static void leave_task(struct x86_cpu *cpu, const struct x86_event *event,
		       const struct x86_descriptor *desc, const struct x86_seg *new,
		       enum x86_task_source source)
{
	const struct x86_seg old = cpu->state.tr;
	uint64_t eflags = event ? x86_event_flags(cpu, event) : cpu->state.rflags;

	if (source == X86_TASK_RETURN)
		eflags &= ~X86_NT;
	if (!nests(source))
		x86_descriptor_update(cpu, descriptor_address(cpu, old.selector), 0,
				      X86_TYPE_BUSY);
	if (source != X86_TASK_RETURN)
		x86_descriptor_update(cpu, desc->linear, X86_TYPE_BUSY, 0);
	save_task(cpu, &old, eflags);
	if (nests(source))
		write_field(cpu, new, 0, 2, old.selector);
}

/* ---- after the switch: the new task's own faults ---- */

static void load_cr3(struct x86_cpu *cpu, const struct task *task)
{
	if (!task->wide || !(cpu->state.cr0 & X86_CR0_PG))
		return;
	if ((cpu->state.cr4 & X86_CR4_PAE) && !x86_load_pdptrs(cpu, task->cr3))
		x86_general_protection(cpu);
	cpu->state.cr3 = task->cr3;
	x86_tlb_flush_nonglobal(cpu);
}

/* Registers that cannot fault; segments keep but their selectors until each has been checked. */
static void enter_task(struct x86_cpu *cpu, const struct task *task, const struct x86_seg *tss,
		       enum x86_task_source source)
{
	const uint64_t allowed = X86_STATUS_FLAGS | X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT |
				 X86_RF | X86_VM | X86_AC | X86_VIF | X86_VIP | X86_ID;
	uint64_t eflags = (task->eflags & allowed) | X86_F1;
	unsigned cpl = eflags & X86_VM ? 3 : task->seg[X86_CS] & 3;

	cpu->state.tr = *tss;
	cpu->state.tr.attr |= X86_TYPE_BUSY;
	cpu->state.cr0 |= X86_CR0_TS;
	cpu->state.dr7 &= ~DR7_LOCAL_ENABLES;
	cpu->state.rflags = eflags | (nests(source) ? X86_NT : 0);
	cpu->state.rip = task->eip;
	for (unsigned i = 0; i < 8; i++)
		cpu->state.gpr[i] = task->gpr[i];
	for (unsigned i = 0; i < X86_SEGS; i++) {
		if (eflags & X86_VM)
			x86_seg_set_v86(&cpu->state.seg[i], task->seg[i]);
		else
			x86_seg_set_null_stack(&cpu->state.seg[i], task->seg[i], cpl);
	}
	cpu->state.ldtr = (struct x86_seg){ .selector = task->ldt, .attr = X86_SEG_UNUSABLE };
	x86_update_mode(cpu);
}

static void load_code(struct x86_cpu *cpu, uint16_t selector, uint32_t ext)
{
	const struct x86_report report = { X86_TS, ext };
	unsigned rpl = selector & 3, dpl;
	struct x86_descriptor desc;
	uint32_t attr;

	if (x86_selector_null(selector))
		x86_raise_error(cpu, X86_TS, ext);
	x86_descriptor_get(cpu, selector, report, &desc);
	attr = x86_descriptor_attr(&desc);
	dpl = x86_descriptor_dpl(&desc);
	if (!x86_attr_is_code(attr) || (x86_attr_is_conforming(attr) ? dpl > rpl : dpl != rpl))
		x86_raise_selector(cpu, X86_TS, selector, ext);
	x86_check_code_finish(cpu, &desc, rpl, ext, &cpu->state.seg[X86_CS]);
}

static void load_segments(struct x86_cpu *cpu, const struct task *task, uint32_t ext)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	const struct x86_report report = { X86_TS, ext };
	unsigned cpl = task->seg[X86_CS] & 3;
	struct x86_seg seg;

	if (cpu->v86)
		return;
	load_code(cpu, task->seg[X86_CS], ext);
	x86_check_stack(cpu, task->seg[X86_SS], cpl, report, &seg);
	cpu->state.seg[X86_SS] = seg;
	x86_update_mode(cpu);
	for (unsigned i = 0; i < sizeof(data); i++) {
		x86_check_data(cpu, task->seg[data[i]], cpl, report, &seg);
		cpu->state.seg[data[i]] = seg;
		x86_update_segments(cpu);
	}
}

static void complete_task(struct x86_cpu *cpu, const struct task *task,
			  const struct x86_event *event, uint32_t ext)
{
	const struct x86_report report = { X86_TS, ext };

	load_cr3(cpu, task);
	x86_load_ldt(cpu, task->ldt, report);
	load_segments(cpu, task, ext);
	if (event && event->has_error)
		x86_push(cpu, event->error, task->wide ? 4 : 2);
	x86_check_target(cpu, &cpu->state.seg[X86_CS], task->eip, ext);
	if (task->trap) {
		cpu->state.dr6 |= X86_DR6_BT;
		x86_raise(cpu, X86_DB);
	}
}

/* A function of its own: no local lives across the setjmp. */
static bool __attribute__((noinline)) try_complete(struct x86_cpu *cpu, const struct task *task,
						   const struct x86_event *event, uint32_t ext)
{
	if (_setjmp(*cpu->unwind))
		return false;
	complete_task(cpu, task, event, ext);
	return true;
}

void x86_task_switch(struct x86_cpu *cpu, uint16_t selector, enum x86_task_source source,
		     const struct x86_event *event)
{
	uint32_t ext = event ? x86_event_ext(event) : 0;
	struct x86_descriptor desc;
	struct x86_seg tss;
	struct task task;
	jmp_buf here, *outer = cpu->unwind;
	bool complete;

	find_tss(cpu, selector, source, ext, &desc, &tss);
	read_task(cpu, &tss, &task);
	probe_tasks(cpu, &cpu->state.tr, &tss, source, ext);
	leave_task(cpu, event, &desc, &tss, source);
	enter_task(cpu, &task, &tss, source);

	cpu->unwind = &here;
	complete = try_complete(cpu, &task, event, ext);
	cpu->unwind = outer;
	if (!complete) {
		cpu->fault.is_trap = true;
		longjmp(*cpu->unwind, 1);
	}
}

void x86_task_return(struct x86_cpu *cpu)
{
	const struct x86_seg *tr = &cpu->state.tr;

	if (tr->limit < 1)
		x86_raise_selector(cpu, X86_TS, tr->selector, 0);
	x86_task_switch(cpu, (uint16_t)read_field(cpu, tr, 0, 2), X86_TASK_RETURN, NULL);
}
