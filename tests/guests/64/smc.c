/* SPDX-License-Identifier: MIT */
/*
 * Code that changes: the instruction itself and the next one, in the same page and across two,
 * through another linear address, code and data in one page, by string instructions, by a new
 * mapping. Intel SDM vol. 3, 8.1.3 and 11.6.
 */
#include "guest.h"

#define TEST (1ul << 39)
#define ALIAS (TEST + 0x10000)
#define FRAME 0x800000ul

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));

static void map(unsigned page, word frame)
{
	level[2][page] = frame ? frame | 7 : 0;
	invlpg((void *)(TEST + page * 4096ul));
}

static void emit(word at, const char *code, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		*(volatile uint8_t *)(at + i) = (uint8_t)code[i];
}

/* "mov $value, %eax; ret" */
static void emit_value(word at, uint32_t value)
{
	*(volatile uint8_t *)at = 0xb8;
	*(volatile uint32_t *)(at + 1) = value;
	*(volatile uint8_t *)(at + 5) = 0xc3;
}

/* One place for all, so that it is hot. */
static __attribute__((noinline)) uint32_t run(word at)
{
	uint32_t value;

	asm volatile("call *%1" : "=a"(value) : "r"(at) : "rcx", "rdx", "memory", "cc");
	return value;
}

/* Often enough to be translated; the last value, if all are the same. */
static uint32_t run_hot(word at)
{
	uint32_t value = run(at);

	for (unsigned i = 0; i < 100; i++)
		if (run(at) != value)
			return ~value;
	return value;
}

static void between_runs(void)
{
	for (uint32_t i = 0; i < 200; i++) {
		emit_value(TEST, i);
		if (run(TEST) != i) {
			CHECK_EQ(i, ~0u);
			return;
		}
	}
	/* Only its immediate, byte by byte. */
	emit_value(TEST, 0);
	for (uint32_t i = 0; i < 200; i++) {
		*(volatile uint8_t *)(TEST + 1 + i % 4) = (uint8_t)i;
		if (run(TEST) != *(volatile uint32_t *)(TEST + 1)) {
			CHECK_EQ(i, ~0u);
			return;
		}
	}
	CHECK(true);
}

static void through_an_alias(void)
{
	map(16, FRAME);
	emit_value(TEST, 1);
	CHECK_EQ(run(TEST), 1);
	*(volatile uint32_t *)(ALIAS + 1) = 2;
	CHECK_EQ(run(TEST), 2);
	*(volatile uint32_t *)(FRAME + 1) = 3; /* the identity map is an alias, too */
	CHECK_EQ(run(TEST), 3);
	CHECK_EQ(run(ALIAS), 3);
	emit_value(TEST, 4);
	CHECK_EQ(run(ALIAS), 4);
}

/* movb $0x90, 7(%rip)-like stores that hit instructions just ahead or the one that stores. */
static void ahead(void)
{
	/* movb $2, next+1; next: mov $1, %al; movzbl; ret */
	for (unsigned i = 0; i < 3; i++) {
		emit(TEST, "\xc6\x05\x01\0\0\0\2" "\xb0\1" "\x0f\xb6\xc0" "\xc3", 13);
		CHECK_EQ(run(TEST), 2);
		*(volatile uint8_t *)(TEST + 8) = 1;
		CHECK_EQ(run(TEST), 2);
	}
	/* An instruction that overwrites itself completes as it was, and is another the next time:
	 * movl $0x90909090, self; then mov $7, %eax; ret */
	emit(TEST, "\xc7\x05\xf6\xff\xff\xff\x90\x90\x90\x90" "\xb8\7\0\0\0" "\xc3", 16);
	CHECK_EQ(run(TEST), 7);
	CHECK_EQ(*(volatile uint32_t *)TEST, 0x90909090);
	/* A string store over the code that follows it: rep stosb of 3 NOPs over inc %eax; ret. */
	emit(TEST, "\x48\x89\xf8\xb0\x90\xf3\xaa\x31\xc0" "\xff\xc0\xff\xc0" "\xc3", 14);
	{
		uint32_t value;
		word di = TEST + 9, cx = 2;

		asm volatile("call *%3" : "=a"(value), "+D"(di), "+c"(cx) : "r"(TEST)
				: "memory", "cc");
		CHECK_EQ(value, 1); /* one of the two increments is left */
	}
	/* A loop that patches its own body: counts in its immediate. */
	emit(TEST, "\x31\xc0" /* xor %eax, %eax */
		   "\xb9\x0a\0\0\0" /* mov $10, %ecx */
		   "\x05\x01\0\0\0" /* 7: add $1, %eax */
		   "\xfe\x05\xf6\xff\xff\xff" /* incb 8: that 1 */
		   "\xff\xc9\x75\xf1" /* dec %ecx; jnz 7 */
		   "\xc3", 23);
	CHECK_EQ(run(TEST), 55);
	/* A hot loop of several blocks that makes an increment of 2 one of 16, half-way. */
	for (unsigned i = 0; i < 3; i++) {
		emit(TEST, "\x31\xc0" "\xb9\xe8\3\0\0" /* xor %eax, %eax; mov $1000, %ecx */
			   "\xf6\xc1\1\x74\5" /* 7: test $1, %cl; jz 0x11 */
			   "\x83\xc0\1\xeb\3" /* add $1, %eax; jmp 0x14 */
			   "\x83\xc0\2" /* 0x11: add $2, %eax */
			   "\x81\xf9\xf4\1\0\0\x75\7" /* 0x14: cmp $500, %ecx; jne 0x23 */
			   "\xc6\5\xf0\xff\xff\xff\x10" /* movb $16, 0x13 */
			   "\xff\xc9\x75\xe0\xc3", 40); /* 0x23: dec %ecx; jnz 7; ret */
		CHECK_EQ(run(TEST), 500 + 251 * 2 + 249 * 16);
	}
	/* PUSH onto the code that follows: NOPs over four UD2s. */
	emit(TEST + 16, "\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\xc3", 9);
	emit(TEST, "\x48\x89\xe1" "\x48\x8d\x25\x0e\0\0\0" "\x50" "\x48\x89\xcc" "\x90\x90", 16);
	{
		uint32_t value;

		asm volatile("call *%1" : "=a"(value) : "r"(TEST), "a"(0x9090909090909090ul)
				: "rcx", "memory");
		CHECK_EQ(value, 0x90909090);
	}
}

static void across_pages(void)
{
	map(1, FRAME + 0x1000);
	emit_value(TEST + 4096 - 3, 0x11223344); /* two bytes of it in the next page */
	CHECK_EQ(run_hot(TEST + 4093), 0x11223344);
	*(volatile uint8_t *)(TEST + 4096) = 0x55;
	CHECK_EQ(run_hot(TEST + 4093), 0x11553344);
	*(volatile uint8_t *)(TEST + 4095) = 0x66;
	CHECK_EQ(run_hot(TEST + 4093), 0x11556644);
	*(volatile uint16_t *)(TEST + 4095) = 0x7788; /* one store, both pages */
	CHECK_EQ(run_hot(TEST + 4093), 0x11778844);
	/* Another second page under the same code. */
	emit(FRAME + 0x2000, "\xbb\xaa\xc3", 3);
	map(1, FRAME + 0x2000);
	CHECK_EQ(run_hot(TEST + 4093), 0xaabb8844);
	/* And another first one. */
	emit_value(FRAME + 0x3000 + 4093, 0);
	emit(FRAME + 0x2000, "\xbb\xaa\xc3", 3);
	map(0, FRAME + 0x3000);
	CHECK_EQ(run_hot(TEST + 4093), 0xaabb0000);
	map(0, FRAME);
	/* A block that goes on into a page that changes. */
	emit(TEST + 4092, "\x31\xc0\x90\x90", 4);
	emit_value(TEST + 4096, 5);
	CHECK_EQ(run_hot(TEST + 4092), 5);
	*(volatile uint8_t *)(TEST + 4097) = 6;
	CHECK_EQ(run_hot(TEST + 4092), 6);
	/* A loop around an instruction that does: mov $100, %ecx; 1: dec %ecx; nop; nop; nop;
	 * mov $value, %eax; test %ecx, %ecx; jnz 1b; ret */
	emit(TEST + 4083, "\xb9\x64\0\0\0" "\xff\xc9\x90\x90\x90" "\xb8\1\2", 13);
	emit(TEST + 4096, "\3\4" "\x85\xc9\x75\xf2\xc3", 7);
	CHECK_EQ(run_hot(TEST + 4083), 0x04030201);
	emit(FRAME + 0x4000, "\5\6" "\x85\xc9\x75\xf2\xc3", 7);
	map(1, FRAME + 0x4000);
	CHECK_EQ(run_hot(TEST + 4083), 0x06050201);
	level[2][1] = (FRAME + 0x2000) | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	CHECK_EQ(run_hot(TEST + 4083), 0x04030201);
	*(volatile uint8_t *)(TEST + 4097) = 9;
	CHECK_EQ(run_hot(TEST + 4083), 0x09030201);
	*(volatile uint8_t *)(TEST + 4094) = 8;
	CHECK_EQ(run_hot(TEST + 4083), 0x09030208);
	map(1, 0);
	CHECK_EQ(CATCH(run(TEST + 4083)), PF);
	CHECK_EQ(caught_cr2, TEST + 4096);
	CHECK_EQ(caught.ip, TEST + 4093);
	map(1, FRAME + 0x1000);
}

/* A jump across, by 4096 back or by 0xf000 on: nothing else is known of its second page. */
static void jump_across(void)
{
	const word page = TEST + 3 * 4096;

	map(3, FRAME + 0x3000);
	map(19, FRAME + 0x5000);
	emit_value(page + 2, 1);
	emit_value(page + 0x10002, 2);
	emit(FRAME + 0x2000, "\xff\xff", 2);
	emit(FRAME + 0x4000, "\0\0", 2);
	emit(page + 4093, "\xe9\0\xf0", 3);
	for (unsigned i = 0; i < 3; i++) {
		map(4, FRAME + 0x2000);
		CHECK_EQ(run_hot(page + 4093), 1);
		map(4, FRAME + 0x4000);
		CHECK_EQ(run_hot(page + 4093), 2);
	}
}

static void code_and_data(void)
{
	volatile uint32_t *counter = (volatile uint32_t *)(TEST + 0x800);

	/* incl counter; mov counter, %eax; ret: its page is both. */
	emit(TEST, "\xff\x05\xfa\x07\0\0" "\x8b\x05\xf4\x07\0\0" "\xc3", 13);
	*counter = 0;
	for (unsigned i = 0; i < 1000; i++)
		run(TEST);
	CHECK_EQ(*counter, 1000);
	CHECK_EQ(run(TEST), 1001);
	asm volatile("lock incl %0" : "+m"(*counter));
	CHECK_EQ(run(TEST), 1003);
	/* Stores of every size next to code. */
	emit_value(TEST + 0x100, 0x600d);
	run(TEST + 0x100);
	*(volatile uint64_t *)(TEST + 0xf8) = ~0ul;
	*(volatile uint64_t *)(TEST + 0x106) = ~0ul;
	CHECK_EQ(run(TEST + 0x100), 0x600d);
	asm volatile("cmpxchg %1, %0" : "+m"(*(volatile uint32_t *)(TEST + 0x101))
			: "r"(0x1234), "a"(0x600d));
	CHECK_EQ(run(TEST + 0x100), 0x1234);
	asm volatile("xchg %0, %1" : : "r"(0x4321), "m"(*(volatile uint32_t *)(TEST + 0x101))
			: "memory");
	CHECK_EQ(run(TEST + 0x100), 0x4321);
	asm volatile("rep movsb" : : "S"(&(uint32_t){ 0x777 }), "D"(TEST + 0x101), "c"(4)
			: "memory");
}

/* The way a kernel patches: fill a fresh page, jump into it, again and again in the same place. */
static void fresh_pages(void)
{
	bool good = true;

	for (uint32_t i = 0; i < 64; i++) {
		word frame = FRAME + 0x100000 + i % 8 * 4096;

		emit_value(frame + 0x10, i);
		map(2, frame);
		good &= run(TEST + 0x2010) == i;
	}
	CHECK(good);
}

void guest_main(void)
{
	boot_pml4[1] = (word)level[0] | 7;
	level[0][0] = (word)level[1] | 7;
	level[1][0] = (word)level[2] | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	map(0, FRAME);
	between_runs();
	through_an_alias();
	ahead();
	across_pages();
	jump_across();
	code_and_data();
	fresh_pages();
}
