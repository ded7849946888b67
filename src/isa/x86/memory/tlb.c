/* SPDX-License-Identifier: MIT */
/*
 * The software TLB: see x86.h for its entries, tlb.h for its functions. Intel SDM vol. 3, 4.10.
 *
 * A CPU has GROUPS groups of sets, each the memory of one PCID, with a set for user accesses and one
 * for those of supervisors to anything; cpu->tlb[] points into the current group. Changing to a known
 * PCID changes pointers. Global translations are the same in every group, so a group that is taken for
 * another PCID keeps its own. What supervisors may access under SMAP is global in about all kernels, so
 * all groups share one set for that; what is not global there goes when the PCID changes.
 * Flushes of groups that are not current are only noted (pending) and done when the CPU
 * comes back to them; a flush walks the bitmap of used entries, so it costs what was filled.
 *
 * info[] holds what paging said; the tags are the part of it that may bypass everything else. They
 * are made anew from info[] whenever the slow path passes by, so an entry that lost a tag because
 * its page held code gets it back when the page holds none any more. Who sets MEM_PAGE_CODE takes
 * away the write tags of all CPUs first, in an exclusive section (x86_tlb_drop_phys).
 *
 * Translated code remembers translations of the current group in memos (cpu->mirror.memo), which
 * may outlive the entry that they were copied from, but no reason for dropping it: they are all
 * forgotten when anything is flushed, when another group becomes the current one, when a page
 * becomes a code page, and when a translation is replaced by another.
 *
 * What entries were computed from (basis) is compared in x86_tlb_sync, which x86_update_mode calls,
 * so no instruction that changes a control register needs to know what depends on it.
 */
#include "isa/x86/memory/tlb.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/memory/hostmap.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define GROUPS 8
#define GROUP_MMUS 2 /* X86_MMU_USER, X86_MMU_KERNEL */
#define PAGE_MASK (~(uint64_t)(MEM_PAGE_SIZE - 1))
#define LARGE_SHIFT 22 /* of 2 MiB pages too: forgetting more than asked is allowed */
#define GIANT_SHIFT 30
/* After so many flushes code is learned anew: what runs no more need not be looked at for ever. */
#define CONFIRMATIONS 32

enum pending { PENDING_NONE, PENDING_NONGLOBAL, PENDING_ALL };

struct group {
	unsigned pcid;
	enum pending pending;
	bool ready; /* its sets are initialised */
	uint64_t chosen_at;
	uint64_t generation;    /* of user code's mapping: cpu->mapping_generation; 0: none yet */
	bool doubtful;          /* flushed since: whether it is still right is not known */
	unsigned confirmations; /* in a row */
	uint64_t flush;         /* another one after each flush: cpu->user_flush */
	struct x86_code_places places; /* what generation's jumps lead to */
};

struct basis {
	uint64_t cr0, cr4, efer, pkru, dr7, dr[4];
};

struct x86_tlb_bank {
	unsigned current;
	uint64_t switches;
	uint64_t generations, flushes;
	bool check_alignment;
	struct basis basis;
	struct group group[GROUPS];
	bool shared_local; /* shared has entries that are not global */
	struct x86_tlb empty;
	struct x86_tlb shared; /* X86_MMU_KERNEL_SMAP of the current group */
	struct x86_tlb set[GROUPS][GROUP_MMUS];
};

static struct x86_tlb *set_of(struct x86_tlb_bank *bank, unsigned index, unsigned mmu)
{
	return mmu == X86_MMU_KERNEL_SMAP ? &bank->shared : &bank->set[index][mmu];
}

static unsigned slot_of(uint64_t linear)
{
	return (linear >> MEM_PAGE_SHIFT) & (X86_TLB_ENTRIES - 1);
}

static uint64_t bloom_bit(uint64_t region)
{
	return 1ull << ((region * 0x9e3779b97f4a7c15ull) >> 58);
}

static void drop(struct x86_tlb *set, unsigned slot)
{
	struct x86_tlb_entry *entry = &set->entry[slot];

	entry->read_tag = entry->write_tag = x86_tlb_none(slot);
	set->info[slot].linear = set->info[slot].exec_tag = x86_tlb_none(slot);
	set->used[slot / 64] &= ~(1ull << slot % 64);
	set->global[slot / 64] &= ~(1ull << slot % 64);
}

static void mark_used(struct x86_tlb *set, unsigned slot)
{
	set->used[slot / 64] |= 1ull << slot % 64;
	set->busy[slot / 64 / 64] |= 1ull << slot / 64 % 64;
}

/* Of zeroed memory, in which all but the slots of page 0 are empty as they are: see x86_tlb_none. */
static void set_init(struct x86_tlb *set)
{
	drop(set, 0);
	drop(set, X86_TLB_ENTRIES);
}

/* The slot that holds linear's page, or X86_TLB_SLOTS. */
static unsigned slot_find(const struct x86_tlb *set, uint64_t linear)
{
	unsigned slot = slot_of(linear);

	if (likely(set->info[slot].linear == (linear & PAGE_MASK)))
		return slot;
	slot += X86_TLB_ENTRIES;
	return set->info[slot].linear == (linear & PAGE_MASK) ? slot : X86_TLB_SLOTS;
}

/* Moves what is in a first way to the second. */
static void make_room(struct x86_tlb *set, unsigned slot)
{
	unsigned second = slot + X86_TLB_ENTRIES;
	uint64_t bit = 1ull << slot % 64;

	if (!(set->used[slot / 64] & bit))
		return;
	set->entry[second] = set->entry[slot];
	set->info[second] = set->info[slot];
	mark_used(set, second);
	set->global[second / 64] &= ~bit;
	set->global[second / 64] |= set->global[slot / 64] & bit;
	/* Its tags for "no" are right in either place: the slots differ by a multiple of the entries. */
	drop(set, slot);
}

static void swap_bits(uint64_t *map, unsigned a, unsigned b)
{
	uint64_t differ = (map[a / 64] >> a % 64 ^ map[b / 64] >> b % 64) & 1;

	map[a / 64] ^= differ << a % 64;
	map[b / 64] ^= differ << b % 64;
}

/*
 * A page found in the second way changes places with that in the first, which is all that fast paths
 * in C look at: they would miss it again and again.
 */
static unsigned promote(struct x86_tlb *set, unsigned second)
{
	unsigned first = second - X86_TLB_ENTRIES;
	struct x86_tlb_entry entry = set->entry[first];
	typeof(set->info[0]) info = set->info[first];

	set->entry[first] = set->entry[second];
	set->entry[second] = entry;
	set->info[first] = set->info[second];
	set->info[second] = info;
	swap_bits(set->used, first, second);
	set->busy[first / 64 / 64] |= 1ull << first / 64 % 64;
	swap_bits(set->global, first, second);
	return first;
}

/* Forgets the entries of a word of used; true: some are left. */
static bool flush_word(struct x86_tlb *set, unsigned word, bool globals)
{
	uint64_t victims = set->used[word] & (globals ? ~0ull : ~set->global[word]);

	for (; victims; victims &= victims - 1)
		drop(set, word * 64 + (unsigned)__builtin_ctzll(victims));
	return set->used[word];
}

static void set_flush(struct x86_tlb *set, bool globals)
{
	bool kept = false;

	for (unsigned i = 0; i < X86_TLB_WORDS / 64; i++) {
		for (uint64_t busy = set->busy[i]; busy; busy &= busy - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(busy);

			if (flush_word(set, i * 64 + bit, globals))
				kept = true;
			else
				set->busy[i] &= ~(1ull << bit);
		}
	}
	if (!kept)
		set->large = set->giant = 0;
}

/* Forgets all entries of set whose address has these bits above shift. */
static void set_flush_slots(struct x86_tlb *set, uint64_t linear, unsigned shift, unsigned first,
			    unsigned count)
{
	for (unsigned word = first / 64; word < (first + count) / 64; word++) {
		for (uint64_t live = set->used[word]; live; live &= live - 1) {
			unsigned slot = word * 64 + (unsigned)__builtin_ctzll(live);

			if (set->info[slot].linear >> shift == linear >> shift)
				drop(set, slot);
		}
	}
}

static void set_flush_region(struct x86_tlb *set, uint64_t linear, unsigned shift)
{
	uint64_t pages = 1ull << (shift - MEM_PAGE_SHIFT);
	unsigned count = pages < X86_TLB_ENTRIES ? (unsigned)pages : X86_TLB_ENTRIES;
	unsigned first = slot_of(linear) & ~(count - 1);

	set_flush_slots(set, linear, shift, first, count);
	set_flush_slots(set, linear, shift, first + X86_TLB_ENTRIES, count);
}

static void set_flush_page(struct x86_tlb *set, uint64_t linear)
{
	unsigned slot = slot_find(set, linear);

	if (slot < X86_TLB_SLOTS)
		drop(set, slot);
	/* INVLPG forgets the whole page, however large, and all that we cut from it. */
	if (set->giant & bloom_bit(linear >> GIANT_SHIFT))
		set_flush_region(set, linear, GIANT_SHIFT);
	else if (set->large & bloom_bit(linear >> LARGE_SHIFT))
		set_flush_region(set, linear, LARGE_SHIFT);
}

/* ---- groups ---- */

/* Brings a group in order before it is used. */
static void group_settle(struct x86_tlb_bank *bank, unsigned index)
{
	struct group *group = &bank->group[index];

	for (unsigned mmu = 0; mmu < GROUP_MMUS; mmu++) {
		if (!group->ready)
			set_init(&bank->set[index][mmu]);
		else if (group->pending != PENDING_NONE)
			set_flush(&bank->set[index][mmu], group->pending == PENDING_ALL);
	}
	group->ready = true;
	group->pending = PENDING_NONE;
}

static void shared_flush(struct x86_tlb_bank *bank, bool globals)
{
	if (!globals && !bank->shared_local)
		return;
	set_flush(&bank->shared, globals);
	bank->shared_local = false;
}

/* User code may be mapped elsewhere now. We look when it runs again: once for several flushes. */
static void group_doubt(struct x86_tlb_bank *bank, unsigned index)
{
	bank->group[index].doubtful = true;
	bank->group[index].flush = ++bank->flushes;
}

/* Supervisor code is mapped elsewhere now, as far as we know. */
static void supervisor_changed(struct x86_cpu *cpu)
{
	cpu->mapping_generation[X86_JUMP_SUPERVISOR] = ++cpu->tlb_bank->generations;
	cpu->mirror.local_code = false;
}

static void group_flush(struct x86_cpu *cpu, unsigned index, enum pending what)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	struct group *group = &bank->group[index];

	group_doubt(bank, index);
	if (what == PENDING_ALL || cpu->mirror.local_code)
		supervisor_changed(cpu);
	if (group->pending < what)
		group->pending = what;
	if (index == bank->current)
		group_settle(bank, index);
}

void x86_tlb_forget(struct x86_cpu *cpu)
{
	for (unsigned mmu = 0; mmu < X86_MMUS; mmu++)
		for (unsigned write = 0; write < 2; write++)
			for (unsigned i = 0; i < X86_MEMOS; i++)
				cpu->mirror.memo[mmu][write][i].limit = 0;
}

/* Every change of what is current ends here. */
static void point_at_current(struct x86_cpu *cpu)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	const struct group *group = &bank->group[bank->current];

	x86_tlb_forget(cpu);
	for (unsigned mmu = 0; mmu < X86_MMUS; mmu++)
		cpu->tlb[mmu] = set_of(bank, bank->current, mmu);
	if (bank->check_alignment)
		cpu->tlb[X86_MMU_USER] = &bank->empty;
	cpu->mapping_generation[X86_JUMP_USER] = group->doubtful ? 0 : group->generation;
	cpu->user_flush = group->flush;
}

void x86_tlb_confirm(struct x86_cpu *cpu, uint64_t since)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	struct group *group = &bank->group[bank->current];

	if (!group->generation || group->generation < since ||
	    ++group->confirmations > CONFIRMATIONS || !x86_code_places_hold(cpu, &group->places)) {
		group->generation = ++bank->generations;
		group->confirmations = 0;
		x86_code_places_clear(&group->places);
	}
	group->doubtful = false;
	cpu->mapping_generation[X86_JUMP_USER] = group->generation;
}

int x86_tlb_create(struct x86_cpu *cpu, struct error *err)
{
	cpu->tlb_bank = calloc(1, sizeof(*cpu->tlb_bank));
	if (!cpu->tlb_bank)
		return error_set(err, ENOMEM, "no memory for the TLB of CPU %u", cpu->cpu.index);
	set_init(&cpu->tlb_bank->empty);
	set_init(&cpu->tlb_bank->shared);
	group_settle(cpu->tlb_bank, 0);
	point_at_current(cpu);
	return 0;
}

void x86_tlb_destroy(struct x86_cpu *cpu)
{
	free(cpu->tlb_bank);
	cpu->tlb_bank = NULL;
}

/* The group of pcid, or GROUPS. */
static unsigned group_find(const struct x86_tlb_bank *bank, unsigned pcid)
{
	unsigned index;

	for (index = 0; index < GROUPS; index++)
		if (bank->group[index].ready && bank->group[index].pcid == pcid)
			break;
	return index;
}

/* One never used (chosen_at 0), or the one left alone for longest. */
static unsigned group_take(struct x86_tlb_bank *bank, unsigned pcid)
{
	unsigned oldest = bank->current ? 0 : 1;

	for (unsigned index = 0; index < GROUPS; index++)
		if (index != bank->current &&
		    bank->group[index].chosen_at < bank->group[oldest].chosen_at)
			oldest = index;
	bank->group[oldest].pcid = pcid;
	return oldest;
}

void x86_tlb_switch(struct x86_cpu *cpu, unsigned pcid, bool keep)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	unsigned index = group_find(bank, pcid);

	if (index == GROUPS) {
		index = group_take(bank, pcid);
		keep = false;
	}
	if (!keep)
		group_flush(cpu, index, PENDING_NONGLOBAL);
	else if (index != bank->current && cpu->mirror.local_code)
		supervisor_changed(cpu);
	group_settle(bank, index);
	shared_flush(bank, false);
	bank->group[index].chosen_at = ++bank->switches;
	bank->current = index;
	point_at_current(cpu);
}

void x86_tlb_flush_all(struct x86_cpu *cpu)
{
	x86_hostmap_flush(cpu);
	shared_flush(cpu->tlb_bank, true);
	for (unsigned index = 0; index < GROUPS; index++)
		group_flush(cpu, index, PENDING_ALL);
	point_at_current(cpu);
}

void x86_tlb_flush_nonglobal(struct x86_cpu *cpu)
{
	shared_flush(cpu->tlb_bank, false);
	for (unsigned index = 0; index < GROUPS; index++)
		group_flush(cpu, index, PENDING_NONGLOBAL);
	point_at_current(cpu);
}

void x86_tlb_flush_pcid(struct x86_cpu *cpu, unsigned pcid)
{
	unsigned index = group_find(cpu->tlb_bank, pcid);

	if (index < GROUPS)
		group_flush(cpu, index, PENDING_NONGLOBAL);
	if (index == cpu->tlb_bank->current)
		shared_flush(cpu->tlb_bank, false);
	point_at_current(cpu);
}

static void group_flush_page(struct x86_tlb_bank *bank, unsigned index, uint64_t linear)
{
	if (!bank->group[index].ready || bank->group[index].pending == PENDING_ALL)
		return;
	for (unsigned mmu = 0; mmu < GROUP_MMUS; mmu++)
		set_flush_page(&bank->set[index][mmu], linear);
}

/* Where code lies may have changed everywhere: the jump tables' entries are all from before. */
static void code_changed(struct x86_cpu *cpu)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;

	x86_code_pages_clear(&cpu->mirror.code_pages);
	for (unsigned index = 0; index < GROUPS; index++) {
		x86_code_places_give_up(&bank->group[index].places);
		group_doubt(bank, index);
	}
	supervisor_changed(cpu);
}

/* Of code in the user's table. That of privilege 1 and 2 has other rights than are looked at. */
static void note_place(struct x86_cpu *cpu, const struct x86_tlb *set, unsigned slot)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	struct x86_code_places *places = &bank->group[bank->current].places;

	if (cpu->cpl == 3)
		x86_code_places_add(places, set->info[slot].linear, set->info[slot].phys,
				    set->info[slot].page_shift);
	else if (cpu->cpl)
		x86_code_places_give_up(places);
}

bool x86_tlb_note_code(struct x86_cpu *cpu, uint64_t linear)
{
	const struct x86_tlb *set = set_of(cpu->tlb_bank, cpu->tlb_bank->current, cpu->mmu);
	unsigned slot = slot_find(set, linear);

	if (slot == X86_TLB_SLOTS)
		return false;
	if (!x86_code_pages_add(&cpu->mirror.code_pages, linear, set->info[slot].page_shift)) {
		code_changed(cpu);
		point_at_current(cpu);
	}
	note_place(cpu, set, slot);
	if (cpu->cpl != 3 && !(set->global[slot / 64] >> slot % 64 & 1))
		cpu->mirror.local_code = true;
	return true;
}

/* The jump tables may know code in this page, or in the large page around it. */
static void page_code_changed(struct x86_cpu *cpu, uint64_t linear)
{
	if (x86_code_pages_has(&cpu->mirror.code_pages, linear))
		code_changed(cpu);
}

/* Every group, for global pages' sake; that other PCIDs' entries go too is allowed. */
void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t linear)
{
	page_code_changed(cpu, linear);
	direct_forget_page(cpu, linear);
	x86_hostmap_forget(cpu, linear);
	set_flush_page(&cpu->tlb_bank->shared, linear);
	for (unsigned index = 0; index < GROUPS; index++)
		group_flush_page(cpu->tlb_bank, index, linear);
	point_at_current(cpu);
}

void x86_tlb_flush_pcid_page(struct x86_cpu *cpu, unsigned pcid, uint64_t linear)
{
	unsigned index = group_find(cpu->tlb_bank, pcid);

	page_code_changed(cpu, linear);
	direct_forget_page(cpu, linear);
	x86_hostmap_forget(cpu, linear);
	set_flush_page(&cpu->tlb_bank->shared, linear);
	if (index < GROUPS)
		group_flush_page(cpu->tlb_bank, index, linear);
	point_at_current(cpu);
}

static void word_drop_phys(struct x86_tlb *set, unsigned word, uint64_t phys_page)
{
	for (uint64_t live = set->used[word]; live; live &= live - 1) {
		unsigned slot = word * 64 + (unsigned)__builtin_ctzll(live);

		if (set->info[slot].phys == phys_page)
			set->entry[slot].write_tag = x86_tlb_none(slot);
	}
}

static void set_drop_phys(struct x86_tlb *set, uint64_t phys_page)
{
	for (unsigned i = 0; i < X86_TLB_WORDS / 64; i++)
		for (uint64_t busy = set->busy[i]; busy; busy &= busy - 1)
			word_drop_phys(set, i * 64 + (unsigned)__builtin_ctzll(busy), phys_page);
}

void x86_tlb_drop_phys(struct x86_cpu *cpu, uint64_t phys_page)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;

	direct_protect_page(cpu, phys_page & PAGE_MASK);
	set_drop_phys(&bank->shared, phys_page & PAGE_MASK);
	for (unsigned index = 0; index < GROUPS; index++) {
		if (!bank->group[index].ready || bank->group[index].pending == PENDING_ALL)
			continue;
		for (unsigned mmu = 0; mmu < GROUP_MMUS; mmu++)
			set_drop_phys(&bank->set[index][mmu], phys_page & PAGE_MASK);
	}
	x86_tlb_forget(cpu);
}

/* ---- filling ---- */

static void make_tags(struct x86_cpu *cpu, struct x86_tlb *set, unsigned slot,
		      const struct x86_page *page)
{
	struct x86_tlb_entry *entry = &set->entry[slot];
	uint64_t linear = set->info[slot].linear;
	unsigned allow = set->info[slot].allow;
	_Atomic uint8_t *flags;

	entry->read_tag = entry->write_tag = set->info[slot].exec_tag = x86_tlb_none(slot);
	if (!page->host)
		return;
	mem_settle(page->region, page->phys - page->region->gpa);
	entry->host = (uintptr_t)page->host;
	entry->addend = (uintptr_t)page->host - linear;
	if (allow & X86_TLB_ALLOW_EXEC)
		set->info[slot].exec_tag = linear;
	if (x86_debug_watches_page(cpu, linear))
		return;
	if (allow & X86_TLB_ALLOW_READ)
		entry->read_tag = linear;
	flags = mem_page_flags(page->region, page->phys);
	if (!(allow & X86_TLB_ALLOW_WRITE) || page->region->readonly ||
	    (atomic_load_explicit(flags, memory_order_relaxed) & MEM_PAGE_CODE))
		return;
	if (unlikely(cpu->lockstep) && !lockstep_may_write(cpu, page, set, slot))
		return;
	atomic_fetch_or_explicit(flags, MEM_PAGE_DIRTY, memory_order_relaxed);
	entry->write_tag = linear;
}

static void fill(struct x86_tlb *set, uint64_t linear, const struct x86_walk *walk)
{
	unsigned slot = slot_of(linear);
	uint64_t bit = 1ull << slot % 64;

	if (slot_find(set, linear) == slot + X86_TLB_ENTRIES)
		drop(set, slot + X86_TLB_ENTRIES);
	if (set->info[slot].linear != (linear & PAGE_MASK))
		make_room(set, slot);
	set->info[slot].linear = linear & PAGE_MASK;
	set->info[slot].phys = walk->phys & PAGE_MASK;
	set->info[slot].page_shift = walk->page_shift;
	set->info[slot].allow = (uint8_t)((walk->readable ? X86_TLB_ALLOW_READ : 0) |
					  (walk->writable ? X86_TLB_ALLOW_WRITE : 0) |
					  (walk->executable ? X86_TLB_ALLOW_EXEC : 0));
	mark_used(set, slot);
	if (walk->global)
		set->global[slot / 64] |= bit;
	else
		set->global[slot / 64] &= ~bit;
	if (walk->page_shift >= GIANT_SHIFT)
		set->giant |= bloom_bit(linear >> GIANT_SHIFT);
	else if (walk->page_shift > MEM_PAGE_SHIFT)
		set->large |= bloom_bit(linear >> LARGE_SHIFT);
}

struct x86_tlb_entry *x86_tlb_entry_at(struct x86_cpu *cpu, uint64_t linear, unsigned mmu)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;

	return &set_of(bank, bank->current, mmu)->entry[slot_of(linear)];
}

static enum x86_walk_access walk_access(unsigned need)
{
	if (need & X86_TLB_ALLOW_WRITE)
		return X86_WALK_WRITE;
	return need & X86_TLB_ALLOW_EXEC ? X86_WALK_FETCH : X86_WALK_READ;
}

void x86_tlb_page(struct x86_cpu *cpu, uint64_t linear, unsigned need, unsigned mmu,
		  struct x86_page *page)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	struct x86_tlb *set = set_of(bank, bank->current, mmu);
	unsigned slot = slot_find(set, linear);
	struct x86_walk walk;

	if (unlikely(cpu->lockstep))
		lockstep_tlb_changes(cpu, set, slot_of(linear));
	if (slot == X86_TLB_SLOTS || !(set->info[slot].allow & need)) {
		if (slot < X86_TLB_SLOTS)
			x86_tlb_forget(cpu);
		cpu->mirror.stats.walks++;
		if (!x86_walk(cpu, linear, walk_access(need), mmu, &walk)) {
			/* A fault forgets the translation that caused it: SDM 4.10.4.1. */
			if (slot < X86_TLB_SLOTS)
				drop(set, slot);
			x86_hostmap_forget(cpu, linear);
			x86_raise_page_fault(cpu, linear, walk.error);
		}
		fill(set, linear, &walk);
		bank->shared_local |= mmu == X86_MMU_KERNEL_SMAP && !walk.global;
		slot = slot_of(linear);
	} else if (slot >= X86_TLB_ENTRIES) {
		slot = promote(set, slot);
	}
	page->phys = set->info[slot].phys;
	page->region = mem_find(cpu->cpu.env.mem, page->phys);
	page->host = page->region ? page->region->host + (page->phys - page->region->gpa) : NULL;
	if (unlikely(cpu->lockstep))
		lockstep_page(cpu, page, need);
	make_tags(cpu, set, slot, page);
}

void x86_tlb_denied(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_tlb *set = set_of(cpu->tlb_bank, cpu->tlb_bank->current, X86_MMU_USER);
	unsigned slot = slot_find(set, linear);

	if (slot == X86_TLB_SLOTS)
		return;
	drop(set, slot);
	x86_tlb_forget(cpu);
}

bool x86_tlb_fetch(struct x86_cpu *cpu, uint64_t linear, uint64_t *phys, const uint8_t **host)
{
	struct x86_tlb_bank *bank = cpu->tlb_bank;
	struct x86_tlb *set = set_of(bank, bank->current, cpu->mmu);
	unsigned slot = slot_find(set, linear);
	struct x86_page page;

	if (likely(slot < X86_TLB_SLOTS && set->info[slot].exec_tag == (linear & PAGE_MASK))) {
		*phys = set->info[slot].phys | (linear & ~PAGE_MASK);
		*host = (const uint8_t *)(linear + set->entry[slot].addend);
		return true;
	}
	if (cpu->long_mode && !x86_canonical(cpu, linear))
		x86_general_protection(cpu);
	x86_tlb_page(cpu, linear, X86_TLB_ALLOW_EXEC, cpu->mmu, &page);
	*phys = page.phys | (linear & ~PAGE_MASK);
	*host = page.host ? page.host + (linear & ~PAGE_MASK) : NULL;
	return page.host;
}

/* ---- what entries depend on ---- */

static void take_basis(const struct x86_cpu *cpu, struct basis *basis)
{
	const struct x86_state *state = &cpu->state;

	basis->cr0 = state->cr0 & (X86_CR0_PG | X86_CR0_WP);
	basis->cr4 = state->cr4 & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE |
				   X86_CR4_SMEP | X86_CR4_PKE | X86_CR4_LA57);
	basis->efer = state->efer & (X86_EFER_NXE | X86_EFER_LMA);
	basis->pkru = basis->cr4 & X86_CR4_PKE ? state->pkru : 0;
	basis->dr7 = 0;
	for (unsigned i = 0; i < 4; i++) {
		bool watches = x86_debug_watches_data(state->dr7, i);

		basis->dr[i] = watches ? state->dr[i] : 0;
		basis->dr7 |= watches ? 1u << i : 0;
	}
}

static bool basis_equal(const struct basis *a, const struct basis *b)
{
	for (unsigned i = 0; i < 4; i++)
		if (a->dr[i] != b->dr[i])
			return false;
	return a->cr0 == b->cr0 && a->cr4 == b->cr4 && a->efer == b->efer && a->pkru == b->pkru &&
	       a->dr7 == b->dr7;
}

void x86_tlb_sync(struct x86_cpu *cpu)
{
	struct basis now;

	take_basis(cpu, &now);
	if (likely(basis_equal(&now, &cpu->tlb_bank->basis)))
		return;
	cpu->tlb_bank->basis = now;
	x86_tlb_flush_all(cpu);
}

void x86_tlb_check_alignment(struct x86_cpu *cpu, bool check)
{
	if (check == cpu->tlb_bank->check_alignment)
		return;
	cpu->tlb_bank->check_alignment = check;
	point_at_current(cpu);
}
