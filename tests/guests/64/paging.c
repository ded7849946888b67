/* SPDX-License-Identifier: MIT */
/*
 * Four-level paging: permissions at every level, NX, SMEP, SMAP, protection keys, reserved bits,
 * pages of 2 MiB and 1 GiB, PCIDs and INVPCID. Intel SDM vol. 3, chapter 4.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define US 4ul
#define A 0x20ul
#define D 0x40ul
#define PS 0x80ul
#define G 0x100ul
#define KEY(n) ((word)(n) << 59)
#define NX (1ul << 63)
#define E_P 1
#define E_W 2
#define E_U 4
#define E_RSVD 8
#define E_I 0x10
#define E_PK 0x20

#define TEST (1ul << 39)
#define FRAME_A 0x800000ul
#define FRAME_B 0x801000ul
#define ALL (P | RW | US)

extern word boot_pml4[512], boot_pdpt[512], boot_pd[2048];
static word level[3][512] __attribute__((aligned(4096))); /* PDPT, PD, PT */

CODE(user_read, "mov record, %rdi; mov (%rdi), %al; int $0x80");
CODE(user_write, "mov record, %rdi; mov $0xc3, %al; mov %al, (%rdi); int $0x80");
CODE(user_call, "mov record, %rdi; call *%rdi; int $0x80");

enum access { READ, WRITE, FETCH, USER_READ, USER_WRITE, USER_FETCH };

static unsigned touch(enum access access, word linear)
{
	volatile uint8_t *byte = (volatile uint8_t *)linear;

	record[0] = linear;
	switch (access) {
	case READ: return CATCH((void)*byte);
	case WRITE: return CATCH(*byte = 0xc3);
	case FETCH: return CATCH(((void (*)(void))linear)());
	case USER_READ: user(user_read); break;
	case USER_WRITE: user(user_write); break;
	case USER_FETCH: user(user_call); break;
	}
	return caught.vector == USER_DONE ? NONE : caught.vector;
}

#define GOOD(access) CHECK_EQ(touch(access, TEST), NONE)
#define BAD(access, code) do { \
	CHECK_EQ(touch(access, TEST), PF); \
	CHECK_EQ(caught.error, code); \
	CHECK_EQ(caught_cr2, TEST); \
} while (0)

static void flush(void)
{
	WRITE_REG(cr3, READ_REG(cr3));
}

static void set(unsigned depth, word entry)
{
	level[depth][0] = entry;
	invlpg((void *)TEST);
	flush();
}

/* The usual mapping of TEST; the page's own flags. */
static void map(word flags)
{
	boot_pml4[1] = (word)level[0] | ALL;
	level[0][0] = (word)level[1] | ALL;
	level[1][0] = (word)level[2] | ALL;
	set(2, flags ? FRAME_A | flags : 0);
}

static void permissions(void)
{
	map(ALL);
	for (enum access i = READ; i <= USER_FETCH; i++) {
		GOOD(WRITE);
		GOOD(i);
	}
	map(0);
	BAD(READ, 0);
	BAD(WRITE, E_W);
	BAD(USER_FETCH, E_U);
	map(P | US);
	GOOD(WRITE);
	BAD(USER_WRITE, E_P | E_U | E_W);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	BAD(WRITE, E_P | E_W);
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
	map(P | RW);
	BAD(USER_READ, E_P | E_U);
	BAD(USER_FETCH, E_P | E_U);
	for (unsigned depth = 0; depth < 2; depth++) {
		map(ALL);
		set(depth, (word)level[depth + 1] | P | RW);
		BAD(USER_READ, E_P | E_U);
		set(depth, (word)level[depth + 1] | P | US);
		BAD(USER_WRITE, E_P | E_U | E_W);
		set(depth, 0);
		BAD(READ, 0);
		set(depth, (word)level[depth + 1] | ALL | 1ul << 51);
		BAD(READ, E_P | E_RSVD);
	}
	map(ALL);
	boot_pml4[1] = (word)level[0] | ALL | PS; /* reserved there */
	flush();
	BAD(READ, E_P | E_RSVD);
	map(ALL | 1ul << 51);
	BAD(USER_WRITE, E_P | E_RSVD | E_U | E_W);
}

static void flags(void)
{
	map(ALL);
	GOOD(READ);
	CHECK_EQ(level[2][0] & (A | D), A);
	CHECK_EQ(level[0][0] & (A | D), A);
	CHECK_EQ(boot_pml4[1] & (A | D), A);
	GOOD(WRITE);
	CHECK_EQ(level[2][0] & (A | D), A | D);
	CHECK_EQ(level[1][0] & D, 0);
	map(0);
	level[1][0] = (word)level[2] | ALL;
	BAD(READ, 0);
	CHECK_EQ(ONCE(level[2][0]), 0);
}

static void large(void)
{
	*(volatile uint8_t *)(FRAME_A + 0x54321) = 0x99;
	map(ALL);
	set(1, FRAME_A | ALL | PS);
	GOOD(USER_READ);
	CHECK_EQ(*(volatile uint8_t *)(TEST + 0x54321), 0x99);
	CHECK_EQ(level[1][0] & (A | D), A);
	GOOD(WRITE);
	CHECK_EQ(level[1][0] & (A | D), A | D);
	set(1, FRAME_A | ALL | PS | 1 << 13);
	BAD(READ, E_P | E_RSVD);
	if (have("pages of 1 GiB", cpuid(0x80000001, 0).edx & 1 << 26)) {
		set(0, ALL | PS);
		CHECK_EQ(*(volatile uint8_t *)(TEST + FRAME_A + 0x54321), 0x99);
		CHECK_EQ(level[0][0] & (A | D), A);
		set(0, ALL | PS | 1 << 21);
		BAD(READ, E_P | E_RSVD);
		set(0, P | RW | PS);
		record[0] = TEST;
		BAD(USER_READ, E_P | E_U);
	}
}

static void no_execute(void)
{
	map(ALL | NX);
	BAD(READ, E_P | E_RSVD);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	flush();
	GOOD(READ);
	BAD(FETCH, E_P | E_I);
	BAD(USER_FETCH, E_P | E_U | E_I);
	map(ALL);
	set(0, (word)level[1] | ALL | NX);
	BAD(FETCH, E_P | E_I);
	GOOD(USER_READ);
	map(0);
	BAD(FETCH, E_I);
}

/* Our own pages become the supervisor's for a while. */
static void own_pages(word flags)
{
	boot_pd[0] = P | RW | A | D | PS | flags;
	invlpg((void *)0x100000);
	flush();
}

static void supervisor_mode(void)
{
	word cr4 = READ_REG(cr4);

	map(ALL);
	GOOD(WRITE);
	own_pages(0);
	if (have("SMEP", cpuid(7, 0).ebx & 1 << 7)) {
		WRITE_REG(cr4, cr4 | CR4_SMEP);
		BAD(FETCH, E_P | E_I);
		GOOD(READ);
		map(P | RW);
		GOOD(FETCH);
		map(ALL);
		WRITE_REG(cr4, cr4);
		GOOD(FETCH);
	}
	if (have("SMAP", cpuid(7, 0).ebx & 1 << 20)) {
		EXPECT(NONE, 0, "stac; clac");
		WRITE_REG(cr4, cr4 | CR4_SMAP);
		BAD(READ, E_P);
		BAD(WRITE, E_P | E_W);
		GOOD(FETCH); /* that is SMEP's */
		EXPECT(NONE, 0, "stac; mov (%0), %%al; clac", "r"(TEST));
		EXPECT(NONE, 0, "stac; movl $0xc3, (%0); clac", "r"(TEST));
		CHECK_EQ(CATCH(write_flags(ACF |
				2); (void)*(volatile char *)TEST; write_flags(2)), NONE);
		EXPECT(PF, E_P, "mov (%0), %%al", "r"(TEST));
		map(P | RW);
		GOOD(READ);
		WRITE_REG(cr4, cr4);
	}
	own_pages(US);
}

CODE(user_stac, "stac");

static void wrpkru(uint32_t value)
{
	asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0));
}

static void keys(void)
{
	word cr4 = READ_REG(cr4);

	if (!have("PKU", cpuid(7, 0).ecx & 1 << 3))
		return;
	EXPECT_EVENT(UD, 0, "xor %%ecx, %%ecx; rdpkru", "r"(0));
	WRITE_REG(cr4, cr4 | CR4_PKE);
	CHECK(cpuid(7, 0).ecx & 1 << 4);
	map(ALL | KEY(3));
	GOOD(USER_WRITE);
	wrpkru(1 << 6); /* no access by key 3 */
	BAD(USER_READ, E_P | E_U | E_PK);
	BAD(USER_WRITE, E_P | E_U | E_W | E_PK);
	BAD(READ, E_P | E_PK); /* user pages from ring 0, too */
	GOOD(USER_FETCH);
	wrpkru(2 << 6); /* no writes */
	GOOD(USER_READ);
	BAD(USER_WRITE, E_P | E_U | E_W | E_PK);
	GOOD(WRITE); /* CR0.WP clear */
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	BAD(WRITE, E_P | E_W | E_PK);
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
	map(P | RW | KEY(3)); /* supervisor pages have no keys */
	GOOD(WRITE);
	wrpkru(0);
	EXPECT_EVENT(GP, 0, "mov $1, %%ecx; rdpkru", "r"(0));
	EXPECT_EVENT(GP, 0, "xor %%ecx, %%ecx; mov $1, %%edx; wrpkru", "r"(0));
	WRITE_REG(cr4, cr4);
	map(ALL | KEY(3));
	GOOD(USER_READ);
	CHECK_EQ(user(user_stac), UD); /* not ring 3's */
}

static uint8_t seen(void)
{
	return *(volatile uint8_t *)TEST;
}

static unsigned invpcid(word type, word pcid, word linear)
{
	word descriptor_[2] = { pcid, linear };

	return CATCH(asm volatile("invpcid %0, %1" : : "m"(descriptor_), "r"(type) : "memory"));
}

static void process_contexts(void)
{
	const word no_flush = 1ul << 63, cr3 = READ_REG(cr3), cr4 = READ_REG(cr4);

	*(volatile uint8_t *)FRAME_A = 0xaa;
	*(volatile uint8_t *)FRAME_B = 0xbb;
	map(ALL);
	EXPECT(GP, 0, "mov %0, %%cr3", "r"(no_flush | cr3)); /* reserved as yet */
	if (!have("PCID", cpuid(1, 0).ecx & 1 << 17))
		return;
	WRITE_REG(cr3, cr3 | 8); /* PWT: the low bits must be clear */
	EXPECT(GP, 0, "mov %0, %%cr4", "r"(cr4 | CR4_PCIDE));
	WRITE_REG(cr3, cr3);
	EXPECT(NONE, 0, "mov %0, %%cr4", "r"(cr4 | CR4_PCIDE));
	WRITE_REG(cr3, cr3 | 1);
	CHECK_EQ(READ_REG(cr3), cr3 | 1);
	CHECK_EQ(seen(), 0xaa);
	WRITE_REG(cr3, no_flush | cr3 | 2);
	CHECK_EQ(READ_REG(cr3), cr3 | 2); /* bit 63 is not kept */
	CHECK_EQ(seen(), 0xaa);
	level[2][0] = FRAME_B | ALL;
	invlpg((void *)TEST);
	CHECK_EQ(seen(), 0xbb);
	WRITE_REG(cr3, cr3 | 1); /* with a flush */
	CHECK_EQ(seen(), 0xbb);
	if (have("INVPCID", cpuid(7, 0).ebx & 1 << 10)) {
		level[2][0] = FRAME_A | ALL;
		CHECK_EQ(invpcid(0, 2, TEST), NONE);
		WRITE_REG(cr3, no_flush | cr3 | 2);
		CHECK_EQ(seen(), 0xaa);
		level[2][0] = FRAME_B | ALL;
		CHECK_EQ(invpcid(1, 2, 0), NONE);
		CHECK_EQ(seen(), 0xbb);
		level[2][0] = FRAME_A | ALL | G;
		CHECK_EQ(invpcid(2, 0, 0), NONE);
		CHECK_EQ(seen(), 0xaa);
		level[2][0] = FRAME_B | ALL;
		CHECK_EQ(invpcid(2, 0, 0), NONE);
		CHECK_EQ(seen(), 0xbb);
		CHECK_EQ(invpcid(3, 0, 0), NONE);
		CHECK_EQ(invpcid(4, 0, 0), GP);
		CHECK_EQ(invpcid(0, 0x1000, 0), GP);
		CHECK_EQ(invpcid(0, 1, 1ul << 47), GP);
		CHECK_EQ(invpcid(2, 1, 1ul << 47), NONE);
	}
	EXPECT(GP, 0, "mov %0, %%cr0", "r"(READ_REG(cr0) & ~CR0_PG));
	WRITE_REG(cr3, cr3);
	WRITE_REG(cr4, cr4);
}

void guest_main(void)
{
	permissions();
	flags();
	large();
	no_execute();
	supervisor_mode();
	keys();
	process_contexts();
}
