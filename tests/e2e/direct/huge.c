/* SPDX-License-Identifier: MIT */
/* Code in large pages, and what is seen where they have been. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "groups.h"

#define PAGE 4096ul
#define HUGE (2ul << 20)
#define PLACE 0x40000000ul
#define ROUNDS 4

static const unsigned char one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };

/* mov eax, N; ret on each page */
static void put_all(unsigned char *place, const unsigned char code[6])
{
	for (unsigned long i = 0; i < HUGE; i += PAGE)
		memcpy(place + i, code, 6);
}

/* What N is by running it, and by reading it. */
static void say_sums(const char *what, const volatile unsigned char *place)
{
	unsigned long ran = 0, was_read = 0;

	for (unsigned long i = 0; i < HUGE; i += PAGE) {
		ran += (unsigned)((int (*)(void))(unsigned long)(place + i))();
		was_read += place[i + 1];
	}
	say("%s ran %lu read %lu ", what, ran, was_read);
}

static void replaced(void)
{
	unsigned char *place = (void *)PLACE;
	int file = must(memfd_create("two", 0));

	must(ftruncate(file, HUGE));
	put_all(must(mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)), two);
	for (int i = 0; i < ROUNDS; i++) {
		must(mmap(place, HUGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		madvise(place, HUGE, MADV_HUGEPAGE);
		put_all(place, one);
		say_sums("large", place);
		must(mmap(place, HUGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 0));
		say_sums("small", place);
	}
}

static const struct direct_case cases[] = {
	{ "replaced", replaced, false },
	{ NULL, NULL, false },
};

const struct direct_group huge_group = { "huge", cases, false };
