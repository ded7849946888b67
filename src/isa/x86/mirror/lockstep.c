/* SPDX-License-Identifier: MIT */
/*
 * Running a stretch twice: see lockstep.h.
 *
 * Translated code goes first, because nobody but itself knows where it will leave. How often the
 * interpreter has to pass there is not known either, since translated code counts nothing; but a
 * state that is the same in all respects has the same future, so the first time that it comes to
 * that state is as good as any.
 *
 * The TLB is part of what is put back: an entry that translated code filled has the page walk's
 * accessed and dirty bits behind it, which are undone, and the interpreter must set again.
 */
#include "isa/x86/mirror/lockstep.h"

#include <Zydis/Mnemonic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "isa/x86/block.h"
#include "isa/x86/system/far.h"
#include "isa/x86/mirror/lockstep_impl.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/mirror/translator.h"
#include "isa/x86/run.h"
#include "isa/x86/system/system.h"
#include "isa/x86/memory/tlb.h"

/* A stretch is told to end when it has written so many pages, or filled so many TLB entries. */
#define ENOUGH_PAGES (TRAIL_PAGES / 4)
#define ENOUGH_FILLS (TRAIL_TLB / 4)

/* How much further than translated code can have come the interpreter looks: per TSC tick. */
#define INSTRUCTIONS_PER_TICK 8
#define INSTRUCTIONS_AT_LEAST 100000

enum { UNWIND_OUTSIDE = 2 }; /* what a fault unwinds with is 1 */

int lockstep_create(struct x86_cpu *cpu, struct error *err)
{
	struct translator *translator = cpu->cpu.env.translator;
	struct lockstep *ls;
	int ret;

	if (!translator || !translator->lockstep)
		return 0;
	ls = aligned_alloc(64, (sizeof(*ls) + 63) & ~63ul);
	if (!ls)
		return error_set(err, ENOMEM, "no memory for comparing the engines");
	*ls = (struct lockstep){ .run = LOCKSTEP_IDLE };
	cpu->lockstep = ls;
	ret = trail_create(&ls->trail, err);
	if (ret)
		return ret;
	ls->translated_pages = page_log_create(err);
	ls->interpreted_pages = ls->translated_pages ? page_log_create(err) : NULL;
	return ls->interpreted_pages ? 0 : -ENOMEM;
}

void lockstep_destroy(struct x86_cpu *cpu)
{
	struct lockstep *ls = cpu->lockstep;

	if (!ls)
		return;
	page_log_destroy(ls->translated_pages);
	page_log_destroy(ls->interpreted_pages);
	trail_destroy(&ls->trail);
	free(ls);
	cpu->lockstep = NULL;
}

/* ---- reports ---- */

/* Translated code comes back for any request; this one is harmless. */
static void tell_to_end(struct x86_cpu *cpu)
{
	cpu_request_quietly(&cpu->cpu, CPU_REQ_INTERRUPT);
}

static void leave_to_outside(struct x86_cpu *cpu, enum lockstep_cause cause)
{
	struct lockstep *ls = cpu->lockstep;

	if (ls->run == LOCKSTEP_IDLE)
		return;
	ls->cause = cause;
	if (cpu->insn)
		cpu->state.rip -= cpu->insn->length;
	longjmp(*cpu->unwind, UNWIND_OUTSIDE);
}

void lockstep_outside(struct x86_cpu *cpu)
{
	leave_to_outside(cpu, LOCKSTEP_DEVICE);
}

/* A task switch loads CR3. */
static bool may_switch_tasks(const struct x86_cpu *cpu, const struct insn *insn)
{
	insn_fn *fn = insn->fn;

	return !cpu->long_mode && cpu->protected_mode &&
	       (fn == x86_far_jump || fn == x86_far_call || fn == x86_iret || fn == x86_int ||
		fn == x86_int3 || fn == x86_into || fn == x86_int1);
}

/* CR8 is the interrupt controller's; the others change what the TLB is made of. */
static bool moves_control(const struct insn *insn)
{
	return insn->fn == x86_mov_to_cr || insn->fn == x86_mov_to_dr ||
	       (insn->fn == x86_mov_from_cr && insn->modrm_reg == 8);
}

static enum lockstep_cause cause_of(const struct x86_cpu *cpu, const struct insn *insn)
{
	if (moves_control(insn) || may_switch_tasks(cpu, insn))
		return LOCKSTEP_SYSTEM;
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_IN: case ZYDIS_MNEMONIC_INSB: case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD: case ZYDIS_MNEMONIC_OUT: case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW: case ZYDIS_MNEMONIC_OUTSD:
		return LOCKSTEP_PORT;
	case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_TPAUSE: case ZYDIS_MNEMONIC_UMWAIT: case ZYDIS_MNEMONIC_UMONITOR:
		return LOCKSTEP_CLOCK;
	case ZYDIS_MNEMONIC_RDRAND: case ZYDIS_MNEMONIC_RDSEED:
		return LOCKSTEP_RANDOM;
	case ZYDIS_MNEMONIC_RDMSR: case ZYDIS_MNEMONIC_WRMSR: case ZYDIS_MNEMONIC_LMSW:
	case ZYDIS_MNEMONIC_CLTS: case ZYDIS_MNEMONIC_XSETBV: case ZYDIS_MNEMONIC_WRPKRU:
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: case ZYDIS_MNEMONIC_XRSTORS:
	case ZYDIS_MNEMONIC_XRSTORS64: case ZYDIS_MNEMONIC_INVLPG: case ZYDIS_MNEMONIC_INVPCID:
	case ZYDIS_MNEMONIC_HLT: case ZYDIS_MNEMONIC_MONITOR: case ZYDIS_MNEMONIC_MWAIT:
	case ZYDIS_MNEMONIC_RSM:
		return LOCKSTEP_SYSTEM;
	default:
		return LOCKSTEP_NONE;
	}
}

void lockstep_instruction(struct x86_cpu *cpu, const struct insn *insn)
{
	enum lockstep_cause cause = cause_of(cpu, insn);

	if (cause != LOCKSTEP_NONE)
		leave_to_outside(cpu, cause);
}

void lockstep_tlb_changes(struct x86_cpu *cpu, struct x86_tlb *set, unsigned slot)
{
	trail_tlb(&cpu->lockstep->trail, set, slot);
	if (cpu->lockstep->trail.tlb_count >= ENOUGH_FILLS)
		tell_to_end(cpu);
}

void lockstep_page(struct x86_cpu *cpu, const struct x86_page *page, unsigned need)
{
	struct lockstep *ls = cpu->lockstep;

	if (ls->run == LOCKSTEP_IDLE)
		return;
	if (!page->region)
		lockstep_outside(cpu);
	if ((need & X86_TLB_ALLOW_WRITE) && trail_write(&ls->trail, cpu->cpu.env.mem, page->phys) &&
	    ls->trail.pages->count >= ENOUGH_PAGES)
		tell_to_end(cpu);
}

bool lockstep_may_write(struct x86_cpu *cpu, const struct x86_page *page, struct x86_tlb *set,
			unsigned slot)
{
	struct lockstep *ls = cpu->lockstep;

	if (ls->run != LOCKSTEP_IDLE && !page_log_has(ls->trail.pages, page->phys))
		return false;
	trail_grant(&ls->trail, set, slot);
	return true;
}

void lockstep_walk_writes(struct x86_cpu *cpu, uint64_t phys)
{
	trail_write(&cpu->lockstep->trail, cpu->cpu.env.mem, phys);
}

bool lockstep_unchained(const struct x86_cpu *cpu)
{
	return cpu->lockstep && cpu->lockstep->unchained;
}

/* ---- the interpreter follows ---- */

/* As the run loop does it, with a look at shadows behind each instruction. */
static void step(struct x86_cpu *cpu, const struct insn *insn)
{
	bool sti = cpu->state.shadow_sti, mov_ss = cpu->state.shadow_mov_ss;

	cpu->insn = insn;
	cpu->state.rip += insn->length;
	lockstep_instruction(cpu, insn);
	insn->fn(cpu, insn);
	cpu->instructions++;
	if (sti)
		cpu->state.shadow_sti = false;
	if (mov_ss)
		cpu->state.shadow_mov_ss = false;
}

/* To the end of the block, or to rip. */
static void follow_block(struct x86_cpu *cpu, uint64_t rip)
{
	const struct x86_block *block = x86_block_find(cpu);
	const struct insn *insn = block->insn, *end = insn + block->count;

	cpu->cpu.block = (struct block *)&block->block;
	do
		step(cpu, insn++);
	while (insn != end && !cpu->block_stop && cpu->state.rip != rip);
	cpu->block_stop = false;
	cpu->insn = NULL;
}

/* What the run loop would look at now, and translated code has left for. */
static bool must_not_go_on(const struct x86_cpu *cpu)
{
	return (cpu->state.rflags & (X86_TF | X86_RF)) || cpu->debug_active || cpu->debug_hits ||
	       cpu->single_step || cpu->state.halted;
}

/* Takes the state as the interpreter's outcome. */
static bool same_now(struct x86_cpu *cpu, struct lockstep *ls, enum run_end end)
{
	snapshot_take(cpu, &ls->interpreted);
	ls->interpreted.end = end;
	ls->ignored_flags = lockstep_dead_flags(cpu, &ls->translated, &ls->interpreted);
	if (!snapshot_same(cpu, &ls->translated, &ls->interpreted, ls->ignored_flags))
		return false;
	return trail_compare(ls->translated_pages, ls->interpreted_pages) == TRAIL_SAME;
}

/*
 * Translated code may have looked for the next block before it left, which sets the accessed bits
 * on the way there: the interpreter then does so, too.
 */
static bool same_here(struct x86_cpu *cpu, struct lockstep *ls)
{
	if (same_now(cpu, ls, RUN_LEFT))
		return true;
	x86_block_find(cpu);
	return same_now(cpu, ls, RUN_LEFT);
}

static bool follow(struct x86_cpu *cpu, struct lockstep *ls)
{
	uint64_t rip = snapshot_state(&ls->translated)->rip;
	uint64_t limit = cpu->instructions + ls->ticks * INSTRUCTIONS_PER_TICK +
			 INSTRUCTIONS_AT_LEAST;
	bool leaves = ls->translated.end == RUN_LEFT;

	while (cpu->instructions < limit) {
		if (leaves && cpu->state.rip == rip && snapshot_same_gprs(&ls->translated, cpu)) {
			if (same_here(cpu, ls))
				return true;
			if (ls->stop_when_near)
				return false;
			ls->came_near = true;
		}
		if (must_not_go_on(cpu))
			break;
		follow_block(cpu, leaves ? rip : ~0ull);
	}
	return same_now(cpu, ls, RUN_LEFT);
}

/* ---- both runs ---- */

/* Functions of their own: no local lives across the setjmp. */
static enum run_end __attribute__((noinline)) unwound(struct x86_cpu *cpu, int how)
{
	if (how == UNWIND_OUTSIDE) {
		cpu->insn = NULL;
		return RUN_OUTSIDE;
	}
	if (cpu->insn && !cpu->fault.is_trap)
		cpu->state.rip -= cpu->insn->length;
	cpu->insn = NULL;
	return RUN_FAULTED;
}

static enum run_end __attribute__((noinline)) guard_mirror(struct x86_cpu *cpu,
							   struct x86_block *block)
{
	int how = _setjmp(*cpu->unwind);

	if (how)
		return unwound(cpu, how);
	mirror_run(cpu, block);
	return RUN_LEFT;
}

/* What translated code remembers of pages that it may write to comes from entries that are gone. */
static void forget_writes(struct x86_cpu *cpu)
{
	for (unsigned mmu = 0; mmu < X86_MMUS; mmu++)
		for (unsigned i = 0; i < X86_MEMOS; i++)
			cpu->mirror.memo[mmu][1][i].limit = 0;
}

/*
 * A run of the interpreter may fill any number of entries where the translated one needed none, because the
 * host's MMU has found everything (memory/hostmap.h).
 */
static void undo_tlb(struct x86_cpu *cpu, struct lockstep *ls)
{
	if (!trail_undo_tlb(&ls->trail))
		x86_tlb_flush_all(cpu);
}

static void run_translated(struct x86_cpu *cpu, struct lockstep *ls, struct x86_block *block)
{
	uint64_t began = __builtin_ia32_rdtsc();

	snapshot_take(cpu, &ls->start);
	trail_begin(&ls->trail, ls->translated_pages, cpu->cpu.env.mem);
	forget_writes(cpu);
	ls->run = LOCKSTEP_TRANSLATED;
	cpu->block_stop = false;
	ls->translated.end = guard_mirror(cpu, block);
	ls->run = LOCKSTEP_IDLE;
	trail_end(&ls->trail);
	snapshot_take(cpu, &ls->translated);
	trail_undo_pages(cpu, &ls->trail, ls->translated_pages);
	undo_tlb(cpu, ls);
	snapshot_restore(cpu, &ls->start);
	ls->ticks = __builtin_ia32_rdtsc() - began;
}

static bool __attribute__((noinline)) guard_follow(struct x86_cpu *cpu, struct lockstep *ls)
{
	int how = _setjmp(*cpu->unwind);

	if (how)
		return same_now(cpu, ls, unwound(cpu, how));
	return follow(cpu, ls);
}

static bool run_interpreted(struct x86_cpu *cpu, struct lockstep *ls)
{
	bool same;

	trail_begin(&ls->trail, ls->interpreted_pages, cpu->cpu.env.mem);
	ls->run = LOCKSTEP_INTERPRETED;
	ls->came_near = false;
	cpu->block_stop = false;
	same = guard_follow(cpu, ls);
	ls->run = LOCKSTEP_IDLE;
	trail_end(&ls->trail);
	return same;
}

bool lockstep_stretch(struct x86_cpu *cpu, struct x86_block *block)
{
	struct lockstep *ls = cpu->lockstep;
	jmp_buf here, *outer = cpu->unwind;
	bool same;

	cpu->unwind = &here;
	run_translated(cpu, ls, block);
	same = run_interpreted(cpu, ls);
	cpu->unwind = outer;
	return same;
}

void lockstep_approach(struct x86_cpu *cpu)
{
	struct lockstep *ls = cpu->lockstep;
	jmp_buf here, *outer = cpu->unwind;

	if (!ls->came_near)
		return;
	cpu->unwind = &here;
	lockstep_rewind(cpu);
	ls->stop_when_near = true;
	run_interpreted(cpu, ls);
	ls->stop_when_near = false;
	cpu->unwind = outer;
}

void lockstep_rewind(struct x86_cpu *cpu)
{
	struct lockstep *ls = cpu->lockstep;

	trail_undo_pages(cpu, &ls->trail, ls->interpreted_pages);
	undo_tlb(cpu, ls);
	snapshot_restore(cpu, &ls->start);
}

/* ---- a stretch and what comes after it ---- */

static void do_once(struct x86_cpu *cpu)
{
	struct x86_block *block = x86_block_find(cpu);

	cpu->lockstep->stats.outside[cpu->lockstep->cause]++;
	cpu->cpu.block = &block->block;
	step(cpu, &block->insn[0]);
}

void lockstep_run(struct x86_cpu *cpu, struct x86_block *block)
{
	struct lockstep *ls = cpu->lockstep;

	if (!lockstep_stretch(cpu, block)) {
		lockstep_report(cpu);
		if (cpu->cpu.env.broken)
			cpu->cpu.env.broken(cpu->cpu.env.opaque, &cpu->cpu);
		cpu->block_stop = true;
		return;
	}
	ls->stats.stretches++;
	ls->stats.instructions += ls->interpreted.instructions - ls->start.instructions;
	cpu->block_stop = true;
	if (ls->interpreted.end == RUN_FAULTED)
		longjmp(*cpu->unwind, 1);
	if (ls->interpreted.end == RUN_OUTSIDE)
		do_once(cpu);
	cpu->block_stop = true;
}

void lockstep_describe_stats(const struct x86_cpu *cpu, char *text, size_t size)
{
	static const char *const names[LOCKSTEP_CAUSES] = {
		[LOCKSTEP_PORT] = "ports", [LOCKSTEP_DEVICE] = "device memory",
		[LOCKSTEP_CLOCK] = "clocks", [LOCKSTEP_RANDOM] = "random numbers",
		[LOCKSTEP_SYSTEM] = "system registers and the TLB",
	};
	const struct lockstep_stats *stats = &cpu->lockstep->stats;
	uint64_t outside = 0;
	size_t used;

	for (unsigned i = 0; i < LOCKSTEP_CAUSES; i++)
		outside += stats->outside[i];
	used = (size_t)snprintf(text, size,
				"lockstep: %lu stretches of translated code compared, "
				"%lu instructions; %lu not, for they touch the outside:\n",
				stats->stretches, stats->instructions, outside);
	for (unsigned i = 0; i < LOCKSTEP_CAUSES && used < size; i++)
		if (names[i])
			used += (size_t)snprintf(text + used, size - used, "  %-30s %lu\n",
						 names[i], stats->outside[i]);
}
