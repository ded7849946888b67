/* SPDX-License-Identifier: MIT */
/*
 * The page walk: see paging.h. Intel SDM vol. 3, chapter 4.
 *
 * Entries are read once each, judged, and only when the access is allowed are the accessed and
 * dirty bits set, each with a compare-and-swap against the value that was judged; when another CPU
 * changed an entry meanwhile the walk starts again. So no bit is ever set in an entry that says
 * something else than what was used. Tables that lie outside of memory read as all ones, as on a
 * bus that nobody answers on.
 */
#include "isa/x86/memory/paging.h"

#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/memory/phys.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G (1ull << 8)
#define PTE_KEY_SHIFT 59
#define PTE_NX (1ull << 63)

#define ADDRESS_MASK 0x000ffffffffff000ull

/* Bits low … high, none when the range is empty. */
static uint64_t bits(unsigned low, unsigned high)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & ~((1ull << low) - 1);
}

struct walk_step {
	const struct mem_region *region; /* NULL: the table is outside of memory */
	uint64_t gpa;
	uint64_t entry;
};

struct walk_path {
	struct walk_step step[4]; /* from the root; the last one maps the page */
	unsigned steps;
	unsigned page_shift;
	uint64_t page;   /* guest-physical address of the page */
	uint64_t all;    /* entries ANDed: W and U */
	uint64_t any;    /* entries ORed: NX */
};

/* The format of the tables in use. */
struct walk_format {
	unsigned root_shift; /* log2 of what an entry of the root table maps */
	unsigned index_bits;
	unsigned entry_size;
	unsigned maxphyaddr;
	uint64_t root;
	uint64_t reserved;   /* bits reserved in every entry */
};

static void read_entry(struct x86_cpu *cpu, struct walk_step *step, unsigned size)
{
	const void *host;

	step->region = mem_find(cpu->cpu.env.mem, step->gpa);
	if (!step->region) {
		step->entry = size == 8 ? ~0ull : 0xffffffffull;
		return;
	}
	host = step->region->host + (step->gpa - step->region->gpa);
	step->entry = size == 8 ? *(const volatile uint64_t *)host
				: *(const volatile uint32_t *)host;
}

static bool is_leaf(const struct x86_cpu *cpu, unsigned shift, uint64_t entry)
{
	switch (shift) {
	case 12: return true;
	case 21: case 30: return entry & PTE_PS;
	case 22: return (entry & PTE_PS) && (cpu->state.cr4 & X86_CR4_PSE);
	default: return false;
	}
}

/* Bits that must be clear in this entry beyond those of format->reserved. */
static uint64_t reserved_here(const struct walk_format *format, unsigned shift, bool leaf)
{
	unsigned width = format->maxphyaddr < 40 ? format->maxphyaddr : 40;

	switch (shift) {
	case 39: return PTE_PS;
	case 30: return leaf ? bits(13, 29) : 0;
	case 21: return leaf ? bits(13, 20) : 0;
	case 22: return leaf ? bits(width > 32 ? width - 19 : 13, 21) : 0; /* PSE-36 */
	default: return 0;
	}
}

static uint64_t page_address(const struct walk_format *format, unsigned shift, uint64_t entry)
{
	if (format->entry_size == 4 && shift == 22)
		return (entry & 0xffc00000) | (entry & bits(13, 20)) << 19;
	return entry & ADDRESS_MASK & ~((1ull << shift) - 1);
}

/* Follows the tables. false: *error says why (0: an entry is not present). */
static bool descend(struct x86_cpu *cpu, const struct walk_format *format, uint64_t linear,
		    struct walk_path *path, uint32_t *error)
{
	uint64_t table = format->root;
	unsigned shift = format->root_shift;

	*path = (struct walk_path){ .all = ~0ull };
	for (;;) {
		struct walk_step *step = &path->step[path->steps++];
		uint64_t index = (linear >> shift) & ((1u << format->index_bits) - 1);
		bool leaf;

		step->gpa = table + index * format->entry_size;
		read_entry(cpu, step, format->entry_size);
		*error = 0;
		if (!(step->entry & PTE_P))
			return false;
		leaf = is_leaf(cpu, shift, step->entry);
		*error = X86_PF_P | X86_PF_RSVD;
		if (step->entry & (format->reserved | reserved_here(format, shift, leaf)))
			return false;
		path->all &= step->entry;
		path->any |= step->entry;
		if (leaf) {
			path->page_shift = shift;
			path->page = page_address(format, shift, step->entry);
			return true;
		}
		table = step->entry & ADDRESS_MASK;
		shift -= format->index_bits;
	}
}

/* What CR0, CR4 and EFER make of the tables. false: PAE, and the PDPTE is not present. */
static bool choose_format(struct x86_cpu *cpu, uint64_t linear, struct walk_format *format)
{
	const struct x86_state *state = &cpu->state;
	uint64_t nx = state->efer & X86_EFER_NXE ? 0 : PTE_NX;
	unsigned width = x86_maxphyaddr(cpu);

	format->maxphyaddr = width;
	if (!(state->cr4 & X86_CR4_PAE)) {
		format->root_shift = 22;
		format->index_bits = 10;
		format->entry_size = 4;
		format->root = state->cr3 & 0xfffff000;
		format->reserved = 0;
		return true;
	}
	format->index_bits = 9;
	format->entry_size = 8;
	if (state->efer & X86_EFER_LMA) {
		format->root_shift = 39;
		format->root = state->cr3 & ADDRESS_MASK;
		format->reserved = nx | bits(width, 51);
		return true;
	}
	format->root_shift = 21;
	format->root = state->pdpte[(linear >> 30) & 3] & ADDRESS_MASK;
	format->reserved = nx | bits(width, 62);
	return state->pdpte[(linear >> 30) & 3] & PTE_P;
}

/* Protection keys: bit 0 no reading, bit 1 no writing. Only for user addresses of long mode. */
static unsigned key_denies(const struct x86_cpu *cpu, const struct walk_path *path, bool user)
{
	unsigned key = (path->step[path->steps - 1].entry >> PTE_KEY_SHIFT) & 15;
	unsigned rights = (cpu->state.pkru >> key * 2) & 3;

	if (!(cpu->state.cr4 & X86_CR4_PKE) || !(cpu->state.efer & X86_EFER_LMA) ||
	    !(path->all & PTE_U) || !rights)
		return 0;
	if (rights & 1)
		return 3;
	return user || (cpu->state.cr0 & X86_CR0_WP) ? 2 : 0;
}

/* Fills what walk may do by the rights in path; returns the keys' part of it. */
static unsigned judge(const struct x86_cpu *cpu, const struct walk_path *path, unsigned mmu,
		      struct x86_walk *walk)
{
	const struct x86_state *state = &cpu->state;
	bool user = mmu == X86_MMU_USER;
	bool user_page = path->all & PTE_U;
	bool nx = (path->any & PTE_NX) && (state->efer & X86_EFER_NXE) &&
		  (state->cr4 & X86_CR4_PAE);
	unsigned denied = key_denies(cpu, path, user);

	if (user) {
		walk->readable = user_page;
		walk->writable = user_page && (path->all & PTE_W);
		walk->executable = user_page && !nx;
	} else {
		walk->readable = !(user_page && mmu == X86_MMU_KERNEL_SMAP);
		walk->writable = walk->readable &&
				 ((path->all & PTE_W) || !(state->cr0 & X86_CR0_WP));
		walk->executable = !nx && !(user_page && (state->cr4 & X86_CR4_SMEP));
	}
	walk->readable = walk->readable && !(denied & 1);
	walk->writable = walk->writable && !(denied & 2);
	return denied;
}

/* An entry becomes marked, if it is what it was. The bits may make another instruction of code there. */
static bool mark_entry(struct x86_cpu *cpu, const struct walk_step *step, unsigned entry_size,
		       uint64_t marked)
{
	void *host = step->region->host + (step->gpa - step->region->gpa);
	uint32_t narrow = (uint32_t)step->entry;
	uint64_t wide = step->entry;
	bool same;

	x86_phys_hold(cpu, step->region, step->gpa);
	if (entry_size == 8)
		same = __atomic_compare_exchange_n((uint64_t *)host, &wide, marked, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		same = __atomic_compare_exchange_n((uint32_t *)host, &narrow, (uint32_t)marked,
						   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (same)
		x86_phys_wrote(cpu, step->region, step->gpa, entry_size);
	x86_phys_release(step->region, step->gpa);
	return same;
}

/* Sets the accessed bits, and the leaf's dirty bit for a write. false: an entry changed. */
static bool mark_used(struct x86_cpu *cpu, struct walk_path *path, unsigned entry_size, bool write)
{
	for (unsigned i = 0; i < path->steps; i++) {
		struct walk_step *step = &path->step[i];
		uint64_t marked = step->entry | PTE_A;

		if (write && i == path->steps - 1)
			marked |= PTE_D;
		if (marked == step->entry || !step->region || step->region->readonly)
			continue;
		if (unlikely(cpu->lockstep))
			lockstep_walk_writes(cpu, step->gpa);
		if (!mark_entry(cpu, step, entry_size, marked))
			return false;
		step->entry = marked;
	}
	return true;
}

static uint32_t access_error(const struct x86_cpu *cpu, enum x86_walk_access access, unsigned mmu)
{
	bool tells_fetch = (cpu->state.cr4 & X86_CR4_SMEP) ||
			   ((cpu->state.cr4 & X86_CR4_PAE) && (cpu->state.efer & X86_EFER_NXE));

	return (access == X86_WALK_WRITE ? X86_PF_W : 0) | (mmu == X86_MMU_USER ? X86_PF_U : 0) |
	       (access == X86_WALK_FETCH && tells_fetch ? X86_PF_I : 0);
}

static bool allowed(const struct x86_walk *walk, enum x86_walk_access access)
{
	switch (access) {
	case X86_WALK_READ: return walk->readable;
	case X86_WALK_WRITE: return walk->writable;
	default: return walk->executable;
	}
}

static void map_to_itself(uint64_t linear, struct x86_walk *walk)
{
	*walk = (struct x86_walk){
		.phys = linear, .writable = true, .readable = true, .executable = true,
		.page_shift = MEM_PAGE_SHIFT,
	};
}

static void describe(const struct x86_cpu *cpu, const struct walk_path *path, uint64_t linear,
		     struct x86_walk *walk)
{
	uint64_t leaf = path->step[path->steps - 1].entry;

	walk->phys = path->page | (linear & ((1ull << path->page_shift) - 1));
	walk->page_shift = (uint8_t)path->page_shift;
	walk->global = (leaf & PTE_G) && (cpu->state.cr4 & X86_CR4_PGE);
	walk->writable = walk->writable && (leaf & PTE_D);
	walk->key = cpu->state.cr4 & X86_CR4_PKE ? leaf >> PTE_KEY_SHIFT & 15 : 0;
}

bool x86_walk(struct x86_cpu *cpu, uint64_t linear, enum x86_walk_access access, unsigned mmu,
	      struct x86_walk *walk)
{
	struct walk_format format;
	struct walk_path path;
	unsigned denied_by_key;

	if (!(cpu->state.cr0 & X86_CR0_PG)) {
		map_to_itself(linear, walk);
		return true;
	}
	do {
		*walk = (struct x86_walk){ .error = access_error(cpu, access, mmu) };
		uint32_t error = 0;

		if (!choose_format(cpu, linear, &format) ||
		    !descend(cpu, &format, linear, &path, &error)) {
			walk->error |= error;
			return false;
		}
		denied_by_key = judge(cpu, &path, mmu, walk);
		if (!allowed(walk, access)) {
			if (access != X86_WALK_FETCH &&
			    (denied_by_key & (access == X86_WALK_WRITE ? 2 : 1)))
				walk->error |= X86_PF_PK;
			walk->error |= X86_PF_P;
			return false;
		}
	} while (!mark_used(cpu, &path, format.entry_size, access == X86_WALK_WRITE));
	describe(cpu, &path, linear, walk);
	return true;
}

bool x86_walk_look(struct x86_cpu *cpu, uint64_t linear, unsigned mmu, struct x86_walk *walk)
{
	struct walk_format format;
	struct walk_path path;
	uint32_t error;

	*walk = (struct x86_walk){ 0 };
	if (!(cpu->state.cr0 & X86_CR0_PG)) {
		map_to_itself(linear, walk);
		return true;
	}
	if (!choose_format(cpu, linear, &format) ||
	    !descend(cpu, &format, linear, &path, &error))
		return false;
	judge(cpu, &path, mmu, walk);
	describe(cpu, &path, linear, walk);
	return path.all & PTE_A;
}

bool x86_walk_debug(struct x86_cpu *cpu, uint64_t linear, uint64_t *phys)
{
	struct walk_format format;
	struct walk_path path;
	uint32_t error;

	*phys = linear;
	if (!(cpu->state.cr0 & X86_CR0_PG))
		return true;
	if (!choose_format(cpu, linear, &format) ||
	    !descend(cpu, &format, linear, &path, &error))
		return false;
	*phys = path.page | (linear & ((1ull << path.page_shift) - 1));
	return true;
}

void x86_walk_trace(struct x86_cpu *cpu, uint64_t linear, struct x86_walk_trace *trace)
{
	struct walk_format format;
	struct walk_path path;
	uint32_t error;

	*trace = (struct x86_walk_trace){ 0 };
	trace->mapped = x86_walk_debug(cpu, linear, &trace->phys);
	trace->in_memory = trace->mapped && mem_find(cpu->cpu.env.mem, trace->phys);
	if (!(cpu->state.cr0 & X86_CR0_PG) || !choose_format(cpu, linear, &format))
		return;
	descend(cpu, &format, linear, &path, &error);
	for (; trace->steps < path.steps; trace->steps++) {
		unsigned i = trace->steps;

		trace->step[i].shift = format.root_shift - i * format.index_bits;
		trace->step[i].gpa = path.step[i].gpa;
		trace->step[i].entry = path.step[i].entry;
	}
}

bool x86_load_pdptrs(struct x86_cpu *cpu, uint64_t cr3)
{
	uint64_t reserved = bits(1, 2) | bits(5, 8) | bits(x86_maxphyaddr(cpu), 63);
	uint64_t pdpte[4];

	for (unsigned i = 0; i < 4; i++) {
		struct walk_step step = { .gpa = (cr3 & 0xffffffe0) + i * 8 };

		read_entry(cpu, &step, 8);
		if ((step.entry & PTE_P) && (step.entry & reserved))
			return false;
		pdpte[i] = step.entry;
	}
	for (unsigned i = 0; i < 4; i++)
		cpu->state.pdpte[i] = pdpte[i];
	return true;
}
