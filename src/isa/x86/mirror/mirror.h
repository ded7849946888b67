/* SPDX-License-Identifier: MIT */
/*
 * The mirror translator: hot blocks become host code in which most guest instructions are themselves.
 * docs/TRANSLATOR.md walks through one block. What a block's code may rely on and must keep:
 *
 * - Registers lie as regs.h says; host RSP is the struct x86_cpu; DF is clear.
 * - At block boundaries the guest's status flags are in mirror.flags, or nobody will read them. Between
 *   instructions of a block they are there, in the host's flags, or in both (struct emit says where).
 * - mirror.code_base is the linear address of the page the block lies in: code is found by physical
 *   address, so it knows its offset in the page only.
 * - Whatever is not simple is done by the interpreter's semantics, through a thunk that brings the
 *   registers home first. A memory access that misses the TLB is such a thing, too: the cold path of
 *   every instruction is the interpreter's whole instruction.
 *
 * The code cache is shared by the machine's CPUs and thrown away as a whole when it is full.
 */
#ifndef RINGLET_ISA_X86_MIRROR_MIRROR_H
#define RINGLET_ISA_X86_MIRROR_MIRROR_H

#include <stdbool.h>
#include <stddef.h>

#include "cpu/isa.h"
#include "isa/x86/block.h"
#include "isa/x86/x86.h"

struct blocks;
struct error;

/* Stack that the C code under translated code has, below struct x86_cpu. */
#define MIRROR_STACK_BYTES (256u << 10)

/* blocks learns the thunks. -ENOTSUP: a host without BMI2. */
int translator_create(struct translator **translator, struct blocks *blocks,
		      const struct translator_config *config, struct error *err);
void translator_destroy(struct translator *translator);

/* A CPU's own part: jump tables. Nothing to do without a translator. */
int mirror_cpu_create(struct x86_cpu *cpu, struct error *err);
void mirror_cpu_destroy(struct x86_cpu *cpu);

/* Counts an execution and translates when the block is hot; parks the vector state then. */
void mirror_consider(struct x86_cpu *cpu, struct x86_block *block);

/*
 * Whether block's code may be entered: not with x87 errors unmasked, if it has x87 instructions. The
 * vector state is made live to know.
 */
static inline bool mirror_ready(struct x86_cpu *cpu, const struct x86_block *block)
{
	if (likely(!block->uses_x87))
		return true;
	x86_vec_load(cpu);
	return cpu->x87_live;
}

/*
 * Runs translated code from block on, until an event wants attention or it comes to code that is not
 * translated. rip is exact afterwards. Faults unwind as from any instruction.
 */
void mirror_run(struct x86_cpu *cpu, struct x86_block *block);

/*
 * Where to go on when the host raised an exception at rip with these flags (see hostfault.c): the cold
 * path of the instruction there; 0: no translated instruction is at rip. From a signal handler.
 */
uint64_t mirror_fault(struct x86_cpu *cpu, uint64_t rip, uint64_t flags, bool memory);

/* Counts for humans, NUL-terminated; nothing where nothing is translated. The CPU may run. */
void mirror_describe_stats(struct x86_cpu *cpu, char *text, size_t size);

/* In an exclusive section: forgets what points at blocks. */
void mirror_forget(struct x86_cpu *cpu);
/* In an exclusive section, with no valid code left: the buffer starts again. */
bool mirror_full(const struct translator *translator);
void mirror_restart(struct translator *translator);

#endif
