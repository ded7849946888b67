/* SPDX-License-Identifier: MIT */
/*
 * Flat 32-bit code, hot, and what makes it less flat: segments with other bases and limits that come
 * and go, FS and GS, offsets and jumps that wrap at 4 GiB. Intel SDM vol. 3, 3.3 and 5.3.
 */
#include "guest.h"

#define HOT 100
#define PRESENT 0x83 /* present, writable, 4 MiB */
#define FRAME 0x800000u
#define LAST_PAGE 0xfffff000u

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint8_t pages[8192] __attribute__((aligned(4096)));
static volatile uint32_t data[32];

/* ES ends with the first page every third time. */
static void limited(void)
{
	const unsigned s = SLOT(0);
	volatile uint32_t *last = (volatile uint32_t *)(pages + 4092);
	static unsigned i;

	gdt_set(s, 0, AT(pages) >> 12, FLAT_DATA);
	for (i = 0; i < 3 * HOT; i++) {
		unsigned selector = i % 3 ? KDS : s;

		*last = i;
		EXPECT(NONE, 0, "mov %0, %%es; mov %%es:(%1), %%eax; mov %%eax, %%es:-4(%1)",
		       "r"(selector), "S"(last));
		CHECK_EQ(last[-1], i);
		EXPECT_EVENT(i % 3 ? NONE : GP, 0, "mov %0, %%es; mov %%es:4(%1), %%eax",
			     "r"(selector), "S"(last));
		asm volatile("mov %0, %%es" : : "r"(KDS));
	}
}

/* A base, and with it a limit that only what wraps is beyond. */
static void based(void)
{
	const unsigned s = SLOT(0), small = SLOT(1);
	static unsigned i;
	uint32_t got;

	gdt_set(s, AT(&data[16]), 0xfffff, FLAT_DATA);
	gdt_set(small, AT(&data[16]), 7, FLAT_DATA & ~A_G);
	for (i = 0; i < HOT; i++) {
		data[17] = i;
		data[15] = ~i;
		asm volatile("mov %0, %%gs" : : "r"(s));
		asm volatile("mov %%gs:4, %0" : "=r"(got));
		CHECK_EQ(got, i);
		asm volatile("mov %%gs:(%1), %0" : "=r"(got) : "r"(-4));
		CHECK_EQ(got, ~i);
		asm volatile("incl %%gs:-8(,%0,4)" : : "r"(1) : "memory", "cc");
		CHECK_EQ(data[15], ~i + 1);
		EXPECT(GP, 0, "mov %%gs:(%0), %%eax", "S"(-2));
		EXPECT(GP, 0, "mov %%gs:-3, %%eax", "r"(0));
		asm volatile("mov %0, %%gs" : : "r"(small));
		EXPECT(NONE, 0, "mov %%gs:(%0), %%eax", "S"(4));
		EXPECT(GP, 0, "mov %%gs:(%0), %%eax", "S"(5));
		asm volatile("mov %0, %%gs" : : "r"(0));
		EXPECT(GP, 0, "mov %%gs:(%0), %%eax", "S"(4));
	}
	asm volatile("mov %0, %%gs" : : "r"(KDS));
}

static void stack_based(void)
{
	const unsigned s = SLOT(2);
	static unsigned i;
	static uint32_t got;

	gdt_set(s, 4, 0xfffff, FLAT_DATA);
	for (i = 0; i < HOT; i++) {
		/* The same word by another name. */
		asm volatile("push %1; sub $4, %%esp; mov %2, %%ss; pop %0;"
			     "mov %3, %%ss; add $4, %%esp"
			     : "=r"(got) : "r"(i), "r"(s), "r"(KDS) : "memory", "cc");
		CHECK_EQ(got, i);
	}
}

CODE(leaf, "mov 4(%esp), %eax; lea 0x80000000(%eax, %eax), %eax; ret");

static void make_page_tables(void)
{
	for (unsigned i = 0; i < 1023; i++)
		directory[i] = i << 22 | PRESENT;
	directory[1023] = AT(table) | 3;
	table[1023] = FRAME | 3;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PSE);
	WRITE_REG(cr3, AT(directory));
	WRITE_REG(cr0, READ_REG(cr0) | CR0_PG);
}

static void wrapping(void)
{
	volatile uint8_t *code = (volatile uint8_t *)(LAST_PAGE + 0x800);
	uint32_t got;

	make_page_tables();
	/* push 4(%esp); call leaf, which is up across 4 GiB; pop %edx; ret */
	for (unsigned i = 0; i < 4; i++)
		code[i] = "\xff\x74\x24\x04"[i];
	code[4] = 0xe8;
	*(volatile uint32_t *)(code + 5) = AT(leaf) - AT(code + 9);
	code[9] = 0x5a;
	code[10] = 0xc3;
	for (unsigned i = 0; i < HOT; i++) {
		CHECK_EQ(((word (*)(word))code)(i), 0x80000000u + 2 * i);
		data[3] = i;
		asm volatile("mov 0x100(%1), %0" : "=r"(got) : "r"(AT(&data[3]) - 0x100));
		CHECK_EQ(got, i);
		asm volatile("mov -0x10(%1, %2, 8), %0"
			     : "=r"(got) : "r"(AT(&data[3]) + 0x90), "r"(-0x10));
		CHECK_EQ(got, i);
		asm volatile("lea -1(%1, %1, 2), %0" : "=r"(got) : "r"(0x80000000u + i));
		CHECK_EQ(got, 0x80000000u + 3 * i - 1);
	}
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_PG);
}

void guest_main(void)
{
	limited();
	based();
	stack_based();
	wrapping();
}
