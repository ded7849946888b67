/* SPDX-License-Identifier: MIT */
/*
 * The software TLB beyond its fast path: life, filling, PCIDs (Intel SDM vol. 3, 4.10). The CPU's
 * own thread, save x86_tlb_drop_phys, which runs in an exclusive section.
 */
#ifndef RINGLET_ISA_X86_TLB_H
#define RINGLET_ISA_X86_TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/memory/fetch.h"

struct error;
struct mem_region;
struct x86_cpu;

/* Allocates the sets and points cpu->tlb[] at empty ones; -ENOMEM. Before the first access. */
int x86_tlb_create(struct x86_cpu *cpu, struct error *err);
void x86_tlb_destroy(struct x86_cpu *cpu);

/*
 * MOV CR3: from now on translations are those of pcid (0 when CR4.PCIDE is clear). keep: bit 63 of
 * the operand under PCIDE, else pcid's non-global entries go.
 */
void x86_tlb_switch(struct x86_cpu *cpu, unsigned pcid, bool keep);

/* INVPCID types 1 and 0: non-global entries of pcid; of one page in it. */
void x86_tlb_flush_pcid(struct x86_cpu *cpu, unsigned pcid);
void x86_tlb_flush_pcid_page(struct x86_cpu *cpu, unsigned pcid, uint64_t linear);

/*
 * The jump table of the current privilege is about to learn of code at linear, just fetched. False: it
 * must not, the TLB knows the page no more.
 */
bool x86_tlb_note_code(struct x86_cpu *cpu, uint64_t linear);

/*
 * User code is about to run and cpu->mapping_generation has no number for it, as after each
 * flush: it gets the one from before if that is since or later and all code that was learned
 * under it is where it was, else a new one.
 */
void x86_tlb_confirm(struct x86_cpu *cpu, uint64_t since);

/* phys_page became a code page: no entry of cpu may write to it directly any more. */
void x86_tlb_drop_phys(struct x86_cpu *cpu, uint64_t phys_page);

/* User code got #PF for linear: a fault forgets the translation that it contradicts (SDM 4.10.4.1). */
void x86_tlb_denied(struct x86_cpu *cpu, uint64_t linear);

/* Translated code must ask anew for all translations that it remembers. */
void x86_tlb_forget(struct x86_cpu *cpu);

/* A page as the slow paths use it. */
struct x86_page {
	uint64_t phys;                   /* page address */
	uint8_t *host;                   /* NULL: MMIO */
	const struct mem_region *region; /* NULL: MMIO */
};

/* The page that holds linear, for X86_TLB_ALLOW_… need under mmu; fills the TLB, raises #PF. */
void x86_tlb_page(struct x86_cpu *cpu, uint64_t linear, unsigned need, unsigned mmu,
		  struct x86_page *page);

/* The entry for linear in the set of mmu, whatever its tags; never the always-missing set. */
struct x86_tlb_entry *x86_tlb_entry_at(struct x86_cpu *cpu, uint64_t linear, unsigned mmu);

/* For mode.c: takes over what entries depend on from cpu->state, flushing if it changed. */
void x86_tlb_sync(struct x86_cpu *cpu);
/* Whether user accesses must all be checked for alignment. */
void x86_tlb_check_alignment(struct x86_cpu *cpu, bool check);

#endif
