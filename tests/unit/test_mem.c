/* SPDX-License-Identifier: MIT */
/* Guest memory: regions, look-ups at their edges, copies across them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mem/mem.h"

#define MIB (1u << 20)

static int setup(void **state)
{
	return mem_create((struct mem **)state, NULL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_regions_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_regions_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pointers_stay_in_a_region, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_copies_change_nothing, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
