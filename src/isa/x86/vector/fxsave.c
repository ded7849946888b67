/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE and FXRSTOR: the parked image's legacy region with the guest's instruction and operand
 * addresses. Intel SDM vol. 1, 10.5. Outside of 64-bit mode XMM8 … XMM15 are not touched.
 */
#include "isa/x86/vector/fximage.h"

#include <string.h>

#include "isa/x86/memory/access.h"
#include "isa/x86/vector/fields.h"
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

/* Where fields of another size begin; up to the end they are XMM registers. */
static const struct { uint16_t end, field; } fx_fields[] = {
	{ VEC_FIP, 4 }, { VEC_MXCSR, 8 }, { VEC_ST, 4 }, { VEC_XMM, 8 },
	{ VEC_LEGACY_BYTES, XMM_BYTES },
};

static unsigned fx_part(unsigned start, unsigned end, unsigned *field)
{
	unsigned i = 0;

	while (fx_fields[i].end <= start)
		i++;
	*field = fx_fields[i].field;
	return fx_fields[i].end < end ? fx_fields[i].end : end;
}

void fx_load(struct x86_cpu *cpu, const struct fields *image, uint8_t *to, unsigned start,
	     unsigned end)
{
	unsigned field, part;

	if (likely(end <= image->room)) {
		fields_load(cpu, image, start, to + start, end - start, 1);
		return;
	}
	for (; start < end; start = part) {
		part = fx_part(start, end, &field);
		fields_load(cpu, image, start, to + start, part - start, field);
	}
}

void fx_store(struct x86_cpu *cpu, const struct fields *image, const uint8_t *from, unsigned start,
	      unsigned end)
{
	unsigned field, part;

	if (likely(end <= image->room)) {
		fields_store(cpu, image, start, from + start, end - start, 1);
		return;
	}
	for (; start < end; start = part) {
		part = fx_part(start, end, &field);
		fields_store(cpu, image, start, from + start, part - start, field);
	}
}

/* In a page fault processors name the last byte rather than the first. */
static struct fields fx_open(struct x86_cpu *cpu, const struct insn *insn, enum x86_access access)
{
	struct fields image = fields_open(cpu, insn, VEC_LEGACY_BYTES, access);

	if (image.room == FIELDS_ROOM)
		x86_check_canonical(cpu, image.linear, VEC_LEGACY_BYTES);
	x86_check_alignment(cpu, image.linear, 4);
	if (image.linear & FX_ALIGN)
		x86_general_protection(cpu);
	fields_probe(cpu, &image, VEC_LEGACY_BYTES - 1, 1, 1);
	fields_probe(cpu, &image, 0, 1, 1);
	return image;
}

void host_run_fxsave(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t *from = cpu->hostexec->image;
	unsigned end = fx_xmm_end(cpu);
	struct fields image;

	host_check(cpu, insn->stub);
	image = fx_open(cpu, insn, X86_WRITE);
	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE));
	fx_copy(from, cpu->state.xsave, 0, end);
	vec_put32(from, VEC_MXCSR_MASK, cpu->hostexec->mxcsr_mask);
	fx_export_pointers(cpu, insn, from);
	fx_store(cpu, &image, from, 0, end);
}

void host_run_fxrstor(struct x86_cpu *cpu, const struct insn *insn)
{
	struct hostexec *he = cpu->hostexec;
	uint8_t *to = cpu->state.xsave;
	struct fields image;

	host_check(cpu, insn->stub);
	image = fx_open(cpu, insn, X86_READ);
	fx_load(cpu, &image, he->image, 0, VEC_LEGACY_BYTES);
	if (vec_get32(he->image, VEC_MXCSR) & ~he->mxcsr_mask)
		x86_general_protection(cpu);
	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE));
	fx_fix_words(he->image);
	fx_copy(to, he->image, 0, VEC_MXCSR_MASK);
	fx_copy(to, he->image, VEC_ST, fx_xmm_end(cpu));
	fx_import_pointers(cpu, insn, he->image);
}
