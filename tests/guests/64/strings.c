/* SPDX-License-Identifier: MIT */
/*
 * REP MOVS and REP STOS in steady use: sizes, places in a page and across two, overlap, direction,
 * counts of zero, pages that are missing, read-only or hold code; and bits of memory that a register
 * numbers. Intel SDM vol. 1, 7.3.9; vol. 2, BT.
 */
#include "guest.h"

#define ALL 7ul
#define TEST (1ul << 39)
#define FRAME 0x800000ul
#define PAGES 3
#define BYTES (PAGES * 4096u)

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static uint8_t wanted[BYTES];
static uint8_t *const area = (uint8_t *)TEST; /* PAGES of it, then nothing */

static void fill(void)
{
	uint32_t seed = 1;

	for (unsigned i = 0; i < BYTES; i++) {
		seed = seed * 1103515245 + 12345;
		wanted[i] = area[i] = (uint8_t)(seed >> 16);
	}
}

static bool same(void)
{
	for (unsigned i = 0; i < BYTES; i++)
		if (area[i] != wanted[i])
			return false;
	return true;
}

/* Registers as the instruction found and left them. */
struct registers {
	word cx, di, si;
};

#define STRING(name, text) \
	static void name(struct registers *r, word ax) \
	{ \
		asm volatile(text : "+c"(r->cx), "+D"(r->di), "+S"(r->si) : "a"(ax) \
				: "memory", "cc"); \
	}
STRING(stosb, "rep stosb")
STRING(stosw, "rep stosw")
STRING(stosl, "rep stosl")
STRING(stosq, "rep stosq")
STRING(movsb, "rep movsb")
STRING(movsw, "rep movsw")
STRING(movsl, "rep movsl")
STRING(movsq, "rep movsq")
STRING(movsb_down, "std; rep movsb; cld")
STRING(stosl_down, "std; rep stosl; cld")
STRING(stosb_short, "rep addr32 stosb")

typedef void string_fn(struct registers *, word);
static string_fn *const stos[] = { stosb, stosw, stosl, stosq };
static string_fn *const movs[] = { movsb, movsw, movsl, movsq };

static bool store(unsigned log2, unsigned at, unsigned count)
{
	struct registers r = { count, TEST + at, 77 };
	word value = 0x8877665544332211ul + at;

	for (unsigned i = 0; i < count << log2; i++)
		wanted[at + i] = (uint8_t)(value >> (i & ((1u << log2) - 1)) * 8);
	stos[log2](&r, value);
	return !r.cx && r.di == TEST + at + ((word)count << log2) && r.si == 77;
}

static bool copy(unsigned log2, unsigned from, unsigned to, unsigned count)
{
	struct registers r = { count, TEST + to, TEST + from };

	/* Element by element, upward: an element is read whole before it is written. */
	for (unsigned i = 0; i < count; i++) {
		uint8_t element[8];

		for (unsigned n = 0; n < 1u << log2; n++)
			element[n] = wanted[from + (i << log2) + n];
		for (unsigned n = 0; n < 1u << log2; n++)
			wanted[to + (i << log2) + n] = element[n];
	}
	movs[log2](&r, 0);
	return !r.cx && r.di == TEST + to + ((word)count << log2) &&
	       r.si == TEST + from + ((word)count << log2);
}

static void upward(void)
{
	static const unsigned at[] = { 0, 1, 8, 4095, 4092, 4088, 4090, 4000, 4096, 5003 };
	static const unsigned counts[] = { 0, 1, 2, 7, 64, 511, 512, 600 };
	bool good = true;

	fill();
	for (unsigned log2 = 0; log2 < 4; log2++)
		for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
			for (unsigned n = 0; n < sizeof(counts) / sizeof(counts[0]); n++)
				good &= store(log2, at[i], counts[n]);
	CHECK(good);
	CHECK(same());
	for (unsigned log2 = 0; log2 < 4; log2++)
		for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
			for (unsigned n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
				good &= copy(log2, at[i], at[(i * 7 + n) % 10], counts[n]);
				good &= copy(log2, at[i], at[i] + n, counts[n]); /* overlap */
				good &= copy(log2, at[i] + 3, at[i], counts[n]);
			}
	CHECK(good);
	CHECK(same());
}

static void downward(void)
{
	fill();
	for (unsigned i = 0; i < 100; i++) {
		struct registers r = { 50, TEST + 5000, TEST + 4999 };

		movsb_down(&r, 0);
		for (unsigned n = 0; n < 50; n++)
			wanted[5000 - n] = wanted[4999 - n];
		r = (struct registers){ 5, TEST + 4100, 0 };
		stosl_down(&r, i);
		for (unsigned n = 0; n < 20; n++)
			wanted[4103 - n] = n % 4 == 3 ? (uint8_t)i : 0;
	}
	CHECK(same());
	/* Addresses of 32 bits wrap. */
	for (unsigned i = 0; i < 60; i++) {
		struct registers r = { 4 | 1ul << 40, 1ul << 32 | FRAME, 0 };

		stosb_short(&r, i);
		CHECK_EQ(r.di, FRAME + 4);
		CHECK_EQ(*(volatile uint8_t *)FRAME, i);
	}
}

/* Up to the missing page, and then its fault with exact registers; no access with a count of 0. */
static void faults(void)
{
	fill();
	for (unsigned i = 0; i < 60; i++) {
		struct registers r = { 0, TEST + BYTES, TEST + BYTES };

		stosq(&r, 0);
		movsb(&r, 0);
		CHECK_EQ(r.di, TEST + BYTES);
	}
	for (volatile unsigned i = 0; i < 60; i++) {
		struct registers r = { 100, TEST + BYTES - 8, TEST };

		CHECK_EQ(CATCH(stosb(&r, 0xee)), PF);
		CHECK_EQ(caught_cr2, TEST + BYTES);
		CHECK_EQ(caught.cx, 92);
		CHECK_EQ(caught.di, TEST + BYTES);
		r = (struct registers){ 100, TEST, TEST + BYTES - 16 };
		CHECK_EQ(CATCH(movsq(&r, 0)), PF);
		CHECK_EQ(caught_cr2, TEST + BYTES);
		CHECK_EQ(caught.cx, 98);
		CHECK_EQ(caught.di, TEST + 16);
		CHECK_EQ(caught.si, TEST + BYTES);
	}
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	level[2][1] = (FRAME + 4096) | (ALL & ~2ul);
	invlpg((void *)(TEST + 4096));
	for (volatile unsigned i = 0; i < 60; i++) {
		struct registers r = { 4, TEST + 4096, TEST };

		CHECK_EQ(CATCH(movsl(&r, 0)), PF);
		CHECK_EQ(caught.error, 3);
		CHECK_EQ(caught.cx, 4);
		CHECK_EQ(caught.si, TEST);
	}
	level[2][1] = (FRAME + 4096) | ALL;
	invlpg((void *)(TEST + 4096));
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
}

/* Code is copied and run, from one place and with one copying loop. */
static void code(void)
{
	static const uint8_t text[16] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov $0, %eax; ret */
	uint8_t copy_[16];
	bool good = true;

	for (unsigned i = 0; i < 16; i++)
		copy_[i] = text[i];
	for (unsigned i = 0; i < 200; i++) {
		struct registers r = { 16, TEST + 0x100, (word)copy_ };
		uint32_t value;

		copy_[1] = (uint8_t)i;
		movsb(&r, 0);
		asm volatile("call *%1" : "=a"(value) : "r"(TEST + 0x100) : "memory");
		good &= value == (uint8_t)i;
	}
	CHECK(good);
}

/* The bit's number reaches beyond the operand, on both sides. */
static void bits(void)
{
	static const int64_t numbers[] = { 0, 5, 31, 32, 63, 64, 100, -1, -64, -65, 1000 };
	bool good = true;

	for (unsigned round = 0; round < 40; round++) {
		fill();
		for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
			int64_t n = numbers[i];
			uint8_t *byte = &wanted[4096 + (n >> 3)], mask = (uint8_t)(1u << (n & 7));
			bool was = *byte & mask, zf, cf, cf32;

			asm volatile("cmp %%eax, %%eax; bt %3, (%4); setc %0; setz %1; bt %k3, (%4); "
				     "setc %2" : "=&q"(cf), "=&q"(zf), "=&q"(cf32)
				     : "r"(n), "r"(TEST + 4096) : "memory", "cc");
			good &= cf == was && cf32 == was && zf;
			asm volatile("lock bts %1, (%2); setc %0" : "=q"(cf)
				     : "r"(n), "r"(TEST + 4096) : "memory", "cc");
			*byte |= mask;
			good &= cf == was && same();
			asm volatile("mov %1, %%r10; btr %%r10, (%2); setc %0" : "=q"(cf)
				     : "r"(n), "r"(TEST + 4096) : "memory", "cc", "r10");
			*byte &= (uint8_t)~mask;
			good &= cf;
			asm volatile("btc %k1, (%2); setc %0" : "=q"(cf)
				     : "r"(n), "r"(TEST + 4096) : "memory", "cc");
			*byte ^= mask;
			good &= !cf && same();
		}
	}
	CHECK(good);
}

void guest_main(void)
{
	boot_pml4[1] = (word)level[0] | ALL;
	level[0][0] = (word)level[1] | ALL;
	level[1][0] = (word)level[2] | ALL;
	for (unsigned i = 0; i < PAGES; i++)
		level[2][i] = (FRAME + i * 4096ul) | ALL;
	WRITE_REG(cr3, READ_REG(cr3));
	upward();
	downward();
	faults();
	code();
	bits();
}
