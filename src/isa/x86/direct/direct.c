/* SPDX-License-Identifier: MIT */
/*
 * See direct.h. A cell is a host process: what it computes is exact because the host's processor is
 * the guest's. What could differ is kept out in three ways. What depends on control registers is
 * compared before a cell runs (may_enter); what depends on descriptor tables, when a program is
 * chosen (tables_agree); instructions that answer with something of the host never become
 * executable there (scan.c). All else traps, and is carried out by the engines on exactly the state
 * that the trap left.
 */
#include "isa/x86/direct/direct.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/log.h"
#include "host/cpuid.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/direct/frame.h"
#include "isa/x86/direct/slots.h"
#include "isa/x86/direct/tables.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/mirror/translator.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"

#define VSYSCALL_PAGE 0xffffffffff600000ull
#define INT3_BYTE 0xcc
#define INTO_BYTE 0xce
#define LOOKS_A_CLOCK 32u /* look-ups of translated code between two looks at the clock */
#define QUIET_SLEEPS 4u  /* in which no cell ran; then none is expected to */
#define VISIT_BLOCKS 64u /* of code that is not for a cell, before it is translated */

/* ---- life ---- */

void direct_create(struct x86_cpu *cpu, const char *model)
{
	const struct translator *translator = cpu->cpu.env.translator;
	struct direct *direct;
	uint32_t low, high, leaf[4];

	if (!translator || translator->direct == TRANSLATOR_DIRECT_NEVER || translator->lockstep ||
	    (model && strcmp(model, "host")) || cpu->cpu.env.limit || mem_file(cpu->cpu.env.mem) < 0 ||
	    !tables_host_can())
		return;
	direct = calloc(1, sizeof(*direct));
	if (!direct)
		return; /* everything is translated then */
	direct->when = translator->direct;
	direct_slots_init(direct);
	direct->ticks_per_us = x86_tsc_hz(cpu->cpuid) / 1000000;
	direct_policy_init(&direct->policy, direct->ticks_per_us);
	direct_runs_init(&direct->runs, direct->ticks_per_us);
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	direct->host_xcr0 = (uint64_t)high << 32 | low;
	__asm__ volatile("mov %%cs, %0" : "=r"(direct->host_cs));
	__asm__ volatile("mov %%ss, %0" : "=r"(direct->host_ss));
	if (__get_cpuid_count(7, 0, &leaf[0], &leaf[1], &leaf[2], &leaf[3]) && leaf[2] & bit_OSPKE)
		direct->host_cr4 = X86_CR4_PKE;
	cpu->direct = direct;
}

void direct_destroy(struct x86_cpu *cpu)
{
	if (!cpu->direct)
		return;
	direct_slots_end(cpu->direct);
	free(cpu->direct);
}

/* ---- when ---- */

void direct_space_changed(struct x86_cpu *cpu)
{
	cpu->direct_on = cpu->direct &&
			 (direct_slot_find(cpu) || (cpu->direct->when == TRANSLATOR_DIRECT_ALWAYS &&
					     direct_slot_oldest(cpu)));
}

/* A program that has rights to no memory, or to the cell's own, is not for it. */
static bool has_rights(const struct x86_cpu *cpu, const struct cell *cell)
{
	uint32_t pkru = cpu->state.pkru;

	return !(pkru & 3) && (!cell->is_protected || pkru >> 2 * CELL_PKEY & 1);
}

/* All that user code can see of control registers and flags is as it is in the cell. */
static bool may_enter(const struct x86_cpu *cpu, uint64_t cell_flags)
{
	const uint64_t cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE | X86_CR0_AM;
	const uint64_t cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
			     X86_CR4_FSGSBASE;
	const uint64_t same = X86_ID | X86_NT, clear = X86_TF | X86_RF | X86_IOPL | X86_VM | X86_VIF |
						      X86_VIP;
	const struct x86_state *state = &cpu->state;
	const struct direct *direct = cpu->direct;

	return cpu->mode == X86_MODE_64 && cpu->cpl == 3 && !cpu->debug_active && !cpu->single_step &&
	       !state->shadow_sti && !state->shadow_mov_ss &&
	       (state->cr0 & (cr0 | X86_CR0_EM | X86_CR0_TS)) == cr0 &&
	       (state->cr4 & (cr4 | X86_CR4_TSD | X86_CR4_LA57 | X86_CR4_PKE)) == (cr4 | direct->host_cr4) &&
	       (state->efer & (X86_EFER_SCE | X86_EFER_NXE)) == (X86_EFER_SCE | X86_EFER_NXE) &&
	       state->xcr0 == direct->host_xcr0 &&
	       !(vec_get64(state->xsave, VEC_XSTATE_BV) & VEC_AMX) &&
	       (state->rflags & (X86_IF | clear)) == X86_IF && !((state->rflags ^ cell_flags) & same) &&
	       state->seg[X86_CS].selector == direct->host_cs &&
	       state->seg[X86_SS].selector == direct->host_ss && !state->seg[X86_DS].selector &&
	       !state->seg[X86_ES].selector && !state->seg[X86_FS].selector &&
	       !state->seg[X86_GS].selector && !state->ldtr.selector && state->rip < CELL_LIMIT;
}

/* Asked for once an address space. */
static bool agrees(struct x86_cpu *cpu, struct direct_slot *slot)
{
	uint64_t space = *direct_slot_space(cpu, slot);

	if (slot->agreed != space && tables_agree(cpu))
		slot->agreed = space;
	return slot->agreed == space;
}

static void choose(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct direct_slot *slot;

	if (!tables_agree(cpu))
		return;
	slot = direct_slot_take(cpu);
	if (!slot)
		return;
	slot->agreed = *direct_slot_space(cpu, slot);
	slot->used_at = direct->entered;
	direct_account_open(&direct->policy, &slot->account,
			    slot->cell.shared ? slot->cell.shared->guest_ticks : 0);
	direct->chosen++;
	cpu->direct_on = true;
}

static void give_up(struct x86_cpu *cpu, struct direct_slot *slot)
{
	struct direct *direct = cpu->direct;

	direct->given_up++;
	*direct_slot_space(cpu, slot) = DIRECT_NOWHERE;
	slot->used_at = 0;
	cpu->direct_on = false;
}

void direct_tick(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	if (!direct || direct->when == TRANSLATOR_DIRECT_ALWAYS || cpu->cpl != 3 ||
	    cpu->mode != X86_MODE_64 || direct_slot_find(cpu))
		return;
	if (direct_policy_tick(&direct->policy, direct_space_of(cpu),
			       cpu->state.cr3 & X86_CR3_PCID))
		choose(cpu);
}

/* ---- running ---- */

static unsigned access_of(uint64_t error)
{
	if (error & X86_PF_I)
		return PROT_EXEC;
	return error & X86_PF_W ? PROT_WRITE : PROT_READ;
}

/* Is what runs directly worth it, after this? */
static bool goes_on(struct x86_cpu *cpu, struct direct_slot *slot)
{
	struct direct *direct = cpu->direct;

	if (direct->when == TRANSLATOR_DIRECT_ALWAYS ||
	    direct_account_exit(&direct->policy, &slot->account, *direct_slot_space(cpu, slot),
				slot->cell.shared->guest_ticks))
		return true;
	give_up(cpu, slot);
	return false;
}

static bool in_vsyscall_page(uint64_t linear)
{
	return (linear & ~0xfffull) == VSYSCALL_PAGE;
}

/* If it is a page that the cell wants: maps it, or says whose fault it is. */
static enum direct_fault map(struct x86_cpu *cpu, struct direct_slot *slot, struct direct_event *event)
{
	enum direct_fault fault;
	uint32_t error;

	/*
	 * In that page the host's kernel makes up faults of its own, and tells of the last one
	 * before.
	 */
	if (event->signal != SIGSEGV || event->vector != X86_PF_FAULT || in_vsyscall_page(event->rip))
		return DIRECT_OURS;
	fault = direct_pages_fault(cpu, &slot->pages, event->address, access_of(event->error), &error);
	if (fault == DIRECT_DENIED)
		event->error = error;
	return fault;
}

/* Between the two, requests come with a kick. */
static void set_away(struct x86_cpu *cpu, struct direct_slot *slot, bool away)
{
	atomic_store_explicit(&slot->cell.runs, away, memory_order_release);
	atomic_fetch_add(&cpu->cpu.away, 1);
}

/*
 * In the cell until it needs more than mappings. 0; -ENOMEM, -ESRCH: it did not run, what is in its
 * frame is as it was; -ECHILD: what is there is nothing to go on with.
 */
static int stay(struct x86_cpu *cpu, struct direct_slot *slot, struct direct_event *event)
{
	bool worth;
	int ret;

	do {
		*event = (struct direct_event){ .signal = SIGUSR1 };
		slot->fault = DIRECT_OURS;
		set_away(cpu, slot, true);
		if (cpu_requested(&cpu->cpu, ~0u)) {
			set_away(cpu, slot, false);
			return 0;
		}
		slot->used_at = ++cpu->direct->entered;
		ret = cell_turn(&slot->cell);
		set_away(cpu, slot, false);
		if (!ret && !direct_frame_event(&slot->cell, event))
			ret = -ECHILD;
		if (ret)
			return ret;
		slot->fault = map(cpu, slot, event);
		worth = event->signal == SIGUSR1 || goes_on(cpu, slot);
	} while (slot->fault == DIRECT_MAPPED && worth && !slot->pages.all_stale);
	return 0;
}

/* It cannot run now; the engines can. */
static enum direct_next do_without(struct x86_cpu *cpu, struct direct_slot *slot, int error)
{
	if (error == -ESRCH)
		cell_end(&slot->cell);
	else
		slot->pages.all_stale = true;
	if (cpu->direct->when != TRANSLATOR_DIRECT_ALWAYS)
		give_up(cpu, slot);
	return DIRECT_TRANSLATE;
}

/*
 * Its registers are gone with it, or are such that no program of the guest's has. That is the
 * program's work, or the host's, which has killed the cell: the guest's kernel may do with the
 * program what it does after a fault.
 */
static enum direct_next lost(struct x86_cpu *cpu, struct direct_slot *slot)
{
	log_guest(&cpu->direct->log_limit,
		  "CPU %u: the process that ran a program's code is gone, or out of control: "
		  "the program gets #GP", cpu->cpu.index);
	do_without(cpu, slot, -ESRCH);
	x86_general_protection(cpu);
}

/* The host's kernel was entered: back to where the engines enter the guest's. */
static void undo_call(struct x86_cpu *cpu, const struct direct_event *event)
{
	if (in_vsyscall_page(event->call_address)) {
		/* A jump to where the host's kernel emulates calls. It has done the RET, too. */
		cpu->state.rip = event->call_address;
		cpu->state.gpr[X86_RSP] -= 8;
	} else {
		/*
		 * SYSCALL and INT 80H have two bytes, and have changed RCX and R11 at most, which
		 * SYSCALL does in the guest, too.
		 */
		cpu->state.rip -= 2;
	}
}

/* Of the trap that RIP is behind: there is a form of one byte, and INT n of two, prefixes aside. */
static unsigned trap_length(struct x86_cpu *cpu, uint8_t one_byte)
{
	struct x86_walk walk;
	uint8_t last;

	if (!x86_walk_look(cpu, cpu->state.rip - 1, X86_MMU_USER, &walk) ||
	    mem_read(cpu->cpu.env.mem, walk.phys, &last, 1))
		return 1;
	return last == one_byte ? 1 : 2;
}

/* State is the cell's now, as it came back. */
static enum direct_next settle(struct x86_cpu *cpu, const struct direct_event *event)
{
	struct direct *direct = cpu->direct;

	switch (event->signal) {
	case SIGUSR1:
		direct->kicked++;
		return DIRECT_EVENTS;
	case SIGSYS:
		direct->calls++;
		undo_call(cpu, event);
		return DIRECT_STEP;
	case SIGTRAP:
		direct->others++;
		if (event->vector == X86_DB && event->code == TRAP_TRACE) {
			/* POPF set TF, and the instruction behind has been done. */
			cpu->single_step = true;
			return DIRECT_EVENTS;
		}
		cpu->state.rip -= event->vector == X86_DB ? 1 : trap_length(cpu, INT3_BYTE);
		return DIRECT_STEP;
	default:
		direct->others++;
		if (event->signal == SIGSEGV && event->vector == X86_OF_TRAP)
			cpu->state.rip -= trap_length(cpu, INTO_BYTE);
		return DIRECT_STEP;
	}
}

/* Code that must not run in a cell: a stub or two, or a loop? */
static enum direct_next refuse(struct direct_slot *slot)
{
	return slot->visit++ < VISIT_BLOCKS ? DIRECT_INTERPRET : DIRECT_TRANSLATE;
}

static void set_resting(struct x86_cpu *cpu, bool rests)
{
	cpu->direct_rests = rests;
	cpu->direct_looks = rests ? LOOKS_A_CLOCK : 0;
}

/* Is the run that begins now to be translated? */
static bool rest(struct x86_cpu *cpu, struct direct_slot *slot)
{
	struct direct *direct = cpu->direct;

	if (direct->when == TRANSLATOR_DIRECT_ALWAYS ||
	    !direct_runs_begin(&direct->runs, cpu->state.rip, __builtin_ia32_rdtsc()))
		return false;
	if (direct_account_rest(&direct->policy, &slot->account, *direct_slot_space(cpu, slot)))
		set_resting(cpu, true);
	else
		give_up(cpu, slot);
	return true;
}

bool direct_rested(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	if (cpu->direct_looks) {
		cpu->direct_looks--;
		return false;
	}
	cpu->direct_looks = LOOKS_A_CLOCK;
	if (!direct_runs_is_long(&direct->runs, __builtin_ia32_rdtsc()))
		return false;
	set_resting(cpu, false);
	return true;
}

void direct_rest_ends(struct x86_cpu *cpu, bool interrupted)
{
	set_resting(cpu, false);
	direct_runs_end(&cpu->direct->runs, __builtin_ia32_rdtsc(), interrupted);
}

/* The current address space's slot, with a cell; or NULL: it does without. slot: what it has. */
static struct direct_slot *settle_in(struct x86_cpu *cpu, struct direct_slot *slot)
{
	if (!slot)
		slot = direct_slot_take(cpu);
	if (slot && direct_slot_start(cpu, slot))
		return slot;
	if (slot)
		give_up(cpu, slot);
	cpu->direct_on = false;
	return NULL;
}

enum direct_next direct_run(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct direct_slot *slot = direct_slot_find(cpu);
	struct direct_event event;
	enum direct_next next;
	uint64_t flags, rip, ticks;
	int ret;

	if (slot && rest(cpu, slot))
		return DIRECT_TRANSLATE;
	x86_vec_park(cpu);
	slot = settle_in(cpu, slot);
	if (!slot)
		return DIRECT_TRANSLATE;
	if (!direct_frame_flags(&slot->cell, &flags))
		return do_without(cpu, slot, -ESRCH);
	if (!may_enter(cpu, flags) || !has_rights(cpu, &slot->cell) || !agrees(cpu, slot))
		return DIRECT_TRANSLATE;
	if (!direct_pages_fit(cpu, &slot->pages))
		return do_without(cpu, slot, -EEXIST);
	if (!direct_pages_freshen(cpu, &slot->pages) && direct->when != TRANSLATOR_DIRECT_ALWAYS) {
		give_up(cpu, slot);
		return DIRECT_TRANSLATE;
	}
	if (direct_pages_refused(&slot->pages, cpu->state.rip))
		return refuse(slot);
	if (slot->missed) {
		/* By now its kernel has mapped it. */
		direct_pages_foresee(cpu, &slot->pages, slot->missed);
		slot->missed = 0;
	}
	slot->visit = 0;
	cpu->insn = NULL;
	if (!direct_frame_load(cpu, &slot->cell))
		return do_without(cpu, slot, -ESRCH);
	rip = cpu->state.rip;
	ticks = slot->cell.shared->guest_ticks;
	ret = stay(cpu, slot, &event);
	ticks = slot->cell.shared->guest_ticks - ticks;
	if (!ret)
		direct_runs_left_cell(&direct->runs, rip, ticks, event.signal == SIGUSR1);
	cpu->block_stop = true;
	if (ret == -ECHILD || !direct_frame_store(cpu, &slot->cell))
		return lost(cpu, slot);
	if (ret) {
		/* What ran until then may have set TF. */
		do_without(cpu, slot, ret);
		return DIRECT_STEP;
	}
	if (slot->fault == DIRECT_MAPPED)
		return DIRECT_EVENTS;
	if (slot->fault == DIRECT_DENIED) {
		direct->faults++;
		slot->missed = event.address;
		/* A fault forgets what it contradicts (SDM vol. 3, 4.10.4.1), here and there. */
		direct_pages_forget(&slot->pages, event.address);
		x86_tlb_denied(cpu, event.address);
		x86_raise_page_fault(cpu, event.address, (uint32_t)event.error);
	}
	next = settle(cpu, &event);
	if (next == DIRECT_STEP && direct_pages_refused(&slot->pages, cpu->state.rip))
		next = refuse(slot);
	return next;
}

/* ---- what others say ---- */

void direct_sleeps(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	if (!direct)
		return;
	if (direct->slept_at != direct->entered) {
		direct->slept_at = direct->entered;
		direct->sleeps = 0;
	} else if (++direct->sleeps == QUIET_SLEEPS) {
		cpuid_allow();
	}
}

void direct_forget_page(struct x86_cpu *cpu, uint64_t linear)
{
	for (unsigned i = 0; cpu->direct && i < DIRECT_SLOTS; i++)
		if (cpu->direct->slot[i].cell.shared)
			direct_pages_forget(&cpu->direct->slot[i].pages, linear);
}

void direct_protect_page(struct x86_cpu *cpu, uint64_t phys)
{
	for (unsigned i = 0; cpu->direct && i < DIRECT_SLOTS; i++)
		if (cpu->direct->slot[i].cell.shared)
			direct_pages_protect(&cpu->direct->slot[i].pages, phys);
}

int direct_describe_stats(struct x86_cpu *cpu, char *text, size_t size)
{
	const struct direct *direct = cpu->direct;
	uint64_t mapped = 0, dropped = 0;

	if (!direct)
		return 0;
	for (unsigned i = 0; i < DIRECT_SLOTS; i++) {
		mapped += direct->slot[i].pages.mapped;
		dropped += direct->slot[i].pages.dropped;
	}
	return snprintf(text, size,
			"direct execution: chosen %lu, given up %lu; entered %lu; "
			"left for system calls %lu, page faults %lu, events %lu, other %lu; "
			"pages mapped %lu, all dropped %lu; brief runs translated %lu\n",
			direct->chosen, direct->given_up, direct->entered, direct->calls,
			direct->faults, direct->kicked, direct->others, mapped, dropped,
			direct->runs.translated);
}
