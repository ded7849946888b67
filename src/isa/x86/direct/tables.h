/* SPDX-License-Identifier: MIT */
/*
 * Whether descriptor tables say the same to user code in the guest and on the host. The CPU's
 * thread.
 */
#ifndef RINGLET_ISA_X86_DIRECT_TABLES_H
#define RINGLET_ISA_X86_DIRECT_TABLES_H

#include <stdbool.h>

struct x86_cpu;

/* Is the host's processor one that lets user code do what cells must (FSGSBASE)? */
bool tables_host_can(void);

/* Would LAR, VERR, VERW, SLDT, STR and loads of segment registers do the same? Raises nothing. */
bool tables_agree(struct x86_cpu *cpu);

#endif
