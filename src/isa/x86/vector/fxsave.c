/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE and FXRSTOR: the parked image's legacy region with the guest's instruction and operand
 * addresses. Intel SDM vol. 1, 10.5. Outside of 64-bit mode XMM8 … XMM15 are not touched.
 */
#include "isa/x86/vector/fximage.h"

#include <string.h>

#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

#define FX_ALIGN 15u
#define XMM_BYTES 16u

unsigned fx_xmm_end(const struct x86_cpu *cpu)
{
	return VEC_XMM + XMM_BYTES * (cpu->mode == X86_MODE_64 ? 16 : 8);
}

/* bytes 8 … 23: FIP and FDP with 64 bits, or with 32 and selectors, which are zero here. */
void fx_export_pointers(const struct x86_cpu *cpu, const struct insn *insn, uint8_t *image)
{
	const struct x86_state *state = &cpu->state;
	uint64_t mask = insn->opsize == 8 ? ~0ull : 0xffffffffull;

	vec_put16(image, VEC_FOP, state->fpu_opcode);
	vec_put64(image, VEC_FIP, state->fpu_ip & mask);
	vec_put64(image, VEC_FDP, state->fpu_dp & mask);
}

void fx_import_pointers(struct x86_cpu *cpu, const struct insn *insn, const uint8_t *image)
{
	struct x86_state *state = &cpu->state;
	uint64_t mask = insn->opsize == 8 ? ~0ull : 0xffffffffull;
	unsigned shift = 64u - cpu->hostexec->fip_bits;

	state->fpu_opcode = (uint16_t)(vec_get32(image, 4) >> 16 & 0x7ff);
	state->fpu_ip = vec_get64(image, VEC_FIP) & mask;
	state->fpu_ip = (uint64_t)((int64_t)(state->fpu_ip << shift) >> shift);
	state->fpu_dp = vec_get64(image, VEC_FDP) & mask;
	state->fpu_cs = state->fpu_ds = 0;
}

/*
 * Bit 6 of the control word is set, 7 and 13 up are clear; the summary bits follow from the rest.
 */
void fx_fix_words(uint8_t *image)
{
	uint32_t words = vec_get32(image, VEC_FCW), control, status;

	control = (words & 0x1f3f) | 0x40;
	status = words >> 16 & 0x7f7f;
	if (status & ~control & 0x3f)
		status |= 0x8080;
	vec_put16(image, VEC_FCW, (uint16_t)control);
	vec_put16(image, VEC_FSW, (uint16_t)status);
}

void fx_copy(uint8_t *to, const uint8_t *from, unsigned start, unsigned end)
{
	memcpy(to + start, from + start, end - start);
}

/* In a page fault processors name the last byte rather than the first. */
static void fx_probe(struct x86_cpu *cpu, uint64_t linear, enum x86_access access)
{
	x86_check_canonical(cpu, linear, VEC_LEGACY_BYTES);
	x86_check_alignment(cpu, linear, 4);
	if (linear & FX_ALIGN)
		x86_general_protection(cpu);
	x86_probe(cpu, linear + VEC_LEGACY_BYTES - 1, 1, access);
	x86_probe(cpu, linear, 1, access);
}

void host_run_fxsave(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t *image = cpu->hostexec->image;
	unsigned end = fx_xmm_end(cpu);
	uint64_t linear;

	host_check(cpu, insn->stub);
	linear = x86_operand_linear(cpu, insn, VEC_LEGACY_BYTES, X86_WRITE);
	fx_probe(cpu, linear, X86_WRITE);
	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE));
	fx_copy(image, cpu->state.xsave, 0, end);
	vec_put32(image, VEC_MXCSR_MASK, cpu->hostexec->mxcsr_mask);
	fx_export_pointers(cpu, insn, image);
	x86_store_bytes(cpu, linear, image, end);
}

void host_run_fxrstor(struct x86_cpu *cpu, const struct insn *insn)
{
	struct hostexec *he = cpu->hostexec;
	uint8_t *to = cpu->state.xsave;
	uint64_t linear;

	host_check(cpu, insn->stub);
	linear = x86_operand_linear(cpu, insn, VEC_LEGACY_BYTES, X86_READ);
	fx_probe(cpu, linear, X86_READ);
	x86_load_bytes(cpu, linear, he->image, VEC_LEGACY_BYTES);
	if (vec_get32(he->image, VEC_MXCSR) & ~he->mxcsr_mask)
		x86_general_protection(cpu);
	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE));
	fx_fix_words(he->image);
	fx_copy(to, he->image, 0, VEC_MXCSR_MASK);
	fx_copy(to, he->image, VEC_ST, fx_xmm_end(cpu));
	fx_import_pointers(cpu, insn, he->image);
}
