/* SPDX-License-Identifier: MIT */
/*
 * A mapping (a generation of the TLB's, struct x86_cpu) has a turn: a number of 16 bits that no other
 * mapping has whose entries may still be there. Address a has its entry at (a + turn) mod 65536. So an
 * index and an address tell the turn: an entry that holds the address that was asked for, be that canonical
 * or not, is of the mapping that was asked for, and nothing but the address need be compared.
 *
 * Two turns belong to no mapping: CPU_TURN_NONE, with which translated code looks things up while something
 * is requested, and finds none; and TURN_EMPTY. An empty entry holds 0, which at one index is address 0's; there,
 * and where CPU_TURN_NONE has address 0, an address of that turn stands for "empty".
 */
#include "isa/x86/mirror/jumps.h"

#include "isa/x86/memory/tlb.h"

#define TURN_EMPTY 0u
#define TURN_FIRST 2u /* behind CPU_TURN_NONE */
#define TURNS (X86_JUMPS - TURN_FIRST)
#define TURN_STEP 40503u /* has no divisor in common with TURNS; spreads mappings */

_Static_assert(X86_JUMP_TABLES == CPU_TABLES, "each has a turn");

static unsigned current_table(const struct x86_cpu *cpu)
{
	return cpu->block_key & X86_KEY_CPL0 ? X86_JUMP_SUPERVISOR : X86_JUMP_USER;
}

static unsigned index_of(const struct x86_cpu *cpu, uint64_t linear)
{
	return (uint16_t)(linear + cpu->mirror.owner[current_table(cpu)].turn);
}

/* Of what is empty already no page is touched. */
static void empty(struct x86_jumps *jumps)
{
	for (unsigned i = 0; i < 2 * X86_JUMPS; i++)
		if (jumps->way[i].linear)
			jumps->way[i].linear = 0;
	for (unsigned i = 0; i < X86_FAR_JUMPS; i++)
		if (jumps->far[i].key)
			jumps->far[i].key = 0;
}

/* Nobody finds address 0 where there is nothing. */
static void guard_zero(struct x86_jumps *jumps, unsigned index)
{
	for (unsigned i = index; i < 2 * X86_JUMPS; i += X86_JUMPS)
		if (!jumps->way[i].linear)
			jumps->way[i].linear = X86_JUMPS + (uint16_t)(index - TURN_EMPTY);
}

static void change_owner(struct x86_cpu *cpu, struct x86_table_owner *owner, uint64_t generation)
{
	if (owner->epoch != generation / TURNS || owner->key != cpu->block_key) {
		owner->epoch = generation / TURNS;
		owner->key = cpu->block_key;
		cpu->mirror.stats.emptied++;
		empty(cpu->mirror.jumps);
	}
	owner->generation = generation;
	owner->turn = (uint32_t)(TURN_FIRST + generation % TURNS * TURN_STEP % TURNS);
	guard_zero(cpu->mirror.jumps, owner->turn);
	guard_zero(cpu->mirror.jumps, CPU_TURN_NONE);
}

void mirror_jumps_turn(struct x86_cpu *cpu)
{
	unsigned table = current_table(cpu);
	struct x86_table_owner *owner = &cpu->mirror.owner[table];
	uint64_t generation;

	/* Not one of an earlier epoch: it and younger ones would take turns in emptying the table. */
	if (table == X86_JUMP_USER && unlikely(!cpu->mapping_generation[table]))
		x86_tlb_confirm(cpu, owner->epoch * TURNS);
	generation = cpu->mapping_generation[table];
	cpu->mirror.jumps = &cpu->mirror.tables[table];
	if (unlikely(owner->generation != generation || owner->key != cpu->block_key || !owner->turn))
		change_owner(cpu, owner, generation);
	cpu_set_turn(&cpu->cpu, table,
		     cpu->direct_rests && table == X86_JUMP_USER ? CPU_TURN_NONE : owner->turn);
}

struct x86_block *mirror_jumps_find(const struct x86_cpu *cpu, uint64_t linear)
{
	const struct x86_jumps *jumps = cpu->mirror.jumps;
	unsigned i = index_of(cpu, linear);

	if (jumps->way[i].linear != linear)
		i += X86_JUMPS;
	return jumps->way[i].linear == linear ? jumps->way[i].block : NULL;
}

void mirror_jumps_learn(struct x86_cpu *cpu, uint64_t linear, struct x86_block *block)
{
	struct x86_jumps *jumps = cpu->mirror.jumps;
	unsigned i = index_of(cpu, linear);

	if (jumps->way[i].linear != linear)
		jumps->way[i + X86_JUMPS] = jumps->way[i];
	jumps->way[i] = (struct x86_jump){ linear, block };
}

void mirror_jumps_forget(struct x86_cpu *cpu)
{
	for (unsigned table = 0; table < X86_JUMP_TABLES; table++) {
		empty(&cpu->mirror.tables[table]);
		cpu->mirror.owner[table].turn = 0;
	}
}
