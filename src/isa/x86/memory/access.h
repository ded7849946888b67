/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as instructions see it: effective and linear addresses, segment checks, paging, page
 * crossing, MMIO, code pages, #AC and data breakpoints. Everything here may raise.
 *
 * Order of use: linear = x86_operand_linear(cpu, insn, size, access); then x86_load / x86_store.
 * For read-modify-write: x86_rmw_begin, compute, x86_rmw_end (atomic when insn has LOCK).
 */
#ifndef RINGLET_ISA_X86_ACCESS_H
#define RINGLET_ISA_X86_ACCESS_H

#include <stdint.h>

#include "isa/x86/insn.h"
#include "isa/x86/x86.h"

enum x86_access { X86_READ, X86_WRITE, X86_RMW };

/* base + index * scale + disp */
static inline uint64_t x86_address(const struct x86_cpu *cpu, const struct insn *insn)
{
	return *(const uint64_t *)((const char *)cpu + insn->base) +
	       (*(const uint64_t *)((const char *)cpu + insn->index) << insn->scale) +
	       (uint64_t)insn->disp;
}

/* The same, cut to the address size; what LEA computes. */
static inline uint64_t x86_effective(const struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t address = x86_address(cpu, insn);

	if (insn->addrsize == 8)
		return address;
	return insn->addrsize == 4 ? (uint32_t)address : (uint16_t)address;
}

/*
 * Segment + offset to a linear address, with every check of the mode we are in: limit, type,
 * null segment, canonical form (#GP, or #SS for the stack segment). size: bytes accessed.
 */
uint64_t x86_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
		    enum x86_access access);

/* Where INSN_PLAIN does not say it all. */
uint64_t x86_operand_slow(struct x86_cpu *cpu, const struct insn *insn, unsigned size,
			  enum x86_access access);

/* For the translator, when insn becomes hot. CPUs that run it at once may both say so. */
static inline void x86_note_place(const struct insn *insn, uint64_t linear)
{
	if ((int64_t)linear >= 0 && insn->elsewhere < INSN_ELSEWHERE)
		__atomic_store_n((uint8_t *)&insn->elsewhere, INSN_ELSEWHERE, __ATOMIC_RELAXED);
}

/* The memory operand of insn. Canonicality is checked by the access itself when the TLB misses. */
static inline uint64_t x86_operand_linear(struct x86_cpu *cpu, const struct insn *insn,
					  unsigned size, enum x86_access access)
{
	if (likely(insn->flags & INSN_PLAIN)) {
		uint64_t linear = x86_address(cpu, insn);

		x86_note_place(insn, linear);
		return linear;
	}
	return x86_operand_slow(cpu, insn, size, access);
}

/* Slow paths: TLB miss, page crossing, MMIO, code page, #AC, breakpoints. size 1 … 8. */
uint64_t x86_load_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value);

static inline struct x86_tlb_entry *x86_tlb_at(struct x86_cpu *cpu, uint64_t linear)
{
	return &cpu->tlb[cpu->mmu]->entry[(linear >> 12) & (X86_TLB_ENTRIES - 1)];
}

/* Do size bytes at linear lie in the page that tag is for? One comparison: see x86_tlb_none. */
static inline bool x86_tag_covers(uint64_t tag, uint64_t linear, unsigned size)
{
	return linear - tag <= 0x1000 - size;
}

#define X86_DEFINE_ACCESS(bits)                                                                    \
	static inline uint##bits##_t x86_load##bits(struct x86_cpu *cpu, uint64_t linear)          \
	{                                                                                          \
		struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);                                 \
                                                                                                   \
		if (likely(x86_tag_covers(e->read_tag, linear, bits / 8)))                         \
			return *(volatile uint##bits##_t *)(linear + e->addend);                   \
		return (uint##bits##_t)x86_load_slow(cpu, linear, bits / 8);                       \
	}                                                                                          \
	static inline void x86_store##bits(struct x86_cpu *cpu, uint64_t linear,                   \
					   uint##bits##_t value)                                   \
	{                                                                                          \
		struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);                                 \
                                                                                                   \
		if (likely(x86_tag_covers(e->write_tag, linear, bits / 8)))                        \
			*(volatile uint##bits##_t *)(linear + e->addend) = value;                  \
		else                                                                               \
			x86_store_slow(cpu, linear, bits / 8, value);                              \
	}
X86_DEFINE_ACCESS(8)
X86_DEFINE_ACCESS(16)
X86_DEFINE_ACCESS(32)
X86_DEFINE_ACCESS(64)

/* By size, for code that is not specialised. */
uint64_t x86_load(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value);

/*
 * Read-modify-write of 1, 2, 4 or 8 bytes (16 for CMPXCHG16B). begin checks for writing and gives a
 * host pointer that may be used with the host's own (LOCKed) instruction: straight into guest RAM, or
 * for MMIO, ROM, page-crossing and split locks a bounce buffer with the old value, in an exclusive
 * section when locked. end writes the bounce back, invalidates code, leaves the section. Between the two
 * nothing may raise.
 */
struct x86_rmw {
	void *host;
	uint64_t linear;
	uint64_t phys[2]; /* where the bytes lie, before and after a page's end */
	uint8_t bounce[16] __attribute__((aligned(16)));
	uint8_t size;
	bool slow; /* x86_rmw_end has something to do */
	bool bounced, exclusive;
};
void x86_rmw_begin(struct x86_cpu *cpu, uint64_t linear, unsigned size, bool locked,
		   struct x86_rmw *rmw);
void x86_rmw_end(struct x86_cpu *cpu, struct x86_rmw *rmw);

/*
 * Host pointer to [linear, linear+len) when it lies in one page of plain RAM that may be accessed so
 * directly now (fills the TLB, raises on a fault); NULL when it must go piecewise through
 * x86_load/x86_store (MMIO, ROM or code page for writing, crosses a page).
 */
void *x86_direct(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access);

/*
 * As x86_direct for writing, into pages that hold code as well. When the bytes are written, end
 * forgets what was made of them; code is where they lie then, X86_NO_CODE for a plain page.
 */
#define X86_NO_CODE (~0ull)
void *x86_write_begin(struct x86_cpu *cpu, uint64_t linear, unsigned len, uint64_t *code);
void x86_write_end(struct x86_cpu *cpu, uint64_t code, unsigned len);

/* #GP or #SS, in 64-bit mode, unless [linear, linear+len) is canonical. */
void x86_check_canonical(struct x86_cpu *cpu, uint64_t linear, unsigned len);
/* #AC as for an operand of len bytes, if it is checked and len is a size that needs alignment. */
void x86_check_alignment(struct x86_cpu *cpu, uint64_t linear, unsigned len);

/* Raises now what a later access of [linear, linear+len) would raise; no other effect but A/D bits. */
void x86_probe(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access);

/*
 * Copies of any length, piecewise; a store faults before it changed anything (probes first). No
 * alignment checks.
 */
void x86_load_bytes(struct x86_cpu *cpu, uint64_t linear, void *data, unsigned len);
void x86_store_bytes(struct x86_cpu *cpu, uint64_t linear, const void *data, unsigned len);

/*
 * Where [linear, linear+len) is on the host, if the TLB says that it lies in one page that may be
 * accessed just so; or NULL. Raises nothing. mmu: whose access it is.
 */
static inline void *x86_at_once(struct x86_cpu *cpu, uint64_t linear, unsigned len,
				enum x86_access access, unsigned mmu)
{
	const struct x86_tlb_entry *entry =
		&cpu->tlb[mmu]->entry[(linear >> 12) & (X86_TLB_ENTRIES - 1)];
	uint64_t tag = access == X86_READ ? entry->read_tag : entry->write_tag;

	return likely(x86_tag_covers(tag, linear, len)) ? (void *)(linear + entry->addend) : NULL;
}

/* Implicit supervisor accesses, whatever the CPL: descriptor tables, TSS, stacks during delivery. */
static inline unsigned x86_system_mmu(const struct x86_cpu *cpu)
{
	return cpu->state.cr4 & X86_CR4_SMAP ? X86_MMU_KERNEL_SMAP : X86_MMU_KERNEL;
}

uint64_t x86_load_system_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store_system_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value);

static inline uint64_t x86_load_system(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	const volatile uint64_t *host =
		size == 8 ? x86_at_once(cpu, linear, 8, X86_READ, x86_system_mmu(cpu)) : NULL;

	return likely(host) ? *host : x86_load_system_slow(cpu, linear, size);
}

static inline void x86_store_system(struct x86_cpu *cpu, uint64_t linear, unsigned size,
				    uint64_t value)
{
	volatile uint64_t *host =
		size == 8 ? x86_at_once(cpu, linear, 8, X86_WRITE, x86_system_mmu(cpu)) : NULL;

	if (likely(host))
		*host = value;
	else
		x86_store_system_slow(cpu, linear, size, value);
}

void x86_probe_system(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access);

/* The stack as PUSH and POP use it (SS, stack_size wrap). x86_push writes, then moves SP. */
void x86_push(struct x86_cpu *cpu, uint64_t value, unsigned size);
uint64_t x86_pop(struct x86_cpu *cpu, unsigned size);
/* Reads at SP + displacement without moving SP. */
uint64_t x86_stack_peek(struct x86_cpu *cpu, uint64_t displacement, unsigned size);
/* Moves SP by delta within stack_size. */
void x86_stack_adjust(struct x86_cpu *cpu, int64_t delta);

#endif
