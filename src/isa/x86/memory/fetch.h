/* SPDX-License-Identifier: MIT */
/* Instruction fetch through the TLB: where the code at a linear address lies. The CPU's thread. */
#ifndef RINGLET_ISA_X86_FETCH_H
#define RINGLET_ISA_X86_FETCH_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

/*
 * phys: guest-physical address of the byte at linear; host: its host address, good up to the end of
 * the page. false: no RAM or ROM is there (host NULL): the bytes come from the MMIO bus. Raises #PF
 * when the fetch is not allowed, #GP(0) when linear is not canonical in long mode.
 */
bool x86_tlb_fetch(struct x86_cpu *cpu, uint64_t linear, uint64_t *phys, const uint8_t **host);

#endif
