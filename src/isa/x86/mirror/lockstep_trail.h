/* SPDX-License-Identifier: MIT */
/*
 * What a run changes in guest memory and in the TLB, so that it can be undone and compared.
 *
 * Memory is logged by pages: the first write to a page in a run copies it as it was. So that no
 * write goes by unseen, no TLB entry has a write tag at the start of a run but for pages that were
 * copied then: those that were written last, to let translated code meet open pages as it does
 * elsewhere.
 */
#ifndef RINGLET_ISA_X86_MIRROR_LOCKSTEP_TRAIL_H
#define RINGLET_ISA_X86_MIRROR_LOCKSTEP_TRAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"
#include "mem/mem.h"

struct error;

#define TRAIL_PAGES 4096u
#define TRAIL_HASH (4 * TRAIL_PAGES)
#define TRAIL_TLB 16384u
#define TRAIL_GRANTS 4096u
#define TRAIL_KEPT 4u

typedef uint8_t page_bytes[MEM_PAGE_SIZE];

struct page_log {
	unsigned count;
	struct {
		uint64_t phys;
		uint8_t *host;
		bool changed; /* known when it is undone */
	} page[TRAIL_PAGES];
	uint16_t hash[TRAIL_HASH]; /* index + 1 */
	page_bytes *before;
	page_bytes *after; /* what the run made of it, if changed: see page_log_after */
};

/* A slot and its second way as they were. */
struct tlb_record {
	struct x86_tlb *set;
	unsigned slot;
	struct x86_tlb_entry entry[2];
	typeof(((struct x86_tlb *)0)->info[0]) info[2];
	bool used[2], global[2];
};

/* An entry that has, or had, a write tag. */
struct tlb_grant {
	struct x86_tlb *set;
	unsigned slot; /* of the first way */
};

struct trail {
	struct page_log *pages; /* of the run, or NULL between runs */
	struct tlb_record *tlb;
	unsigned tlb_count;
	bool tlb_lost; /* more changed than there is room for */
	struct tlb_grant *grant;
	unsigned grants;
	uint64_t kept[TRAIL_KEPT]; /* pages to open at the start of the next run */
	unsigned kept_count;
};

struct page_log *page_log_create(struct error *err);
void page_log_destroy(struct page_log *pages);
int trail_create(struct trail *trail, struct error *err);
void trail_destroy(struct trail *trail);

/* Of a run that was undone: the page with this index as the run left it. */
const uint8_t *page_log_after(const struct page_log *pages, unsigned index);
bool page_log_has(const struct page_log *pages, uint64_t phys);

/* A run begins: empties pages, takes write tags away. */
void trail_begin(struct trail *trail, struct page_log *pages, const struct mem *mem);
/* Before a write to the page at phys; false: it was logged before, or no run is under way. */
bool trail_write(struct trail *trail, const struct mem *mem, uint64_t phys);
void trail_tlb(struct trail *trail, struct x86_tlb *set, unsigned slot);
void trail_grant(struct trail *trail, struct x86_tlb *set, unsigned slot);
/* The run is over. */
void trail_end(struct trail *trail);

/*
 * Keeps what the run made, then puts memory, respectively TLB entries, back. Vector state parked. False: not
 * all entries are known any more, the TLB has to be flushed.
 */
void trail_undo_pages(struct x86_cpu *cpu, struct trail *trail, struct page_log *pages);
bool trail_undo_tlb(struct trail *trail);

/*
 * Where what first made (undone since) and what second made (in place) are different: the guest-
 * physical address of the first such byte.
 */
#define TRAIL_SAME (~0ull)
uint64_t trail_compare(const struct page_log *first, const struct page_log *second);

#endif
