/* SPDX-License-Identifier: MIT */
/* Guest memory: regions, look-ups at their edges, copies across them; private, and in a file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "mem/mem.h"

#define MIB (1u << 20)

static int setup(void **state)
{
	return mem_create((struct mem **)state, NULL);
}

static int setup_shared(void **state)
{
	return setup(state) || mem_share(*state);
}

static int teardown(void **state)
{
	mem_destroy(*state);
	return 0;
}

static void test_regions_are_found(void **state)
{
	struct mem *mem = *state;

	assert_int_equal(mem_add(mem, 16 * MIB, MIB, true, "rom", NULL), 0);
	assert_int_equal(mem_add(mem, 0, MIB, false, "ram", NULL), 0);
	assert_int_equal(mem_region_count(mem), 2);
	assert_string_equal(mem_region_at(mem, 0)->name, "ram");
	assert_string_equal(mem_region_at(mem, 1)->name, "rom");
	assert_null(mem_region_at(mem, 2));
	assert_string_equal(mem_find(mem, 0)->name, "ram");
	assert_string_equal(mem_find(mem, MIB - 1)->name, "ram");
	assert_null(mem_find(mem, MIB));
	assert_null(mem_find(mem, 16 * MIB - 1));
	assert_true(mem_find(mem, 17 * MIB - 1)->readonly);
	assert_null(mem_find(mem, ~0ull));
}

static void test_bad_regions_are_refused(void **state)
{
	struct mem *mem = *state;

	assert_int_equal(mem_add(mem, MIB, MIB, false, "a", NULL), 0);
	assert_int_equal(mem_add(mem, MIB, MIB, false, "b", NULL), -EEXIST);
	assert_int_equal(mem_add(mem, 2 * MIB - 4096, MIB, false, "b", NULL), -EEXIST);
	assert_int_equal(mem_add(mem, 0, MIB + 4096, false, "b", NULL), -EEXIST);
	assert_int_equal(mem_add(mem, 0, 4 * MIB, false, "b", NULL), -EEXIST);
	assert_int_equal(mem_add(mem, 123, MIB, false, "b", NULL), -EINVAL);
	assert_int_equal(mem_add(mem, 0, 0, false, "b", NULL), -EINVAL);
	assert_int_equal(mem_add(mem, ~0xfffull, 8192, false, "b", NULL), -EINVAL);
	assert_int_equal(mem_add(mem, 0, MIB, false, "b", NULL), 0);
}

static void test_pointers_stay_in_a_region(void **state)
{
	struct mem *mem = *state;
	uint8_t *host;

	assert_int_equal(mem_add(mem, 0, MIB, false, "a", NULL), 0);
	assert_int_equal(mem_add(mem, MIB, MIB, false, "b", NULL), 0);
	host = mem_ptr(mem, 0, MIB);
	assert_non_null(host);
	assert_ptr_equal(mem_ptr(mem, 100, 4), host + 100);
	assert_non_null(mem_ptr(mem, MIB - 4, 4));
	assert_null(mem_ptr(mem, MIB - 4, 5));
	assert_null(mem_ptr(mem, 0, ~0ull));
	assert_null(mem_ptr(mem, 2 * MIB, 0));
}

static void test_copies(void **state)
{
	struct mem *mem = *state;
	uint8_t data[64], back[64];

	assert_int_equal(mem_add(mem, 0, MIB, false, "a", NULL), 0);
	assert_int_equal(mem_add(mem, MIB, MIB, true, "b", NULL), 0);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + 1);
	assert_int_equal(mem_write(mem, MIB - 32, data, 64), 0);
	assert_int_equal(mem_read(mem, MIB - 32, back, 64), 0);
	assert_memory_equal(data, back, 64);
	assert_true(mem_find(mem, 0)->page_flags[255] & MEM_PAGE_DIRTY);
	assert_false(mem_find(mem, 0)->page_flags[254] & MEM_PAGE_DIRTY);
	assert_int_equal(mem_fill(mem, MIB - 1, 0xee, 2), 0);
	assert_int_equal(mem_read(mem, MIB - 2, back, 4), 0);
	assert_memory_equal(back, "\x1f\xee\xee\x22", 4);
}

static void test_failed_copies_change_nothing(void **state)
{
	struct mem *mem = *state;
	uint8_t data[64] = { 1 }, back[32];

	assert_int_equal(mem_add(mem, 0, MIB, false, "a", NULL), 0);
	assert_int_equal(mem_write(mem, MIB - 32, data, 64), -EFAULT);
	assert_int_equal(mem_fill(mem, MIB - 32, 1, 64), -EFAULT);
	assert_int_equal(mem_read(mem, MIB - 32, data, 64), -EFAULT);
	assert_int_equal(mem_read(mem, MIB - 32, back, 32), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(back[i], 0);
	assert_int_equal(mem_read(mem, ~0ull, data, 2), -EFAULT);
	assert_int_equal(mem_read(mem, 5 * MIB, data, 0), 0);
}

/* What the file holds at a guest-physical address. */
static uint8_t in_file(const struct mem *mem, uint64_t gpa)
{
	const struct mem_region *region = mem_find(mem, gpa);
	uint8_t *page = mmap(NULL, MEM_PAGE_SIZE, PROT_READ, MAP_SHARED, mem_file(mem),
			     (off_t)(region->file_offset + ((gpa - region->gpa) & ~0xfffull)));
	uint8_t value;

	assert_ptr_not_equal(page, MAP_FAILED);
	value = page[gpa & 0xfff];
	munmap(page, MEM_PAGE_SIZE);
	return value;
}

static void test_a_file_holds_all_regions(void **state)
{
	const uint64_t high = 0x100000000ull + 3 * MIB + 4096;
	struct mem *mem = *state;

	assert_int_equal(mem_add(mem, high, 8 * MIB, false, "high", NULL), 0);
	assert_int_equal(mem_add(mem, 0, MIB, false, "low", NULL), 0);
	assert_int_equal(mem_fill(mem, 0, 1, MIB), 0);
	assert_int_equal(mem_fill(mem, high, 2, 8 * MIB), 0);
	assert_int_equal(in_file(mem, 0), 1);
	assert_int_equal(in_file(mem, MIB - 1), 1);
	assert_int_equal(in_file(mem, high), 2);
	assert_int_equal(in_file(mem, high + 8 * MIB - 1), 2);
}

static void test_a_file_is_aligned_for_huge_pages(void **state)
{
	const struct mem_region *region;
	struct mem *mem = *state;

	assert_int_equal(mem_add(mem, MIB + 4096, 8 * MIB, false, "a", NULL), 0);
	assert_int_equal(mem_add(mem, 16 * MIB, MIB, false, "b", NULL), 0);
	for (unsigned i = 0; (region = mem_region_at(mem, i)); i++) {
		assert_int_equal((region->gpa - region->file_offset) % MEM_HUGE_SIZE, 0);
		assert_int_equal((region->gpa - (uintptr_t)region->host) % MEM_HUGE_SIZE, 0);
	}
}

static void test_asking_for_huge_pages_changes_nothing(void **state)
{
	const struct mem_region *region;
	struct mem *mem = *state;

	assert_int_equal(mem_add(mem, MIB, 9 * MIB, false, "a", NULL), 0);
	region = mem_find(mem, MIB);
	region->host[5 * MIB] = 7;
	for (uint64_t offset = 0; offset < region->size_bytes; offset += MEM_PAGE_SIZE)
		mem_settle(region, offset);
	assert_int_equal(region->host[5 * MIB], 7);
	assert_int_equal(region->host[5 * MIB + 1], 0);
}

static void test_discarded_pages_are_zeros(void **state)
{
	struct mem *mem = *state;
	uint8_t *page;

	assert_int_equal(mem_add(mem, 0, 4 * MIB, false, "a", NULL), 0);
	assert_int_equal(mem_fill(mem, 0, 9, 4 * MIB), 0);
	mem_discard(mem, MIB + 1, 8192);
	page = mem_ptr(mem, MIB, 3 * MEM_PAGE_SIZE);
	assert_int_equal(page[MEM_PAGE_SIZE - 1], 9);
	assert_int_equal(page[MEM_PAGE_SIZE], 0);
	assert_int_equal(page[2 * MEM_PAGE_SIZE], 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_regions_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_holds_all_regions, setup_shared, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_is_aligned_for_huge_pages, setup_shared,
						teardown),
		cmocka_unit_test_setup_teardown(test_asking_for_huge_pages_changes_nothing, setup_shared,
						teardown),
		cmocka_unit_test_setup_teardown(test_discarded_pages_are_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discarded_pages_are_zeros, setup_shared, teardown),
		cmocka_unit_test_setup_teardown(test_bad_regions_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pointers_stay_in_a_region, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_copies_change_nothing, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
