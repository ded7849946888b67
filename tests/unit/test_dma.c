/* SPDX-License-Identifier: MIT */
/* Devices' way to guest memory: whole ranges or nothing, ROM, region borders, who is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/dma.h"
#include "mem/mem.h"

#define PAGE MEM_PAGE_SIZE

/* RAM 0 … 4 pages, ROM behind it, RAM behind that, then nothing. */
struct bench {
	struct mem *mem;
	struct dma dma;
	uint64_t wrote_gpa, wrote_len;
	unsigned wrote_count;
};

static void wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	struct bench *b = opaque;

	b->wrote_gpa = gpa;
	b->wrote_len = len;
	b->wrote_count++;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	b->dma = (struct dma){ .wrote = wrote, .opaque = b };
	return mem_create(&b->mem, NULL) || !(b->dma.mem = b->mem) ||
	       mem_add(b->mem, 0, 4 * PAGE, false, "ram", NULL) ||
	       mem_add(b->mem, 4 * PAGE, PAGE, true, "rom", NULL) ||
	       mem_add(b->mem, 5 * PAGE, PAGE, false, "ram", NULL);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	mem_destroy(b->mem);
	free(b);
	return 0;
}

static uint8_t flags_of(const struct bench *b, uint64_t gpa)
{
	const struct mem_region *region = mem_find(b->mem, gpa);

	return region->page_flags[(gpa - region->gpa) / PAGE];
}

static void test_copies(void **state)
{
	struct bench *b = *state;
	char text[8] = "";

	assert_int_equal(dma_write(&b->dma, PAGE - 4, "abcdefg", 8), 0);
	assert_int_equal(dma_read(&b->dma, PAGE - 4, text, 8), 0);
	assert_string_equal(text, "abcdefg");
	assert_true(flags_of(b, 0) & MEM_PAGE_DIRTY && flags_of(b, PAGE) & MEM_PAGE_DIRTY);
	assert_false(flags_of(b, 2 * PAGE) & MEM_PAGE_DIRTY);
	assert_true(b->wrote_gpa == PAGE - 4 && b->wrote_len == 8 && b->wrote_count == 1);
	assert_int_equal(dma_fill(&b->dma, PAGE, 'x', 2), 0);
	assert_int_equal(dma_read(&b->dma, PAGE - 4, text, 8), 0);
	assert_string_equal(text, "abcdxxg");
}

/* A range that memory does not hold to its end changes nothing. */
static void test_no_memory(void **state)
{
	struct bench *b = *state;
	char text[16] = "untouched";

	assert_int_equal(dma_read(&b->dma, 6 * PAGE - 4, text, 8), -EFAULT);
	assert_string_equal(text, "untouched");
	assert_int_equal(dma_write(&b->dma, 6 * PAGE - 4, text, 8), -EFAULT);
	assert_int_equal(dma_fill(&b->dma, 5 * PAGE, 1, PAGE + 1), -EFAULT);
	assert_int_equal(dma_write(&b->dma, UINT64_MAX - 3, text, 8), -EFAULT);
	assert_int_equal(b->wrote_count, 0);
	assert_int_equal(dma_read(&b->dma, 7 * PAGE, text, 0), 0);
}

/* What goes to ROM is lost, what is beside it is not. */
static void test_rom(void **state)
{
	struct bench *b = *state;
	static uint8_t ones[2 * PAGE], back[2 * PAGE];

	memset(ones, 1, sizeof(ones));
	assert_int_equal(dma_write(&b->dma, 4 * PAGE - 8, ones, PAGE + 16), 0);
	assert_int_equal(b->wrote_count, 2);
	assert_int_equal(dma_read(&b->dma, 4 * PAGE - 8, back, PAGE + 16), 0);
	assert_int_equal(back[7], 1);
	assert_int_equal(back[8], 0);
	assert_int_equal(back[8 + PAGE - 1], 0);
	assert_int_equal(back[8 + PAGE], 1);
	assert_false(flags_of(b, 4 * PAGE) & MEM_PAGE_DIRTY);
}

static void test_map(void **state)
{
	struct bench *b = *state;
	struct iovec iov[4];

	assert_int_equal(dma_map(&b->dma, 8, PAGE, true, iov, 4), 1);
	assert_true(iov[0].iov_len == PAGE && iov[0].iov_base == mem_ptr(b->mem, 8, 1));
	assert_int_equal(dma_map(&b->dma, 3 * PAGE, 3 * PAGE, false, iov, 4), 3);
	assert_true(iov[2].iov_len == PAGE && iov[2].iov_base == mem_ptr(b->mem, 5 * PAGE, 1));
	assert_int_equal(dma_map(&b->dma, 3 * PAGE, 3 * PAGE, false, iov, 2), -E2BIG);
	assert_int_equal(dma_map(&b->dma, 3 * PAGE, 3 * PAGE, true, iov, 4), -EFAULT);
	assert_int_equal(dma_map(&b->dma, 5 * PAGE, PAGE + 1, false, iov, 4), -EFAULT);
	assert_int_equal(dma_map(&b->dma, UINT64_MAX, 2, false, iov, 4), -EFAULT);
	assert_int_equal(b->wrote_count, 0);
	dma_wrote(&b->dma, 2 * PAGE, PAGE);
	assert_true(b->wrote_count == 1 && flags_of(b, 2 * PAGE) & MEM_PAGE_DIRTY);
}

/* Whole pages read as zeros, parts of them and ROM stay as they are. */
static void test_discard(void **state)
{
	struct bench *b = *state;
	static uint8_t ones[PAGE * 6], back[PAGE * 6];

	memset(ones, 1, sizeof(ones));
	assert_int_equal(mem_write(b->mem, 0, ones, sizeof(ones)), 0);
	dma_discard(&b->dma, 1, 3 * PAGE);
	assert_true(b->wrote_gpa == 1 && b->wrote_len == 3 * PAGE);
	dma_discard(&b->dma, 4 * PAGE - 1, 2 * PAGE);
	dma_discard(&b->dma, 5 * PAGE, 100 * PAGE);
	assert_int_equal(dma_read(&b->dma, 0, back, sizeof(back)), 0);
	for (unsigned page = 0; page < 6; page++)
		assert_int_equal(back[page * PAGE], page == 0 || page == 3 || page == 4);
	assert_int_equal(back[PAGE - 1], 1);
}

/* All of RAM, as far as anybody knows. */
static void test_wrote_anywhere(void **state)
{
	struct bench *b = *state;

	dma_wrote_anywhere(&b->dma);
	assert_int_equal(b->wrote_count, 2);
	assert_true(b->wrote_gpa == 5 * PAGE && b->wrote_len == PAGE);
	assert_true(flags_of(b, 3 * PAGE) & MEM_PAGE_DIRTY && flags_of(b, 5 * PAGE) & MEM_PAGE_DIRTY);
	assert_false(flags_of(b, 4 * PAGE) & MEM_PAGE_DIRTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rom, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrote_anywhere, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
