/* SPDX-License-Identifier: MIT */
/*
 * Around translated code: entering and leaving it, finding what to run next, and the calls it makes
 * into the interpreter's semantics. A CPU's own thread, but for what is said to need an exclusive
 * section.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "isa/x86/block.h"
#include "isa/x86/direct/direct.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/mirror/jumps.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/mirror/translate.h"
#include "isa/x86/mirror/translator.h"
#include "isa/x86/run.h"
#include "isa/x86/memory/access.h"
#include "isa/x86/memory/hostmap.h"
#include "isa/x86/memory/tlb.h"

#define HOT_EXECUTIONS 24
#define STATS_MNEMONICS 24
#define PAGE_MASK (~0xfffull)

/* What LAHF leaves in AH, and OF's place in RFLAGS. */
#define LAHF_FLAGS (X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF)
#define OF_SHIFT 11

/* ---- the machine's part ---- */

static uint16_t pack_flags(uint64_t rflags)
{
	return (uint16_t)((rflags & LAHF_FLAGS) << 8 | (rflags >> OF_SHIFT & 1));
}

uint64_t mirror_fault(struct x86_cpu *cpu, uint64_t rip, uint64_t flags, bool memory)
{
	const struct translator *translator = cpu->cpu.env.translator;
	const struct mirror_site *site;
	uint64_t start;

	if (!translator)
		return 0;
	start = (uint64_t)(uintptr_t)translator->code.rx;
	site = rip - start < translator->code.used_bytes ? mirror_sites_find(&translator->sites, rip - start) : NULL;
	if (!site || (memory && !site->mapped))
		return 0;
	if (memory)
		cpu->mirror.missed = (const uint8_t *)(uintptr_t)rip;
	if (site->flags)
		cpu->mirror.flags = pack_flags(flags);
	return rip + site->cold;
}

int translator_create(struct translator **out, struct blocks *blocks,
		      const struct translator_config *config, struct error *err)
{
	struct translator *translator;
	int ret;

	if (!__builtin_cpu_supports("bmi2"))
		return error_set(err, ENOTSUP, "translation needs a processor with BMI2");
	translator = calloc(1, sizeof(*translator));
	if (!translator)
		return error_set(err, ENOMEM, "no memory for the translator");
	translator->emit = calloc(1, sizeof(*translator->emit));
	if (!translator->emit) {
		free(translator);
		return error_set(err, ENOMEM, "no memory for the translator");
	}
	pthread_mutex_init(&translator->mutex, NULL);
	translator->dump = config->dump;
	translator->lockstep = config->lockstep;
	translator->direct = config->direct;
	x86_hostmap_open(&translator->room);
	ret = codebuf_create(&translator->code, config->code_bytes, err);
	if (!ret)
		ret = mirror_sites_create(&translator->sites, config->code_bytes, err);
	if (!ret && !mirror_make_thunks(translator))
		ret = error_set(err, ENOSPC, "a code cache of %zu bytes is too small",
				config->code_bytes);
	if (!ret && config->perf_map)
		ret = mirror_open_perf_map(translator, err);
	if (ret) {
		translator_destroy(translator);
		return ret;
	}
	blocks_set_thunks(blocks, translator->thunks.exit, translator->thunks.dead);
	*out = translator;
	return 0;
}

void translator_destroy(struct translator *translator)
{
	if (!translator)
		return;
	codebuf_destroy(&translator->code);
	if (translator->perf_map)
		fclose(translator->perf_map);
	mirror_sites_destroy(&translator->sites);
	x86_hostmap_close(&translator->room);
	free(translator->emit);
	pthread_mutex_destroy(&translator->mutex);
	free(translator);
}

bool mirror_full(const struct translator *translator)
{
	return translator->code.size_bytes - translator->code.used_bytes < 2 * MASM_CAPACITY ||
	       !mirror_sites_room(&translator->sites, 2 * REGION_INSNS);
}

void mirror_restart(struct translator *translator)
{
	translator->code.used_bytes = translator->thunk_bytes;
	mirror_sites_clear(&translator->sites);
}

/* ---- a CPU's part ---- */

int mirror_cpu_create(struct x86_cpu *cpu, struct error *err)
{
	int ret = 0;

	if (!cpu->cpu.env.translator)
		return 0;
	cpu->mirror.tables = (struct x86_jumps *)((char *)cpu + X86_TABLES_OFFSET);
	cpu->mirror.stats.by_mnemonic = calloc(ZYDIS_MNEMONIC_MAX_VALUE + 1, sizeof(uint32_t));
	if (!cpu->mirror.stats.by_mnemonic)
		return error_set(err, ENOMEM, "no memory for CPU %u's counts", cpu->cpu.index);
	if (cpu->cpu.env.translator->room.nowhere && mem_file(cpu->cpu.env.mem) >= 0)
		ret = x86_hostmap_create(cpu, &cpu->cpu.env.translator->room, err);
	return ret ? ret : mirror_describe_create(cpu, err);
}

void mirror_cpu_destroy(struct x86_cpu *cpu)
{
	x86_hostmap_destroy(cpu);
	mirror_describe_destroy(cpu);
	free(cpu->mirror.stats.by_mnemonic);
}

void mirror_forget(struct x86_cpu *cpu)
{
	if (!cpu->mirror.tables)
		return;
	mirror_jumps_forget(cpu);
	cpu->mirror.must_leave = true;
	cpu->mirror.exit = NULL;
}

/* Brings what translated code keeps at hand in agreement with the CPU's state. */
static void refresh(struct x86_cpu *cpu)
{
	cpu->mirror.tlb = cpu->tlb[cpu->mmu]->entry;
	mirror_jumps_turn(cpu);
}

static void flags_to_state(struct x86_cpu *cpu)
{
	uint64_t flags = cpu->mirror.flags;

	cpu->state.rflags = (cpu->state.rflags & ~X86_STATUS_FLAGS) | (flags >> 8 & LAHF_FLAGS) |
			    (flags & 1) << OF_SHIFT;
}

static void flags_from_state(struct x86_cpu *cpu)
{
	cpu->mirror.flags = pack_flags(cpu->state.rflags);
}

/* ---- called by thunks ---- */

/*
 * Code that reads at linear found nothing there. What will never be there is not looked for there again: all code that
 * was made with this is replaced, and left, since it may be a loop.
 */
static void learn_place(struct x86_cpu *cpu, const struct insn *insn, uint64_t linear,
			const uint8_t *code)
{
	cpu->mirror.stats.missed++;
	if (insn->elsewhere < INSN_ELSEWHERE && !x86_hostmap_rests(cpu)) {
		if (x86_hostmap_miss(cpu, linear, insn->opsize))
			return;
		/* Making code takes as long as many misses. */
		if (__atomic_add_fetch((uint8_t *)&insn->elsewhere, 1, __ATOMIC_RELAXED) < INSN_ELSEWHERE)
			return;
	}
	x86_vec_park(cpu);
	mirror_translate_again(cpu, x86_block_of(insn),
			       (uint32_t)(code - cpu->cpu.env.translator->code.rx));
	cpu->mirror.must_leave = true;
}

bool mirror_interpret(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_block *block = x86_block_of(insn);
	const uint8_t *missed = cpu->mirror.missed;
	uint64_t linear = 0;

	flags_to_state(cpu);
	cpu->cpu.block = &block->block;
	cpu->insn = insn;
	cpu->state.rip = cpu->mirror.code_base + insn->page_offset + insn->length;
	cpu->mirror.exit = NULL;
	cpu->mirror.stats.interpreted++;
	cpu->mirror.stats.by_mnemonic[insn->mnemonic]++;
	cpu->mirror.missed = NULL;
	if (unlikely(cpu->lockstep))
		lockstep_instruction(cpu, insn);
	if (unlikely(missed)) {
		linear = x86_address(cpu, insn);
		if (!(insn->flags & INSN_SEG_FLAT))
			linear += cpu->state.seg[insn->seg].base;
	}
	insn->fn(cpu, insn);
	if (unlikely(missed))
		learn_place(cpu, insn, linear, missed);
	flags_from_state(cpu);
	if (unlikely(cpu->block_stop || cpu->mirror.must_leave))
		return true;
	refresh(cpu);
	if (block->uses_vec && !cpu->vec_live)
		x86_vec_load(cpu);
	return block->uses_x87 && !cpu->x87_live;
}

/* Nothing wants attention before the next block. */
static bool may_go_on(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;

	return !cpu->mirror.must_leave && !cpu_requested(&cpu->cpu, ~0u) && !state->halted &&
	       !cpu->single_step && !state->nmi_pending &&
	       !(cpu->interrupt_maybe && (state->rflags & X86_IF)) && !x86_must_be_careful(cpu);
}

/* Translated code that comes to rip finds block by itself from now on. */
static void learn(struct x86_cpu *cpu, struct x86_block *block)
{
	if (mirror_jumps_find(cpu, cpu->state.rip) == block)
		return;
	if (block->block.phys2 != ~0ull && !x86_tlb_note_code(cpu, (cpu->state.rip | ~PAGE_MASK) + 1))
		return;
	if (!x86_tlb_note_code(cpu, cpu->state.rip))
		return;
	cpu->mirror.stats.learned++;
	mirror_jumps_learn(cpu, cpu->state.rip, block);
}

/*
 * The block at rip, as translated code looks it up or as the run loop would. Finding it may raise, and
 * may throw all code away.
 */
static struct x86_block *look_up(struct x86_cpu *cpu)
{
	struct x86_block *block = mirror_jumps_find(cpu, cpu->state.rip);

	/* A block that is invalid, or not ready, would lead right back here. */
	if (block && atomic_load_explicit(&block->block.valid, memory_order_relaxed))
		return mirror_ready(cpu, block) ? block : NULL;
	block = x86_block_find(cpu);
	if (cpu->mirror.must_leave ||
	    !atomic_load_explicit(&block->block.code, memory_order_relaxed) ||
	    !mirror_ready(cpu, block))
		return NULL;
	learn(cpu, block);
	return block;
}

/*
 * A fault's handler returns with RF set, as the fault pushed it, to the instruction that faulted; the
 * instruction clears it. Only instruction breakpoints look at it.
 */
static bool resume_past_rf(struct x86_cpu *cpu)
{
	struct x86_block *block;

	cpu->state.rflags &= ~X86_RF;
	if (!may_go_on(cpu) || cpu->lockstep) {
		cpu->state.rflags |= X86_RF;
		return false;
	}
	cpu->state.rflags |= X86_RF;
	block = x86_block_find(cpu);
	cpu->cpu.block = &block->block;
	cpu->insn = &block->insn[0];
	cpu->block_stop = false;
	cpu->state.rip += cpu->insn->length;
	cpu->state.rflags &= ~X86_RF;
	cpu->insn->fn(cpu, cpu->insn);
	flags_from_state(cpu);
	cpu->instructions++;
	cpu->insn = NULL;
	return !cpu->block_stop;
}

struct x86_block *mirror_go_on(struct x86_cpu *cpu)
{
	struct x86_block *block;

	flags_to_state(cpu);
	cpu->insn = NULL;
	cpu->mirror.exit = NULL;
	if (unlikely(cpu->state.rflags & X86_RF) && !resume_past_rf(cpu))
		return NULL;
	if (!may_go_on(cpu) || lockstep_unchained(cpu) || direct_wanted(cpu))
		return NULL;
	refresh(cpu);
	block = look_up(cpu);
	if (!block)
		return NULL;
	cpu->block_stop = false;
	cpu->mirror.code_base = cpu->state.rip & PAGE_MASK;
	return block;
}

struct x86_block *mirror_interpret_last(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_block *block;

	mirror_interpret(cpu, insn);
	cpu->mirror.stats.last++;
	block = mirror_go_on(cpu);
	if (!block)
		cpu->mirror.stats.last_left++;
	return block;
}

/* ---- running ---- */

/* The code that we come from will find block by itself the next time. */
static void connect(struct x86_cpu *cpu, struct x86_block *block)
{
	struct block_exit *exit = cpu->mirror.exit;

	if (lockstep_unchained(cpu))
		return;
	/* What runs into the next page depends on more than is known behind an exit. */
	if (exit && block->block.phys2 == ~0ull &&
	    cpu->state.rip == cpu->mirror.code_base + (uint64_t)(int64_t)exit->offset) {
		cpu->mirror.stats.chained++;
		x86_vec_park(cpu);
		blocks_chain(cpu->cpu.env.blocks, exit->owner, exit, &block->block);
	} else {
		learn(cpu, block);
	}
}

void mirror_run(struct x86_cpu *cpu, struct x86_block *block)
{
	const struct mirror_thunks *thunks = &cpu->cpu.env.translator->thunks;
	struct x86_mirror *mirror = &cpu->mirror;

	mirror->stats.entries++;
	refresh(cpu);
	mirror->must_leave = false;
	connect(cpu, block);
	mirror->code_base = cpu->state.rip & PAGE_MASK;
	cpu->cpu.block = &block->block;
	cpu->insn = NULL;
	mirror->exit = NULL;
	flags_from_state(cpu);
	thunks->enter(cpu, block);
	cpu->instructions += block->count;
	cpu->insn = NULL;
	flags_to_state(cpu);
	if (mirror->exit) {
		cpu->cpu.block = mirror->exit->owner;
		cpu->state.rip = mirror->code_base + (uint64_t)(int64_t)mirror->exit->offset;
	}
}

/* ---- translating ---- */

void mirror_consider(struct x86_cpu *cpu, struct x86_block *block)
{
	if (block->heat < HOT_EXECUTIONS) {
		block->heat++;
		return;
	}
	if (block->heat == HOT_EXECUTIONS) {
		uint64_t start = __builtin_ia32_rdtsc();

		block->heat++; /* once only: what cannot be translated now cannot be later */
		x86_vec_park(cpu);
		mirror_translate(cpu, block);
		cpu->mirror.stats.translations++;
		cpu->mirror.stats.translating_ticks += __builtin_ia32_rdtsc() - start;
	}
}

/* ---- telling ---- */

/* Of those that were interpreted, the one to tell after last. INVALID: the first; none. */
static unsigned next_interpreted(const uint32_t *counts, unsigned last)
{
	unsigned best = ZYDIS_MNEMONIC_INVALID;

	for (unsigned i = 1; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++) {
		bool told = last && (counts[i] > counts[last] ||
				     (counts[i] == counts[last] && i <= last));

		if (!told && counts[i] && (!best || counts[i] > counts[best]))
			best = i;
	}
	return best;
}

void mirror_describe_stats(struct x86_cpu *cpu, char *text, size_t size)
{
	const struct x86_mirror_stats *stats = &cpu->mirror.stats;
	unsigned mnemonic = ZYDIS_MNEMONIC_INVALID;
	size_t used;

	if (!stats->by_mnemonic)
		return;
	used = (size_t)snprintf(text, size,
				"translated code: entered %lu, exits chained %lu, jumps learned %lu, "
				"tables emptied %lu\nhost mappings: %lu made, %lu reads missed\n%lu translations in %lu ms, %lu page walks\n"
				"interpreted: %lu, of these last %lu (left %lu)\n",
				stats->entries, stats->chained, stats->learned, stats->emptied,
				stats->mapped, stats->missed,
				stats->translations,
				stats->translating_ticks / (x86_tsc_hz(cpu->cpuid) / 1000),
				stats->walks, stats->interpreted, stats->last, stats->last_left);
	for (unsigned i = 0; i < STATS_MNEMONICS && used < size; i++) {
		mnemonic = next_interpreted(stats->by_mnemonic, mnemonic);
		if (!mnemonic)
			break;
		used += (size_t)snprintf(text + used, size - used, "  %-12s %u\n",
					 ZydisMnemonicGetString(mnemonic),
					 stats->by_mnemonic[mnemonic]);
	}
}
