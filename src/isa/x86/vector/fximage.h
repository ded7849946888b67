/* SPDX-License-Identifier: MIT */
/* The legacy region of FXSAVE and XSAVE images: what fxsave.c and xsave.c share. */
#ifndef RINGLET_ISA_X86_FXIMAGE_H
#define RINGLET_ISA_X86_FXIMAGE_H

#include <stdint.h>

struct fields;
struct insn;
struct x86_cpu;

/* Where the XMM registers that the mode has end. */
unsigned fx_xmm_end(const struct x86_cpu *cpu);
/* The guest's last x87 instruction and operand, which the host's image cannot hold. */
void fx_export_pointers(const struct x86_cpu *cpu, const struct insn *insn, uint8_t *image);
void fx_import_pointers(struct x86_cpu *cpu, const struct insn *insn, const uint8_t *image);
/* The x87 control and status word as they come out when loaded: what is fixed and what follows. */
void fx_fix_words(uint8_t *image);
/* Bytes [start, end) of one image to the same place in another. */
void fx_copy(uint8_t *to, const uint8_t *from, unsigned start, unsigned end);
/* The same from or to the guest's, of whose legacy region they are whole fields. May raise. */
void fx_load(struct x86_cpu *cpu, const struct fields *image, uint8_t *to, unsigned start,
	     unsigned end);
void fx_store(struct x86_cpu *cpu, const struct fields *image, const uint8_t *from, unsigned start,
	      unsigned end);

#endif
