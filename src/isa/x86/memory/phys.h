/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical accesses below paging: RAM, ROM or the MMIO bus. The CPU's thread; nothing here
 * raises.
 */
#ifndef RINGLET_ISA_X86_PHYS_H
#define RINGLET_ISA_X86_PHYS_H

#include <stdint.h>

struct mem_region;
struct x86_cpu;

/*
 * len bytes at phys, all in one page. Up to 8 bytes whose number is a power of two are one access,
 * for RAM and on the bus; others are split. A write to ROM is dropped.
 */
void x86_phys_read(struct x86_cpu *cpu, uint64_t phys, void *data, unsigned len);
void x86_phys_write(struct x86_cpu *cpu, uint64_t phys, const void *data, unsigned len);

/*
 * Around a write to RAM that code may have been made of, at phys in region: nobody executes that page
 * as it is meanwhile. What happens between the two neither raises nor ends.
 */
void x86_phys_hold(struct x86_cpu *cpu, const struct mem_region *region, uint64_t phys);
void x86_phys_release(const struct mem_region *region, uint64_t phys);

/* Bytes of RAM at phys (in region) were written: if code was made of them, it goes. */
void x86_phys_wrote(struct x86_cpu *cpu, const struct mem_region *region, uint64_t phys,
		    unsigned len);

#endif
