/* SPDX-License-Identifier: MIT */
/*
 * Vector and x87 instructions as guests run them against the same bytes run natively: same
 * registers, flags, memory and exceptions, on plain memory, across a page boundary and into a hole.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hostexec_native.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/decode.h"
#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"
#include "x86_tables.h"

#define MEMORY 0x200000u     /* guest address of the two pages that instructions use */
#define PAGE 4096u
#define COMPONENTS 0xe7u
#define REPORTS 300u
#define SIGNALS 3

static const int signals[SIGNALS] = { SIGSEGV, SIGFPE, SIGILL };
#define TABLE 0x40000u       /* a page table for MEMORY's 2 MiB */

struct machine {
	struct x86_fixture fixture;
	struct native native;
	uint64_t seed;
	unsigned failures;
	bool hole;       /* the second page is away */
	bool live;        /* run_guest runs with the vector state in the host's registers … */
	bool stayed_live, x87_live; /* … where it stayed; what the CPU says then */
	struct sigaction actions[SIGNALS];
};

static uint64_t next_random(struct machine *m)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return m->seed * 0x2545f4914f6cdd1dull;
}

/* MEMORY's pages are mapped one by one, so that the second can be taken away. */
static void map_pages(struct machine *m, bool hole)
{
	for (unsigned i = 0; i < 512; i++)
		x86_poke(&m->fixture, TABLE + 8 * i, (MEMORY + i * PAGE) | 7, 8);
	if (hole)
		x86_poke(&m->fixture, TABLE + 8, 0, 8);
	x86_poke(&m->fixture, TABLES_ROOT + 0x2000 + 8 * (MEMORY >> 21), TABLE | 7, 8);
	x86_tlb_flush_all(m->fixture.cpu);
	m->hole = hole;
}

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct x86_cpu *cpu;

	if (!m || native_create(&m->native))
		return -1;
	m->seed = 0x9e3779b97f4a7c15ull;
	x86_fixture_create(&m->fixture);
	cpu = m->fixture.cpu;
	x86_cpuid_destroy(cpu->cpuid);
	if (x86_cpuid_create("host", 0, 1, NULL, &cpu->cpuid, NULL) || x86_hostexec_create(cpu, NULL))
		return -1;
	x86_tables_long(&m->fixture, 0);
	x86_vec_reset(cpu);
	cpu->state.cr0 |= X86_CR0_NE;
	cpu->state.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->state.xcr0 = cpu->hostexec->components;
	for (unsigned i = 0; i < SIGNALS; i++)
		sigaction(signals[i], NULL, &m->actions[i]);
	*state = m;
	return 0;
}

/* cmocka catches signals around each test: what hostexec set comes back. */
static struct machine *begin(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &m->actions[i], NULL);
	map_pages(m, false);
	m->failures = 0;
	return m;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	x86_hostexec_destroy(m->fixture.cpu);
	x86_fixture_destroy(&m->fixture);
	native_destroy(&m->native);
	free(m);
	return 0;
}

/* Single, double and half precision numbers that matter, and any bits at all. */
static uint64_t random_lane(struct machine *m)
{
	static const uint64_t doubles[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000,
		0x7ff8000000000001, 0x7ff0000000000001, 1, 0x7fefffffffffffff, 0x0010000000000000,
	};
	static const uint32_t floats[] = {
		0, 0x80000000, 0x3f800000, 0xbfc00000, 0x7f800000, 0x7fc00001, 0x7f800001, 1,
		0x7f7fffff, 0x00800000,
	};
	uint64_t choice = next_random(m);

	switch (choice & 3) {
	case 0: return doubles[(choice >> 8) % 10];
	case 1: return (uint64_t)floats[(choice >> 8) % 10] << 32 | floats[(choice >> 16) % 10];
	default: return next_random(m);
	}
}

static void put_zmm(struct machine *m, uint8_t *image, unsigned reg, unsigned at, uint64_t value)
{
	const uint32_t *offset = m->fixture.cpu->hostexec->offset;
	uint8_t *p;

	if (reg >= 16)
		p = image + offset[VEC_HI16_ZMM] + 64 * (reg - 16) + at;
	else if (at >= 32)
		p = image + offset[VEC_ZMM_HI256] + 32 * reg + at - 32;
	else if (at >= 16)
		p = image + offset[VEC_AVX] + 16 * reg + at - 16;
	else
		p = image + VEC_XMM + 16 * reg + at;
	memcpy(p, &value, 8);
}

/*
 * zmm15 and zmm14 hold small dword and qword indices for gathers, most of them in the first page;
 * k7 has few bits.
 */
static void random_vectors(struct machine *m, uint8_t *image)
{
	for (unsigned reg = 0; reg < 32; reg++) {
		for (unsigned at = 0; at < 64; at += 8)
			put_zmm(m, image, reg, at, random_lane(m));
	}
	for (unsigned at = 0; at < 64; at += 8) {
		uint64_t far = next_random(m) % 16 ? 0 : 32;

		put_zmm(m, image, 15, at, (next_random(m) % 16 + far) << 32 | next_random(m) % 16);
		put_zmm(m, image, 14, at, next_random(m) % 16 + far);
	}
	for (unsigned k = 0; k < 8; k++) {
		uint64_t mask = next_random(m);

		mask = k == 7 ? mask & next_random(m) & next_random(m) : mask;
		memcpy(image + m->fixture.cpu->hostexec->offset[VEC_OPMASK] + 8 * k, &mask, 8);
	}
}

static void random_x87(struct machine *m, uint8_t *image)
{
	uint64_t random = next_random(m);
	uint16_t fcw = 0x340 | 0x3f;
	uint16_t fsw = (uint16_t)((random & 0x4700) | (random >> 16 & 7) << 11);

	fcw |= (uint16_t)(random >> 20 & 0xc00);
	if (!(random >> 40 & 7))
		fcw &= (uint16_t)~(random >> 48 & 0x3f);
	vec_put16(image, VEC_FCW, fcw);
	vec_put16(image, VEC_FSW, fsw);
	image[VEC_FTW] = random >> 56 & 1 ? 0xff : (uint8_t)next_random(m);
	if (m->hole) {
		/*
		 * Processors go over to MMX state even when the instruction then faults, and look
		 * for unmasked x87 exceptions before the fault.
		 */
		vec_put16(image, VEC_FCW, fcw | 0x3f);
		image[VEC_FSW + 1] &= 0xc7;
		image[VEC_FTW] = 0xff;
	}
	for (unsigned st = 0; st < 8; st++) {
		uint64_t exponent = 0x3fff + next_random(m) % 64 - 32;

		if (!(next_random(m) & 3))
			exponent = next_random(m) & 0xffff;
		vec_put64(image, VEC_ST + 16 * st, next_random(m) | 1ull << 63);
		vec_put64(image, VEC_ST + 16 * st + 8, exponent);
	}
}

static void random_state(struct machine *m, unsigned offset)
{
	struct native *native = &m->native;
	uint8_t *image = native->context->image;
	uint32_t mxcsr = VEC_MXCSR_DEFAULT | (uint32_t)(next_random(m) & 0x603f);

	memset(image, 0, NATIVE_IMAGE);
	random_vectors(m, image);
	random_x87(m, image);
	if (!(next_random(m) & 7))
		mxcsr &= ~(uint32_t)(next_random(m) & 0x1f80);
	vec_put32(image, VEC_MXCSR, mxcsr);
	vec_put64(image, VEC_XSTATE_BV, m->fixture.cpu->hostexec->components);
	for (unsigned i = 0; i < X86_GPRS; i++)
		native->context->gpr[i] = random_lane(m);
	native->context->gpr[X86_RBX] = next_random(m) & 3;
	native->context->gpr[X86_RSI] = native->context->gpr[X86_RDI] = offset;
	native->context->rflags = X86_F1 | (next_random(m) & X86_STATUS_FLAGS);
	for (unsigned i = 0; i < 2 * PAGE; i += 8) {
		uint64_t lane = random_lane(m);

		memcpy(native->memory + i, &lane, 8);
	}
}

static bool is_address(unsigned reg)
{
	return reg == X86_RSI || reg == X86_RDI;
}

static void copy_to_guest(struct machine *m)
{
	struct x86_cpu *cpu = m->fixture.cpu;
	const struct native_context *context = m->native.context;

	x86_vec_park(cpu);
	memset(cpu->state.xsave, 0, sizeof(cpu->state.xsave));
	memcpy(cpu->state.xsave, context->image, NATIVE_IMAGE);
	for (unsigned i = 0; i < X86_GPRS; i++)
		cpu->state.gpr[i] = context->gpr[i] + (is_address(i) ? MEMORY : 0);
	cpu->state.rflags = context->rflags;
	assert_int_equal(mem_write(m->fixture.mem, MEMORY, m->native.memory, 2 * PAGE), 0);
}

/* The vector it raised, or 0. */
static unsigned run_guest(struct machine *m, const uint8_t *bytes, unsigned size)
{
	static struct insn insn;
	struct x86_cpu *cpu = m->fixture.cpu;
	bool raised;

	assert_int_equal(x86_decode(cpu, cpu->mode, bytes, size, &insn), size);
	if (m->live)
		x86_vec_load(cpu);
	cpu->insn = &insn;
	cpu->state.rip += size;
	raised = X86_RAISES(&m->fixture, insn.fn(cpu, &insn));
	cpu->insn = NULL;
	m->stayed_live = cpu->vec_live;
	m->x87_live = cpu->x87_live;
	x86_vec_park(cpu);
	return raised ? cpu->fault.vector : 0;
}

/* One line a difference, the first few; the test goes on, and fails at its end. */
__attribute__((format(printf, 2, 3)))
static void report(struct machine *m, const char *fmt, ...)
{
	va_list args;

	if (m->failures++ >= REPORTS)
		return;
	va_start(args, fmt);
	vprint_error(fmt, args);
	va_end(args);
	print_error("\n");
}

/* Of the legacy region all but the instruction and operand addresses, then each component. */
static void compare_vectors(struct machine *m, const char *name)
{
	struct x86_cpu *cpu = m->fixture.cpu;
	const uint8_t *guest = cpu->state.xsave, *native = m->native.context->image;

	vec_materialise(cpu, COMPONENTS);
	for (unsigned at = 0; at < VEC_XMM + 256; at++) {
		if ((at > VEC_FTW && at < VEC_MXCSR) || (at >= VEC_MXCSR_MASK && at < VEC_ST))
			continue;
		if (guest[at] != native[at])
			report(m, "%s: legacy byte %u: %02x, native %02x", name, at, guest[at],
			       native[at]);
	}
	for (unsigned i = VEC_AVX; i <= VEC_HI16_ZMM; i++) {
		const struct hostexec *he = cpu->hostexec;

		if (!(he->components & VEC_BIT(i)))
			continue;
		if (memcmp(guest + he->offset[i], native + he->offset[i], he->size[i]))
			report(m, "%s: component %u differs", name, i);
	}
}

/*
 * Where a store faults, processors may have left traces that ours leaves not: half of an 80-bit
 * number, MXCSR's sticky flags.
 */
static void forgive_faulting_store(struct machine *m, const struct native_insn *insn)
{
	struct native_context *context = m->native.context;
	uint32_t guest = vec_get32(m->fixture.cpu->state.xsave, VEC_MXCSR);
	uint32_t native = vec_get32(context->image, VEC_MXCSR);

	vec_put32(context->image, VEC_MXCSR, (native & ~0x3fu) | (guest & 0x3f));
	if (insn->bytes[0] >= 0xd8 && insn->bytes[0] <= 0xdf)
		memcpy(m->native.memory, mem_ptr(m->fixture.mem, MEMORY, PAGE), PAGE);
}

static void compare(struct machine *m, const char *name, unsigned vector)
{
	struct x86_cpu *cpu = m->fixture.cpu;
	const struct native_context *context = m->native.context;
	uint8_t *memory = mem_ptr(m->fixture.mem, MEMORY, 2 * PAGE);

	if (vector != context->fault)
		report(m, "%s: exception %u, native %u", name, vector, (unsigned)context->fault);
	for (unsigned i = 0; i < X86_GPRS; i++) {
		if (i != X86_RSP && i != X86_R15 && !is_address(i) &&
		    cpu->state.gpr[i] != context->gpr[i])
			report(m, "%s: register %u: %lx, native %lx", name, i, cpu->state.gpr[i],
				 context->gpr[i]);
	}
	if ((cpu->state.rflags ^ context->rflags) & X86_STATUS_FLAGS)
		report(m, "%s: flags %lx, native %lx", name, cpu->state.rflags, context->rflags);
	compare_vectors(m, name);
	for (unsigned i = 0; i < 2 * PAGE; i++) {
		if (memory[i] != m->native.memory[i]) {
			report(m, "%s: memory byte %x: %02x, native %02x", name, i, memory[i],
				 m->native.memory[i]);
			break;
		}
	}
}

static void one_case(struct machine *m, const struct native_insn *insn, unsigned offset)
{
	unsigned vector;

	native_hole(&m->native, false);
	random_state(m, offset);
	copy_to_guest(m);
	native_hole(&m->native, m->hole);
	vector = run_guest(m, insn->bytes, insn->size);
	native_run(&m->native, insn);
	native_hole(&m->native, false);
	if (vector == X86_PF_FAULT)
		forgive_faulting_store(m, insn);
	compare(m, insn->name, vector);
}

static void run_all(struct machine *m, bool hole, const unsigned *offsets, unsigned count)
{
	struct native_insn insn = { 0 };

	map_pages(m, hole);
	while (native_next(&insn)) {
		for (unsigned i = 0; i < 24; i++)
			one_case(m, &insn, offsets[i % count]);
	}
	assert_int_equal(m->failures, 0);
}

static void test_plain_memory(void **state)
{
	static const unsigned offsets[] = { 0x100, 0x340, 0x104, 0x201 };

	run_all(begin(state), false, offsets, 4);
}

static void test_across_pages(void **state)
{
	static const unsigned offsets[] = {
		PAGE - 64 - 32, PAGE - 64 - 8, PAGE - 64 - 4, PAGE - 64 - 1, PAGE - 64 - 16,
	};

	run_all(begin(state), false, offsets, 5);
}

static void test_into_a_hole(void **state)
{
	static const unsigned offsets[] = {
		PAGE - 64 - 32, PAGE - 64 - 8, PAGE - 64 - 4, PAGE - 64 - 16, PAGE - 64, PAGE - 65,
	};

	run_all(begin(state), true, offsets, 6);
}

/* The stub is made for each execution when the cache has no room. */
static void test_full_cache(void **state)
{
	static const unsigned offsets[] = { 0x100, PAGE - 64 - 8 };
	struct machine *m = begin(state);
	struct hostexec *he = m->fixture.cpu->hostexec;
	unsigned stubs = he->stubs;

	memset(he->buckets, 0, he->stub_limit * sizeof(*he->buckets));
	he->stubs = he->stub_limit;
	run_all(m, false, offsets, 2);
	he->stubs = stubs;
}

/* ---- what must be allowed ---- */

static const uint8_t ADDPS[] = { 0x0f, 0x58, 0xc1 };             /* addps xmm0, xmm1 */
static const uint8_t VADDPS[] = { 0xc5, 0xf8, 0x58, 0xc1 };      /* vaddps xmm0, xmm0, xmm1 */
static const uint8_t VADDPS_Z[] = { 0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1 }; /* zmm0, zmm0, zmm1 */
static const uint8_t PADDB_M[] = { 0x0f, 0xfc, 0xc1 };           /* paddb mm0, mm1 */
static const uint8_t FLD1[] = { 0xd9, 0xe8 };
static const uint8_t FWAIT[] = { 0x9b };
static const uint8_t FNINIT[] = { 0xdb, 0xe3 };

static void clean_state(struct machine *m)
{
	random_state(m, 0x100);
	copy_to_guest(m);
	x86_vec_reset(m->fixture.cpu);
	run_guest(m, FNINIT, sizeof(FNINIT));
}

#define VECTOR_OF(m, bytes) run_guest(m, bytes, sizeof(bytes))

static void test_control_bits(void **state)
{
	struct machine *m = begin(state);
	struct x86_state *s = &m->fixture.cpu->state;
	uint64_t cr0 = s->cr0, cr4 = s->cr4, xcr0 = s->xcr0;

	clean_state(m);
	s->cr0 = cr0 | X86_CR0_TS;
	assert_int_equal(VECTOR_OF(m, ADDPS), X86_NM);
	assert_int_equal(VECTOR_OF(m, VADDPS), X86_NM);
	assert_int_equal(VECTOR_OF(m, PADDB_M), X86_NM);
	assert_int_equal(VECTOR_OF(m, FLD1), X86_NM);
	s->cr0 = (cr0 | X86_CR0_TS) & ~X86_CR0_MP;
	assert_int_equal(VECTOR_OF(m, FWAIT), 0);
	s->cr0 |= X86_CR0_MP;
	assert_int_equal(VECTOR_OF(m, FWAIT), X86_NM);
	s->cr0 = cr0 | X86_CR0_EM;
	assert_int_equal(VECTOR_OF(m, ADDPS), X86_UD);
	assert_int_equal(VECTOR_OF(m, PADDB_M), X86_UD);
	assert_int_equal(VECTOR_OF(m, FLD1), X86_NM);
	assert_int_equal(VECTOR_OF(m, VADDPS), 0);
	s->cr0 = cr0;
	s->cr4 = cr4 & ~X86_CR4_OSFXSR;
	assert_int_equal(VECTOR_OF(m, ADDPS), X86_UD);
	assert_int_equal(VECTOR_OF(m, PADDB_M), 0);
	s->cr4 = cr4 & ~X86_CR4_OSXSAVE;
	assert_int_equal(VECTOR_OF(m, VADDPS), X86_UD);
	s->cr4 = cr4;
	s->xcr0 = 3;
	assert_int_equal(VECTOR_OF(m, VADDPS), X86_UD);
	s->xcr0 = 7;
	assert_int_equal(VECTOR_OF(m, VADDPS), 0);
	if (x86_cpuid_has(m->fixture.cpu, X86_FEATURE_AVX512F))
		assert_int_equal(VECTOR_OF(m, VADDPS_Z), X86_UD);
	s->xcr0 = xcr0;
}

static void count_error(void *opaque)
{
	++*(unsigned *)opaque;
}

/* 1 / 0 unmasked: noticed by the next instruction; with NE clear through FERR#. */
static void test_x87_error(void **state)
{
	static const uint8_t fldz[] = { 0xd9, 0xee }, fdivp[] = { 0xde, 0xf9 };
	static const uint8_t fldcw[] = { 0xd9, 0x2e }; /* [rsi] */
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	unsigned errors = 0;
	uint64_t rip;

	clean_state(m);
	x86_poke(&m->fixture, cpu->state.gpr[X86_RSI], 0x37b, 2);
	assert_int_equal(VECTOR_OF(m, FLD1), 0);
	assert_int_equal(VECTOR_OF(m, fldz), 0);
	assert_int_equal(VECTOR_OF(m, fldcw), 0);
	assert_int_equal(VECTOR_OF(m, fdivp), 0);
	assert_int_equal(VECTOR_OF(m, FWAIT), X86_MF);
	assert_int_equal(VECTOR_OF(m, PADDB_M), X86_MF);
	cpu->state.cr0 &= ~X86_CR0_NE;
	cpu->cpu.env.fpu_error = count_error;
	cpu->cpu.env.opaque = &errors;
	rip = cpu->state.rip;
	assert_int_equal(VECTOR_OF(m, FWAIT), 0);
	assert_int_equal(errors, 1);
	assert_int_equal(cpu->state.rip, rip);
	cpu->state.cr0 |= X86_CR0_NE;
	assert_int_equal(VECTOR_OF(m, FNINIT), 0);
}

static void test_simd_error(void **state)
{
	static const uint8_t divps[] = { 0x0f, 0x5e, 0xc1 }; /* divps xmm0, xmm1 */
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;

	clean_state(m);
	for (unsigned reg = 0; reg < 2; reg++)
		vec_set_element(cpu, reg, 0, 8, reg ? 0 : 0x3f8000003f800000);
	vec_put32(cpu->state.xsave, VEC_MXCSR, VEC_MXCSR_DEFAULT & ~0x200u);
	assert_int_equal(VECTOR_OF(m, divps), X86_XM);
	assert_int_equal(vec_get32(cpu->state.xsave, VEC_MXCSR) & 4, 4);
	cpu->state.cr4 &= ~X86_CR4_OSXMMEXCPT;
	assert_int_equal(VECTOR_OF(m, divps), X86_UD);
	cpu->state.cr4 |= X86_CR4_OSXMMEXCPT;
}

/* ---- images in memory ---- */

static void test_environment(void **state)
{
	static const uint8_t fnstenv[] = { 0xd9, 0x36 }, fldenv[] = { 0xd9, 0x26 };
	static const uint8_t fnsave[] = { 0xdd, 0x36 }, frstor[] = { 0xdd, 0x26 };
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	uint64_t at = MEMORY + 0x100, rip = 0x12345678;

	clean_state(m);
	cpu->state.rip = rip;
	assert_int_equal(VECTOR_OF(m, FLD1), 0);
	assert_int_equal(VECTOR_OF(m, fnstenv), 0);
	assert_int_equal(x86_peek(&m->fixture, at, 2), 0x37f);
	assert_int_equal(x86_peek(&m->fixture, at + 4, 2), 7 << 11);
	assert_int_equal(x86_peek(&m->fixture, at + 8, 2), 0x3fff);
	assert_int_equal(x86_peek(&m->fixture, at + 12, 4), rip);
	assert_int_equal(x86_peek(&m->fixture, at + 18, 2),
			 cpu->hostexec->fop_on_error ? 0 : 0x1e8);
	assert_int_equal(VECTOR_OF(m, fnsave), 0);
	assert_int_equal(cpu->state.fpu_ip, 0);
	assert_int_equal(VECTOR_OF(m, fnstenv), 0);
	assert_int_equal(x86_peek(&m->fixture, at + 4, 2), 0);
	x86_poke(&m->fixture, at + 4, 7 << 11, 2);
	x86_poke(&m->fixture, at + 8, 0x3fff, 2);
	x86_poke(&m->fixture, at + 12, 0x4444, 4);
	assert_int_equal(VECTOR_OF(m, frstor), 0);
	assert_int_equal(cpu->state.fpu_ip, 0x4444);
	assert_int_equal(VECTOR_OF(m, fldenv), 0);
	assert_int_equal(*(uint16_t *)(cpu->state.xsave + VEC_FSW) >> 11 & 7, 7);
}

static const uint8_t FXSAVE[] = { 0x48, 0x0f, 0xae, 0x06 }, FXRSTOR[] = { 0x48, 0x0f, 0xae, 0x0e };
static const uint8_t XSAVE[] = { 0x48, 0x0f, 0xae, 0x26 }, XRSTOR[] = { 0x48, 0x0f, 0xae, 0x2e };
static const uint8_t XSAVEC[] = { 0x48, 0x0f, 0xc7, 0x26 };

static void ask_for(struct machine *m, uint64_t components)
{
	m->fixture.cpu->state.gpr[X86_RAX] = components;
	m->fixture.cpu->state.gpr[X86_RDX] = 0;
}

/* Saves, makes another state, restores: the first one is back. */
static void check_round_trip(struct machine *m, const uint8_t *save, const uint8_t *restore,
			     uint64_t components)
{
	struct x86_cpu *cpu = m->fixture.cpu;
	static uint8_t before[X86_XSAVE_MAX];
	uint64_t rsi;

	random_state(m, 0x140);
	copy_to_guest(m);
	memset(mem_ptr(m->fixture.mem, MEMORY, 2 * PAGE), 0, 2 * PAGE);
	rsi = cpu->state.gpr[X86_RSI];
	cpu->state.fpu_ip = 0x123456789abc;
	ask_for(m, components);
	memcpy(before, cpu->state.xsave, sizeof(before));
	assert_int_equal(run_guest(m, save, 4), 0);
	random_state(m, 0x140);
	memcpy(cpu->state.xsave, m->native.context->image, NATIVE_IMAGE);
	cpu->state.fpu_ip = 0;
	cpu->state.gpr[X86_RSI] = rsi;
	ask_for(m, components);
	assert_int_equal(run_guest(m, restore, 4), 0);
	assert_int_equal(cpu->state.fpu_ip, 0x123456789abc);
	memcpy(m->native.context->image, before, NATIVE_IMAGE);
	if (components == 3) {
		assert_memory_equal(cpu->state.xsave + VEC_ST, before + VEC_ST,
				    VEC_XMM + 256 - VEC_ST);
		assert_int_equal(vec_get32(cpu->state.xsave, 0), vec_get32(before, 0));
	} else {
		compare_vectors(m, "round trip");
		assert_int_equal(m->failures, 0);
	}
}

static void test_round_trips(void **state)
{
	struct machine *m = begin(state);

	for (unsigned i = 0; i < 50; i++) {
		check_round_trip(m, FXSAVE, FXRSTOR, 3);
		check_round_trip(m, XSAVE, XRSTOR, ~0ull);
		check_round_trip(m, XSAVEC, XRSTOR, ~0ull);
	}
}

/* ---- XSAVE and its like by the host's own instruction, and in software ---- */

struct saved_state {
	uint8_t image[X86_XSAVE_MAX];
	uint64_t fpu_ip, fpu_dp;
	uint32_t pkru;
};

static void take_state(const struct x86_cpu *cpu, struct saved_state *saved)
{
	memcpy(saved->image, cpu->state.xsave, sizeof(saved->image));
	saved->fpu_ip = cpu->state.fpu_ip;
	saved->fpu_dp = cpu->state.fpu_dp;
	saved->pkru = cpu->state.pkru;
}

/* Registers as saved, after they were in the host's; memory as given. */
static void put_state(struct machine *m, const struct saved_state *saved, const uint8_t *memory)
{
	struct x86_cpu *cpu = m->fixture.cpu;

	x86_vec_park(cpu);
	memcpy(cpu->state.xsave, saved->image, sizeof(saved->image));
	cpu->state.fpu_ip = saved->fpu_ip;
	cpu->state.fpu_dp = saved->fpu_dp;
	cpu->state.pkru = saved->pkru;
	assert_int_equal(mem_write(m->fixture.mem, MEMORY, memory, 2 * PAGE), 0);
	/* Both pages are known to be writable. */
	assert_false(X86_RAISES(&m->fixture, x86_store(cpu, MEMORY, 1, memory[0])));
	assert_false(X86_RAISES(&m->fixture, x86_store(cpu, MEMORY + PAGE, 1, memory[PAGE])));
	x86_vec_load(cpu);
	x86_vec_park(cpu);
}

/* Some components initial, some not; x87 addresses or none; keys or none. */
static void make_state(struct machine *m, struct saved_state *saved)
{
	struct x86_cpu *cpu = m->fixture.cpu;

	random_state(m, 0x140);
	copy_to_guest(m);
	vec_put64(cpu->state.xsave, VEC_XSTATE_BV,
		  vec_get64(cpu->state.xsave, VEC_XSTATE_BV) & next_random(m) & ~VEC_AMX);
	cpu->state.fpu_ip = next_random(m) % 2 ? 0x123456789abc : 0;
	cpu->state.fpu_dp = 0;
	cpu->state.pkru = next_random(m) % 2 ? 0x55555554 : 0;
	take_state(cpu, saved);
}

static void compare_states(struct machine *m, const struct saved_state *a,
			   const struct saved_state *b)
{
	const struct hostexec *he = m->fixture.cpu->hostexec;

	assert_memory_equal(a->image, b->image, VEC_FIP);
	assert_int_equal(vec_get32(a->image, VEC_MXCSR), vec_get32(b->image, VEC_MXCSR));
	assert_memory_equal(a->image + VEC_ST, b->image + VEC_ST, VEC_XMM + 256 - VEC_ST);
	for (unsigned i = VEC_AVX; i <= VEC_HI16_ZMM; i++)
		if (he->components & VEC_BIT(i))
			assert_memory_equal(a->image + he->offset[i], b->image + he->offset[i],
					    he->size[i]);
	assert_true(a->fpu_ip == b->fpu_ip && a->fpu_dp == b->fpu_dp && a->pkru == b->pkru);
}

/* The instruction both ways, from the same; what comes is compared. Did the host do it? */
static bool compare_ways(struct machine *m, const uint8_t *bytes, const struct saved_state *from,
			 const uint8_t *memory, uint8_t *result)
{
	static struct saved_state after[2];
	static uint8_t seen[2 * PAGE];
	struct x86_cpu *cpu = m->fixture.cpu;
	unsigned vector[2];

	for (unsigned live = 0; live < 2; live++) {
		put_state(m, from, memory);
		m->live = live;
		vector[live] = run_guest(m, bytes, 4);
		vec_materialise(cpu, COMPONENTS);
		take_state(cpu, &after[live]);
		memcpy(live ? result : seen, mem_ptr(m->fixture.mem, MEMORY, 2 * PAGE), 2 * PAGE);
	}
	m->live = false;
	assert_int_equal(vector[0], vector[1]);
	assert_memory_equal(seen, result, 2 * PAGE);
	compare_states(m, &after[0], &after[1]);
	if (m->stayed_live)
		assert_int_equal(m->x87_live, (~after[1].image[VEC_FCW] & VEC_FCW_MASKS) == 0);
	return m->stayed_live;
}

static void test_saving_by_the_host(void **state)
{
	static const uint8_t *const saves[] = { XSAVE, XSAVEC };
	static struct saved_state first, second;
	static uint8_t memory[2 * PAGE], saved[2 * PAGE], same[2 * PAGE];
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	uint64_t xcr0 = cpu->state.xcr0;
	unsigned by_host = 0;

	if (cpu->hostexec->size[VEC_PKRU])
		cpu->state.xcr0 |= VEC_BIT(VEC_PKRU);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t at = next_random(m) % (2 * PAGE - 2816) & ~63ull;

		make_state(m, &first);
		make_state(m, &second);
		for (unsigned k = 0; k < sizeof(memory); k++)
			memory[k] = (uint8_t)next_random(m);
		memset(memory + at + VEC_XSTATE_BV, 0, VEC_HEADER_END - VEC_XSTATE_BV);
		cpu->state.gpr[X86_RSI] = MEMORY + at;
		ask_for(m, next_random(m) & ~(next_random(m) % 8 ? VEC_BIT(VEC_TILEDATA) : 0));
		by_host += compare_ways(m, saves[i % 2], &first, memory, saved);
		/* Now and then a bad header, MXCSR, or a component that was not saved. */
		if (next_random(m) % 4 == 0)
			saved[at + VEC_XSTATE_BV + next_random(m) % 16] ^=
				(uint8_t)(1u << next_random(m) % 8);
		if (next_random(m) % 16 == 0)
			saved[at + VEC_MXCSR + 2] = 1;
		ask_for(m, next_random(m) | (next_random(m) % 2 ? VEC_BIT(VEC_AVX) | 3 : 0));
		by_host += compare_ways(m, XRSTOR, &second, saved, same);
	}
	cpu->state.xcr0 = xcr0;
	cpu->state.pkru = 0;
	assert_true(by_host > 400);
}

/* What XGETBV tells with ECX 1; MXCSR counts. */
static void test_components_in_use(void **state)
{
	static struct saved_state from;
	static uint8_t memory[2 * PAGE];
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	unsigned with_mxcsr = 0;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t parked;

		make_state(m, &from);
		if (i % 2)
			vec_put32(from.image, VEC_MXCSR, VEC_MXCSR_DEFAULT);
		put_state(m, &from, memory);
		parked = x86_vec_inuse(cpu);
		x86_vec_load(cpu);
		assert_int_equal(x86_vec_inuse(cpu), parked);
		x86_vec_park(cpu);
		if (~vec_get64(cpu->state.xsave, VEC_XSTATE_BV) & parked & VEC_BIT(VEC_SSE))
			with_mxcsr++;
	}
	cpu->state.pkru = 0;
	assert_true(with_mxcsr > 10);
}

static void test_xsave_headers(void **state)
{
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	uint64_t at = MEMORY + 0x140;

	clean_state(m);
	cpu->state.gpr[X86_RSI] = at;
	memset(mem_ptr(m->fixture.mem, MEMORY, 2 * PAGE), 0, 2 * PAGE);
	ask_for(m, 7);
	assert_int_equal(VECTOR_OF(m, XSAVEC), 0);
	/* The processor may take x87 for used whatever it holds. */
	assert_int_equal(x86_peek(&m->fixture, at + VEC_XSTATE_BV, 8) & ~1ull, 0);
	assert_int_equal(x86_peek(&m->fixture, at + VEC_XCOMP_BV, 8), 1ull << 63 | 7);
	assert_int_equal(VECTOR_OF(m, XRSTOR), 0);
	x86_poke(&m->fixture, at + VEC_XSTATE_BV, 8, 8);
	assert_int_equal(VECTOR_OF(m, XRSTOR), X86_GP);
	x86_poke(&m->fixture, at + VEC_XSTATE_BV, 2, 8);
	x86_poke(&m->fixture, at + VEC_MXCSR, 0x10000, 4);
	assert_int_equal(VECTOR_OF(m, XRSTOR), X86_GP);
	x86_poke(&m->fixture, at + VEC_MXCSR, VEC_MXCSR_DEFAULT, 4);
	x86_poke(&m->fixture, at + VEC_XCOMP_BV, 7, 8);
	assert_int_equal(VECTOR_OF(m, XRSTOR), X86_GP);
	x86_poke(&m->fixture, at + VEC_XCOMP_BV, 0, 8);
	assert_int_equal(VECTOR_OF(m, XRSTOR), 0);
	x86_poke(&m->fixture, at + VEC_XCOMP_BV + 8, 1, 8);
	assert_int_equal(VECTOR_OF(m, XRSTOR), X86_GP);
	cpu->state.gpr[X86_RSI] = at + 16;
	assert_int_equal(VECTOR_OF(m, XSAVE), X86_GP);
	assert_int_equal(VECTOR_OF(m, FXSAVE), 0);
	cpu->state.gpr[X86_RSI] = at + 8;
	assert_int_equal(VECTOR_OF(m, FXSAVE), X86_GP);
}

/* ---- 32-bit code ---- */

static void test_compatibility_mode(void **state)
{
	static const uint8_t vmovd_w1[] = { 0xc4, 0xe1, 0xf9, 0x7e, 0xc0 }; /* vmovd eax, xmm0 */
	static const uint8_t movd[] = { 0x66, 0x0f, 0x6e, 0xcc };           /* movd xmm1, esp */
	static const uint8_t vzeroall[] = { 0xc5, 0xfc, 0x77 };
	static const uint8_t ignored[] = { 0xc4, 0xc1, 0x38, 0x58, 0xc1 };  /* B and vvvv[3] set */
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;
	uint64_t rsp = cpu->state.gpr[X86_RSP];

	clean_state(m);
	cpu->mode = X86_MODE_32;
	for (unsigned reg = 0; reg < 16; reg++)
		vec_set_element(cpu, reg, 0, 8, 0x1111111122222222ull * (reg + 1));
	assert_int_equal(VECTOR_OF(m, vmovd_w1), 0);
	assert_int_equal(cpu->state.gpr[X86_RAX], 0x22222222);
	cpu->state.gpr[X86_RSP] = 0x99887766;
	assert_int_equal(VECTOR_OF(m, movd), 0);
	assert_int_equal(vec_element(cpu, 1, 0, 8), 0x99887766);
	assert_int_equal(VECTOR_OF(m, vzeroall), 0);
	assert_int_equal(vec_element(cpu, 7, 0, 8), 0);
	assert_int_equal(vec_element(cpu, 8, 0, 8), 0x1111111122222222ull * 9);
	assert_int_equal(VECTOR_OF(m, ignored), 0);
	assert_int_equal(vec_element(cpu, 0, 0, 8), 0);
	cpu->mode = X86_MODE_64;
	cpu->state.gpr[X86_RSP] = rsp;
}

static void test_reset(void **state)
{
	struct machine *m = begin(state);
	struct x86_cpu *cpu = m->fixture.cpu;

	random_state(m, 0);
	copy_to_guest(m);
	x86_vec_load(cpu);
	x86_vec_reset(cpu);
	assert_false(cpu->vec_live);
	assert_int_equal(*(uint16_t *)cpu->state.xsave, 0x40);
	assert_int_equal(x86_vec_inuse(cpu), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_memory),
		cmocka_unit_test(test_across_pages),
		cmocka_unit_test(test_into_a_hole),
		cmocka_unit_test(test_full_cache),
		cmocka_unit_test(test_control_bits),
		cmocka_unit_test(test_x87_error),
		cmocka_unit_test(test_simd_error),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_saving_by_the_host),
		cmocka_unit_test(test_components_in_use),
		cmocka_unit_test(test_xsave_headers),
		cmocka_unit_test(test_compatibility_mode),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
