/* SPDX-License-Identifier: MIT */
/*
 * The frame that a far call or an event puts on a stack: gathered first, checked as a whole,
 * written last, so that a fault leaves registers and (but for what other CPUs do meanwhile) memory
 * unchanged.
 * Intel SDM vol. 3, 5.8.5 and 6.12. The CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_FRAME_H
#define RINGLET_ISA_X86_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

/* A 32-bit call gate through a stack switch: SS:ESP, 31 parameters, CS:EIP. */
#define X86_FRAME_MAX 36

struct x86_frame {
	struct x86_seg ss;   /* as it will be */
	uint64_t sp;         /* before the pushes; x86_frame_write moves it */
	uint8_t stack_size;  /* width of sp: 2, 4 or 8 */
	uint8_t value_size;  /* of each push: 2, 4 or 8 */
	bool system;         /* pushed by the supervisor, whatever the CPL is now */
	uint32_t ext;        /* EXT bit of what it raises */
	unsigned count;
	uint64_t value[X86_FRAME_MAX];
};

/* A frame on the stack in use. code64: the code that will find it runs in 64-bit mode. */
void x86_frame_on_current(struct x86_cpu *cpu, struct x86_frame *frame, unsigned value_size,
			  bool code64, uint32_t ext);

/* Takes the stack of ring dpl from the TSS and checks it: not for IA-32e mode. */
void x86_frame_on_inner(struct x86_cpu *cpu, struct x86_frame *frame, unsigned value_size,
			unsigned dpl, uint32_t ext);

/* IA-32e mode: stack from the TSS' slot (see x86_tss_stack64) with a null SS of ring dpl. */
void x86_frame_on_inner64(struct x86_cpu *cpu, struct x86_frame *frame, unsigned slot,
			  unsigned dpl, uint32_t ext);

static inline void x86_frame_add(struct x86_frame *frame, uint64_t value)
{
	frame->value[frame->count++] = value;
}

/* Raises #SS or #PF, or writes all values. */
void x86_frame_write(struct x86_cpu *cpu, struct x86_frame *frame);

/* Makes the frame's stack the current one. Never raises; the caller updates the mode. */
void x86_frame_commit(struct x86_cpu *cpu, const struct x86_frame *frame);

/* RSP := sp as a stack of that width allows. */
void x86_set_stack_pointer(struct x86_cpu *cpu, uint64_t sp, unsigned stack_size);

#endif
