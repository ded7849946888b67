/* SPDX-License-Identifier: MIT */
/* Entries of the MSR table, and the handlers that have a file of their own. See msr.c. */
#ifndef RINGLET_ISA_X86_MSR_TABLE_H
#define RINGLET_ISA_X86_MSR_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

#define MSR_XFD 0x1c4u
#define MSR_MC0_CTL 0x400u
#define MSR_TSC_DEADLINE 0x6e0u

#define X86_PAT_RESET 0x0007040600070406ull

/* Every stride-th of first … last. */
struct msr {
	uint32_t first, last, stride;
	uint32_t field; /* offset of the first one's uint64_t in struct x86_cpu; 0: none */
	uint64_t bits;  /* that may be written to the field */
	bool canonical; /* only addresses may */
	/* false: #GP. They come before the field. */
	bool (*read)(struct x86_cpu *cpu, uint32_t index, uint64_t *value);
	bool (*write)(struct x86_cpu *cpu, uint32_t index, uint64_t value);
};

/* mtrr.c */
bool x86_mtrr_read_cap(struct x86_cpu *cpu, uint32_t index, uint64_t *value);
bool x86_mtrr_write_base(struct x86_cpu *cpu, uint32_t index, uint64_t value);
bool x86_mtrr_write_mask(struct x86_cpu *cpu, uint32_t index, uint64_t value);
bool x86_mtrr_write_fixed(struct x86_cpu *cpu, uint32_t index, uint64_t value);
bool x86_mtrr_write_def_type(struct x86_cpu *cpu, uint32_t index, uint64_t value);
bool x86_mtrr_write_pat(struct x86_cpu *cpu, uint32_t index, uint64_t value);

#endif
