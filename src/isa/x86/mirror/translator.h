/* SPDX-License-Identifier: MIT */
/* Inside the translator: the machine-wide part, and its thunks. */
#ifndef RINGLET_ISA_X86_MIRROR_TRANSLATOR_H
#define RINGLET_ISA_X86_MIRROR_TRANSLATOR_H

#include <pthread.h>
#include <stdio.h>

#include "cpu/blocks.h"
#include "cpu/isa.h"
#include "gen/codebuf.h"
#include "isa/x86/insn.h"
#include "isa/x86/memory/hostmap.h"
#include "isa/x86/mirror/masm.h"
#include "isa/x86/mirror/sites.h"
#include "isa/x86/x86.h"

/* Pieces of generated code that all blocks share; addresses where they run. */
struct mirror_thunks {
	void (*enter)(struct x86_cpu *cpu, struct x86_block *block);
	const void *exit; /* jumped to: R11 is the block_exit, or 0 with rip set */
	const void *miss; /* jumped to: RCX is the new rip, which no table knows */
	const void *dead; /* jumped to: R11 is the block to be at */
	const void *call; /* called: R11 is an instruction to interpret; comes back after it, or leaves */
	const void *leave; /* jumped to: the same for a block's last instruction; goes on elsewhere */
	/* jumped to: RCX is the new rip, R11 the slot of this table that did not know it */
	const void *far[X86_JUMP_TABLES];
	const void *vec;  /* called: makes the vector state live */
	/* jumped to: R11 is the instruction, for SYSCALL RCX the next one's address */
	const void *syscall, *sysret;
};

struct translator {
	pthread_mutex_t mutex; /* making code */
	struct codebuf code;
	size_t thunk_bytes;    /* at the buffer's start; they stay */
	struct mirror_thunks thunks;
	struct masm masm;
	struct emit *emit;     /* translate.h: the region that is being made */
	unsigned far_jumps;    /* that slots were dealt out to */
	struct mirror_sites sites;
	const uint8_t *again_start, *again_end; /* code in this range is being made again */
	struct x86_hostmap_room room; /* without a nowhere translated code does without */
	bool dump;      /* --debug-translate */
	bool lockstep;  /* --debug-lockstep */
	enum translator_direct direct;
	FILE *perf_map; /* --perf-map, or NULL */
};

/* thunks.c: generates them; false: no room. */
bool mirror_make_thunks(struct translator *translator);

/* lookup.c: the far thunk */
void mirror_make_far(struct translator *t, const uint8_t *at, enum x86_jump_table table);

/* rings.c: its thunks, behind those of thunks.c */
void mirror_make_syscall(struct translator *translator, const uint8_t *at);
void mirror_make_sysret(struct translator *translator, const uint8_t *at);

/* dump.c */
int mirror_open_perf_map(struct translator *translator, struct error *err);

/* runtime.c: what thunks call. True: leave. */
bool mirror_interpret(struct x86_cpu *cpu, const struct insn *insn);
/* The last instruction of a block. The block to go on with, which has code, or NULL: leave. */
struct x86_block *mirror_interpret_last(struct x86_cpu *cpu, const struct insn *insn);
/* At rip, between blocks: the same. */
struct x86_block *mirror_go_on(struct x86_cpu *cpu);

#endif
