/* SPDX-License-Identifier: MIT */
/* MSRs: what may be written to them, what they then read, and which do not exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "x86_fixture.h"

#include <cmocka.h>

#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/system/msr.h"

#define TSC 0x10u
#define APIC_BASE 0x1bu
#define TSC_ADJUST 0x3bu
#define PAT 0x277u
#define EFER 0xc0000080u
#define NONCANONICAL 0x0000800000000000ull

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	x86_msr_reset(fixture.cpu);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

static uint64_t get(struct x86_fixture *f, uint32_t index)
{
	uint64_t value = 0;

	assert_true(x86_msr_read(f->cpu, index, &value));
	return value;
}

/* Accepted, and read back as it is. */
static void keeps(struct x86_fixture *f, uint32_t index, uint64_t value)
{
	assert_true(x86_msr_write(f->cpu, index, value));
	assert_int_equal(get(f, index), value);
}

/* Refused, and as it was. */
static void refuses(struct x86_fixture *f, uint32_t index, uint64_t value)
{
	uint64_t before = get(f, index);

	assert_false(x86_msr_write(f->cpu, index, value));
	assert_int_equal(get(f, index), before);
}

static void addresses(void **state)
{
	static const uint32_t indices[] = {
		0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102,
	};

	for (unsigned i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
		keeps(*state, indices[i], 0x00007fffffffffffull - i);
		keeps(*state, indices[i], 0xffff800000000000ull + i);
		refuses(*state, indices[i], NONCANONICAL + i);
	}
}

static void segment_bases(void **state)
{
	struct x86_fixture *f = *state;

	keeps(f, 0xc0000100, 0x1000);
	keeps(f, 0xc0000101, 0x2000);
	keeps(f, 0xc0000102, 0x3000);
	assert_int_equal(f->cpu->state.seg[X86_FS].base, 0x1000);
	assert_int_equal(f->cpu->state.seg[X86_GS].base, 0x2000);
	assert_int_equal(f->cpu->state.kernel_gs_base, 0x3000);
}

static void efer(void **state)
{
	struct x86_fixture *f = *state;

	keeps(f, EFER, X86_EFER_SCE | X86_EFER_LME | X86_EFER_NXE);
	refuses(f, EFER, 1 << 1);
	/* LMA is not the guest's to write. */
	assert_true(x86_msr_write(f->cpu, EFER, X86_EFER_LME | X86_EFER_LMA));
	assert_int_equal(get(f, EFER), X86_EFER_LME);
	f->cpu->state.cr0 |= X86_CR0_PG | X86_CR0_PE;
	refuses(f, EFER, 0);
	keeps(f, EFER, X86_EFER_LME | X86_EFER_NXE);
}

static void pat(void **state)
{
	assert_int_equal(get(*state, PAT), 0x0007040600070406ull);
	keeps(*state, PAT, 0x0706050401000605ull);
	refuses(*state, PAT, 0x0007040600070402ull);
	refuses(*state, PAT, 0x0807040600070406ull);
}

static void mtrrs(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t beyond = 1ull << x86_maxphyaddr(f->cpu);

	assert_int_equal(get(f, 0xfe), 0x508);
	assert_false(x86_msr_write(f->cpu, 0xfe, 0));
	for (unsigned i = 0; i < 8; i++) {
		keeps(f, 0x200 + 2 * i, 0x100000 * i | 6);
		keeps(f, 0x201 + 2 * i, (beyond - 0x100000) | 0x800);
	}
	refuses(f, 0x200, 2);
	refuses(f, 0x200, beyond);
	refuses(f, 0x201, 1);
	keeps(f, 0x250, 0x0606060606060606);
	keeps(f, 0x259, 0);
	keeps(f, 0x26f, 0x0501050105010501);
	refuses(f, 0x258, 7);
	keeps(f, 0x2ff, 0xc06);
	refuses(f, 0x2ff, 0x100);
	assert_int_equal(f->cpu->state.mtrr_fixed[10], 0x0501050105010501);
}

static void time_stamps(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t before;

	assert_true(x86_msr_write(f->cpu, TSC, 1000));
	assert_true(get(f, TSC) >= 1000 && get(f, TSC) < 100000000000ull);
	before = x86_tsc_read(f->cpu);
	assert_true(x86_msr_write(f->cpu, TSC_ADJUST, get(f, TSC_ADJUST) + (1ull << 60)));
	assert_true(x86_tsc_read(f->cpu) - before >= 1ull << 60);
	keeps(f, 0xc0000103, 0xffffffff);
	refuses(f, 0xc0000103, 1ull << 32);
}

static void machine_check(void **state)
{
	struct x86_fixture *f = *state;
	unsigned banks = get(f, 0x179) & 0xff;

	for (unsigned i = 0; i < banks; i++) {
		assert_int_equal(get(f, 0x400 + 4 * i), ~0ull);
		keeps(f, 0x400 + 4 * i, i);
		keeps(f, 0x401 + 4 * i, 0);
		refuses(f, 0x401 + 4 * i, 1);
	}
	assert_false(x86_msr_write(f->cpu, 0x400 + 4 * banks, 0));
	keeps(f, 0x17a, 5);
}

static void speculation(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t value;

	keeps(f, 0x48, 1);
	keeps(f, 0x48, 1 << 10); /* BHI_DIS_S */
	refuses(f, 0x48, 4);
	assert_true(x86_msr_write(f->cpu, 0x49, 1));
	assert_false(x86_msr_write(f->cpu, 0x49, 2));
	assert_false(x86_msr_read(f->cpu, 0x49, &value));
	/* RDCL_NO, MDS_NO, TAA_NO */
	assert_int_equal(get(f, 0x10a) & 0x121, 0x121);
	assert_false(x86_msr_write(f->cpu, 0x10a, 0));
}

/* VMX, performance counters, AMD's, KVM's, nonsense; and the APIC's without an APIC. */
static void absent(void **state)
{
	static const uint32_t indices[] = {
		0x3a, 0x480, 0xc1, 0x186, 0x38f, 0xda0, 0xc0010015, 0x4b564d00, 0xffffffff,
		APIC_BASE, 0x802, 0x6e0, 0x20f + 1, 0x24f,
	};
	struct x86_fixture *f = *state;
	uint64_t value;

	for (unsigned i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
		assert_false(x86_msr_read(f->cpu, indices[i], &value));
		assert_false(x86_msr_write(f->cpu, indices[i], 0));
	}
}

static void misc_enable(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t reset = get(f, 0x1a0);

	assert_int_equal(reset & 1, 1);
	assert_true(x86_msr_write(f->cpu, 0x1a0, reset & ~1ull));
	assert_int_equal(get(f, 0x1a0), reset & ~1ull);
	refuses(f, 0x1a0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(segment_bases, setup, teardown),
		cmocka_unit_test_setup_teardown(efer, setup, teardown),
		cmocka_unit_test_setup_teardown(pat, setup, teardown),
		cmocka_unit_test_setup_teardown(mtrrs, setup, teardown),
		cmocka_unit_test_setup_teardown(time_stamps, setup, teardown),
		cmocka_unit_test_setup_teardown(machine_check, setup, teardown),
		cmocka_unit_test_setup_teardown(speculation, setup, teardown),
		cmocka_unit_test_setup_teardown(absent, setup, teardown),
		cmocka_unit_test_setup_teardown(misc_enable, setup, teardown),
	};

	return cmocka_run_group_tests_name("msr", tests, NULL, NULL);
}
