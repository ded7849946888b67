/* SPDX-License-Identifier: MIT */
/*
 * When the two runs of a stretch differ: what differs, and then where. A stretch may have been
 * millions of instructions long; so it is begun again with all code translated anew and no block
 * chained to another, and the first block that differs is told with the code that was made for it.
 */
#include <stdio.h>

#include "cpu/blocks.h"
#include "isa/x86/block.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/mirror/lockstep_impl.h"
#include "isa/x86/mirror/translate.h"
#include "mem/mem.h"

#define MEMORY_LINES 16
#define LINE_BYTES 16
#define SEARCH_BLOCKS 100000

static void tell_bytes(const char *who, const uint8_t *bytes)
{
	fprintf(stderr, " %s", who);
	for (unsigned i = 0; i < LINE_BYTES; i++)
		fprintf(stderr, "%s%02x", i % 8 ? "" : " ", bytes[i]);
}

static bool same_line(const uint8_t *a, const uint8_t *b)
{
	return ((const uint64_t *)a)[0] == ((const uint64_t *)b)[0] &&
	       ((const uint64_t *)a)[1] == ((const uint64_t *)b)[1];
}

/* Of one page; how many lines were told. */
static unsigned tell_page(uint64_t phys, const uint8_t *before, const uint8_t *translated,
			  const uint8_t *interpreted, unsigned limit)
{
	unsigned told = 0;

	for (unsigned at = 0; at < MEM_PAGE_SIZE && told < limit; at += LINE_BYTES) {
		if (same_line(translated + at, interpreted + at))
			continue;
		fprintf(stderr, "  memory %lx:", phys + at);
		tell_bytes("before", before + at);
		tell_bytes("translated", translated + at);
		tell_bytes("interpreted", interpreted + at);
		fprintf(stderr, "\n");
		told++;
	}
	return told;
}

static void tell_memory(const struct lockstep *ls)
{
	const struct page_log *t = ls->translated_pages, *i = ls->interpreted_pages;
	unsigned left = MEMORY_LINES;

	for (unsigned k = 0; k < t->count; k++)
		left -= tell_page(t->page[k].phys, t->before[k], page_log_after(t, k),
				  t->page[k].host, left);
	for (unsigned k = 0; k < i->count; k++)
		if (!page_log_has(t, i->page[k].phys))
			left -= tell_page(i->page[k].phys, i->before[k], i->before[k],
					  i->page[k].host, left);
	if (!left)
		fprintf(stderr, "  memory: and maybe more\n");
}

static void tell_start(const struct lockstep *ls)
{
	const struct x86_state *s = snapshot_state(&ls->start);

	fprintf(stderr, " state before: rip %lx rflags %lx cr3 %lx\n", s->rip, s->rflags, s->cr3);
	for (unsigned i = 0; i < X86_GPRS; i++)
		fprintf(stderr, "  %016lx%s", s->gpr[i], i % 4 == 3 ? "\n" : "");
}

static void tell_difference(struct x86_cpu *cpu, const char *what)
{
	struct lockstep *ls = cpu->lockstep;

	lockstep_approach(cpu);
	fprintf(stderr, "lockstep: %s from %lx on, %lu instructions\n", what,
		snapshot_state(&ls->start)->rip,
		ls->interpreted.instructions - ls->start.instructions);
	snapshot_tell(stderr, cpu, &ls->translated, &ls->interpreted, ls->ignored_flags);
	tell_memory(ls);
	tell_start(ls);
}

/* The block at rip, translated now. */
static struct x86_block *translated_block(struct x86_cpu *cpu)
{
	struct x86_block *block = x86_block_find(cpu);

	x86_vec_park(cpu);
	if (!atomic_load(&block->block.code))
		mirror_translate(cpu, block);
	return block;
}

/* With the translator telling what it makes. */
static void tell_code(struct x86_cpu *cpu)
{
	struct translator *translator = cpu->cpu.env.translator;
	bool dump = translator->dump;

	x86_blocks_forget(cpu);
	translator->dump = true;
	translated_block(cpu);
	translator->dump = dump;
}

/* From the stretch's start on, block by block. True: one differs; the CPU is at its start again. */
static bool narrow(struct x86_cpu *cpu)
{
	struct lockstep *ls = cpu->lockstep;
	bool found = false;

	for (unsigned i = 0; i < SEARCH_BLOCKS; i++) {
		struct x86_block *block = translated_block(cpu);

		if (!atomic_load(&block->block.code))
			break;
		found = !lockstep_stretch(cpu, block);
		if (found || ls->interpreted.end != RUN_LEFT)
			break;
	}
	return found;
}

void lockstep_report(struct x86_cpu *cpu)
{
	struct lockstep *ls = cpu->lockstep;

	x86_vec_park(cpu);
	tell_difference(cpu, "translator and interpreter differ");
	lockstep_rewind(cpu);
	tell_code(cpu);
	x86_blocks_forget(cpu);
	ls->unchained = true;
	if (narrow(cpu)) {
		tell_difference(cpu, "the first block that differs");
		lockstep_rewind(cpu);
		tell_code(cpu);
	} else {
		fprintf(stderr, "lockstep: no single block does\n");
	}
	ls->unchained = false;
}
