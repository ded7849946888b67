/* SPDX-License-Identifier: MIT */
/*
 * Gathers and scatters, element by element on the parked state. Each element that is done clears
 * its mask bit at once, so that after a fault the instruction goes on where it was: Intel SDM vol.
 * 2, VPGATHERDD and VPSCATTERDD.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

static bool mask_bit(struct x86_cpu *cpu, const struct host_elements *e, unsigned i)
{
	if (e->mask == HOST_MASK_K)
		return *vec_opmask(cpu, e->mask_reg) >> i & 1;
	return vec_element(cpu, e->mask_reg, i * e->size_bytes, e->size_bytes) >>
		       (8 * e->size_bytes - 1) & 1;
}

static void clear_mask_bit(struct x86_cpu *cpu, const struct host_elements *e, unsigned i)
{
	if (e->mask == HOST_MASK_K)
		*vec_opmask(cpu, e->mask_reg) &= ~(1ull << i);
	else
		vec_set_element(cpu, e->mask_reg, i * e->size_bytes, e->size_bytes, 0);
}

/* In bytes; data narrower than indices fill the lower half only, and the upper is cleared last. */
static unsigned vector_length(const struct host_elements *e)
{
	return e->count * (e->size_bytes > e->index_bytes ? e->size_bytes : e->index_bytes);
}

/* First of all a mask vector's elements become all ones or zeros by their top bits: all it has. */
static void spread_mask(struct x86_cpu *cpu, const struct host_elements *e)
{
	unsigned size = e->size_bytes;

	if (e->mask != HOST_MASK_VECTOR)
		return;
	for (unsigned i = 0; i * size < vector_length(e); i++)
		vec_set_element(cpu, e->mask_reg, i * size, size, mask_bit(cpu, e, i) ? ~0ull : 0);
	vec_clear_above(cpu, e->mask_reg, vector_length(e));
}

/* What is left of the mask register beyond its elements goes, too. */
static void clear_mask(struct x86_cpu *cpu, const struct host_elements *e)
{
	if (e->mask == HOST_MASK_K)
		*vec_opmask(cpu, e->mask_reg) = 0;
	else
		vec_clear_above(cpu, e->mask_reg, 0);
}

static uint64_t element_linear(struct x86_cpu *cpu, const struct insn *insn, unsigned i,
			       enum x86_access access)
{
	const struct host_elements *e = &insn->stub->elements;
	uint64_t index = vec_element(cpu, e->index_reg, i * e->index_bytes, e->index_bytes), offset;

	if (e->index_bytes == 4)
		index = (uint64_t)(int32_t)index;
	offset = INSN_GPR64(cpu, insn->base) + (index << insn->scale) + (uint64_t)insn->disp;
	if (insn->addrsize == 4)
		offset = (uint32_t)offset;
	if (insn->flags & INSN_SEG_FLAT)
		return offset;
	return x86_linear(cpu, insn->seg, offset, e->size_bytes, access);
}

/* Elements are never checked for alignment, which x86_load and x86_store would do. */
static uint64_t load_element(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	uint64_t value = 0;

	if (!(cpu->state.rflags & X86_AC))
		return x86_load(cpu, linear, size);
	x86_load_bytes(cpu, linear, &value, size);
	return value;
}

static void store_element(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	if (!(cpu->state.rflags & X86_AC))
		x86_store(cpu, linear, size, value);
	else
		x86_store_bytes(cpu, linear, &value, size);
}

void host_run_gather(struct x86_cpu *cpu, const struct insn *insn)
{
	const struct host_elements *e = &insn->stub->elements;
	unsigned size = e->size_bytes;

	host_check(cpu, insn->stub);
	x86_vec_park(cpu);
	spread_mask(cpu, e);
	for (unsigned i = 0; i < e->count; i++) {
		uint64_t value;

		if (!mask_bit(cpu, e, i))
			continue;
		value = load_element(cpu, element_linear(cpu, insn, i, X86_READ), size);
		vec_set_element(cpu, e->data_reg, i * size, size, value);
		vec_clear_above(cpu, e->data_reg, vector_length(e));
		clear_mask_bit(cpu, e, i);
	}
	clear_mask(cpu, e);
	vec_clear_above(cpu, e->data_reg, e->vector_bytes);
}

void host_run_scatter(struct x86_cpu *cpu, const struct insn *insn)
{
	const struct host_elements *e = &insn->stub->elements;
	unsigned size = e->size_bytes;

	host_check(cpu, insn->stub);
	x86_vec_park(cpu);
	for (unsigned i = 0; i < e->count; i++) {
		if (!mask_bit(cpu, e, i))
			continue;
		store_element(cpu, element_linear(cpu, insn, i, X86_WRITE), size,
			      vec_element(cpu, e->data_reg, i * size, size));
		clear_mask_bit(cpu, e, i);
	}
	clear_mask(cpu, e);
}
