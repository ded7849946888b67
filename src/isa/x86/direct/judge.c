/* SPDX-License-Identifier: MIT */
/* See judge.h. */
#include "isa/x86/direct/judge.h"

#include "cpu/blocks.h"
#include "isa/x86/block.h"
#include "isa/x86/direct/scan.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

static bool is_clean(struct x86_cpu *cpu, uint64_t phys, unsigned quiet)
{
	uint8_t copy[MEM_PAGE_SIZE];

	mem_read(cpu->cpu.env.mem, phys, copy, sizeof(copy));
	return scan_page(copy, quiet);
}

/*
 * Nobody writes to a page that has just been marked, and whoever has written to it since it was looked
 * through has made its generation another one: so that is read behind the mark.
 */
bool direct_judge_page(struct x86_cpu *cpu, struct direct_verdicts *verdicts, uint64_t phys,
		       unsigned quiet, uint64_t *generation)
{
	struct direct_verdict *verdict = &verdicts->of[(phys >> MEM_PAGE_SHIFT) % DIRECT_VERDICTS];
	bool marked = x86_mark_exec_page(cpu, phys);

	*generation = blocks_generation(cpu->cpu.env.blocks, phys);
	if (!marked)
		return false;
	if (verdict->page != phys + 1 || verdict->generation != *generation ||
	    verdict->quiet != quiet)
		*verdict = (struct direct_verdict){ phys + 1, *generation, (uint8_t)quiet,
						    is_clean(cpu, phys, quiet) };
	return verdict->clean;
}

bool direct_judge_seam(struct x86_cpu *cpu, uint64_t phys, uint64_t next, unsigned quiet)
{
	uint8_t bytes[SCAN_TAIL + SCAN_BEHIND];

	mem_read(cpu->cpu.env.mem, phys + MEM_PAGE_SIZE - SCAN_TAIL, bytes, SCAN_TAIL);
	if (next != DIRECT_NO_PAGE)
		mem_read(cpu->cpu.env.mem, next, bytes + SCAN_TAIL, SCAN_BEHIND);
	return scan_seam(bytes, next != DIRECT_NO_PAGE ? SCAN_BEHIND : 0, quiet);
}
