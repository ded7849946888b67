/* SPDX-License-Identifier: MIT */
/*
 * A CPU as text, for people: cpu/isa.h's describe functions. The CPU stands, its vector state is parked;
 * nothing of it changes.
 */
#ifndef RINGLET_ISA_X86_INSPECT_H
#define RINGLET_ISA_X86_INSPECT_H

#include <stddef.h>
#include <stdint.h>

struct cpu;

void x86_describe(struct cpu *cpu, char *text, size_t size);
void x86_describe_code(struct cpu *cpu, char *text, size_t size);
void x86_describe_address(struct cpu *cpu, uint64_t linear, char *text, size_t size);

#endif
