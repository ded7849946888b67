/* SPDX-License-Identifier: MIT */
/*
 * The parked vector state, register by register. All functions want it parked and keep it so.
 * Layout: Intel SDM vol. 1, chapter 13.
 */
#ifndef RINGLET_ISA_X86_VEC_H
#define RINGLET_ISA_X86_VEC_H

#include <stdint.h>

struct x86_cpu;

/* Numbers of state components; their bits are 1 << number. */
enum vec_component {
	VEC_X87 = 0, VEC_SSE = 1, VEC_AVX = 2, VEC_OPMASK = 5, VEC_ZMM_HI256 = 6, VEC_HI16_ZMM = 7,
	VEC_PKRU = 9, VEC_TILECFG = 17, VEC_TILEDATA = 18,
};

#define VEC_BIT(component) (1ull << (component))
#define VEC_AVX512                                                                                 \
	(VEC_BIT(VEC_OPMASK) | VEC_BIT(VEC_ZMM_HI256) | VEC_BIT(VEC_HI16_ZMM))

#define VEC_AMX (VEC_BIT(VEC_TILECFG) | VEC_BIT(VEC_TILEDATA))

/* Offsets into the legacy region and the header. */
enum {
	VEC_FCW = 0, VEC_FSW = 2, VEC_FTW = 4, VEC_FOP = 6, VEC_FIP = 8, VEC_FDP = 16,
	VEC_MXCSR = 24, VEC_MXCSR_MASK = 28, VEC_ST = 32, VEC_XMM = 160, VEC_LEGACY_BYTES = 512,
	VEC_XSTATE_BV = 512, VEC_XCOMP_BV = 520, VEC_HEADER_END = 576,
};

#define VEC_MXCSR_DEFAULT 0x1f80u
#define VEC_FCW_DEFAULT 0x37fu
#define VEC_FCW_MASKS 0x3fu

static inline uint64_t vec_get64(const uint8_t *image, unsigned at)
{
	return *(const uint64_t *)(image + at);
}

static inline uint32_t vec_get32(const uint8_t *image, unsigned at)
{
	return *(const uint32_t *)(image + at);
}

static inline void vec_put64(uint8_t *image, unsigned at, uint64_t value)
{
	*(uint64_t *)(image + at) = value;
}

static inline void vec_put32(uint8_t *image, unsigned at, uint32_t value)
{
	*(uint32_t *)(image + at) = value;
}

static inline void vec_put16(uint8_t *image, unsigned at, uint16_t value)
{
	*(uint16_t *)(image + at) = value;
}

/* After a change of the x87 control word in the host's registers: cpu->x87_live. */
void vec_note_control(struct x86_cpu *cpu);

/* Gives these components bytes in the image and marks them so, if they are in their initial
 * configuration; afterwards they can be read and written in place. */
void vec_materialise(struct x86_cpu *cpu, uint64_t components);

/* 16-byte lane 0 … 3 of a vector register; the register's component is materialised. */
uint8_t *vec_lane(struct x86_cpu *cpu, unsigned reg, unsigned lane);
/* The element at byte offset at of a vector register. */
uint64_t vec_element(struct x86_cpu *cpu, unsigned reg, unsigned at, unsigned size_bytes);
void vec_set_element(struct x86_cpu *cpu, unsigned reg, unsigned at, unsigned size_bytes,
		     uint64_t value);
/* Clears a vector register's bytes from size_bytes on. */
void vec_clear_above(struct x86_cpu *cpu, unsigned reg, unsigned size_bytes);
/* k0 … k7 */
uint64_t *vec_opmask(struct x86_cpu *cpu, unsigned reg);

#endif
