/* SPDX-License-Identifier: MIT */
/*
 * Memory operands of which only some elements are touched: masked loads and stores, expanding
 * loads, compressing stores. An element that the mask leaves out must neither fault nor change.
 *
 * Where the whole operand lies in directly accessible RAM the instruction just runs. Else a load
 * collects the elements that its mask names in a bounce buffer. For a store nobody here knows which
 * bytes each instruction writes, but running it twice tells: onto zeros and onto ones; the bytes
 * that come out equal are the written ones.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

#define LINE_MASK 63u

/* MASKMOVQ and MASKMOVDQU, which have no elements but bytes. */
static bool is_maskmov(const struct insn *insn)
{
	return !insn->stub->elements.count;
}

/* Linear address of the operand's bytes from at on; checked as an access of size bytes. */
static uint64_t element_linear(struct x86_cpu *cpu, const struct insn *insn, unsigned at,
			       unsigned size, enum x86_access access)
{
	uint64_t offset = x86_effective(cpu, insn) + at;

	/* The address size cuts the operand's address, not its bytes'; but MASKMOVDQU has two. */
	if (is_maskmov(insn) && insn->addrsize != 8)
		offset = insn->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
	if (cpu->mode != X86_MODE_64)
		offset = (uint32_t)offset;
	if (insn->flags & INSN_SEG_FLAT)
		return offset;
	return x86_linear(cpu, insn->seg, offset, size, access);
}

/* Where the operand begins, whether or not anything of it may be accessed. */
static uint64_t unchecked_linear(const struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t linear = x86_effective(cpu, insn);

	if (!(insn->flags & INSN_SEG_FLAT))
		linear += cpu->state.seg[insn->seg].base;
	return cpu->mode == X86_MODE_64 ? linear : (uint32_t)linear;
}

/* #AC, which judges the operand as a whole. */
static void check_operand(struct x86_cpu *cpu, const struct insn *insn)
{
	if (!(insn->stub->flags & HOST_UNALIGNED))
		x86_check_alignment(cpu, unchecked_linear(cpu, insn), insn->stub->memory_bytes);
}

/* The whole operand, if it can be accessed at once without asking anybody. */
static void *whole_operand(struct x86_cpu *cpu, const struct insn *insn, bool write)
{
	uint64_t linear = x86_effective(cpu, insn), tag;
	const struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);

	if (!(insn->flags & INSN_SEG_FLAT))
		return NULL;
	tag = write ? e->write_tag : e->read_tag;
	if ((linear & ~0xfffull) != tag ||
	    ((linear + insn->stub->memory_bytes - 1) & ~0xfffull) != tag)
		return NULL;
	return (void *)(linear + e->addend);
}

/* The mask over mask_bits elements. Parks. */
static uint64_t mask_bits(struct x86_cpu *cpu, const struct host_elements *elements)
{
	unsigned bits = elements->mask_bits;
	uint64_t mask = 0, all = bits >= 64 ? ~0ull : (1ull << bits) - 1;

	x86_vec_park(cpu);
	if (elements->mask == HOST_MASK_VECTOR) {
		for (unsigned i = 0; i < elements->mask_bits; i++) {
			unsigned size = elements->size_bytes;
			uint64_t value = vec_element(cpu, elements->mask_reg, i * size, size);

			mask |= (value >> (8 * size - 1)) << i;
		}
		return mask;
	}
	mask = *vec_opmask(cpu, elements->mask_reg) & all;
	if (elements->mask == HOST_MASK_EXPAND) {
		unsigned count = (unsigned)__builtin_popcountll(mask);

		return count >= 64 ? ~0ull : (1ull << count) - 1;
	}
	return mask;
}

/* Mask bits to elements in memory, of which each may be spread over several of the vector. */
static uint64_t memory_mask(struct x86_cpu *cpu, const struct host_elements *elements)
{
	uint64_t mask = mask_bits(cpu, elements), folded = 0;

	for (unsigned i = 0; i < elements->mask_bits; i++)
		folded |= (mask >> i & 1) << (i % elements->count);
	return folded;
}

void host_run_masked_load(struct x86_cpu *cpu, const struct insn *insn)
{
	const struct host_elements *elements = &insn->stub->elements;
	unsigned size = elements->size_bytes;
	uint64_t linear = unchecked_linear(cpu, insn);
	uint8_t *bounce = cpu->hostexec->bounce + (linear & LINE_MASK);
	void *memory;
	uint64_t mask;

	host_check(cpu, insn->stub);
	memory = whole_operand(cpu, insn, false);
	if (memory) {
		host_call(cpu, insn, memory);
		return;
	}
	mask = memory_mask(cpu, elements);
	if (mask) {
		unsigned first = (unsigned)__builtin_ctzll(mask);
		unsigned last = 63u - (unsigned)__builtin_clzll(mask);

		host_check_alignment(cpu, insn->stub, linear);
		x86_check_canonical(cpu, element_linear(cpu, insn, first * size, size, X86_READ),
				    (last - first + 1) * size);
		check_operand(cpu, insn);
	}
	for (unsigned i = 0; i < insn->stub->memory_bytes; i++)
		bounce[i] = 0;
	for (unsigned i = 0; i < elements->count; i++) {
		if (mask >> i & 1)
			x86_load_bytes(cpu, element_linear(cpu, insn, i * size, size, X86_READ),
				       bounce + i * size, size);
	}
	host_call(cpu, insn, bounce);
}

/* The next run of written bytes from at on; its length in *len, 0 at the end. */
static unsigned written_run(const uint8_t *zeros, const uint8_t *ones, unsigned at, unsigned size,
			    unsigned *len)
{
	unsigned end;

	while (at < size && zeros[at] != ones[at])
		at++;
	for (end = at; end < size && zeros[end] == ones[end]; end++)
		;
	*len = end - at;
	return at;
}

/*
 * Raises what the store would before any of it is done. Processors name the first written byte in a
 * page fault, but a vector's last one when the fault is in the second of two pages.
 */
static void probe_written(struct x86_cpu *cpu, const struct insn *insn, const uint8_t *zeros,
			  const uint8_t *ones)
{
	unsigned size = insn->stub->memory_bytes, first = 0, last = size;
	uint64_t first_linear, last_linear;

	while (first < size && zeros[first] != ones[first])
		first++;
	if (first == size)
		return;
	while (zeros[last - 1] != ones[last - 1])
		last--;
	first_linear = element_linear(cpu, insn, first, 1, X86_WRITE);
	last_linear = element_linear(cpu, insn, last - 1, 1, X86_WRITE);
	x86_check_canonical(cpu, first_linear, last - first);
	check_operand(cpu, insn);
	x86_probe(cpu, first_linear, insn->stub->elements.count == 1 ? size : 1, X86_WRITE);
	x86_probe(cpu, last_linear, 1, X86_WRITE);
}

static void store_written(struct x86_cpu *cpu, const struct insn *insn, const uint8_t *zeros,
			  const uint8_t *ones)
{
	unsigned size = insn->stub->memory_bytes, len;

	for (unsigned at = 0; at < size; at += len) {
		at = written_run(zeros, ones, at, size, &len);
		if (!len)
			break;
		if (is_maskmov(insn) && len > 8 - at % 8)
			len = 8 - at % 8;
		x86_store_bytes(cpu, element_linear(cpu, insn, at, len, X86_WRITE), zeros + at,
				len);
	}
}

/* Whatever the mask, all must be writable: eight bytes at a time, the upper ones first. */
static void probe_halves(struct x86_cpu *cpu, const struct insn *insn)
{
	for (unsigned at = insn->stub->memory_bytes; at; at -= 8) {
		uint64_t linear = element_linear(cpu, insn, at - 8, 8, X86_WRITE);

		x86_check_alignment(cpu, linear, 8);
		x86_probe(cpu, linear, 8, X86_WRITE);
	}
}

void host_run_masked_store(struct x86_cpu *cpu, const struct insn *insn)
{
	struct hostexec *he = cpu->hostexec;
	unsigned shift = unchecked_linear(cpu, insn) & LINE_MASK, size = insn->stub->memory_bytes;
	void *memory;

	host_check(cpu, insn->stub);
	memory = whole_operand(cpu, insn, true);
	if (memory) {
		host_call(cpu, insn, memory);
		return;
	}
	if (is_maskmov(insn)) {
		if (!host_begin(cpu, insn))
			return;
		/* MASKMOVQ goes over to the MMX state even if it faults: so does a read. */
		if (insn->stub->flags & HOST_MMX)
			__asm__ volatile("movd %%mm0, %%eax" : : : "eax");
		probe_halves(cpu, insn);
	}
	for (unsigned i = 0; i < size; i++) {
		he->bounce[shift + i] = 0;
		he->bounce2[shift + i] = 0xff;
	}
	if (!host_call(cpu, insn, he->bounce + shift) || !host_call(cpu, insn, he->bounce2 + shift))
		return;
	probe_written(cpu, insn, he->bounce + shift, he->bounce2 + shift);
	store_written(cpu, insn, he->bounce + shift, he->bounce2 + shift);
}
