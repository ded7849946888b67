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
#include "host/thread.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/direct/frame.h"
#include "isa/x86/direct/pages.h"
#include "isa/x86/direct/policy.h"
#include "isa/x86/direct/runs.h"
#include "isa/x86/direct/tables.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/mirror/translator.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"

#define VSYSCALL_PAGE 0xffffffffff600000ull
#define INT3_BYTE 0xcc
#define INTO_BYTE 0xce
#define NOWHERE (~0ull) /* no address space */
#define SPIN_US 20u
#define LOOKS_A_CLOCK 32u /* look-ups of translated code between two looks at the clock */
#define VISIT_BLOCKS 64u /* of code that is not for a cell, before it is translated */
#define SLOTS 8u        /* programs of a CPU that run directly in turn */
#define RETRY_US 5000000u /* after the host has refused a cell */

struct slot {
	uint64_t agreed;    /* the one under which tables were last found to agree */
	unsigned visit;     /* blocks interpreted since the cell was left */
	enum direct_fault fault; /* whose the last page fault was */
	uint64_t missed;    /* address that the guest's tables did not have when it was last asked for, or 0 */
	uint64_t used_at;   /* in turns of this CPU */
	struct cell cell;
	struct direct_pages pages;
	struct direct_account account;
};

struct direct {
	enum translator_direct when;
	uint64_t retry_at;         /* by the TSC: no cell is started before; 0: the host lets us */
	struct direct_policy policy;
	uint64_t ticks_per_us;     /* of the TSC */
	uint64_t host_xcr0;
	uint64_t host_cr4;         /* as far as user code sees it without a fault */
	uint16_t host_cs, host_ss;
	struct log_limit log_limit;
	uint64_t entered, kicked, calls, faults, others; /* counted: by how it came back */
	uint64_t chosen, given_up;
	struct direct_runs runs;
	/* What runs directly in each slot, or NOWHERE. Slots are large, and this is looked at often. */
	uint64_t space[SLOTS];
	struct slot slot[SLOTS];
};

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
	for (unsigned i = 0; i < SLOTS; i++) {
		direct->space[i] = direct->slot[i].agreed = NOWHERE;
		direct->slot[i].cell.pid = -1;
	}
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
	for (unsigned i = 0; i < SLOTS; i++)
		cell_end(&cpu->direct->slot[i].cell);
	free(cpu->direct);
}

/* One of them runs, at most. */
static void kick(struct cpu *generic)
{
	for (unsigned i = 0; i < SLOTS && atomic_load(&generic->away) & 1; i++)
		cell_kick(&x86_cpu(generic)->direct->slot[i].cell);
}

static bool may_start(const struct direct *direct)
{
	return likely(!direct->retry_at) || __builtin_ia32_rdtsc() >= direct->retry_at;
}

/* The host has no process, memory or descriptor for us now; the cells that there are go on. */
static void put_off(struct direct *direct, const struct error *err)
{
	if (!direct->retry_at)
		log_info("direct execution: %s; tried again each %u s", err->message,
			 RETRY_US / 1000000);
	direct->retry_at = __builtin_ia32_rdtsc() + direct->ticks_per_us * RETRY_US;
}

/* A cell that belongs to this thread. false: there is none. */
static bool have_cell(struct x86_cpu *cpu, struct slot *slot)
{
	struct direct *direct = cpu->direct;
	struct error err;

	if (likely(cell_is_mine(&slot->cell)))
		return true;
	cell_end(&slot->cell);
	if (!may_start(direct))
		return false;
	if (cell_start(&slot->cell, mem_file(cpu->cpu.env.mem), &err)) {
		put_off(direct, &err);
		return false;
	}
	direct->retry_at = 0;
	/*
	 * A cell and its CPU's thread wait for each other in turn; that costs somebody, if all are
	 * busy.
	 */
	if (thread_processors() > cpu->cpu.count)
		cell_spin(&slot->cell, (uint32_t)(direct->ticks_per_us * SPIN_US));
	slot->cell.shared->guest_ticks_most = direct->ticks_per_us * DIRECT_TURN_US;
	direct_pages_init(&slot->pages, &slot->cell);
	cpu->cpu.kick = kick;
	return true;
}

/* ---- when ---- */

static uint64_t *space_of(const struct x86_cpu *cpu, const struct slot *slot)
{
	return &cpu->direct->space[slot - cpu->direct->slot];
}

/* The slot of the current address space, or NULL. */
static struct slot *find_slot(const struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (cpu->direct->space[i] == direct_space_of(cpu))
			return &cpu->direct->slot[i];
	return NULL;
}

/* The one that was not used for longest, of those that have a cell or may get one; or NULL. */
static struct slot *oldest_slot(const struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	bool any = may_start(direct);
	struct slot *oldest = NULL;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &direct->slot[i];

		if ((any || cell_is_mine(&slot->cell)) &&
		    (!oldest || slot->used_at < oldest->used_at))
			oldest = slot;
	}
	return oldest;
}

/* It becomes the current address space's. */
static struct slot *take_slot(struct x86_cpu *cpu)
{
	struct slot *oldest = oldest_slot(cpu);

	if (!oldest)
		return NULL;
	*space_of(cpu, oldest) = direct_space_of(cpu);
	oldest->agreed = NOWHERE;
	oldest->missed = 0;
	return oldest;
}

void direct_space_changed(struct x86_cpu *cpu)
{
	cpu->direct_on = cpu->direct &&
			 (find_slot(cpu) || (cpu->direct->when == TRANSLATOR_DIRECT_ALWAYS &&
					     oldest_slot(cpu)));
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
static bool agrees(struct x86_cpu *cpu, struct slot *slot)
{
	uint64_t space = *space_of(cpu, slot);

	if (slot->agreed != space && tables_agree(cpu))
		slot->agreed = space;
	return slot->agreed == space;
}

static void choose(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct slot *slot;

	if (!tables_agree(cpu))
		return;
	slot = take_slot(cpu);
	if (!slot)
		return;
	slot->agreed = *space_of(cpu, slot);
	slot->used_at = direct->entered;
	direct_account_open(&direct->policy, &slot->account,
			    slot->cell.shared ? slot->cell.shared->guest_ticks : 0);
	direct->chosen++;
	cpu->direct_on = true;
}

static void give_up(struct x86_cpu *cpu, struct slot *slot)
{
	struct direct *direct = cpu->direct;

	direct->given_up++;
	*space_of(cpu, slot) = NOWHERE;
	slot->used_at = 0;
	cpu->direct_on = false;
}

void direct_tick(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	if (!direct || direct->when == TRANSLATOR_DIRECT_ALWAYS || cpu->cpl != 3 ||
	    cpu->mode != X86_MODE_64 || find_slot(cpu))
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
static bool goes_on(struct x86_cpu *cpu, struct slot *slot)
{
	struct direct *direct = cpu->direct;

	if (direct->when == TRANSLATOR_DIRECT_ALWAYS ||
	    direct_account_exit(&direct->policy, &slot->account, *space_of(cpu, slot),
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
static enum direct_fault map(struct x86_cpu *cpu, struct slot *slot, struct direct_event *event)
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
static void set_away(struct x86_cpu *cpu, struct slot *slot, bool away)
{
	atomic_store_explicit(&slot->cell.runs, away, memory_order_release);
	atomic_fetch_add(&cpu->cpu.away, 1);
}

/*
 * In the cell until it needs more than mappings. 0; -ENOMEM, -ESRCH: it did not run, what is in its
 * frame is as it was; -ECHILD: what is there is nothing to go on with.
 */
static int stay(struct x86_cpu *cpu, struct slot *slot, struct direct_event *event)
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
static enum direct_next do_without(struct x86_cpu *cpu, struct slot *slot, int error)
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
static enum direct_next lost(struct x86_cpu *cpu, struct slot *slot)
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
static enum direct_next refuse(struct slot *slot)
{
	return slot->visit++ < VISIT_BLOCKS ? DIRECT_INTERPRET : DIRECT_TRANSLATE;
}

static void set_resting(struct x86_cpu *cpu, bool rests)
{
	cpu->direct_rests = rests;
	cpu->direct_looks = rests ? LOOKS_A_CLOCK : 0;
}

/* Is the run that begins now to be translated? */
static bool rest(struct x86_cpu *cpu, struct slot *slot)
{
	struct direct *direct = cpu->direct;

	if (direct->when == TRANSLATOR_DIRECT_ALWAYS ||
	    !direct_runs_begin(&direct->runs, cpu->state.rip, __builtin_ia32_rdtsc()))
		return false;
	if (direct_account_rest(&direct->policy, &slot->account, *space_of(cpu, slot)))
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
static struct slot *settle_in(struct x86_cpu *cpu, struct slot *slot)
{
	if (!slot)
		slot = take_slot(cpu);
	if (slot && have_cell(cpu, slot))
		return slot;
	if (slot)
		give_up(cpu, slot);
	cpu->direct_on = false;
	return NULL;
}

enum direct_next direct_run(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct slot *slot = find_slot(cpu);
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

void direct_forget_page(struct x86_cpu *cpu, uint64_t linear)
{
	for (unsigned i = 0; cpu->direct && i < SLOTS; i++)
		if (cpu->direct->slot[i].cell.shared)
			direct_pages_forget(&cpu->direct->slot[i].pages, linear);
}

void direct_protect_page(struct x86_cpu *cpu, uint64_t phys)
{
	for (unsigned i = 0; cpu->direct && i < SLOTS; i++)
		if (cpu->direct->slot[i].cell.shared)
			direct_pages_protect(&cpu->direct->slot[i].pages, phys);
}

int direct_describe_stats(struct x86_cpu *cpu, char *text, size_t size)
{
	const struct direct *direct = cpu->direct;
	uint64_t mapped = 0, dropped = 0;

	if (!direct)
		return 0;
	for (unsigned i = 0; i < SLOTS; i++) {
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
