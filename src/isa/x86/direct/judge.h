/* SPDX-License-Identifier: MIT */
/*
 * Whether code may run in a cell: what scan.h finds in guest memory. It is remembered by page of memory, since
 * programs come and go, but the files that they are made of stay where they are. The CPU's thread, with the
 * vector state parked.
 */
#ifndef RINGLET_ISA_X86_DIRECT_JUDGE_H
#define RINGLET_ISA_X86_DIRECT_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

#define DIRECT_VERDICTS 16384u
#define DIRECT_NO_PAGE (~0ull)

struct direct_verdicts {
	struct direct_verdict {
		uint64_t page;       /* its address + 1; 0: of none */
		uint64_t generation; /* of the code cache, as that page was looked through … */
		uint8_t quiet;       /* … for these: scan.h */
		bool clean;
	} of[DIRECT_VERDICTS];
};

/*
 * The page of memory at phys, as it is now. From here on we are asked before it is written; if it has
 * another generation than this one, it was.
 */
bool direct_judge_page(struct x86_cpu *cpu, struct direct_verdicts *verdicts, uint64_t phys,
		       unsigned quiet, uint64_t *generation);
/* … and what goes on from its end at next, or DIRECT_NO_PAGE. */
bool direct_judge_seam(struct x86_cpu *cpu, uint64_t phys, uint64_t next, unsigned quiet);

#endif
