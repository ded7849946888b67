/* SPDX-License-Identifier: MIT */
/* The parts of event delivery: trap.c judges, deliver.c carries out. */
#ifndef RINGLET_ISA_X86_TRAP_H
#define RINGLET_ISA_X86_TRAP_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

/* An event on its way through IVT or IDT. */
struct x86_event {
	uint8_t kind;   /* enum x86_event_kind */
	uint8_t vector;
	bool has_error;
	uint32_t error;
};

/* EXT: whether the event came from outside the program, for error codes of what delivery raises. */
static inline uint32_t x86_event_ext(const struct x86_event *event)
{
	return event->kind != X86_EVENT_SOFTWARE;
}

/* Each delivers by its mode's rules or raises with the state unchanged. */
void x86_deliver_real(struct x86_cpu *cpu, const struct x86_event *event);
void x86_deliver_protected(struct x86_cpu *cpu, const struct x86_event *event);
void x86_deliver_long(struct x86_cpu *cpu, const struct x86_event *event);

/*
 * INT n in virtual-8086 mode that the redirection bitmap hands to the 8086 program's own vector
 * table (Intel SDM vol. 3, 20.3.3).
 */
void x86_deliver_v86_program(struct x86_cpu *cpu, unsigned vector);

/* RFLAGS as the frame holds them: RF is set for faults. */
uint64_t x86_event_flags(const struct x86_cpu *cpu, const struct x86_event *event);

/* Raises vector with the error code of an IDT entry. */
_Noreturn void x86_raise_idt(struct x86_cpu *cpu, enum x86_vector vector,
			     const struct x86_event *event);

#endif
