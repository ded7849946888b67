/* SPDX-License-Identifier: MIT */
/* CPU models: that the leaves agree with each other, with the host, and with what is gated by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/x86.h"

struct machine {
	struct x86_cpu cpu;
};

static struct machine machine;

static void use(const char *model, unsigned index, unsigned count)
{
	memset(&machine, 0, sizeof(machine));
	assert_int_equal(x86_cpuid_create(model, index, count, NULL, &machine.cpu.cpuid, NULL), 0);
}

static int teardown(void **state)
{
	(void)state;
	x86_cpuid_destroy(machine.cpu.cpuid);
	machine.cpu.cpuid = NULL;
	return 0;
}

static uint32_t leaf(uint32_t number, uint32_t subleaf, unsigned reg)
{
	uint32_t regs[4];

	x86_cpuid_execute(&machine.cpu, number, subleaf, regs);
	return regs[reg];
}

static void vendor_and_ranges(void **state)
{
	uint32_t regs[4];
	char vendor[13] = "";

	(void)state;
	use(NULL, 0, 1);
	x86_cpuid_execute(&machine.cpu, 0, 0, regs);
	memcpy(vendor, &regs[X86_EBX], 4);
	memcpy(vendor + 4, &regs[X86_EDX], 4);
	memcpy(vendor + 8, &regs[X86_ECX], 4);
	assert_string_equal(vendor, "GenuineIntel");
	assert_int_equal(regs[X86_EAX], 0x1f);
	assert_int_equal(leaf(0x80000000, 0, X86_EAX), 0x80000008);
	x86_cpuid_execute(&machine.cpu, 0x40000000, 0, regs);
	memcpy(vendor, &regs[X86_EBX], 12);
	assert_string_equal(vendor, "RingletRingl");
}

/* Past the highest leaf comes the highest basic one's answer. */
static void out_of_range(void **state)
{
	uint32_t regs[4], highest[4];

	(void)state;
	use(NULL, 3, 8);
	x86_cpuid_execute(&machine.cpu, 0x1f, 1, highest);
	x86_cpuid_execute(&machine.cpu, 0x1000, 1, regs);
	assert_memory_equal(regs, highest, sizeof(regs));
	x86_cpuid_execute(&machine.cpu, 0x80000021, 1, regs);
	assert_memory_equal(regs, highest, sizeof(regs));
}

static void topology(void **state)
{
	(void)state;
	use(NULL, 5, 6);
	assert_int_equal(leaf(1, 0, X86_EBX) >> 24, 5);
	assert_int_equal(leaf(1, 0, X86_EBX) >> 16 & 0xff, 6);
	assert_int_equal(leaf(1, 0, X86_EDX) >> 28 & 1, 1);
	assert_int_equal(leaf(0xb, 0, X86_EAX), 0);
	assert_int_equal(leaf(0xb, 1, X86_EAX), 3);
	assert_int_equal(leaf(0xb, 1, X86_EBX), 6);
	assert_int_equal(leaf(0xb, 1, X86_EDX), 5);
	assert_int_equal(leaf(0xb, 7, X86_ECX), 7);
	assert_int_equal(leaf(0xb, 7, X86_EDX), 5);
	assert_int_equal(leaf(4, 0, X86_EAX) >> 26, 7);
	assert_int_equal(leaf(4, 0, X86_EAX) >> 14 & 0xfff, 0);
	assert_int_equal(leaf(4, 8, X86_EAX), 0);
	teardown(NULL);
	use(NULL, 0, 1);
	assert_int_equal(leaf(1, 0, X86_EDX) >> 28 & 1, 0);
	assert_int_equal(leaf(0xb, 1, X86_EAX), 0);
}

/* Every component lies within the area, none on another, and the sizes follow XCR0. */
static void xsave_layout(void **state)
{
	uint64_t mask;
	uint32_t max;

	(void)state;
	use(NULL, 0, 1);
	mask = x86_xcr0_mask(&machine.cpu);
	if (!mask)
		skip();
	max = leaf(0xd, 0, X86_ECX);
	assert_int_equal(leaf(0xd, 0, X86_EAX), mask);
	assert_true(max >= 576 && max <= X86_XSAVE_MAX);
	machine.cpu.state.xcr0 = 1;
	assert_int_equal(leaf(0xd, 0, X86_EBX), 576);
	machine.cpu.state.xcr0 = mask;
	assert_int_equal(leaf(0xd, 0, X86_EBX), max);
	assert_true(leaf(0xd, 1, X86_EBX) <= max);
	/* XSAVEOPT, XSAVEC, XGETBV(1), XFD */
	assert_int_equal(leaf(0xd, 1, X86_EAX) & ~(mask >> 17 & 1 ? 0x17u : 7u), 0);
	for (unsigned i = 2; i < 63; i++) {
		uint32_t size = leaf(0xd, i, X86_EAX), offset = leaf(0xd, i, X86_EBX);

		assert_int_equal(size != 0, mask >> i & 1);
		assert_true(!size || (offset >= 576 && offset + size <= max));
		for (unsigned j = 2; size && j < i; j++)
			assert_true(offset >= leaf(0xd, j, X86_EBX) + leaf(0xd, j, X86_EAX) ||
				    offset + size <= leaf(0xd, j, X86_EBX));
	}
}

static void mirrors_of_control_registers(void **state)
{
	(void)state;
	use(NULL, 0, 1);
	assert_int_equal(leaf(1, 0, X86_ECX) >> 27 & 1, 0);
	assert_int_equal(leaf(7, 0, X86_ECX) >> 4 & 1, 0);
	machine.cpu.state.cr4 = X86_CR4_OSXSAVE | X86_CR4_PKE;
	assert_int_equal(leaf(1, 0, X86_ECX) >> 27 & 1, 1);
	assert_int_equal(leaf(7, 0, X86_ECX) >> 4 & 1, 1);
	assert_int_equal(leaf(0x80000001, 0, X86_EDX) >> 11 & 1, 0);
	machine.cpu.mode = X86_MODE_64;
	assert_int_equal(leaf(0x80000001, 0, X86_EDX) >> 11 & 1, 1);
}

/* What is never offered: MONITOR, VMX, MPX, TSX, CET, LA57, XSAVES, WAITPKG. */
static void absent_features(void **state)
{
	static const struct {
		uint32_t leaf, subleaf;
		unsigned reg, bit;
	} absent[] = {
		{ 1, 0, X86_ECX, 3 }, { 1, 0, X86_ECX, 5 }, { 7, 0, X86_EBX, 14 },
		{ 7, 0, X86_EBX, 4 }, { 7, 0, X86_EBX, 11 },
		{ 7, 0, X86_ECX, 7 }, { 7, 0, X86_EDX, 20 }, { 7, 0, X86_ECX, 16 },
		{ 0xd, 1, X86_EAX, 3 }, { 7, 0, X86_ECX, 5 }, { 7, 0, X86_ECX, 23 },
	};

	(void)state;
	use(NULL, 0, 1);
	for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_int_equal(leaf(absent[i].leaf, absent[i].subleaf, absent[i].reg) >>
				 absent[i].bit & 1, 0);
}

static bool allowed(ZydisISASet set)
{
	return x86_isa_allowed(&machine.cpu, set, ZYDIS_ISA_EXT_INVALID);
}

static void gating(void **state)
{
	(void)state;
	use("baseline", 0, 1);
	assert_true(allowed(ZYDIS_ISA_SET_I86));
	assert_true(allowed(ZYDIS_ISA_SET_SSE2));
	assert_true(allowed(ZYDIS_ISA_SET_LONGMODE));
	assert_true(allowed(ZYDIS_ISA_SET_CET));
	assert_false(allowed(ZYDIS_ISA_SET_SSE3));
	assert_false(allowed(ZYDIS_ISA_SET_AVX));
	assert_false(allowed(ZYDIS_ISA_SET_XSAVE));
	assert_false(allowed(ZYDIS_ISA_SET_PKU));
	assert_int_equal(x86_xcr0_mask(&machine.cpu), 0);
	assert_false(x86_cr4_mask(&machine.cpu) & X86_CR4_OSXSAVE);
	teardown(NULL);
	use("host", 0, 1);
	assert_false(allowed(ZYDIS_ISA_SET_VTX));
	assert_false(allowed(ZYDIS_ISA_SET_SVM));
	assert_false(allowed(ZYDIS_ISA_SET_AMD));
	assert_false(allowed(ZYDIS_ISA_SET_RTM));
	assert_false(allowed(ZYDIS_ISA_SET_WAITPKG));
	assert_false(allowed(ZYDIS_ISA_SET_XSAVES));
	assert_int_equal(allowed(ZYDIS_ISA_SET_AMX_TILE),
			 x86_cpuid_has(&machine.cpu, X86_FEATURE_AMX_TILE));
	assert_int_equal(allowed(ZYDIS_ISA_SET_AVX512F_512),
			 x86_cpuid_has(&machine.cpu, X86_FEATURE_AVX512F));
	assert_int_equal(allowed(ZYDIS_ISA_SET_AVX2),
			 x86_cpuid_has(&machine.cpu, X86_FEATURE_AVX2));
}

/* The state of tiles comes with them or not at all, and with the leaves that describe them. */
static void tiles(void **state)
{
	bool there;

	(void)state;
	use("v3", 0, 1);
	assert_int_equal(x86_xcr0_mask(&machine.cpu) >> 17 & 3, 0);
	assert_int_equal(leaf(0x1d, 0, X86_EAX), 0);
	assert_false(allowed(ZYDIS_ISA_SET_AMX_INT8));
	teardown(NULL);
	use("host", 0, 1);
	there = x86_cpuid_has(&machine.cpu, X86_FEATURE_AMX_TILE);
	assert_int_equal(x86_xcr0_mask(&machine.cpu) >> 17 & 3, there ? 3 : 0);
	assert_int_equal(leaf(0x1d, 0, X86_EAX), there);
	/* Eight tiles of 1 KiB, 16 rows of 64 bytes. */
	assert_int_equal(leaf(0x1d, 1, X86_EAX), there ? 1024 << 16 | 8192 : 0);
	assert_int_equal(leaf(0x1d, 1, X86_EBX), there ? 8 << 16 | 64 : 0);
	assert_int_equal(leaf(0x1d, 1, X86_ECX), there ? 16 : 0);
	assert_int_equal(leaf(0x1d, 2, X86_EAX), 0);
}

/* The guest's own reckoning, in 32 bits as Linux does it. */
static void timing(void **state)
{
	uint32_t khz;
	uint64_t hz;

	(void)state;
	use(NULL, 0, 1);
	hz = x86_tsc_hz(machine.cpu.cpuid);
	assert_true(hz > 100000000 && hz < 20000000000);
	khz = leaf(0x15, 0, X86_ECX) / 1000 * leaf(0x15, 0, X86_EBX) / leaf(0x15, 0, X86_EAX);
	assert_in_range(khz, hz / 1000 - 8, hz / 1000 + 8);
	assert_int_equal(leaf(0x15, 0, X86_ECX), x86_apic_timer_hz(machine.cpu.cpuid));
	assert_int_equal(x86_host_tsc_hz(), hz);
	assert_int_equal(leaf(0x40000010, 0, X86_EAX), hz / 1000);
	/* Above 32 bits the crystal is a whole fraction. */
	assert_int_equal(x86_crystal_hz(5000000000), 2500000000);
}

static void addresses(void **state)
{
	(void)state;
	use(NULL, 0, 1);
	assert_in_range(x86_maxphyaddr(&machine.cpu), 39, 46);
	assert_int_equal(leaf(0x80000008, 0, X86_EAX),
			 x86_maxphyaddr(&machine.cpu) | 48 << 8);
}

static void unknown_model(void **state)
{
	struct x86_cpuid *cpuid;
	struct error err;

	(void)state;
	assert_int_equal(x86_cpuid_create("80286", 0, 1, NULL, &cpuid, &err), -22);
	assert_non_null(strstr(err.message, "80286"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(vendor_and_ranges, teardown),
		cmocka_unit_test_teardown(out_of_range, teardown),
		cmocka_unit_test_teardown(topology, teardown),
		cmocka_unit_test_teardown(xsave_layout, teardown),
		cmocka_unit_test_teardown(mirrors_of_control_registers, teardown),
		cmocka_unit_test_teardown(absent_features, teardown),
		cmocka_unit_test_teardown(gating, teardown),
		cmocka_unit_test_teardown(tiles, teardown),
		cmocka_unit_test_teardown(timing, teardown),
		cmocka_unit_test_teardown(addresses, teardown),
		cmocka_unit_test(unknown_model),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
