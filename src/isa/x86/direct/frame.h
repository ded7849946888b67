/* SPDX-License-Identifier: MIT */
/*
 * A cell's registers, which lie in the frame of its signal handler: between there and struct
 * x86_state. What a frame says may be a hostile guest's work; nothing of it can do more than user
 * code can do to its own registers. The CPU's thread, with the vector state parked.
 */
#ifndef RINGLET_ISA_X86_DIRECT_FRAME_H
#define RINGLET_ISA_X86_DIRECT_FRAME_H

#include <stdbool.h>
#include <stdint.h>

struct cell;
struct x86_cpu;

/* Why the cell gave the turn: the exception, if signal is one's. */
struct direct_event {
	uint32_t signal;
	int32_t code;                    /* of its siginfo */
	uint64_t call_address;           /* of a SIGSYS: where the kernel was entered from */
	uint64_t rip;
	uint64_t vector, error, address; /* trap number, error code, CR2 */
};

/* Flags that user code can change, as they are in the cell; false: there is no sound frame. */
bool direct_frame_flags(const struct cell *cell, uint64_t *flags);

/* What happened. false: as above. */
bool direct_frame_event(const struct cell *cell, struct direct_event *event);

/*
 * The guest's registers to the frame, and back. false: what is there is no frame of user code's;
 * the registers may be what it says.
 */
bool direct_frame_load(struct x86_cpu *cpu, const struct cell *cell);
bool direct_frame_store(struct x86_cpu *cpu, const struct cell *cell);

#endif
