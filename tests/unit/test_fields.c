/* SPDX-License-Identifier: MIT */
/*
 * Images of the vector state that lie across the end of what their addresses can reach: what the
 * engine does with each of them is compared with what this processor does.
 *
 * Both have the same linear addresses: two windows of memory, at a segment's beginning and around
 * the end of its first 4 GiB. GS begins some bytes into the first, so that an image is aligned
 * wherever it is cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/prctl.h>
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/decode.h"
#include "isa/x86/memory/tlb.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"
#include "x86_tables.h"

#define SEGMENT 0x400000000000ull
#define END (1ull << 32)      /* of what 32-bit addresses reach */
#define WINDOW 0x4000u        /* bytes, the second one's in the middle of that end */
#define TABLE 0x20000u        /* page tables, in guest-physical memory */
#define LARGE_PAGE 0x200000u
#define LOW 0x400000u         /* where the windows' pages are there: one, and two */
#define HIGH 0x800000u
#define COMPONENTS 0xe7u      /* of which the processor may have some */
#define IMAGE 2688u           /* with all of them */
#define ALIGNMENT 64u

struct machine {
	struct x86_fixture fixture;
	uint8_t *low, *high;             /* the processor's windows … */
	uint8_t *guest_low, *guest_high; /* … and the guest's */
	uint64_t components;
};

/* ---- the instructions, on an operand of [gs:ebx] ---- */

#define INSN(name, text)                                                                           \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .text\n" #name ": .byte 0x65, 0x67\n" text "\n" #name "_end: ret\n"  \
		".popsection")
INSN(insn_fxsave, "fxsave (%rbx)");
INSN(insn_fxsave64, "fxsave64 (%rbx)");
INSN(insn_fxrstor64, "fxrstor64 (%rbx)");
INSN(insn_fnstenv, "fnstenv (%rbx)");
INSN(insn_fnstenv16, ".byte 0x66; fnstenv (%rbx)");
INSN(insn_fldenv, "fldenv (%rbx)");
INSN(insn_fnsave, "fnsave (%rbx)");
INSN(insn_fnsave16, ".byte 0x66; fnsave (%rbx)");
INSN(insn_frstor, "frstor (%rbx)");
INSN(insn_xsave64, "xsave64 (%rbx)");
INSN(insn_xsavec64, "xsavec64 (%rbx)");
INSN(insn_xrstor64, "xrstor64 (%rbx)");

static unsigned size_of(const uint8_t *insn, const uint8_t *end)
{
	return (unsigned)(end - insn);
}

static void on_processor(const struct machine *m, const uint8_t *insn, uint32_t offset,
			 const uint8_t *before, uint8_t *after)
{
	static uint8_t kept[IMAGE] __attribute__((aligned(ALIGNMENT)));

	__asm__ volatile("xsave64 %0" : "=m"(kept) : "a"(m->components), "d"(0) : "memory");
	__asm__ volatile("sub $128, %%rsp\n\t" /* the red zone */
			 "xrstor64 (%2)\n\t"
			 "call *%3\n\t"
			 "xsave64 (%4)\n\t"
			 "xrstor64 (%5)\n\t"
			 "add $128, %%rsp"
			 :
			 : "a"(m->components), "d"(0), "r"(before), "r"(insn), "r"(after),
			   "r"(kept), "b"((uint64_t)offset)
			 : "memory");
}

static void in_engine(struct machine *m, const uint8_t *bytes, unsigned size, uint32_t offset,
		      const uint8_t *before)
{
	struct x86_cpu *cpu = m->fixture.cpu;
	struct insn insn;

	x86_vec_park(cpu);
	memcpy(cpu->state.xsave, before, IMAGE);
	cpu->state.fpu_ip = cpu->state.fpu_dp = cpu->state.fpu_opcode = 0;
	cpu->state.gpr[X86_RAX] = m->components;
	cpu->state.gpr[X86_RDX] = 0;
	cpu->state.gpr[X86_RBX] = offset;
	assert_int_equal(x86_decode(cpu, cpu->mode, bytes, size, &insn), size);
	cpu->insn = &insn;
	assert_false(X86_RAISES(&m->fixture, insn.fn(cpu, &insn)));
	cpu->insn = NULL;
	x86_vec_park(cpu);
}

/* ---- state and memory ---- */

/* A state that can be loaded, with bytes of its own nearly everywhere. */
static void make_image(const struct machine *m, uint8_t *image, uint8_t byte)
{
	memset(image, byte, IMAGE);
	memset(image, 0, VEC_ST);
	for (unsigned at = VEC_ST; at < VEC_XMM; at += 16)
		memset(image + at + 10, 0, 6);
	vec_put16(image, VEC_FCW, VEC_FCW_DEFAULT);
	image[VEC_FTW] = 0xff;
	vec_put32(image, VEC_MXCSR, VEC_MXCSR_DEFAULT | (byte & 1u ? 0x4000 : 0x2000));
	memset(image + VEC_XSTATE_BV, 0, VEC_HEADER_END - VEC_XSTATE_BV);
	vec_put64(image, VEC_XSTATE_BV, m->components);
}

static void fill(struct machine *m)
{
	memset(m->low, 0x5a, WINDOW);
	memset(m->high, 0xa5, WINDOW);
	memset(m->guest_low, 0x5a, WINDOW);
	memset(m->guest_high, 0xa5, WINDOW);
}

/* Of an image k bytes before the end: a part that goes on there, and another at the beginning. */
static void place(struct machine *m, unsigned k, const uint8_t *onward, const uint8_t *again,
		  unsigned size)
{
	uint8_t *high = m->high + WINDOW / 2 + k % ALIGNMENT - k, *low = m->low + k % ALIGNMENT;

	fill(m);
	memcpy(high, onward, size);
	if (size > k)
		memcpy(low, again + k, size - k);
	memcpy(m->guest_high, m->high, WINDOW);
	memcpy(m->guest_low, m->low, WINDOW);
}

static void set_segment(struct machine *m, unsigned k)
{
	uint64_t base = SEGMENT + k % ALIGNMENT;

	assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, base), 0);
	m->fixture.cpu->state.seg[X86_GS].base = base;
}

static void map(struct machine *m, unsigned table, unsigned index, uint64_t entry)
{
	x86_poke(&m->fixture, table + 8 * index, entry, 8);
}

static void *window(uint64_t address)
{
	void *memory = mmap((void *)address, WINDOW, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return memory == (void *)address ? memory : NULL;
}

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct x86_cpu *cpu;

	if (!m)
		return -1;
	m->low = window(SEGMENT);
	m->high = window(SEGMENT + END - WINDOW / 2);
	x86_fixture_create(&m->fixture);
	cpu = m->fixture.cpu;
	x86_cpuid_destroy(cpu->cpuid);
	if (!m->low || !m->high || x86_cpuid_create("host", 0, 1, NULL, &cpu->cpuid, NULL) ||
	    x86_hostexec_create(cpu, NULL))
		return -1;
	x86_tables_long(&m->fixture, 0);
	map(m, TABLES_ROOT, SEGMENT >> 39, TABLE | 7);
	map(m, TABLE, 0, (TABLE + 0x1000) | 7);
	map(m, TABLE, 3, (TABLE + 0x2000) | 7);
	map(m, TABLE, 4, (TABLE + 0x3000) | 7);
	map(m, TABLE + 0x1000, 0, LOW | 0x87);
	map(m, TABLE + 0x2000, 511, HIGH | 0x87);
	map(m, TABLE + 0x3000, 0, (HIGH + LARGE_PAGE) | 0x87);
	m->guest_low = mem_ptr(m->fixture.mem, LOW, WINDOW);
	m->guest_high = mem_ptr(m->fixture.mem, HIGH + LARGE_PAGE - WINDOW / 2, WINDOW);
	m->components = cpu->hostexec->components & COMPONENTS;
	x86_vec_reset(cpu);
	cpu->state.cr0 |= X86_CR0_NE;
	cpu->state.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->state.xcr0 = cpu->hostexec->components;
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	x86_hostexec_destroy(m->fixture.cpu);
	x86_fixture_destroy(&m->fixture);
	munmap(m->low, WINDOW);
	munmap(m->high, WINDOW);
	free(m);
	return 0;
}

/* ---- tests ---- */

static void check_save(struct machine *m, const char *name, const uint8_t *insn, const uint8_t *end,
		       unsigned size)
{
	static uint8_t before[IMAGE] __attribute__((aligned(ALIGNMENT)));
	static uint8_t after[IMAGE] __attribute__((aligned(ALIGNMENT)));

	make_image(m, before, 0x33);
	for (unsigned k = 1; k < size; k++) {
		set_segment(m, k);
		fill(m);
		on_processor(m, insn, -k, before, after);
		in_engine(m, insn, size_of(insn, end), -k, before);
		if (!memcmp(m->low, m->guest_low, WINDOW) &&
		    !memcmp(m->high, m->guest_high, WINDOW))
			continue;
		fail_msg("%s, %u bytes below the end, does not write what the processor does", name,
			 k);
	}
}

#define CHECK_SAVE(m, insn, size) check_save(m, #insn, insn, insn##_end, size)

static void test_saving(void **state)
{
	struct machine *m = *state;

	CHECK_SAVE(m, insn_fnstenv, 28);
	CHECK_SAVE(m, insn_fnstenv16, 14);
	CHECK_SAVE(m, insn_fnsave, 108);
	CHECK_SAVE(m, insn_fnsave16, 94);
	CHECK_SAVE(m, insn_fxsave, VEC_LEGACY_BYTES);
	CHECK_SAVE(m, insn_fxsave64, VEC_LEGACY_BYTES);
	CHECK_SAVE(m, insn_xsave64, IMAGE);
	CHECK_SAVE(m, insn_xsavec64, IMAGE);
}

/* All but the instruction and operand addresses. */
static bool same_state(const struct machine *m, const uint8_t *one, const uint8_t *other)
{
	const struct hostexec *he = m->fixture.cpu->hostexec;
	bool same = !memcmp(one, other, VEC_FOP) &&
		    !memcmp(one + VEC_MXCSR, other + VEC_MXCSR, sizeof(uint32_t)) &&
		    !memcmp(one + VEC_ST, other + VEC_ST, VEC_XMM + 256 - VEC_ST);

	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (m->components & VEC_BIT(i))
			same &= !memcmp(one + he->offset[i], other + he->offset[i], he->size[i]);
	}
	return same;
}

/* What is loaded comes from two images. */
static void check_load(struct machine *m, const char *name, const uint8_t *insn, const uint8_t *end,
		       const uint8_t *onward, const uint8_t *again, unsigned size)
{
	static uint8_t before[IMAGE] __attribute__((aligned(ALIGNMENT)));
	static uint8_t after[IMAGE] __attribute__((aligned(ALIGNMENT)));

	make_image(m, before, 0x77);
	for (unsigned k = 1; k < size; k++) {
		set_segment(m, k);
		place(m, k, onward, again, size);
		on_processor(m, insn, -k, before, after);
		in_engine(m, insn, size_of(insn, end), -k, before);
		if (same_state(m, m->fixture.cpu->state.xsave, after))
			continue;
		fail_msg("%s, %u bytes below the end, does not read what the processor does", name,
			 k);
	}
}

#define CHECK_LOAD(m, insn, onward, again, size)                                                   \
	check_load(m, #insn, insn, insn##_end, onward, again, size)

static void test_restoring(void **state)
{
	static uint8_t onward[IMAGE], again[IMAGE];
	struct machine *m = *state;

	make_image(m, onward, 0x33);
	make_image(m, again, 0x44);
	CHECK_LOAD(m, insn_fxrstor64, onward, again, VEC_LEGACY_BYTES);
	CHECK_LOAD(m, insn_xrstor64, onward, again, IMAGE);
	vec_put64(onward, VEC_XCOMP_BV, m->components | 1ull << 63);
	vec_put64(again, VEC_XCOMP_BV, m->components | 1ull << 63);
	CHECK_LOAD(m, insn_xrstor64, onward, again, IMAGE);
	memset(onward, 0, 28);
	memset(again, 0, 28);
	vec_put16(onward, 0, 0x37f);
	vec_put16(again, 0, 0x27f);
	vec_put16(again, 4, 1 << 11);
	vec_put16(again, 8, 0x5555);
	CHECK_LOAD(m, insn_fldenv, onward, again, 28);
	CHECK_LOAD(m, insn_frstor, onward, again, 108);
}

/* Of segments with a limit, as measured: each field by itself, and the one across the end whole. */
static void test_limits(void **state)
{
	static const uint8_t fnstenv[] = { 0x65, 0x67, 0xd9, 0x37 }; /* fnstenv gs:[bx] */
	struct machine *m = *state;
	struct x86_cpu *cpu = m->fixture.cpu;
	struct x86_seg *gs = &cpu->state.seg[X86_GS], kept = *gs;
	uint8_t *memory = mem_ptr(m->fixture.mem, LOW, 0x20000);
	struct insn insn;

	cpu->mode = X86_MODE_32;
	*gs = (struct x86_seg){ .base = LOW, .limit = 0x10001, .attr = ATTR_DATA, .selector = 8 };
	cpu->state.gpr[X86_RBX] = 0xfffe;
	memset(memory, 0xaa, 0x20000);
	assert_int_equal(x86_decode(cpu, cpu->mode, fnstenv, sizeof(fnstenv), &insn),
			 sizeof(fnstenv));
	cpu->insn = &insn;
	assert_false(X86_RAISES(&m->fixture, insn.fn(cpu, &insn)));
	assert_int_equal(memory[0x10001], 0xff);
	assert_int_equal(memory[0x10002], 0xaa);
	assert_int_equal(memory[1], 0xaa);
	assert_int_equal(memory[4], 0xff);
	gs->limit = 0x10000;
	assert_true(X86_RAISES(&m->fixture, insn.fn(cpu, &insn)));
	assert_int_equal(cpu->fault.vector, X86_GP);
	cpu->insn = NULL;
	x86_vec_park(cpu);
	cpu->mode = X86_MODE_64;
	*gs = kept;
}

/* Whatever the size of its component is. */
static void test_protection_keys(void **state)
{
	const uint64_t asked = VEC_BIT(VEC_PKRU);
	struct machine *m = *state;
	struct x86_cpu *cpu = m->fixture.cpu;
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSPKE))
		skip();
	cpu->state.xcr0 |= asked;
	for (unsigned live = 0; live < 2; live++) {
		struct insn insn;

		set_segment(m, 0);
		fill(m);
		__asm__ volatile("rdpkru" : "=a"(cpu->state.pkru) : "c"(0) : "edx");
		__asm__ volatile("xsave64 (%0)" : : "r"(m->low), "a"(asked), "d"(0) : "memory");
		cpu->state.gpr[X86_RAX] = asked;
		cpu->state.gpr[X86_RBX] = 0;
		assert_int_equal(x86_decode(cpu, cpu->mode, insn_xsave64,
					    size_of(insn_xsave64, insn_xsave64_end), &insn),
				 size_of(insn_xsave64, insn_xsave64_end));
		if (live)
			x86_vec_load(cpu);
		cpu->insn = &insn;
		assert_false(X86_RAISES(&m->fixture, insn.fn(cpu, &insn)));
		cpu->insn = NULL;
		x86_vec_park(cpu);
		assert_memory_equal(m->low + VEC_HEADER_END, m->guest_low + VEC_HEADER_END,
				    WINDOW - VEC_HEADER_END);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saving),
		cmocka_unit_test(test_restoring),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_protection_keys),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
