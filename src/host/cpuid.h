/* SPDX-License-Identifier: MIT */
/*
 * CPUID that faults. Linux can do that for a thread, by a register of the processor that it writes
 * whenever it switches between a thread that has this and one that has not. On a host that is itself a
 * virtual machine that costs microseconds, up to ten. So where a thread and a process take turns
 * (cell.h), both have it or none; and what the thread executes of CPUID is done in the handler.
 */
#ifndef RINGLET_HOST_CPUID_H
#define RINGLET_HOST_CPUID_H

#include <stdbool.h>
#include <ucontext.h>

/* From now on CPUID faults in the calling thread, or not any more. For nothing, where it is so already. */
void cpuid_deny(void);
void cpuid_allow(void);

/*
 * In the handler of SIGSEGV: was it that? Then the instruction has been done. In any thread: those that
 * were started by one that has this have it, too.
 */
bool cpuid_fault(mcontext_t *machine);

#endif
