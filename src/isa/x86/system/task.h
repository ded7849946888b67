/* SPDX-License-Identifier: MIT */
/* Hardware task switches: Intel SDM vol. 3, chapter 8. The CPU's own thread. */
#ifndef RINGLET_ISA_X86_TASK_H
#define RINGLET_ISA_X86_TASK_H

#include <stdint.h>

struct x86_cpu;
struct x86_event;

/* What switches: decides about busy bits, NT and the back link. */
enum x86_task_source { X86_TASK_JUMP, X86_TASK_CALL, X86_TASK_EVENT, X86_TASK_RETURN };

/*
 * Switches to the task whose TSS selector names. The caller has checked the privilege, and that the
 * mode knows task switches (IA-32e mode does not).
 * event: for X86_TASK_EVENT, else NULL; its error code is pushed on the new task's stack.
 *
 * Raises with the state unchanged until the new TSS has been read and the old one written; what is
 * found wrong after that belongs to the new task and is raised with fault.is_trap set, so that RIP,
 * which is the new task's, stays.
 */
void x86_task_switch(struct x86_cpu *cpu, uint16_t selector, enum x86_task_source source,
		     const struct x86_event *event);

/* IRET with NT set: back to the task in the TSS' back link. */
void x86_task_return(struct x86_cpu *cpu);

#endif
