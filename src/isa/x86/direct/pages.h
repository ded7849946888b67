/* SPDX-License-Identifier: MIT */
/*
 * What a cell has mapped: a TLB whose entries are mappings of the host's. It obeys the
 * architecture's rules for TLBs: an entry may go at any time, and must go when the guest flushes;
 * it holds what a walk of the guest's tables found, with the accessed and dirty bits that belong to
 * it.
 *
 * The CPU's own thread, with the vector state parked, but for what is said to need an exclusive
 * section.
 */
#ifndef RINGLET_ISA_X86_DIRECT_PAGES_H
#define RINGLET_ISA_X86_DIRECT_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "host/cell.h"

struct direct_verdicts;
struct x86_cpu;

#define DIRECT_PAGES 60000u /* each may be a mapping of the host's, of which it allows 65530 */
#define DIRECT_BUCKETS 65536u
#define DIRECT_CUT_BITS 4096u

struct direct_page {
	uint64_t linear, phys;
	uint64_t code_generation; /* of the code cache, when it was scanned for execution */
	uint16_t next;            /* in its bucket, or of the free ones; number + 1 */
	uint8_t shift;            /* 12 or 21; 0: free */
	uint8_t protection;       /* PROT_… in the cell; 0: not mapped there */
	bool scanned, clean;      /* as code */
};

struct direct_pages {
	struct cell *cell;
	struct direct_verdicts *verdicts;
	bool all_stale;           /* everything that is mapped must go first */
	unsigned used, free;      /* of page: begun to be used; first free one, number + 1 */
	uint32_t code_writes;     /* the code cache's count, when all scanned pages were as scanned */
	uint64_t flush;           /* the last one of those translations: cpu->user_flush */
	uint64_t root;            /* of the tables that they are of */
	unsigned quiet;           /* what code was scanned for: scan.h */
	/*
	 * Where entries are pieces of larger pages of the guest's: 2 MiB regions by a hash, and any
	 * of 1 GiB.
	 */
	uint64_t cut[DIRECT_CUT_BITS / 64];
	bool cut_giant;
	uint64_t mapped, dropped; /* counted */
	uint16_t bucket[DIRECT_BUCKETS];
	struct direct_page page[DIRECT_PAGES];
};

/* cell has been started. Verdicts are shared by all cells of a CPU, and outlive them. */
void direct_pages_init(struct direct_pages *pages, struct cell *cell, struct direct_verdicts *verdicts);

/* Has the guest no memory where the cell has its own? */
bool direct_pages_fit(struct x86_cpu *cpu, const struct direct_pages *pages);

/*
 * Before the cell runs: nothing is mapped there then that the guest's TLB might not hold. false: most
 * of what was mapped had to go. So it is another program, whose tables lie where the old one's were.
 */
bool direct_pages_freshen(struct x86_cpu *cpu, struct direct_pages *pages);

enum direct_fault {
	DIRECT_MAPPED,
	DIRECT_DENIED, /* by the guest's tables: it is the guest's #PF, with this error code */
	DIRECT_OURS,   /* we must see the access: somebody else carries out the instruction */
};

/* The cell needs linear for an access (PROT_READ, PROT_WRITE or PROT_EXEC). */
enum direct_fault direct_pages_fault(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear,
				     unsigned protection, uint32_t *error);

/* The cell will need linear: maps what a look at the tables finds. */
void direct_pages_foresee(struct x86_cpu *cpu, struct direct_pages *pages, uint64_t linear);

/* Known to hold code that must not run in a cell? */
bool direct_pages_refused(const struct direct_pages *pages, uint64_t linear);

/* INVLPG */
void direct_pages_forget(struct direct_pages *pages, uint64_t linear);

/*
 * In an exclusive section, maybe one that this CPU waits for in the middle of direct_pages_fault:
 * the page became a code page. No entry goes.
 */
void direct_pages_protect(struct direct_pages *pages, uint64_t phys);

#endif
