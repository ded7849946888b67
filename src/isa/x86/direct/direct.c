/* SPDX-License-Identifier: MIT */
/*
 * See direct.h. A cell is a host process: what it computes is exact because the host's processor is the guest's.
 * What could differ is kept out in three ways. What depends on control registers is compared before a cell runs
 * (may_enter); what depends on descriptor tables, when a program is chosen (tables_agree); instructions that
 * answer with something of the host never become executable there (scan.c). All else traps, and is carried
 * out by the engines on exactly the state that the trap left.
 */
#include "isa/x86/direct/direct.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/log.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/direct/frame.h"
#include "isa/x86/direct/pages.h"
#include "isa/x86/direct/policy.h"
#include "isa/x86/direct/tables.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/mirror/translator.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"

#define NOWHERE (~0ull) /* no CR3 */
#define SPIN_US 20u

struct direct {
	enum translator_direct when;
	uint64_t space;            /* CR3 of what runs directly, or NOWHERE */
	bool failed;               /* the host does not let us */
	struct cell cell;
	struct direct_pages pages;
	struct direct_policy policy;
	uint64_t ticks_per_us;     /* of the TSC */
	uint64_t missed;           /* address that the guest's tables did not have when it was last asked for */
	uint64_t agreed;           /* CR3 under which tables were last found to agree */
	uint64_t host_xcr0;
	uint16_t host_cs, host_ss;
	uint64_t entered, kicked, calls, others; /* counted: by how it came back */
	uint64_t chosen, given_up;
};

/* ---- life ---- */

int direct_create(struct x86_cpu *cpu, const char *model, struct error *err)
{
	const struct translator *translator = cpu->cpu.env.translator;
	struct direct *direct;
	uint32_t low, high;

	if (!translator || translator->direct == TRANSLATOR_DIRECT_NEVER || translator->lockstep ||
	    (model && strcmp(model, "host")) || cpu->cpu.env.limit || mem_file(cpu->cpu.env.mem) < 0 ||
	    !tables_host_can())
		return 0;
	direct = calloc(1, sizeof(*direct));
	if (!direct)
		return error_set(err, ENOMEM, "no memory for CPU %u's direct execution", cpu->cpu.index);
	direct->when = translator->direct;
	direct->space = direct->agreed = NOWHERE;
	direct->cell.pid = -1;
	direct->ticks_per_us = x86_tsc_hz(cpu->cpuid) / 1000000;
	direct_policy_init(&direct->policy, direct->ticks_per_us);
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	direct->host_xcr0 = (uint64_t)high << 32 | low;
	__asm__ volatile("mov %%cs, %0" : "=r"(direct->host_cs));
	__asm__ volatile("mov %%ss, %0" : "=r"(direct->host_ss));
	cpu->direct = direct;
	cpu->direct_on = direct->when == TRANSLATOR_DIRECT_ALWAYS;
	return 0;
}

void direct_destroy(struct x86_cpu *cpu)
{
	if (!cpu->direct)
		return;
	cell_end(&cpu->direct->cell);
	free(cpu->direct);
}

static void kick(struct cpu *generic)
{
	cell_kick(&x86_cpu(generic)->direct->cell);
}

/* A cell that belongs to this thread. false: there is none. */
static bool have_cell(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct error err;

	if (likely(cell_is_mine(&direct->cell)))
		return true;
	cell_end(&direct->cell);
	if (direct->failed)
		return false;
	if (cell_start(&direct->cell, mem_file(cpu->cpu.env.mem), &err)) {
		log_info("direct execution: %s", err.message);
		direct->failed = true;
		direct->space = NOWHERE;
		cpu->direct_on = false;
		return false;
	}
	direct->cell.shared->spin_ticks = (uint32_t)(direct->ticks_per_us * SPIN_US);
	direct->cell.shared->guest_ticks_most = direct->ticks_per_us * DIRECT_TURN_US;
	direct_pages_init(&direct->pages, &direct->cell);
	cpu->cpu.kick = kick;
	return true;
}

/* ---- when ---- */

bool direct_wants(const struct x86_cpu *cpu)
{
	return cpu->direct->when == TRANSLATOR_DIRECT_ALWAYS || cpu->state.cr3 == cpu->direct->space;
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
	       (state->cr4 & (cr4 | X86_CR4_TSD | X86_CR4_LA57)) == cr4 &&
	       (state->efer & (X86_EFER_SCE | X86_EFER_NXE)) == (X86_EFER_SCE | X86_EFER_NXE) &&
	       state->xcr0 == direct->host_xcr0 && !(state->pkru & 3) &&
	       !(vec_get64(state->xsave, VEC_XSTATE_BV) & VEC_AMX) &&
	       (state->rflags & (X86_IF | clear)) == X86_IF && !((state->rflags ^ cell_flags) & same) &&
	       state->seg[X86_CS].selector == direct->host_cs &&
	       state->seg[X86_SS].selector == direct->host_ss && !state->seg[X86_DS].selector &&
	       !state->seg[X86_ES].selector && !state->seg[X86_FS].selector &&
	       !state->seg[X86_GS].selector && state->rip < CELL_LIMIT;
}

/* Asked for once an address space, while that is the current one. */
static bool agrees(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	if (direct->agreed != cpu->state.cr3 && tables_agree(cpu))
		direct->agreed = cpu->state.cr3;
	return direct->agreed == cpu->state.cr3;
}

static void choose(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;

	direct->agreed = NOWHERE;
	if (!agrees(cpu))
		return;
	direct->chosen++;
	direct->space = cpu->state.cr3;
	cpu->direct_on = true;
}

static void give_up(struct x86_cpu *cpu)
{
	cpu->direct->given_up++;
	cpu->direct->space = NOWHERE;
	cpu->direct_on = false;
}

void direct_tick(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	uint64_t ticks;

	if (!direct || direct->when == TRANSLATOR_DIRECT_ALWAYS || direct->failed || cpu->cpl != 3 ||
	    cpu->mode != X86_MODE_64 || cpu->state.cr3 == direct->space)
		return;
	ticks = direct->cell.shared ? direct->cell.shared->guest_ticks : 0;
	if (direct_policy_tick(&direct->policy, cpu->state.cr3, ticks))
		choose(cpu);
}

/* ---- running ---- */

static unsigned access_of(uint64_t error)
{
	if (error & X86_PF_I)
		return PROT_EXEC;
	return error & X86_PF_W ? PROT_WRITE : PROT_READ;
}

static _Noreturn void died(struct x86_cpu *cpu)
{
	struct error err;

	error_set(&err, ECHILD, "the process that ran the guest's code is gone");
	cpu->cpu.env.failed(cpu->cpu.env.opaque, &cpu->cpu, &err);
	longjmp(cpu->unwind, X86_UNWIND_STOP);
}

/* Is what runs directly worth it, after this? */
static bool goes_on(struct x86_cpu *cpu, bool mapped)
{
	struct direct *direct = cpu->direct;

	if (direct->when == TRANSLATOR_DIRECT_ALWAYS || !direct_policy_exit(&direct->policy, mapped) ||
	    direct_policy_judge(&direct->policy, cpu->state.cr3,
				direct->cell.shared->guest_ticks))
		return true;
	give_up(cpu);
	return false;
}

/* The page that the cell wants, if that is what it wants and can have. */
static bool map(struct x86_cpu *cpu, const struct direct_event *event)
{
	struct direct *direct = cpu->direct;

	if (event->signal != SIGSEGV || event->vector != X86_PF_FAULT)
		return false;
	if (direct_pages_fault(cpu, &direct->pages, event->address, access_of(event->error)))
		return true;
	direct->missed = event->address;
	return false;
}

/* In the cell until it needs more than mappings. */
static void stay(struct x86_cpu *cpu, struct direct_event *event)
{
	struct direct *direct = cpu->direct;
	bool mapped;

	do {
		*event = (struct direct_event){ .signal = SIGUSR1 };
		atomic_store(&direct->cell.runs, true);
		if (cpu_requested(&cpu->cpu, ~0u)) {
			atomic_store(&direct->cell.runs, false);
			return;
		}
		direct->entered++;
		if (!cell_turn(&direct->cell, CELL_RUN) ||
		    !direct_frame_event(direct->cell.shared, event))
			died(cpu);
		atomic_store(&direct->cell.runs, false);
		mapped = map(cpu, event);
	} while ((event->signal == SIGUSR1 || goes_on(cpu, mapped)) && mapped && !direct->pages.all_stale);
}

/* State is the cell's now. true: nothing of the guest's is to be done at rip. */
static bool settle(struct x86_cpu *cpu, const struct direct_event *event)
{
	struct direct *direct = cpu->direct;

	switch (event->signal) {
	case SIGUSR1:
		direct->kicked++;
		return true;
	case SIGSYS:
		/* SYSCALL and INT 80H have two bytes, and have changed RCX and R11 at most, which SYSCALL
		 * does in the guest, too. */
		direct->calls++;
		cpu->state.rip -= 2;
		return false;
	case SIGTRAP:
		direct->others++;
		if (event->vector == X86_DB && cpu->state.rflags & X86_TF) {
			/* POPF set it, and the instruction behind has been done. */
			cpu->single_step = true;
			return true;
		}
		/* INT3 or INT1, of one byte; INT 3 of two faults. */
		cpu->state.rip -= 1;
		return false;
	default:
		direct->others++;
		return false;
	}
}

bool direct_run(struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct direct_event event;
	uint64_t flags;

	if (!have_cell(cpu))
		return false;
	x86_vec_park(cpu);
	if (!direct_frame_flags(direct->cell.shared, &flags))
		died(cpu);
	if (!may_enter(cpu, flags) || !agrees(cpu))
		return false;
	direct_pages_freshen(cpu, &direct->pages);
	if (direct_pages_refused(&direct->pages, cpu->state.rip))
		return false;
	if (direct->missed) {
		/* By now its kernel has mapped it. */
		direct_pages_foresee(cpu, &direct->pages, direct->missed);
		direct->missed = 0;
	}
	cpu->insn = NULL;
	direct_frame_load(cpu, direct->cell.shared);
	stay(cpu, &event);
	direct_frame_store(cpu, direct->cell.shared);
	cpu->block_stop = true;
	return settle(cpu, &event);
}

/* ---- what others say ---- */

void direct_forget_page(struct x86_cpu *cpu, uint64_t linear)
{
	if (cpu->direct && cpu->direct->cell.shared)
		direct_pages_forget(&cpu->direct->pages, linear);
}

void direct_protect_page(struct x86_cpu *cpu, uint64_t phys)
{
	if (cpu->direct && cpu->direct->cell.shared)
		direct_pages_protect(&cpu->direct->pages, phys);
}

int direct_describe_stats(struct x86_cpu *cpu, char *text, size_t size)
{
	const struct direct *direct = cpu->direct;

	if (!direct)
		return 0;
	return snprintf(text, size,
			"direct execution: chosen %lu, given up %lu; entered %lu; left for system calls %lu, "
			"events %lu, other %lu; pages mapped %lu, all dropped %lu\n",
			direct->chosen, direct->given_up, direct->entered, direct->calls,
			direct->kicked, direct->others, direct->pages.mapped, direct->pages.dropped);
}
