/* SPDX-License-Identifier: MIT */
/* See slots.h. */
#include "isa/x86/direct/slots.h"

#include "base/error.h"
#include "host/limits.h"
#include "host/thread.h"
#include "mem/mem.h"

#define SPIN_US 20u
#define RETRY_US 5000000u /* after the host has refused a cell */

void direct_slots_init(struct direct *direct)
{
	limits_raise_files(); /* each cell has one of ours */
	for (unsigned i = 0; i < DIRECT_SLOTS; i++) {
		direct->space[i] = direct->slot[i].agreed = DIRECT_NOWHERE;
		direct->slot[i].cell.pid = direct->slot[i].cell.listener = -1;
	}
}

void direct_slots_end(struct direct *direct)
{
	for (unsigned i = 0; i < DIRECT_SLOTS; i++)
		cell_end(&direct->slot[i].cell);
}

/* One of them runs, at most. */
static void kick(struct cpu *generic)
{
	for (unsigned i = 0; i < DIRECT_SLOTS && atomic_load(&generic->away) & 1; i++)
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

bool direct_slot_start(struct x86_cpu *cpu, struct direct_slot *slot)
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
	/* Who spins takes a processor from somebody, if all are busy. */
	if (thread_processors() > cpu->cpu.count)
		cell_spin(&slot->cell, (uint32_t)(direct->ticks_per_us * SPIN_US));
	slot->cell.shared->guest_ticks_most = direct->ticks_per_us * DIRECT_TURN_US;
	direct_pages_init(&slot->pages, &slot->cell, &direct->verdicts);
	cpu->cpu.kick = kick;
	return true;
}

struct direct_slot *direct_slot_find(const struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < DIRECT_SLOTS; i++)
		if (cpu->direct->space[i] == direct_space_of(cpu))
			return &cpu->direct->slot[i];
	return NULL;
}

struct direct_slot *direct_slot_oldest(const struct x86_cpu *cpu)
{
	struct direct *direct = cpu->direct;
	bool any = may_start(direct);
	struct direct_slot *oldest = NULL;

	for (unsigned i = 0; i < DIRECT_SLOTS; i++) {
		struct direct_slot *slot = &direct->slot[i];

		if ((any || cell_is_mine(&slot->cell)) &&
		    (!oldest || slot->used_at < oldest->used_at))
			oldest = slot;
	}
	return oldest;
}

struct direct_slot *direct_slot_take(struct x86_cpu *cpu)
{
	struct direct_slot *oldest = direct_slot_oldest(cpu);

	if (!oldest)
		return NULL;
	*direct_slot_space(cpu, oldest) = direct_space_of(cpu);
	oldest->agreed = DIRECT_NOWHERE;
	oldest->missed = 0;
	return oldest;
}
