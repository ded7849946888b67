/* SPDX-License-Identifier: MIT */
/*
 * Debug registers (Intel SDM vol. 3, 17.2): which fetches and accesses DR0-DR3 and DR7 watch. Pages
 * watched for data have no read and write tags in the TLB, so every access to them comes by here.
 * The CPU's own thread; nothing here raises.
 */
#ifndef RINGLET_ISA_X86_DEBUG_H
#define RINGLET_ISA_X86_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

#define X86_DR6_HITS 0xfull     /* B0 … B3 */
#define X86_DR6_BD (1ull << 13) /* debug register access under DR7.GD */
#define X86_DR6_BS (1ull << 14) /* single step */
#define X86_DR6_BT (1ull << 15) /* task switch */
#define X86_DR6_FIXED 0xffff0ff0ull
#define X86_DR6_WRITABLE 0xe00full
#define X86_DR7_FIXED 0x400ull
#define X86_DR7_WRITABLE 0xffff23ffull
#define X86_DR7_ENABLES 0xffull /* L0 G0 … L3 G3 */
#define X86_DR7_GD (1ull << 13)

/* DR6 bits of the enabled breakpoints for an instruction that begins at linear. */
uint64_t x86_debug_fetch_hits(const struct x86_cpu *cpu, uint64_t linear);
/* … for an access to I/O ports (CR4.DE). */
uint64_t x86_debug_io_hits(const struct x86_cpu *cpu, uint16_t port, unsigned size);

/* Breakpoint index is enabled (locally or globally) and for data writes, or reads and writes. */
static inline bool x86_debug_watches_data(uint64_t dr7, unsigned index)
{
	return ((dr7 >> index * 2) & 3) && ((dr7 >> (16 + index * 4)) & 1);
}

/* Length of breakpoint index: LEN is 0, 1, 3 or 2 for 1, 2, 4 or 8 bytes. */
static inline unsigned x86_debug_length(uint64_t dr7, unsigned index)
{
	unsigned len = (dr7 >> (18 + index * 4)) & 3;

	return len == 2 ? 8 : len + 1;
}

static inline bool x86_debug_watches_page(const struct x86_cpu *cpu, uint64_t page)
{
	if (likely(!(cpu->state.dr7 & 0xff)))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (x86_debug_watches_data(cpu->state.dr7, i) &&
		    (cpu->state.dr[i] & ~0xfffull) == page)
			return true;
	return false;
}

/* [linear, linear+len) was accessed: notes in debug_hits which breakpoints saw it. */
static inline void x86_debug_accessed(struct x86_cpu *cpu, uint64_t linear, unsigned len,
				      bool write)
{
	uint64_t dr7 = cpu->state.dr7;

	if (likely(!(dr7 & 0xff)))
		return;
	for (unsigned i = 0; i < 4; i++) {
		unsigned watched = x86_debug_length(dr7, i);
		uint64_t start = cpu->state.dr[i] & ~(uint64_t)(watched - 1);
		bool reads = (dr7 >> (17 + i * 4)) & 1;

		if (x86_debug_watches_data(dr7, i) && (write || reads) &&
		    linear < start + watched && start < linear + len)
			cpu->debug_hits |= 1u << i;
	}
}

#endif
