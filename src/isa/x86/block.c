/* SPDX-License-Identifier: MIT */
/*
 * Invariants: a cached block's bytes lie in one page of RAM or ROM, but for a block of one instruction
 * that runs into the next page; its key holds all that its decoding depended on; code within fifteen
 * bytes of a segment limit is never cached, because the limit is no part of the key.
 */
#include "isa/x86/block.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "cpu/exclusive.h"
#include "dev/bus.h"
#include "isa/x86/decode.h"
#include "isa/x86/memory/fetch.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/memory/tlb.h"
#include "mem/mem.h"

#define JUMP_CACHE_BITS 15
#define MAX_LENGTH 15
#define PAGE_MASK 0xfffull

int x86_blocks_create(struct x86_cpu *cpu, struct error *err)
{
	cpu->jump_cache = calloc(1u << JUMP_CACHE_BITS, sizeof(struct x86_block *));
	cpu->scratch = calloc(1, sizeof(struct x86_block) + sizeof(struct insn));
	if (!cpu->jump_cache || !cpu->scratch)
		return error_set(err, ENOMEM, "no memory for CPU %u's blocks", cpu->cpu.index);
	return 0;
}

void x86_blocks_destroy(struct x86_cpu *cpu)
{
	free(cpu->jump_cache);
	free(cpu->scratch);
}

/* Few blocks begin within four bytes; the fewer cache lines hold the slots of those that do the better. */
static struct x86_block **jump_slot(const struct x86_cpu *cpu, uint64_t phys)
{
	uint64_t place = phys >> 2;

	return &cpu->jump_cache[(place ^ place >> JUMP_CACHE_BITS) & ((1u << JUMP_CACHE_BITS) - 1)];
}

/* ---- making blocks ---- */

static void drop_write_tags(struct cpu *cpu, void *opaque)
{
	x86_tlb_drop_phys(x86_cpu(cpu), *(uint64_t *)opaque);
}

static _Atomic uint8_t *flags_at(struct x86_cpu *cpu, uint64_t phys)
{
	return mem_page_flags(mem_find(cpu->cpu.env.mem, phys), phys);
}

void x86_mark_code_page(struct x86_cpu *cpu, uint64_t phys)
{
	_Atomic uint8_t *flags = flags_at(cpu, phys);
	uint64_t page = phys & ~PAGE_MASK;

	/* While it stays a code page, nobody has a direct way to it: no need to stop anybody. */
	if (atomic_load(flags) & MEM_PAGE_CODE)
		return;
	x86_vec_park(cpu);
	exclusive_begin(&cpu->cpu);
	if (!(atomic_fetch_or(flags, MEM_PAGE_CODE) & MEM_PAGE_CODE))
		exclusive_each(cpu->cpu.env.exclusive, drop_write_tags, &page);
	exclusive_end(&cpu->cpu);
}

bool x86_mark_exec_page(struct x86_cpu *cpu, uint64_t phys)
{
	_Atomic uint8_t *flags = flags_at(cpu, phys);
	uint8_t now = atomic_load(flags);

	while (now < MEM_PAGE_HELD && !(now & MEM_PAGE_EXEC)) {
		if (!(now & MEM_PAGE_CODE)) {
			x86_mark_code_page(cpu, phys);
			now = atomic_load(flags);
		} else {
			atomic_compare_exchange_weak(flags, &now, now | MEM_PAGE_EXEC);
		}
	}
	return now < MEM_PAGE_HELD;
}

static unsigned decode_into(struct x86_cpu *cpu, const uint8_t *bytes, unsigned size,
			    struct insn *insn)
{
	return x86_decode(cpu, cpu->mode, bytes, size < MAX_LENGTH ? size : MAX_LENGTH, insn);
}

/* Decodes up to the page's end, a control transfer or the maximum; size_bytes is what was used. */
static unsigned decode_page(struct x86_cpu *cpu, const uint8_t *bytes, unsigned size,
			    struct insn *insns, unsigned *size_bytes)
{
	unsigned count = 0, done = 0;

	while (count < X86_BLOCK_INSNS && done < size) {
		unsigned length = decode_into(cpu, bytes + done, size - done, &insns[count]);

		if (!length)
			break;
		done += length;
		if (insns[count].mnemonic == ZYDIS_MNEMONIC_INVALID)
			done += MAX_LENGTH - 1; /* any byte of these may make it valid */
		if (insns[count++].flags & INSN_ENDS_BLOCK)
			break;
	}
	*size_bytes = done < size ? done : size;
	return count;
}

static struct x86_block *copy_block(struct x86_cpu *cpu, const struct insn *insns, unsigned count)
{
	struct x86_block *block;

	x86_vec_park(cpu);
	block = malloc(sizeof(*block) + count * sizeof(struct insn));
	if (!block)
		return NULL;
	block->block = (struct block){ .key = cpu->block_key, .phys2 = ~0ull };
	block->count = (uint16_t)count;
	block->heat = 0;
	block->uses_vec = block->uses_x87 = false;
	block->translations = 0;
	for (unsigned i = 0; i < count; i++) {
		block->insn[i] = insns[i];
		block->insn[i].position = (uint16_t)i;
	}
	return block;
}

/* A block of one instruction for this execution only. */
static struct x86_block *scratch_block(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_block *block = cpu->scratch;

	block->insn[0] = *insn;
	block->count = 1;
	return block;
}

static struct x86_block *insert_block(struct x86_cpu *cpu, struct x86_block *block,
				      uint64_t generation, uint64_t generation2)
{
	uint32_t bytes = (uint32_t)(sizeof(*block) + block->count * sizeof(struct insn));
	struct block *inserted = blocks_insert(cpu->cpu.env.blocks, &block->block, bytes,
					       generation, generation2);

	if (!inserted)
		free(block);
	return (struct x86_block *)inserted;
}

/* The instruction at linear runs past the end of its page, of which bytes holds the last size. */
static struct x86_block *build_crossing(struct x86_cpu *cpu, uint64_t linear, uint64_t phys,
					const uint8_t *bytes, unsigned size, uint64_t generation)
{
	uint64_t next = cpu->mode == X86_MODE_64 ? linear + size : (uint32_t)(linear + size);
	struct blocks *blocks = cpu->cpu.env.blocks;
	uint8_t joined[MAX_LENGTH];
	struct x86_block *block;
	const uint8_t *host;
	uint64_t generation2 = 0;
	uint64_t phys2;
	struct insn insn;
	unsigned length;

	x86_tlb_fetch(cpu, next, &phys2, &host);
	if (host) {
		generation2 = blocks_generation(blocks, phys2);
		x86_mark_code_page(cpu, phys2);
	}
	for (unsigned i = 0; i < MAX_LENGTH; i++)
		joined[i] = i < size ? bytes[i] : host ? host[i - size] : 0xff;
	length = decode_into(cpu, joined, MAX_LENGTH, &insn);
	insn.page_offset = phys & PAGE_MASK;
	if (!host || length <= size)
		return scratch_block(cpu, &insn);
	block = copy_block(cpu, &insn, 1);
	if (!block)
		return scratch_block(cpu, &insn);
	block->block.phys = phys;
	block->block.phys2 = phys2;
	block->block.size_bytes = (uint16_t)size;
	block->block.size2_bytes = (uint16_t)(length - size);
	return insert_block(cpu, block, generation, generation2);
}

/* NULL: the page was written meanwhile, try again. */
static struct x86_block *build_block(struct x86_cpu *cpu, uint64_t linear, uint64_t phys,
				     const uint8_t *host)
{
	uint64_t generation = blocks_generation(cpu->cpu.env.blocks, phys);
	unsigned left = MEM_PAGE_SIZE - (phys & PAGE_MASK), size_bytes, count;
	struct insn insns[X86_BLOCK_INSNS];
	struct x86_block *block;

	x86_mark_code_page(cpu, phys);
	count = decode_page(cpu, host, left, insns, &size_bytes);
	if (!count)
		return build_crossing(cpu, linear, phys, host, left, generation);
	block = copy_block(cpu, insns, count);
	if (!block)
		return scratch_block(cpu, &insns[0]);
	block->block.phys = phys;
	block->block.size_bytes = (uint16_t)size_bytes;
	for (unsigned i = 0, at = phys & PAGE_MASK; i < count; at += insns[i++].length)
		block->insn[i].page_offset = (uint16_t)at;
	return insert_block(cpu, block, generation, 0);
}

/* ---- code that is not cached: in device memory, or close to a segment's limit ---- */

static uint8_t fetch_byte(struct x86_cpu *cpu, uint64_t linear)
{
	const uint8_t *host;
	uint64_t phys;

	if (cpu->mode != X86_MODE_64)
		linear = (uint32_t)linear;
	x86_tlb_fetch(cpu, linear, &phys, &host);
	if (host)
		return *host;
	x86_vec_park(cpu);
	return (uint8_t)bus_read(cpu->cpu.env.mmio, phys, 1, (int)cpu->cpu.index);
}

static struct x86_block *build_scratch(struct x86_cpu *cpu, uint64_t linear, uint64_t limit)
{
	uint8_t bytes[MAX_LENGTH];
	struct insn insn;

	for (unsigned size = 1; size <= MAX_LENGTH; size++) {
		if (size > limit)
			x86_general_protection(cpu);
		bytes[size - 1] = fetch_byte(cpu, linear + size - 1);
		if (decode_into(cpu, bytes, size, &insn))
			return scratch_block(cpu, &insn);
	}
	return scratch_block(cpu, &insn);
}

/* ---- look-up ---- */

void x86_blocks_look_up(struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < 1u << JUMP_CACHE_BITS; i++)
		cpu->jump_cache[i] = NULL;
}

/* No jump cache may point to a block that is freed. */
static void pin(struct cpu *cpu, void *opaque)
{
	(void)opaque;
	if (cpu->block)
		cpu->block->pins++;
	x86_blocks_look_up(x86_cpu(cpu));
	mirror_forget(x86_cpu(cpu));
}

static void unpin(struct cpu *cpu, void *opaque)
{
	(void)opaque;
	if (cpu->block)
		cpu->block->pins--;
}

static bool code_full(const struct x86_cpu *cpu)
{
	return cpu->cpu.env.translator && mirror_full(cpu->cpu.env.translator);
}

static void reclaim(struct x86_cpu *cpu, bool everything)
{
	struct translator *translator = cpu->cpu.env.translator;

	x86_vec_park(cpu);
	exclusive_begin(&cpu->cpu);
	everything |= code_full(cpu);
	exclusive_each(cpu->cpu.env.exclusive, pin, NULL);
	blocks_reclaim(cpu->cpu.env.blocks, everything);
	if (everything && translator)
		mirror_restart(translator);
	exclusive_each(cpu->cpu.env.exclusive, unpin, NULL);
	exclusive_end(&cpu->cpu);
}

void x86_blocks_forget(struct x86_cpu *cpu)
{
	reclaim(cpu, true);
}

/* A block that crosses pages also depends on what the next linear page maps to now. */
static bool still_maps(struct x86_cpu *cpu, const struct block *block, uint64_t linear)
{
	const uint8_t *host;
	uint64_t phys2, next = linear + block->size_bytes;

	if (likely(block->phys2 == ~0ull))
		return true;
	x86_tlb_fetch(cpu, cpu->mode == X86_MODE_64 ? next : (uint32_t)next, &phys2, &host);
	return phys2 == block->phys2;
}

static struct x86_block *find_slow(struct x86_cpu *cpu, uint64_t linear, uint64_t phys,
				   const uint8_t *host)
{
	struct x86_block *block;

	if (blocks_wants_reclaim(cpu->cpu.env.blocks) || unlikely(code_full(cpu)))
		reclaim(cpu, false);
	block = (struct x86_block *)blocks_find(cpu->cpu.env.blocks, phys, cpu->block_key);
	if (block && !still_maps(cpu, &block->block, linear))
		block = NULL;
	while (!block)
		block = build_block(cpu, linear, phys, host);
	if (block != cpu->scratch)
		*jump_slot(cpu, phys) = block;
	return block;
}

struct x86_block *x86_block_find(struct x86_cpu *cpu)
{
	uint64_t linear = cpu->state.rip, phys, room = ~0ull;
	const struct x86_seg *cs = &cpu->state.seg[X86_CS];
	struct x86_block *block;
	const uint8_t *host;

	cpu->insn = NULL;
	if (cpu->mode != X86_MODE_64) {
		cpu->state.rip = (uint32_t)cpu->state.rip;
		if (cpu->state.rip > cs->limit)
			x86_general_protection(cpu);
		room = (uint64_t)cs->limit - cpu->state.rip + 1;
		linear = (uint32_t)(cs->base + cpu->state.rip);
		if (unlikely(room < MAX_LENGTH))
			return build_scratch(cpu, linear, room);
	}
	x86_tlb_fetch(cpu, linear, &phys, &host);
	if (unlikely(!host))
		return build_scratch(cpu, linear, room);
	block = *jump_slot(cpu, phys);
	if (unlikely(!block || block->block.phys != phys || block->block.key != cpu->block_key ||
		     !atomic_load_explicit(&block->block.valid, memory_order_relaxed) ||
		     !still_maps(cpu, &block->block, linear)))
		block = find_slow(cpu, linear, phys, host);
	if (unlikely(block->block.size_bytes + block->block.size2_bytes > room))
		return build_scratch(cpu, linear, room);
	return block;
}
