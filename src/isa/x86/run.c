/* SPDX-License-Identifier: MIT */
/*
 * The run loop. Blocks, decoded or translated, run one after the other until a request comes or an
 * instruction asks for a look around (block_stop); then events are taken in the architecture's
 * order (Intel SDM vol. 3, 6.9).
 *
 * The careful way, one instruction at a time, is taken while anything must be looked at between
 * instructions: TF, RF, enabled breakpoints, an interrupt shadow. All else runs whole blocks.
 *
 * A fault longjmps to x86_run, which finds the instruction in cpu->insn (NULL while fetching).
 */
#include "isa/x86/run.h"

#include <Zydis/Mnemonic.h>

#include "cpu/exclusive.h"
#include "isa/x86/block.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/mirror/mirror.h"

#define DR6_BS (1ull << 14)

/* ---- events between instructions ---- */

static void start_up(struct x86_cpu *cpu)
{
	uint32_t vector = atomic_load(&cpu->cpu.sipi_vector);
	struct x86_seg *cs = &cpu->state.seg[X86_CS];

	if (!cpu->state.wait_for_sipi)
		return;
	cpu->state.wait_for_sipi = false;
	cpu->state.halted = false;
	cs->selector = (uint16_t)(vector << 8);
	cs->base = (uint64_t)vector << 12;
	cpu->state.rip = 0;
	x86_update_mode(cpu);
}

void x86_take_requests(struct cpu *generic)
{
	struct x86_cpu *cpu = x86_cpu(generic);
	uint32_t requests = atomic_load(&cpu->cpu.requests);

	if (requests & CPU_REQ_EXCLUSIVE) {
		x86_vec_park(cpu);
		exclusive_yield(&cpu->cpu);
	}
	cpu_request_clear(&cpu->cpu, requests & (CPU_REQ_FLUSH_TLB | CPU_REQ_INIT | CPU_REQ_SIPI |
						 CPU_REQ_NMI | CPU_REQ_SMI | CPU_REQ_INTERRUPT |
						 CPU_REQ_CODE));
	if (requests & CPU_REQ_FLUSH_TLB)
		x86_tlb_flush_all(cpu);
	if (requests & CPU_REQ_INIT)
		x86_init(cpu);
	if (requests & CPU_REQ_SIPI)
		start_up(cpu);
	if (requests & CPU_REQ_NMI)
		cpu->state.nmi_pending = true;
	if (requests & CPU_REQ_INTERRUPT)
		cpu->interrupt_maybe = true;
}

static void deliver_external(struct x86_cpu *cpu, unsigned vector)
{
	cpu->state.halted = false;
	cpu->insn = NULL;
	x86_deliver(cpu, X86_EVENT_EXTERNAL, vector, false, 0);
}

/* What another engine had begun to deliver. */
static void take_event(struct x86_cpu *cpu)
{
	struct x86_pending event = cpu->state.event;

	cpu->state.event.kind = X86_PENDING_NONE;
	if (event.kind == X86_PENDING_EXTERNAL) {
		deliver_external(cpu, event.vector);
		return;
	}
	cpu->insn = NULL;
	x86_deliver(cpu, X86_EVENT_EXCEPTION, event.vector, event.has_error, event.error);
}

static void take_interrupts(struct x86_cpu *cpu)
{
	const struct cpu_intc *intc = cpu->cpu.env.intc;
	int vector;

	if (cpu->state.nmi_pending && !cpu->state.nmi_blocked && !cpu->state.shadow_mov_ss) {
		cpu->state.nmi_pending = false;
		cpu->state.nmi_blocked = true;
		deliver_external(cpu, X86_NMI);
		return;
	}
	if (!cpu->interrupt_maybe || !(cpu->state.rflags & X86_IF) || cpu->state.shadow_sti ||
	    cpu->state.shadow_mov_ss)
		return;
	x86_vec_park(cpu);
	vector = intc->pending(intc->opaque) ? intc->acknowledge(intc->opaque) : -1;
	if (vector >= 0) {
		direct_tick(cpu);
		deliver_external(cpu, (unsigned)vector);
	} else {
		cpu->interrupt_maybe = false;
	}
}

enum isa_next x86_poll(struct cpu *generic)
{
	struct x86_cpu *cpu = x86_cpu(generic);

	if (atomic_load_explicit(&generic->requests, memory_order_relaxed))
		x86_take_requests(generic);
	if (!cpu->state.wait_for_sipi) {
		if (unlikely(cpu->state.event.kind))
			take_event(cpu);
		take_interrupts(cpu);
		if (!cpu->state.halted)
			return ISA_RUN;
	}
	x86_vec_park(cpu);
	direct_sleeps(cpu);
	return ISA_SLEEP;
}

/* ---- the careful way ---- */

static void deliver_debug(struct x86_cpu *cpu, uint64_t dr6)
{
	cpu->debug_hits = 0;
	cpu->single_step = false;
	cpu->state.dr6 = (cpu->state.dr6 & ~0xfull) | dr6;
	cpu->insn = NULL;
	x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_DB, false, 0);
}

/* Instruction breakpoints are faults, and come before the instruction is even fetched. */
static bool fetch_breakpoint(struct x86_cpu *cpu)
{
	uint64_t linear = cpu->state.rip, hits;

	if (!cpu->debug_active || (cpu->state.rflags & X86_RF))
		return false;
	if (cpu->mode != X86_MODE_64)
		linear = (uint32_t)(linear + cpu->state.seg[X86_CS].base);
	hits = x86_debug_fetch_hits(cpu, linear);
	if (!hits)
		return false;
	deliver_debug(cpu, hits);
	return true;
}

/* Did the instruction that began under TF leave a single-step trap behind? */
static bool step_traps(const struct x86_cpu *cpu, uint16_t mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_INT:
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_INTO:
	case ZYDIS_MNEMONIC_SYSCALL:
		/* The handler's entry cleared TF, or SYSCALL's mask did. */
		return cpu->state.rflags & X86_TF;
	default:
		return cpu->single_step;
	}
}

static void run_carefully(struct x86_cpu *cpu)
{
	bool sti = cpu->state.shadow_sti, mov_ss = cpu->state.shadow_mov_ss;
	struct x86_block *block;
	uint64_t traps;

	if (fetch_breakpoint(cpu))
		return;
	cpu->single_step = cpu->state.rflags & X86_TF;
	block = x86_block_find(cpu);
	cpu->cpu.block = &block->block;
	cpu->insn = &block->insn[0];
	cpu->state.rip += cpu->insn->length;
	cpu->state.rflags &= ~X86_RF;
	cpu->insn->fn(cpu, cpu->insn);
	cpu->instructions++;
	/* A shadow lasts for one instruction, unless this one cast another. */
	if (sti)
		cpu->state.shadow_sti = false;
	if (mov_ss)
		cpu->state.shadow_mov_ss = false;
	cpu->block_stop = true;
	if (cpu->state.shadow_mov_ss) {
		cpu->single_step = false;
		return;
	}
	traps = cpu->debug_hits | (step_traps(cpu, cpu->insn->mnemonic) ? DR6_BS : 0);
	cpu->single_step = false;
	if (traps)
		deliver_debug(cpu, traps);
}

/* ---- whole blocks ---- */

static void run_block(struct x86_cpu *cpu, struct x86_block *block)
{
	const struct insn *insn = block->insn, *end = insn + block->count;

	cpu->cpu.block = &block->block;
	do {
		cpu->insn = insn;
		cpu->state.rip += insn->length;
		insn->fn(cpu, insn);
		insn++;
	} while (insn != end && likely(!cpu->block_stop));
	cpu->instructions += (uint64_t)(insn - block->insn);
}

static void run_hot_or_cold(struct x86_cpu *cpu)
{
	struct x86_block *block = x86_block_find(cpu);

	if (cpu->cpu.env.translator) {
		if (atomic_load_explicit(&block->block.code, memory_order_relaxed) &&
		    mirror_ready(cpu, block)) {
			if (unlikely(cpu->lockstep))
				lockstep_run(cpu, block);
			else
				mirror_run(cpu, block);
			return;
		}
		mirror_consider(cpu, block);
	}
	run_block(cpu, block);
}

/* User code that may run directly. The budget is the caller's to count. */
static void run_directly(struct x86_cpu *cpu)
{
	switch (direct_run(cpu)) {
	case DIRECT_EVENTS:
		break;
	case DIRECT_STEP:
		if (!cpu_requested(&cpu->cpu, ~0u))
			run_carefully(cpu);
		break;
	case DIRECT_INTERPRET:
		run_block(cpu, x86_block_find(cpu));
		break;
	case DIRECT_TRANSLATE:
		run_hot_or_cold(cpu);
		break;
	}
}

/* The instructions of the current block that were done before the one that faulted. */
static void count_partial_block(struct x86_cpu *cpu)
{
	const struct x86_block *block = (const struct x86_block *)cpu->cpu.block;

	if (cpu->insn && cpu->insn >= block->insn && cpu->insn < block->insn + block->count)
		cpu->instructions += (uint64_t)(cpu->insn - block->insn);
}

static void deliver_fault(struct x86_cpu *cpu)
{
	struct x86_fault fault = cpu->fault;

	count_partial_block(cpu);
	if (cpu->insn && !fault.is_trap)
		cpu->state.rip -= cpu->insn->length;
	if (cpu->mode != X86_MODE_64)
		cpu->state.rip = (uint32_t)cpu->state.rip;
	cpu->state.shadow_sti = false;
	cpu->state.shadow_mov_ss = false;
	cpu->single_step = false;
	cpu->debug_hits = 0;
	cpu->insn = NULL;
	x86_deliver(cpu, X86_EVENT_EXCEPTION, fault.vector, fault.has_error, fault.error);
	cpu->block_stop = true;
}

void x86_run(struct cpu *generic, uint64_t budget)
{
	struct x86_cpu *cpu = x86_cpu(generic);
	volatile uint64_t end = cpu->instructions + budget;
	jmp_buf here;

	/* Translated code may divide by zero before any vector instruction has run. */
	host_fault_bind(cpu);
	cpu->unwind = &here;
	/* What is delivered costs budget too: a guest may do nothing but fault. */
	switch (_setjmp(here)) {
	case X86_UNWIND_FAULT:
		end--;
		deliver_fault(cpu);
		break;
	case X86_UNWIND_STOP:
		end = cpu->instructions;
		break;
	}
	for (;;) {
		if (unlikely(cpu->block_stop ||
			     atomic_load_explicit(&generic->requests, memory_order_relaxed))) {
			if (cpu->instructions >= end)
				break;
			cpu->block_stop = false;
			/* SYSRET that sets TF traps at once. */
			if (unlikely(cpu->single_step))
				deliver_debug(cpu, DR6_BS);
			if (cpu_requested(generic, CPU_REQ_STOP | CPU_REQ_HOLD) ||
			    x86_poll(generic) == ISA_SLEEP)
				break;
			if (x86_must_be_careful(cpu)) {
				end--;
				run_carefully(cpu);
				continue;
			}
		}
		if (direct_wanted(cpu)) {
			end--;
			run_directly(cpu);
		} else {
			run_hot_or_cold(cpu);
		}
		if (unlikely(cpu->instructions >= end))
			break;
	}
	/* Whoever comes back may have to be careful at once. */
	cpu->block_stop = true;
	cpu->insn = NULL;
	x86_vec_park(cpu);
}
