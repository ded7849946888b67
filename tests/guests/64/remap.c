/* SPDX-License-Identifier: MIT */
/*
 * Pages that change under code and data in steady use: an engine that remembers where code lies or
 * what may be accessed has to forget in time, and only INVLPG, INVPCID and MOV to CR3 tell it. Intel
 * SDM vol. 3, 4.10.
 */
#include "guest.h"

#define ALL 7ul
#define PS 0x80ul
#define G 0x100ul
#define DIRTY 0x40ul
#define TEST (1ul << 39)
#define LARGE (TEST + (1ul << 30))  /* its own page directory */
#define GIANT (TEST + (2ul << 30))
#define MANY (TEST + (3ul << 30))
#define MANY_PAGES 5000u
#define FRAME 0x800000ul            /* 2 MiB and its neighbour */
#define FRAME_BYTES 0x200000ul
#define HOT 100 /* calls after which any engine has made its mind up */
#define NO_FLUSH (1ul << 63)

extern word boot_pml4[512];
static word pdpt[512] __attribute__((aligned(4096)));
static word pd[3][512] __attribute__((aligned(4096)));
static word pt[1 + MANY_PAGES / 512 + 1][512] __attribute__((aligned(4096)));

/* "mov $value, %eax; ret", in memory that is mapped to itself */
static void emit_value(word frame, uint32_t value)
{
	*(volatile uint8_t *)frame = 0xb8;
	*(volatile uint32_t *)(frame + 1) = value;
	*(volatile uint8_t *)(frame + 5) = 0xc3;
}

static uint32_t run(word at)
{
	uint32_t value;

	asm volatile("call *%1" : "=a"(value) : "r"(at) : "rcx", "rdx", "memory", "cc");
	return value;
}

/* Called from one place until it is hot; what the last call gave. */
static uint32_t run_hot(word at)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < HOT; i++)
		value = run(at);
	return value;
}

static void reload(void)
{
	WRITE_REG(cr3, READ_REG(cr3));
}

static void small_pages(void)
{
	emit_value(FRAME, 1);
	emit_value(FRAME + 0x1000, 2);
	for (unsigned i = 0; i < 5; i++) {
		pt[0][0] = FRAME | ALL;
		invlpg((void *)TEST);
		CHECK_EQ(run_hot(TEST), 1);
		pt[0][0] = (FRAME + 0x1000) | ALL;
		invlpg((void *)(TEST + 0x123));
		CHECK_EQ(run(TEST), 2);
		CHECK_EQ(run_hot(TEST), 2);
		pt[0][0] = FRAME | ALL;
		reload();
		CHECK_EQ(run(TEST), 1);
	}
	/* Gone altogether, and back. */
	run_hot(TEST);
	pt[0][0] = 0;
	invlpg((void *)TEST);
	CHECK_EQ(CATCH(run(TEST)), PF);
	CHECK_EQ(caught_cr2, TEST);
	CHECK_EQ(caught.ip, TEST);
	pt[0][0] = FRAME | ALL;
	CHECK_EQ(run(TEST), 1);
}

/* What is known of an address, in this mapping or another, says nothing of one that is not canonical. */
static void not_canonical(void)
{
	for (volatile word flushes = 0; flushes < 4; flushes++) {
		run_hot(TEST);
		for (volatile word bits = 1; bits < 6; bits++) {
			CHECK_EQ(CATCH(run(TEST + (bits << 48))), GP);
			CHECK_EQ(CATCH(run(TEST - (bits << 48))), GP);
		}
		for (word i = 0; i <= flushes; i++)
			reload();
		for (volatile word bits = 1; bits < 6; bits++) {
			CHECK_EQ(CATCH(run(TEST + (bits << 48))), GP);
			CHECK_EQ(CATCH(run(TEST - (bits << 48))), GP);
		}
	}
}

/* INVLPG anywhere in a large page forgets all of it. */
static void large_pages(word base, word *entry, word frame, word far)
{
	emit_value(frame + 0x5000, 3);
	for (volatile unsigned i = 0; i < 5; i++) {
		*entry = frame | ALL | PS;
		invlpg((void *)base);
		CHECK_EQ(run_hot(base + 0x5000), 3);
		*entry = 0;
		invlpg((void *)(base + far));
		CHECK_EQ(CATCH(run(base + 0x5000)), PF);
		CHECK_EQ(caught_cr2, base + 0x5000);
	}
}

static void split(void)
{
	emit_value(FRAME + 0x5000, 3);
	emit_value(FRAME + 0x6000, 4);
	pd[1][0] = FRAME | ALL | PS;
	invlpg((void *)LARGE);
	CHECK_EQ(run_hot(LARGE + 0x5000), 3);
	for (unsigned i = 0; i < 512; i++)
		pt[0][i] = (FRAME + i * 4096ul) | ALL;
	pt[0][5] = (FRAME + 0x6000) | ALL;
	pd[1][0] = (word)pt[0] | ALL;
	invlpg((void *)(LARGE + 0x1ff000));
	CHECK_EQ(run(LARGE + 0x5000), 4);
	CHECK_EQ(run_hot(LARGE + 0x5000), 4);
	pd[1][0] = FRAME | ALL | PS; /* and together again */
	invlpg((void *)(LARGE + 0x5000));
	CHECK_EQ(run(LARGE + 0x5000), 3);
}

/* Global pages outlive MOV to CR3, until INVLPG. */
static void global(void)
{
	word cr4 = READ_REG(cr4);

	WRITE_REG(cr4, cr4 | CR4_PGE);
	emit_value(FRAME, 1);
	emit_value(FRAME + 0x1000, 2);
	pt[0][0] = FRAME | ALL | G;
	invlpg((void *)TEST);
	CHECK_EQ(run_hot(TEST), 1);
	pt[0][0] = (FRAME + 0x1000) | ALL | G;
	invlpg((void *)TEST);
	CHECK_EQ(run(TEST), 2);
	run_hot(TEST);
	pt[0][0] = FRAME | ALL;
	WRITE_REG(cr4, cr4); /* forgets global ones, too */
	CHECK_EQ(run(TEST), 1);
	run_hot(TEST);
	pt[0][0] = (FRAME + 0x1000) | ALL;
	reload();
	CHECK_EQ(run(TEST), 2);
	WRITE_REG(cr4, cr4);
}

/* The same addresses in several contexts, each with other code, again and again. */
static void contexts(void)
{
	const word cr3 = READ_REG(cr3), cr4 = READ_REG(cr4);
	bool good = true;

	if (!have("PCID", cpuid(1, 0).ecx & 1 << 17))
		return;
	WRITE_REG(cr4, cr4 | CR4_PCIDE);
	for (unsigned i = 0; i < 12; i++)
		emit_value(FRAME + i * 4096, i);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 1; i < 12; i++) {
			pt[0][0] = (FRAME + i * 4096ul) | ALL;
			WRITE_REG(cr3, cr3 | i); /* with a flush */
			good &= run_hot(TEST) == i;
			good &= *(volatile uint32_t *)(TEST + 1) == i;
		}
	}
	CHECK(good);
	/* INVLPG is for the current context, at least. */
	pt[0][0] = FRAME | ALL;
	invlpg((void *)TEST);
	CHECK_EQ(run(TEST), 0);
	if (have("INVPCID", cpuid(7, 0).ebx & 1 << 10)) {
		word descriptor_[2] = { 5, TEST };

		WRITE_REG(cr3, NO_FLUSH | cr3 | 5);
		run_hot(TEST);
		WRITE_REG(cr3, NO_FLUSH | cr3 | 6);
		run_hot(TEST);
		pt[0][0] = (FRAME + 0x7000) | ALL;
		asm volatile("invpcid %0, %1" : : "m"(descriptor_), "r"(0ul) : "memory");
		WRITE_REG(cr3, NO_FLUSH | cr3 | 5);
		CHECK_EQ(run(TEST), 7);
		CHECK_EQ(*(volatile uint32_t *)(TEST + 1), 7);
	}
	WRITE_REG(cr3, cr3);
	WRITE_REG(cr4, cr4);
}

/* More pages with code than any table for them may hold. */
static void many_pages(void)
{
	bool good = true;

	for (unsigned i = 0; i < MANY_PAGES; i++) {
		pt[1 + i / 512][i % 512] = (FRAME + i % 8 * 4096ul) | ALL;
		emit_value(FRAME + i % 8 * 4096, i % 8);
	}
	for (unsigned i = 0; i <= MANY_PAGES / 512; i++)
		pd[2][i] = (word)pt[1 + i] | ALL;
	reload();
	for (unsigned i = 0; i < MANY_PAGES; i++) {
		for (unsigned n = 0; n < 4; n++)
			good &= run(MANY + i * 4096ul) == i % 8;
		pt[1 + i / 512][i % 512] = (FRAME + (i + 1) % 8 * 4096ul) | ALL;
		invlpg((void *)(MANY + i * 4096ul));
		good &= run(MANY + i * 4096ul) == (i + 1) % 8;
		/* An old one, which the tables may have forgotten or not. */
		good &= run(MANY + i / 2 * 4096ul) == (i / 2 + 1) % 8;
	}
	CHECK(good);
}

static uint64_t sum(word at, unsigned count)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++)
		total += *(volatile uint64_t *)(at + i * 8ul);
	return total;
}

/* Data: as above, and what may be written changes. */
static void data(void)
{
	volatile uint64_t *word_ = (volatile uint64_t *)TEST;

	pt[0][0] = FRAME | ALL;
	pt[0][1] = (FRAME + 0x1000) | ALL;
	reload();
	for (unsigned i = 0; i < 1024; i++)
		word_[i] = i;
	for (volatile unsigned i = 0; i < 10; i++) {
		CHECK_EQ(sum(TEST, 1024), 1023 * 512);
		pt[0][1] = (FRAME + 0x3000) | ALL;
		*(volatile uint64_t *)(FRAME + 0x3000) = 512 + i;
		invlpg((void *)(TEST + 0x1000));
		CHECK_EQ(word_[512], 512 + i);
		CHECK_EQ(pt[0][1] & DIRTY, 0);
		word_[512]++;
		CHECK_EQ(pt[0][1] & DIRTY, DIRTY);
		CHECK_EQ(*(volatile uint64_t *)(FRAME + 0x3000), 513 + i);
		pt[0][1] = (FRAME + 0x1000) | (ALL & ~2ul);
		invlpg((void *)(TEST + 0x1000));
		WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
		CHECK_EQ(CATCH(word_[512] = 0), PF);
		CHECK_EQ(caught.error, 3);
		/* Rights that grow need no INVLPG. */
		pt[0][1] = (FRAME + 0x1000) | ALL;
		CHECK_EQ(CATCH(word_[512] = 512), NONE);
		WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
	}
}

/* Accesses that run over a page's end, into another mapping each time. */
static void across(void)
{
	for (unsigned i = 0; i < 4 * HOT; i++) {
		word frame = FRAME + (1 + i % 3) * 4096ul;

		*(volatile uint32_t *)frame = i;
		*(volatile uint32_t *)(FRAME + 0xffc) = ~i;
		pt[0][0] = FRAME | ALL;
		pt[0][1] = frame | ALL;
		invlpg((void *)(TEST + 0x1000));
		if (*(volatile uint64_t *)(TEST + 0xffc) != ((uint64_t)i << 32 | (uint32_t)~i)) {
			CHECK_EQ(i, ~0u);
			return;
		}
	}
	CHECK(true);
}

void guest_main(void)
{
	boot_pml4[1] = (word)pdpt | ALL;
	for (unsigned i = 0; i < 2; i++)
		pdpt[i] = (word)pd[i] | ALL;
	pdpt[3] = (word)pd[2] | ALL;
	pd[0][0] = (word)pt[0] | ALL;
	reload();
	small_pages();
	not_canonical();
	large_pages(LARGE, &pd[1][0], FRAME, 0x123000);
	if (have("1 GiB pages", cpuid(0x80000001, 0).edx & 1 << 26))
		large_pages(GIANT, &pdpt[2], 0, 0x34567000);
	split();
	global();
	contexts();
	many_pages();
	data();
	across();
}
