/* SPDX-License-Identifier: MIT */
/*
 * 32-bit paging and PAE paging: permissions and #PF's error codes, WP, accessed and dirty flags,
 * 4 MiB and 2 MiB pages, reserved bits, NX, PDPTEs, accesses that cross pages, new mappings after
 * INVLPG and CR3. Intel SDM vol. 3, chapter 4.
 */
#include "guest.h"

#define P 1u
#define RW 2u
#define US 4u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define G 0x100u
#define NX (1ull << 63)
#define E_P 1
#define E_W 2
#define E_U 4
#define E_RSVD 8
#define E_I 16

/* Two pages under test, in a region of their own, and the frames that they show. */
#define TEST 0x80000000u
#define FRAME_A 0x800000u
#define FRAME_B 0x801000u

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(4096)));
static uint64_t pae_directory[4][512] __attribute__((aligned(4096)));
static uint64_t pae_table[512] __attribute__((aligned(4096)));
static bool pae;

CODE(user_read, "mov record, %edi; mov (%edi), %al; int $0x80");
CODE(user_write, "mov record, %edi; mov $0xc3, %al; mov %al, (%edi); int $0x80");
CODE(user_call, "mov record, %edi; call *%edi; int $0x80");

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

/* The access succeeds. */
#define GOOD(access) CHECK_EQ(touch(access, TEST), NONE)
/* It raises #PF with that error code. */
#define BAD(access, code) do { \
	CHECK_EQ(touch(access, TEST), PF); \
	CHECK_EQ(caught.error, code); \
	CHECK_EQ(caught_cr2, TEST); \
} while (0)

static void set_entry(unsigned page, uint64_t entry)
{
	if (pae)
		pae_table[page] = entry;
	else
		table[page] = (uint32_t)entry;
	invlpg((void *)(TEST + page * 4096));
}

static void set_directory(uint64_t entry)
{
	if (pae)
		pae_directory[TEST >> 30][0] = entry;
	else
		directory[TEST >> 22] = (uint32_t)entry;
	WRITE_REG(cr3, READ_REG(cr3));
}

static uint64_t entry_of(unsigned page)
{
	return pae ? ONCE(pae_table[page]) : ONCE(table[page]);
}

static uint64_t directory_entry(void)
{
	return pae ? ONCE(pae_directory[TEST >> 30][0]) : ONCE(directory[TEST >> 22]);
}

static uint64_t table_entry(void)
{
	return (pae ? (word)pae_table : (word)table) | P | RW | US;
}

static void permissions(void)
{
	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US);
	GOOD(WRITE);
	GOOD(READ);
	GOOD(FETCH);
	GOOD(USER_READ);
	GOOD(USER_WRITE);
	GOOD(USER_FETCH);
	set_entry(0, 0);
	BAD(READ, 0);
	BAD(WRITE, E_W);
	BAD(FETCH, 0);
	BAD(USER_READ, E_U);
	BAD(USER_WRITE, E_U | E_W);
	BAD(USER_FETCH, E_U);
	set_entry(0, FRAME_A | P | US);
	GOOD(READ);
	GOOD(WRITE); /* CR0.WP is clear */
	GOOD(USER_READ);
	BAD(USER_WRITE, E_P | E_U | E_W);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	BAD(WRITE, E_P | E_W);
	GOOD(READ);
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
	GOOD(WRITE);
	set_entry(0, FRAME_A | P | RW);
	GOOD(WRITE);
	BAD(USER_READ, E_P | E_U);
	BAD(USER_WRITE, E_P | E_U | E_W);
	BAD(USER_FETCH, E_P | E_U);
	/* The directory's permissions count as much. */
	set_entry(0, FRAME_A | P | RW | US);
	set_directory(table_entry() & ~(uint64_t)US);
	BAD(USER_READ, E_P | E_U);
	GOOD(READ);
	set_directory(table_entry() & ~(uint64_t)RW);
	BAD(USER_WRITE, E_P | E_U | E_W);
	GOOD(USER_READ);
	set_directory(0);
	BAD(READ, 0);
	BAD(USER_WRITE, E_U | E_W);
	set_directory(table_entry());
}

static void accessed_and_dirty(void)
{
	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US);
	GOOD(READ);
	CHECK_EQ(entry_of(0) & (A | D), A);
	CHECK_EQ(directory_entry() & (A | D), A);
	GOOD(WRITE);
	CHECK_EQ(entry_of(0) & (A | D), A | D);
	CHECK_EQ(directory_entry() & D, 0);
	set_entry(0, FRAME_A | P | RW | US);
	GOOD(WRITE);
	CHECK_EQ(entry_of(0) & (A | D), A | D);
	set_entry(0, FRAME_A | P | RW | US);
	GOOD(FETCH);
	CHECK_EQ(entry_of(0) & (A | D), A);
	set_entry(0, FRAME_A | P | RW);
	BAD(USER_WRITE, E_P | E_U | E_W);
	CHECK_EQ(entry_of(0) & D, 0); /* what is refused leaves no dirty flag */
	set_entry(0, FRAME_A | P | US);
	GOOD(WRITE);
	CHECK_EQ(entry_of(0) & D, D); /* written to without WP */
	/* A read-modify-write of a page that is read-only is a write. */
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	set_entry(0, FRAME_A | P | US);
	EXPECT(PF, E_P | E_W, "lock incl (%0)", "r"(TEST));
	EXPECT(PF, E_P | E_W, "xchg %%eax, (%0)", "r"(TEST));
	EXPECT(PF, E_P | E_W, "cmpxchg %%ecx, (%0)", "r"(TEST)); /* even if it does not store */
	EXPECT(PF, E_P | E_W, "addl $0, (%0)", "r"(TEST));
	EXPECT(NONE, 0, "cmpl $0, (%0); testl $1, (%0)", "r"(TEST));
	CHECK_EQ(entry_of(0) & D, 0);
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
}

static void new_mappings(void)
{
	*(volatile uint8_t *)FRAME_A = 0xaa;
	*(volatile uint8_t *)FRAME_B = 0xbb;
	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US);
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xaa);
	set_entry(0, FRAME_B | P | RW | US);
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xbb);
	if (pae)
		pae_table[0] = FRAME_A | P | RW | US;
	else
		table[0] = FRAME_A | P | RW | US;
	WRITE_REG(cr3, READ_REG(cr3));
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xaa);
	/* A global page goes by INVLPG, and when CR4.PGE changes. */
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PGE);
	set_entry(0, FRAME_A | P | RW | US | G);
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xaa);
	set_entry(0, FRAME_B | P | RW | US | G);
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xbb);
	if (pae)
		pae_table[0] = FRAME_A | P | RW | US;
	else
		table[0] = FRAME_A | P | RW | US;
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_PGE);
	CHECK_EQ(*(volatile uint8_t *)TEST, 0xaa);
	/* An entry that was not present is not cached; permissions may grow without INVLPG. */
	set_entry(0, 0);
	BAD(READ, 0);
	if (pae)
		pae_table[0] = FRAME_B | P | RW | US;
	else
		table[0] = FRAME_B | P | RW | US;
	GOOD(READ);
}

static void crossing(void)
{
	volatile uint8_t *end = (volatile uint8_t *)(FRAME_A + 4094);

	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US);
	set_entry(1, 0);
	end[0] = end[1] = 0x55;
	EXPECT(PF, E_W, "movl $0x12345678, (%0)", "r"(TEST + 4094));
	CHECK_EQ(caught_cr2, TEST + 4096);
	CHECK_EQ(end[0], 0x55); /* nothing was written */
	CHECK_EQ(end[1], 0x55);
	EXPECT(PF, 0, "mov (%0), %%eax", "r"(TEST + 4093));
	CHECK_EQ(caught_cr2, TEST + 4096);
	EXPECT(PF, E_W, "lock addl $1, (%0)", "r"(TEST + 4094));
	CHECK_EQ(end[0], 0x55);
	set_entry(0, 0);
	set_entry(1, FRAME_B | P | RW | US);
	EXPECT(PF, E_W, "movl $0x12345678, (%0)", "r"(TEST + 4094));
	CHECK_EQ(caught_cr2, TEST + 4094);
	set_entry(0, FRAME_A | P | RW | US);
	EXPECT(NONE, 0, "movl $0x12345678, (%0)", "r"(TEST + 4094));
	CHECK_EQ(end[0], 0x78);
	CHECK_EQ(end[1], 0x56);
	CHECK_EQ(*(volatile uint16_t *)FRAME_B, 0x1234);
	/* An instruction whose second half is missing. */
	set_entry(1, 0);
	end[0] = 0xb8; /* mov $imm32, %eax */
	end[1] = 0x11;
	CHECK_EQ(CATCH(asm volatile("call *%0" : : "r"(TEST + 4094) : CLOBBERS)), PF);
	CHECK_EQ(caught.ip, TEST + 4094);
	CHECK_EQ(caught_cr2, TEST + 4096);
	CHECK_EQ(caught.error, 0);
	/* One that ends with the page does not touch the next. */
	end[1] = 0xc3;
	CHECK_EQ(CATCH(asm volatile("call *%0" : : "r"(TEST + 4095) : CLOBBERS)), NONE);
}

/* REP's registers tell how far it came. */
static void strings(void)
{
	set_entry(0, FRAME_A | P | RW | US);
	set_entry(1, 0);
	CATCH(asm volatile("movl $771f, mark_ip; 771: rep stosb" : : "D"(TEST + 4092), "c"(8),
			"a"(0x66)));
	check_event(PF, E_W, true, "rep stosb", __LINE__);
	CHECK_EQ(caught.cx, 4);
	CHECK_EQ(caught.di, TEST + 4096);
	CHECK_EQ(*(volatile uint32_t *)(FRAME_A + 4092), 0x66666666);
	CATCH(asm volatile("movl $771f, mark_ip; 771: rep movsw"
			   : : "S"(TEST + 4090), "D"(FRAME_B), "c"(10)));
	check_event(PF, 0, true, "rep movsw", __LINE__);
	CHECK_EQ(caught.cx, 7);
	CHECK_EQ(caught.si, TEST + 4096);
	CHECK_EQ(caught.di, FRAME_B + 6);
}

static void large_pages(void)
{
	uint64_t large = FRAME_A | P | RW | US | PS;

	*(volatile uint8_t *)(FRAME_A + 0x123456) = 0x5c;
	set_directory(large);
	GOOD(READ);
	CHECK_EQ(*(volatile uint8_t *)(TEST + 0x123456), 0x5c);
	CHECK_EQ(directory_entry() & (A | D), A);
	GOOD(USER_WRITE);
	CHECK_EQ(directory_entry() & (A | D), A | D);
	set_directory(large & ~(uint64_t)US);
	BAD(USER_READ, E_P | E_U);
	set_directory(large & ~(uint64_t)RW);
	BAD(USER_WRITE, E_P | E_U | E_W);
	set_directory(large | (pae ? 1 << 13 : 1 << 21)); /* reserved */
	BAD(READ, E_P | E_RSVD);
	BAD(WRITE, E_P | E_W | E_RSVD);
	BAD(USER_READ, E_P | E_U | E_RSVD);
	set_directory(table_entry());
}

/* ---- PAE ---- */

static void no_execute(void)
{
	if (!have("NX", cpuid(0x80000001, 0).edx & 1 << 20))
		return;
	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US | NX); /* a reserved bit as yet */
	BAD(READ, E_P | E_RSVD);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	WRITE_REG(cr3, READ_REG(cr3));
	GOOD(READ);
	GOOD(WRITE);
	BAD(FETCH, E_P | E_I);
	BAD(USER_FETCH, E_P | E_U | E_I);
	set_entry(0, 0);
	BAD(FETCH, E_I); /* bit 4 tells of fetches whenever NXE is set */
	set_entry(0, FRAME_A | P | RW | US);
	set_directory(table_entry() | NX);
	BAD(FETCH, E_P | E_I);
	GOOD(READ);
	set_directory(FRAME_A | P | RW | US | PS | NX);
	BAD(FETCH, E_P | E_I);
	set_directory(table_entry());
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NXE);
}

static void pae_reserved(void)
{
	set_directory(table_entry());
	set_entry(0, FRAME_A | P | RW | US | 1ull << 62);
	BAD(READ, E_P | E_RSVD);
	set_entry(0, FRAME_A | P | RW | US | 1ull << 52);
	BAD(READ, E_P | E_RSVD);
	set_entry(0, FRAME_A | P | RW | US);
	set_directory(table_entry() | 1ull << 52);
	BAD(READ, E_P | E_RSVD);
	set_directory(table_entry());
	/* PDPTEs are loaded with CR3, and checked then. */
	pdpt[3] = (word)pae_directory[3] | P | RW;
	EXPECT(GP, 0, "mov %0, %%cr3", "r"(pdpt));
	pdpt[3] = (word)pae_directory[3] | P | 1ull << 52;
	EXPECT(GP, 0, "mov %0, %%cr3", "r"(pdpt));
	pdpt[3] = 0x1e6; /* not present: reserved bits do not count */
	EXPECT(NONE, 0, "mov %0, %%cr3", "r"(pdpt));
	pdpt[2] = 0;
	GOOD(READ); /* not looked at until the next load */
	WRITE_REG(cr3, (word)pdpt);
	BAD(READ, 0);
	pdpt[2] = (word)pae_directory[2] | P;
	BAD(READ, 0);
	WRITE_REG(cr3, (word)pdpt);
	GOOD(READ);
}

static void start_32(void)
{
	for (unsigned i = 0; i < 1024; i++)
		directory[i] = i << 22 | P | RW | US | PS;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PSE);
	WRITE_REG(cr3, (word)directory);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_PG);
}

static void start_pae(void)
{
	for (unsigned i = 0; i < 2048; i++)
		pae_directory[i / 512][i % 512] = (uint64_t)i << 21 | P | RW | US | PS;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (word)pae_directory[i] | P;
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_PG);
	WRITE_REG(cr3, (word)pdpt);
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PAE);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_PG);
	pae = true;
}

static void common(void)
{
	permissions();
	accessed_and_dirty();
	new_mappings();
	crossing();
	strings();
	large_pages();
}

void guest_main(void)
{
	start_32();
	common();
	start_pae();
	common();
	no_execute();
	pae_reserved();
}
