/* SPDX-License-Identifier: MIT */
/*
 * Which code must not run in a cell (isa/x86/direct/scan.c): each listed instruction is found at each offset of
 * a page, also where it goes on in the next one; what only looks like one is not, where it is common.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "isa/x86/direct/scan.h"

#define PAGE 4096u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct piece {
	const char *name;
	unsigned length;
	uint8_t bytes[15];
	unsigned quiet; /* for which it counts, or 0: always */
	unsigned told;  /* bytes from its beginning by which it is known */
};

/* A page of NOPs and what of the next is known, with a piece at an offset. */
static bool is_clean_at(const struct piece *piece, unsigned offset, unsigned quiet, bool next_is_known)
{
	uint8_t page[PAGE + 16 + SCAN_BEHIND];

	memset(page, 0x90, sizeof(page));
	memcpy(page + offset, piece->bytes, piece->length);
	return scan_page(page, quiet) &&
	       scan_seam(page + PAGE - SCAN_TAIL, next_is_known ? SCAN_BEHIND : 0, quiet);
}

static const struct piece listed[] = {
	{ "sysenter", 2, { 0x0f, 0x34 }, 0, 2 },
	{ "cpuid", 2, { 0x0f, 0xa2 }, SCAN_CPUID, 2 },
	{ "rdtsc", 2, { 0x0f, 0x31 }, SCAN_RDTSC, 2 },
	{ "vmcall", 3, { 0x0f, 0x01, 0xc1 }, 0, 3 },
	{ "vmmcall", 3, { 0x0f, 0x01, 0xd9 }, 0, 3 },
	{ "wrpkru", 3, { 0x0f, 0x01, 0xef }, 0, 3 },
	{ "xrstor (%rdi)", 3, { 0x0f, 0xae, 0x2f }, 0, 3 },
	{ "xrstor64 64(%rsp)", 6, { 0x48, 0x0f, 0xae, 0x6c, 0x24, 0x40 }, 0, 4 },
	{ "rdtscp", 3, { 0x0f, 0x01, 0xf9 }, 0, 3 },
	{ "rdpru", 3, { 0x0f, 0x01, 0xfd }, 0, 3 },
	{ "rdpid %rax", 4, { 0xf3, 0x0f, 0xc7, 0xf8 }, 0, 4 },
	{ "rdpid %r15", 5, { 0xf3, 0x41, 0x0f, 0xc7, 0xff }, 0, 5 },
	{ "rdpid behind prefixes", 8, { 0xf3, 0x2e, 0x66, 0x3e, 0x40, 0x0f, 0xc7, 0xf9 }, 0, 8 },
	{ "lsl %eax, %eax", 3, { 0x0f, 0x03, 0xc0 }, 0, 3 },
	{ "lsl (%rdi), %r8", 4, { 0x4c, 0x0f, 0x03, 0x07 }, 0, 4 },
	{ "sgdt (%rdi)", 3, { 0x0f, 0x01, 0x07 }, 0, 3 },
	{ "sidt 8(%rsp)", 5, { 0x0f, 0x01, 0x4c, 0x24, 0x08 }, 0, 3 },
	{ "smsw %eax", 3, { 0x0f, 0x01, 0xe0 }, 0, 3 },
	{ "smsw %rax", 4, { 0x48, 0x0f, 0x01, 0xe0 }, 0, 4 },
	{ "smsw (%rdi)", 3, { 0x0f, 0x01, 0x27 }, 0, 3 },
};

static void test_found_everywhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(listed); i++)
		for (unsigned offset = 0; offset + listed[i].length <= PAGE; offset++)
			if (is_clean_at(&listed[i], offset, listed[i].quiet, true))
				fail_msg("%s at %u", listed[i].name, offset);
}

/* One that begins in this page and that the next one completes. Its prefixes are not what tells it. */
static void test_found_across_the_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(listed); i++) {
		unsigned opcode = (unsigned)((const uint8_t *)memchr(listed[i].bytes, 0x0f, listed[i].length) -
					     listed[i].bytes);

		for (unsigned inside = opcode + 1; inside < listed[i].told; inside++)
			if (is_clean_at(&listed[i], PAGE - inside, listed[i].quiet, true))
				fail_msg("%s, %u bytes in the page", listed[i].name, inside);
	}
}

/* One whose prefixes alone are in the page before. */
static void test_found_behind_prefixes_elsewhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(listed); i++) {
		unsigned opcode = (unsigned)((const uint8_t *)memchr(listed[i].bytes, 0x0f, listed[i].length) -
					     listed[i].bytes);
		struct piece rest = listed[i];

		memmove(rest.bytes, rest.bytes + opcode, rest.length - opcode);
		rest.length -= opcode;
		if (is_clean_at(&rest, 0, rest.quiet, true))
			fail_msg("%s without its prefixes", rest.name);
	}
}

/* The first bytes of the page end an instruction of the one before; begun there, they would hide what follows. */
static void test_found_behind_a_tail(void **state)
{
	static const uint8_t pieces[][3] = { { 0x0f, 0x03, 0xc0 }, { 0x0f, 0x01, 0xe0 },
					     { 0x0f, 0x01, 0x07 }, { 0x0f, 0x34, 0x90 },
					     { 0x0f, 0x01, 0xf9 } };

	(void)state;
	for (unsigned i = 0; i < COUNT(pieces); i++)
		for (unsigned tail = 1; tail < 15; tail++) {
			uint8_t page[PAGE];

			memset(page, 0x90, sizeof(page));
			page[tail - 1] = 0xb8;
			memcpy(page + tail, pieces[i], sizeof(pieces[i]));
			if (scan_page(page, 0))
				fail_msg("piece %u behind %u bytes", i, tail);
		}
}

/* By these, guest code could get at the cell's own pages: they count within other instructions, too. */
static void test_found_hidden(void **state)
{
	static const struct piece hidden[] = {
		{ "mov $0xef010f, %eax", 5, { 0xb8, 0x0f, 0x01, 0xef, 0x00 }, 0, 4 },
		{ "movabs $0x2fae0f0000, %rax", 10, { 0x48, 0xb8, 0, 0, 0x0f, 0xae, 0x2f, 0, 0, 0 }, 0, 7 },
		{ "call .+0x6fae0f", 5, { 0xe8, 0x0f, 0xae, 0x6f, 0x00 }, 0, 4 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(hidden); i++)
		for (unsigned offset = 0; offset + hidden[i].told <= PAGE; offset++)
			if (is_clean_at(&hidden[i], offset, 0, true))
				fail_msg("%s at %u", hidden[i].name, offset);
}

static void test_quiet_ones_count_when_told_so(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(listed); i++)
		if (listed[i].quiet)
			assert_true(is_clean_at(&listed[i], 100, (SCAN_RDTSC | SCAN_CPUID) & ~listed[i].quiet,
						true));
}

static const struct piece others[] = {
	{ "mov $0xc0030f, %eax", 5, { 0xb8, 0x0f, 0x03, 0xc0, 0x00 }, 0, 0 },
	{ "lea 0x7010f(%rip), %rax", 7, { 0x48, 0x8d, 0x05, 0x0f, 0x01, 0x07, 0x00 }, 0, 0 },
	{ "call .+0x3030f", 5, { 0xe8, 0x0f, 0x03, 0x03, 0x00 }, 0, 0 },
	{ "call .+0x340f", 5, { 0xe8, 0x0f, 0x34, 0x00, 0x00 }, 0, 0 },
	{ "lea 0x310f(%rip), %rax", 7, { 0x48, 0x8d, 0x05, 0x0f, 0x31, 0x00, 0x00 }, 0, 0 },
	{ "mov $0xa20f, %eax", 5, { 0xb8, 0x0f, 0xa2, 0x00, 0x00 }, 0, 0 },
	{ "jmp .+0xf90119", 5, { 0xe9, 0x14, 0x0f, 0x01, 0xf9 }, 0, 0 },
	{ "jmp .+0x10f", 5, { 0xe9, 0x0f, 0x01, 0x00, 0x00 }, 0, 0 },
	{ "je .+0x30f", 6, { 0x0f, 0x84, 0x0f, 0x03, 0x00, 0x00 }, 0, 0 },
	{ "movl $0x10f, 8(%rsp)", 8, { 0xc7, 0x44, 0x24, 0x08, 0x0f, 0x01, 0x00, 0x00 }, 0, 0 },
	{ "xgetbv", 3, { 0x0f, 0x01, 0xd0 }, 0, 0 },
	{ "lar %eax, %eax", 3, { 0x0f, 0x02, 0xc0 }, 0, 0 },
	{ "syscall", 2, { 0x0f, 0x05 }, 0, 0 },
	{ "lfence", 3, { 0x0f, 0xae, 0xe8 }, 0, 0 },
	{ "rdpkru", 3, { 0x0f, 0x01, 0xee }, 0, 0 },
	{ "xsave (%rdi)", 3, { 0x0f, 0xae, 0x27 }, 0, 0 },
	{ "fxrstor (%rdi)", 3, { 0x0f, 0xae, 0x0f }, 0, 0 },
	{ "rdfsbase %rax", 5, { 0xf3, 0x48, 0x0f, 0xae, 0xc0 }, 0, 0 },
	{ "cmpxchg16b (%rdi)", 4, { 0x48, 0x0f, 0xc7, 0x0f }, 0, 0 },
	{ "rdrand %eax", 3, { 0x0f, 0xc7, 0xf0 }, 0, 0 },
	{ "rdseed %eax", 3, { 0x0f, 0xc7, 0xf8 }, 0, 0 },
	{ "endbr64", 4, { 0xf3, 0x0f, 0x1e, 0xfa }, 0, 0 },
};

/* In the middle of code: the disassemblies agree there. */
static void test_others_are_not_found(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(others); i++)
		for (unsigned offset = 64; offset + others[i].length <= PAGE; offset++)
			if (!is_clean_at(&others[i], offset, SCAN_RDTSC | SCAN_CPUID, true))
				fail_msg("%s at %u", others[i].name, offset);
}

/* A page's last byte, of which nothing more is known. */
static void test_nothing_known_behind(void **state)
{
	const struct piece start = { "0f", 1, { 0x0f }, 0, 0 };

	(void)state;
	assert_true(is_clean_at(&start, PAGE - 1, SCAN_RDTSC | SCAN_CPUID, false));
	for (unsigned i = 0; i < COUNT(listed); i++)
		assert_false(is_clean_at(&listed[i], PAGE - listed[i].length, listed[i].quiet, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_everywhere),
		cmocka_unit_test(test_found_across_the_end),
		cmocka_unit_test(test_found_behind_prefixes_elsewhere),
		cmocka_unit_test(test_found_behind_a_tail),
		cmocka_unit_test(test_found_hidden),
		cmocka_unit_test(test_quiet_ones_count_when_told_so),
		cmocka_unit_test(test_others_are_not_found),
		cmocka_unit_test(test_nothing_known_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
