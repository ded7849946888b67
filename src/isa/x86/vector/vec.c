/* SPDX-License-Identifier: MIT */
/*
 * Who owns the host's vector registers, and what the guest's look like while they are parked.
 *
 * state.xsave is a standard-format image whose XSTATE_BV says which components have bytes: one
 * whose bit is clear is in its initial configuration and its bytes mean nothing. XSAVEOPT leaves
 * components out that did not change since the XRSTOR of the same image; so the image must not
 * change while vec_live, and nobody must look at it then.
 *
 * PKRU is never in the host's register for a guest: a guest's key rights must not bind the monitor.
 */
#include "isa/x86/vector/vec.h"

#include <string.h>

#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/x86.h"

static void host_xsave(struct hostexec *he, uint8_t *image)
{
	uint32_t low = (uint32_t)he->live, high = (uint32_t)(he->live >> 32);

	if (he->has_xsaveopt)
		__asm__ volatile("xsaveopt64 (%0)" : : "r"(image), "a"(low), "d"(high) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" : : "r"(image), "a"(low), "d"(high) : "memory");
}

static void host_xrstor(struct hostexec *he, const uint8_t *image)
{
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(image), "a"((uint32_t)he->live), "d"((uint32_t)(he->live >> 32))
			 : "memory");
}

void x86_vec_park(struct x86_cpu *cpu)
{
	if (!cpu->vec_live)
		return;
	host_xsave(cpu->hostexec, cpu->state.xsave);
	host_xrstor(cpu->hostexec, cpu->hostexec->clean);
	if (unlikely(cpu->hostexec->live & VEC_AMX) &&
	    !(vec_get64(cpu->state.xsave, VEC_XSTATE_BV) & VEC_AMX))
		cpu->hostexec->live &= ~VEC_AMX;
	cpu->vec_live = cpu->x87_live = false;
}

/* The image may come from outside (a snapshot): what XRSTOR would fault on is made good first. */
void x86_vec_load(struct x86_cpu *cpu)
{
	struct hostexec *he = cpu->hostexec;
	uint8_t *image = cpu->state.xsave;

	if (cpu->vec_live)
		return;
	vec_put64(image, VEC_XSTATE_BV, vec_get64(image, VEC_XSTATE_BV) & he->components);
	for (unsigned at = VEC_XCOMP_BV; at < VEC_HEADER_END; at += 8)
		vec_put64(image, at, 0);
	vec_put32(image, VEC_MXCSR, vec_get32(image, VEC_MXCSR) & he->mxcsr_mask);
	if (unlikely(vec_get64(image, VEC_XSTATE_BV) & VEC_AMX))
		he->live |= VEC_AMX;
	host_fault_bind(cpu);
	host_xrstor(he, image);
	cpu->vec_live = true;
	vec_note_control(cpu);
}

void vec_note_control(struct x86_cpu *cpu)
{
	uint16_t control;

	__asm__ volatile("fnstcw %0" : "=m"(control));
	cpu->x87_live = (control & VEC_FCW_MASKS) == VEC_FCW_MASKS;
}

void x86_vec_reset(struct x86_cpu *cpu)
{
	uint8_t *image = cpu->state.xsave;

	x86_vec_park(cpu);
	memset(image, 0, X86_XSAVE_MAX);
	vec_put16(image, VEC_FCW, 0x40);
	image[VEC_FTW] = 0xff; /* all registers hold +0.0 */
	vec_put32(image, VEC_MXCSR, VEC_MXCSR_DEFAULT);
	vec_put32(image, VEC_MXCSR_MASK, cpu->hostexec->mxcsr_mask);
	vec_put64(image, VEC_XSTATE_BV, VEC_BIT(VEC_X87));
	cpu->state.fpu_ip = cpu->state.fpu_dp = 0;
	cpu->state.fpu_cs = cpu->state.fpu_ds = cpu->state.fpu_opcode = 0;
}

/* Of the host's registers, by XGETBV itself. */
static uint64_t inuse_on_host(const struct hostexec *he)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
	return ((uint64_t)high << 32 | low) & he->live;
}

static uint64_t inuse_parked(const struct x86_cpu *cpu)
{
	const uint8_t *image = cpu->state.xsave;
	uint64_t inuse = vec_get64(image, VEC_XSTATE_BV) & cpu->hostexec->components;

	if (vec_get32(image, VEC_MXCSR) != VEC_MXCSR_DEFAULT)
		inuse |= VEC_BIT(VEC_SSE);
	return inuse;
}

uint64_t x86_vec_inuse(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;
	uint64_t inuse;

	if (!cpu->hostexec->has_xgetbv1)
		x86_vec_park(cpu);
	inuse = cpu->vec_live ? inuse_on_host(cpu->hostexec) : inuse_parked(cpu);
	if (state->fpu_ip || state->fpu_dp || state->fpu_opcode)
		inuse |= VEC_BIT(VEC_X87);
	if (state->pkru)
		inuse |= VEC_BIT(VEC_PKRU);
	return inuse & state->xcr0;
}

void vec_materialise(struct x86_cpu *cpu, uint64_t components)
{
	struct hostexec *he = cpu->hostexec;
	uint8_t *image = cpu->state.xsave;
	uint64_t present = vec_get64(image, VEC_XSTATE_BV);
	uint64_t missing = components & ~present & he->components;

	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (missing & VEC_BIT(i))
			memset(image + he->offset[i], 0, he->size[i]);
	}
	if (missing & VEC_BIT(VEC_SSE))
		memset(image + VEC_XMM, 0, 16 * 16);
	if (missing & VEC_BIT(VEC_X87)) {
		memset(image, 0, VEC_MXCSR);
		memset(image + VEC_ST, 0, VEC_XMM - VEC_ST);
		vec_put16(image, VEC_FCW, VEC_FCW_DEFAULT);
	}
	vec_put64(image, VEC_XSTATE_BV, present | missing);
}

uint8_t *vec_lane(struct x86_cpu *cpu, unsigned reg, unsigned lane)
{
	const uint32_t *offset = cpu->hostexec->offset;
	unsigned component, at;

	if (reg >= 16) {
		component = VEC_HI16_ZMM;
		at = offset[component] + 64 * (reg - 16) + 16 * lane;
	} else if (lane >= 2) {
		component = VEC_ZMM_HI256;
		at = offset[component] + 32 * reg + 16 * (lane - 2);
	} else if (lane == 1) {
		component = VEC_AVX;
		at = offset[component] + 16 * reg;
	} else {
		component = VEC_SSE;
		at = VEC_XMM + 16 * reg;
	}
	vec_materialise(cpu, VEC_BIT(component));
	return cpu->state.xsave + at;
}

uint64_t vec_element(struct x86_cpu *cpu, unsigned reg, unsigned at, unsigned size_bytes)
{
	const uint8_t *p = vec_lane(cpu, reg, at / 16) + at % 16;

	switch (size_bytes) {
	case 1: return *p;
	case 2: return *(const uint16_t *)p;
	case 4: return *(const uint32_t *)p;
	default: return *(const uint64_t *)p;
	}
}

void vec_set_element(struct x86_cpu *cpu, unsigned reg, unsigned at, unsigned size_bytes,
		     uint64_t value)
{
	uint8_t *p = vec_lane(cpu, reg, at / 16) + at % 16;

	if (size_bytes == 4)
		*(uint32_t *)p = (uint32_t)value;
	else
		*(uint64_t *)p = value;
}

void vec_clear_above(struct x86_cpu *cpu, unsigned reg, unsigned size_bytes)
{
	uint64_t components = cpu->hostexec->components;
	unsigned lanes = components & VEC_BIT(VEC_AVX) ? 2 : 1;

	if (components & VEC_BIT(VEC_HI16_ZMM))
		lanes = 4;

	for (unsigned at = size_bytes; at < lanes * 16; at += 8)
		*(uint64_t *)(vec_lane(cpu, reg, at / 16) + at % 16) = 0;
}

uint64_t *vec_opmask(struct x86_cpu *cpu, unsigned reg)
{
	vec_materialise(cpu, VEC_BIT(VEC_OPMASK));
	return (uint64_t *)(cpu->state.xsave + cpu->hostexec->offset[VEC_OPMASK]) + reg;
}
