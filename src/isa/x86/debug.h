/* SPDX-License-Identifier: MIT */
/* Debug registers: what matches. Intel SDM vol. 3B, chapter 18. The CPU's own thread; none raises. */
#ifndef RINGLET_ISA_X86_DEBUG_H
#define RINGLET_ISA_X86_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

#define X86_DR6_HITS 0xfull      /* B0 … B3 */
#define X86_DR6_BD (1ull << 13)  /* debug register access under DR7.GD */
#define X86_DR6_BS (1ull << 14)  /* single step */
#define X86_DR6_BT (1ull << 15)  /* task switch */
#define X86_DR6_FIXED 0xffff0ff0ull
#define X86_DR6_WRITABLE 0xe00full
#define X86_DR7_FIXED 0x400ull
#define X86_DR7_WRITABLE 0xffff23ffull
#define X86_DR7_ENABLES 0xffull  /* L0 G0 … L3 G3 */
#define X86_DR7_GD (1ull << 13)

/* DR6 bits of the enabled breakpoints for an instruction that begins at linear. */
uint64_t x86_debug_fetch_hits(const struct x86_cpu *cpu, uint64_t linear);
/* … for a data access; adds nothing to cpu->debug_hits. */
uint64_t x86_debug_data_hits(const struct x86_cpu *cpu, uint64_t linear, unsigned size, bool write);
/* … for an I/O access (CR4.DE). */
uint64_t x86_debug_io_hits(const struct x86_cpu *cpu, uint16_t port, unsigned size);

#endif
