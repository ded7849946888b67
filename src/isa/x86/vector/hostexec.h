/* SPDX-License-Identifier: MIT */
/*
 * Running x87, MMX, SSE … AVX-512 and other user-level instructions on the host itself, on the
 * guest's registers: each distinct instruction gets a stub of host code, made once. See hostexec.c.
 * All on the CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_HOSTEXEC_H
#define RINGLET_ISA_X86_HOSTEXEC_H

#include <stdint.h>

struct error;
struct x86_cpu;

/*
 * Fills cpu->hostexec; catches SIGFPE, SIGILL, SIGBUS and SIGSEGV in the process from now on (those
 * that are not a stub's go on to who caught them before) and unblocks them in this thread, from
 * which the CPU's thread must inherit its signal mask. -ENOTSUP: a host without XSAVE; -ENOMEM.
 * Before the guest runs (it calls libc).
 */
int x86_hostexec_create(struct x86_cpu *cpu, struct error *err);
/* No CPU of the machine runs any more. Harmless when there is none. */
void x86_hostexec_destroy(struct x86_cpu *cpu);

/* Power-on vector state into state.xsave (Intel SDM vol. 3, table 10-1); parks first. */
void x86_vec_reset(struct x86_cpu *cpu);

/* Components of the guest's vector state that are not in their initial configuration, as XGETBV
 * with ECX = 1 answers; may park. */
uint64_t x86_vec_inuse(struct x86_cpu *cpu);

#endif
