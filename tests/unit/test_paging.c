/* SPDX-License-Identifier: MIT */
/* Page walks of every format against tables made by hand, and the error codes of what fails. */
#include <stdarg.h>
#include <stddef.h>

#include "x86_fixture.h"

#include <cmocka.h>

#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/memory/paging.h"
#include "mem/mem.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)

#define ROOT 0x10000u
#define PDPT 0x11000u
#define PD 0x12000u
#define PT 0x13000u
#define PAGE 0x55000u
#define LINEAR 0x400123u

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

/* PML4 to PT for LINEAR, with all rights but in the last entry. */
static void four_levels(struct x86_fixture *f, uint64_t leaf)
{
	x86_poke(f, ROOT, PDPT | P | W | U, 8);
	x86_poke(f, PDPT, PD | P | W | U, 8);
	x86_poke(f, PD + 2 * 8, PT | P | W | U, 8);
	x86_poke(f, PT, leaf, 8);
	x86_fixture_long(f, 0, ROOT);
}

static void assert_maps(struct x86_fixture *f, uint64_t linear, enum x86_walk_access access,
			unsigned mmu, uint64_t phys)
{
	struct x86_walk walk;

	assert_true(x86_walk(f->cpu, linear, access, mmu, &walk));
	assert_true(walk.phys == phys);
}

static void assert_fails(struct x86_fixture *f, uint64_t linear, enum x86_walk_access access,
			 unsigned mmu, uint32_t error)
{
	struct x86_walk walk;

	assert_false(x86_walk(f->cpu, linear, access, mmu, &walk));
	assert_int_equal(walk.error, error);
}

static void test_no_paging(void **state)
{
	struct x86_walk walk;
	uint64_t phys;
	struct x86_fixture *f = *state;

	assert_true(x86_walk(f->cpu, 0x123456, X86_WALK_WRITE, X86_MMU_USER, &walk));
	assert_true(walk.phys == 0x123456 && walk.writable && walk.executable && walk.readable);
	assert_true(x86_walk_debug(f->cpu, 0x99, &phys) && phys == 0x99);
}

static void test_two_levels(void **state)
{
	struct x86_fixture *f = *state;

	x86_poke(f, ROOT + 1 * 4, PT | P | W | U, 4);
	x86_poke(f, PT, PAGE | P | U, 4);
	x86_poke(f, ROOT + 3 * 4, 0x800000 | PS | P | W, 4);
	f->cpu->state.cr3 = ROOT;
	f->cpu->state.cr0 |= X86_CR0_PG;
	x86_fixture_protected(f, 0);
	assert_maps(f, LINEAR, X86_WALK_READ, X86_MMU_USER, PAGE | 0x123);
	assert_int_equal(x86_peek(f, ROOT + 4, 4), PT | P | W | U | A);
	assert_int_equal(x86_peek(f, PT, 4), PAGE | P | U | A);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U);
	assert_fails(f, 0x800000, X86_WALK_READ, X86_MMU_KERNEL, 0);
	/* Without CR4.PSE, PS means nothing: 0x800000 is a page table, and empty. */
	assert_fails(f, 0xc00000, X86_WALK_READ, X86_MMU_KERNEL, 0);
	f->cpu->state.cr4 |= X86_CR4_PSE;
	assert_maps(f, 0xc12345, X86_WALK_WRITE, X86_MMU_KERNEL, 0x812345);
	assert_int_equal(x86_peek(f, ROOT + 12, 4), 0x800000 | PS | P | W | A | D);
	assert_fails(f, 0xc12345, X86_WALK_FETCH, X86_MMU_USER, X86_PF_P | X86_PF_U);
}

static void test_pse36(void **state)
{
	struct x86_fixture *f = *state;
	unsigned width = x86_maxphyaddr(f->cpu);
	unsigned above = (width < 40 ? width : 40) - 19;

	f->cpu->state.cr3 = ROOT;
	f->cpu->state.cr0 |= X86_CR0_PG;
	f->cpu->state.cr4 |= X86_CR4_PSE;
	x86_fixture_protected(f, 0);
	x86_poke(f, ROOT, 0x400000 | 1u << 13 | PS | P, 4);
	assert_maps(f, 0x3fffff, X86_WALK_READ, X86_MMU_KERNEL, (1ull << 32) + 0x7fffff);
	x86_poke(f, ROOT, 0x400000 | 1u << above | PS | P, 4);
	assert_fails(f, 0x3fffff, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
}

static void test_pae(void **state)
{
	struct x86_fixture *f = *state;

	x86_poke(f, ROOT + 0x20, PD | P, 8);
	x86_poke(f, PD + 2 * 8, PT | P | W | U, 8);
	x86_poke(f, PD + 3 * 8, 0x800000 | PS | P | W | NX, 8);
	x86_poke(f, PT, PAGE | P | W | U, 8);
	f->cpu->state.cr3 = ROOT + 0x20;
	f->cpu->state.cr0 |= X86_CR0_PG;
	f->cpu->state.cr4 |= X86_CR4_PAE;
	x86_fixture_protected(f, 0);
	assert_true(x86_load_pdptrs(f->cpu, ROOT + 0x20));
	assert_maps(f, LINEAR, X86_WALK_WRITE, X86_MMU_USER, PAGE | 0x123);
	assert_fails(f, 1u << 30, X86_WALK_READ, X86_MMU_USER, X86_PF_U);
	/* NX is reserved without EFER.NXE; the I bit of the code comes with it. */
	assert_fails(f, 0x600000, X86_WALK_FETCH, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	f->cpu->state.efer |= X86_EFER_NXE;
	assert_maps(f, 0x612345, X86_WALK_READ, X86_MMU_KERNEL, 0x812345);
	assert_fails(f, 0x600000, X86_WALK_FETCH, X86_MMU_KERNEL, X86_PF_P | X86_PF_I);
	/* Bits 62:52 are reserved under PAE. */
	x86_poke(f, PT, PAGE | P | 1ull << 52, 8);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
}

static void test_pdptes_are_checked(void **state)
{
	struct x86_fixture *f = *state;

	x86_poke(f, ROOT, PD | P, 8);
	x86_poke(f, ROOT + 8, PD | W, 8); /* not present: the rest is ignored */
	assert_true(x86_load_pdptrs(f->cpu, ROOT));
	assert_true(f->cpu->state.pdpte[0] == (PD | P));
	x86_poke(f, ROOT + 16, PD | P | W, 8);
	x86_poke(f, ROOT, PT | P, 8);
	assert_false(x86_load_pdptrs(f->cpu, ROOT));
	assert_true(f->cpu->state.pdpte[0] == (PD | P));
	x86_poke(f, ROOT + 16, P | 1ull << 60, 8);
	assert_false(x86_load_pdptrs(f->cpu, ROOT));
}

static void test_four_levels(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_walk walk;

	four_levels(f, PAGE | P | W | U | 1ull << 55);
	assert_true(x86_walk(f->cpu, LINEAR, X86_WALK_READ, X86_MMU_USER, &walk));
	assert_true(walk.phys == (PAGE | 0x123) && walk.readable && walk.executable);
	assert_false(walk.writable); /* D is clear */
	assert_false(walk.global);
	assert_int_equal(x86_peek(f, ROOT, 8), PDPT | P | W | U | A);
	assert_int_equal(x86_peek(f, PDPT, 8), PD | P | W | U | A);
	assert_int_equal(x86_peek(f, PD + 16, 8), PT | P | W | U | A);
	assert_true(x86_walk(f->cpu, LINEAR, X86_WALK_WRITE, X86_MMU_USER, &walk));
	assert_true(walk.writable);
	assert_true(x86_peek(f, PT, 8) == (PAGE | P | W | U | A | D | 1ull << 55));
	assert_int_equal(x86_peek(f, PD + 16, 8), PT | P | W | U | A);
	assert_fails(f, LINEAR + 4096, X86_WALK_WRITE, X86_MMU_USER, X86_PF_W | X86_PF_U);
}

static void test_large_pages(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_walk walk;

	four_levels(f, 0);
	x86_poke(f, PD + 3 * 8, 0xa00000 | PS | P | W | G, 8);
	x86_poke(f, PDPT + 8, 1ull << 32 | PS | P | W, 8);
	assert_true(x86_walk(f->cpu, 0x612345, X86_WALK_WRITE, X86_MMU_KERNEL, &walk));
	assert_true(walk.phys == 0xa12345 && walk.page_shift == 21 && !walk.global);
	f->cpu->state.cr4 |= X86_CR4_PGE;
	assert_true(x86_walk(f->cpu, 0x612345, X86_WALK_READ, X86_MMU_KERNEL, &walk));
	assert_true(walk.global && walk.writable);
	assert_maps(f, 0x7654321f, X86_WALK_READ, X86_MMU_KERNEL, (1ull << 32) + 0x3654321f);
	x86_poke(f, PD + 3 * 8, 0xa00000 | PS | P | 1u << 13, 8);
	assert_fails(f, 0x600000, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	x86_poke(f, PDPT + 8, 1ull << 32 | PS | P | 1u << 29, 8);
	assert_fails(f, 0x40000000, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	x86_poke(f, ROOT, PDPT | P | PS, 8);
	assert_fails(f, 0, X86_WALK_WRITE, X86_MMU_USER,
		     X86_PF_P | X86_PF_RSVD | X86_PF_W | X86_PF_U);
}

static void test_reserved_address_bits(void **state)
{
	struct x86_fixture *f = *state;
	unsigned width = x86_maxphyaddr(f->cpu);

	four_levels(f, PAGE | P | 1ull << width);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	assert_int_equal(x86_peek(f, ROOT, 8), PDPT | P | W | U); /* no A bits on a fault */
	x86_poke(f, PT, PAGE | P | NX, 8);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	x86_poke(f, PT, PAGE | P | 1ull << 52, 8); /* ignored here */
	assert_maps(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, PAGE | 0x123);
}

static void test_supervisor_writes(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_walk walk;

	four_levels(f, PAGE | P | D);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, X86_PF_P | X86_PF_W);
	f->cpu->state.cr0 &= ~X86_CR0_WP;
	assert_true(x86_walk(f->cpu, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, &walk));
	assert_true(walk.writable);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_USER, X86_PF_P | X86_PF_U);
	/* Rights are what all levels give. */
	x86_poke(f, PT, PAGE | P | W | U, 8);
	x86_poke(f, PDPT, PD | P | U, 8);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U);
}

static void test_smep_and_smap(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_walk walk;

	four_levels(f, PAGE | P | W | U | D);
	assert_true(x86_walk(f->cpu, LINEAR, X86_WALK_FETCH, X86_MMU_KERNEL_SMAP, &walk));
	assert_false(walk.readable || walk.writable);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL_SMAP, X86_PF_P);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL_SMAP, X86_PF_P | X86_PF_W);
	assert_maps(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, PAGE | 0x123);
	f->cpu->state.cr4 |= X86_CR4_SMEP;
	assert_fails(f, LINEAR, X86_WALK_FETCH, X86_MMU_KERNEL, X86_PF_P | X86_PF_I);
	assert_maps(f, LINEAR, X86_WALK_FETCH, X86_MMU_USER, PAGE | 0x123);
}

static void test_protection_keys(void **state)
{
	struct x86_fixture *f = *state;

	four_levels(f, PAGE | P | W | U | 5ull << 59);
	f->cpu->state.pkru = 1u << 5 * 2;
	assert_maps(f, LINEAR, X86_WALK_READ, X86_MMU_USER, PAGE | 0x123);
	f->cpu->state.cr4 |= X86_CR4_PKE;
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_USER, X86_PF_P | X86_PF_U | X86_PF_PK);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_PK);
	assert_maps(f, LINEAR, X86_WALK_FETCH, X86_MMU_USER, PAGE | 0x123);
	f->cpu->state.pkru = 2u << 5 * 2;
	assert_maps(f, LINEAR, X86_WALK_READ, X86_MMU_USER, PAGE | 0x123);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_USER,
		     X86_PF_P | X86_PF_W | X86_PF_U | X86_PF_PK);
	assert_fails(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, X86_PF_P | X86_PF_W | X86_PF_PK);
	f->cpu->state.cr0 &= ~X86_CR0_WP;
	assert_maps(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, PAGE | 0x123);
	/* A supervisor page has no key. */
	x86_poke(f, PT, PAGE | P | W | 5ull << 59, 8);
	f->cpu->state.pkru = ~0u;
	assert_maps(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, PAGE | 0x123);
}

static void test_tables_in_strange_places(void **state)
{
	struct x86_fixture *f = *state;

	/* Outside of memory: all ones, so reserved bits are set. */
	x86_fixture_long(f, 0, 0x80000000);
	assert_fails(f, LINEAR, X86_WALK_READ, X86_MMU_KERNEL, X86_PF_P | X86_PF_RSVD);
	/* In ROM: the walk works, accessed bits have nowhere to go. */
	x86_poke(f, FIXTURE_ROM, PDPT | P | W, 8);
	x86_poke(f, PDPT, PS | P | W, 8);
	f->cpu->state.cr3 = FIXTURE_ROM;
	assert_maps(f, LINEAR, X86_WALK_WRITE, X86_MMU_KERNEL, LINEAR);
	assert_int_equal(x86_peek(f, FIXTURE_ROM, 8), PDPT | P | W);
	assert_int_equal(x86_peek(f, PDPT, 8), PS | P | W | A | D);
}

static void test_debug_walk_leaves_no_trace(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t phys;

	four_levels(f, PAGE | P);
	assert_true(x86_walk_debug(f->cpu, LINEAR, &phys));
	assert_true(phys == (PAGE | 0x123));
	assert_int_equal(x86_peek(f, PT, 8), PAGE | P);
	assert_false(x86_walk_debug(f->cpu, LINEAR + 4096, &phys));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_paging),
		TEST(test_two_levels),
		TEST(test_pse36),
		TEST(test_pae),
		TEST(test_pdptes_are_checked),
		TEST(test_four_levels),
		TEST(test_large_pages),
		TEST(test_reserved_address_bits),
		TEST(test_supervisor_writes),
		TEST(test_smep_and_smap),
		TEST(test_protection_keys),
		TEST(test_tables_in_strange_places),
		TEST(test_debug_walk_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
