/* SPDX-License-Identifier: MIT */
/*
 * Faults in the delivery of faults in IA-32e mode: stacks that are not there, double faults on a
 * stack of the IST, what is not a double fault, nested IST, the TSS and its limit. Intel SDM vol.
 * 3, 6.14, table 6-5.
 */
#include "guest.h"

#define GONE (1ul << 39)
#define P 1ul
#define RW 2ul

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));

CODE(push, "push %rax");
CODE(undefined, "ud2");
CODE(divide, "xor %ecx, %ecx; div %ecx");
CODE(user_ud, "ud2");
CODE(user_done, "int $0x80");

static char spare[4096] __attribute__((aligned(4096)));

static void map(unsigned page, word frame)
{
	level[2][page] = frame ? frame | P | RW : 0;
	invlpg((void *)(GONE + page * 4096ul));
}

/* Runs code with another stack pointer. */
static unsigned with_rsp(word rsp, const void *code)
{
	return CATCH(asm volatile("mov %0, %%rsp; jmp *%1" : : "r"(rsp), "r"(code) : "memory"));
}

static void use_ist(unsigned vector, unsigned number)
{
	idt[vector].low |= (word)number << 32;
}

static void stacks(void)
{
	use_ist(DF, 1);
	tss.ist[0] = (word)fault_stack_top;
	/* #PF whose frame finds no page either. */
	CHECK_EQ(with_rsp(GONE + 64, push), DF);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught_cr2, GONE + 56); /* the second fault's address: SS is pushed first */
	CHECK_EQ(caught.ip, AT(push));
	CHECK_EQ(caught.sp, GONE + 64);
	/* A frame in two pages, of which the lower one is missing. */
	map(1, (word)spare);
	CHECK_EQ(with_rsp(GONE + 4096 + 16, undefined), DF);
	CHECK_EQ(caught_cr2, GONE + 4096 - 8); /* RFLAGS, after SS and RSP */
	map(1, 0);
	/* Benign, then a page fault, whose delivery faults again: double, too. */
	CHECK_EQ(with_rsp(GONE + 64, undefined), DF);
	CHECK_EQ(caught.ip, AT(undefined));
	/* With a stack of its own the page fault gets through. */
	use_ist(PF, 2);
	tss.ist[1] = (word)fault_stack_top - 4096;
	CHECK_EQ(with_rsp(GONE + 64, push), PF);
	CHECK_EQ(caught.error, 2);
	CHECK_EQ(with_rsp(GONE + 64, undefined), PF); /* in place of #UD */
	CHECK_EQ(caught.ip, AT(undefined));
	CHECK_EQ(with_rsp(GONE + 64, divide), PF); /* contributory, then #PF: not double */
	idt_reset(PF);
	/* #SS on a stack that is not canonical, which cannot hold its frame. */
	CHECK_EQ(with_rsp((1ul << 47) + 64, push), DF);
	CHECK_EQ(caught.ip, AT(push));
	CHECK_EQ(with_rsp((1ul << 47) + 64, undefined), DF); /* #UD, #SS, #SS */
	use_ist(SS, 2);
	CHECK_EQ(with_rsp((1ul << 47) + 64, undefined), SS);
	CHECK_EQ(caught.error, 1); /* EXT */
	idt_reset(SS);
}

/* Ring 0's stack of the TSS, from ring 3. */
static void inner_stacks(void)
{
	tss.sp[0] = GONE + 64;
	CHECK_EQ(user(user_ud), DF);
	CHECK_EQ(caught.cs, UCS64);
	CHECK_EQ(caught.ip, AT(user_ud));
	use_ist(PF, 2);
	CHECK_EQ(user(user_done), PF); /* INT n restarts */
	CHECK_EQ(caught.ip, AT(user_done));
	CHECK_EQ(caught.error, 2); /* a write by the processor itself: not the user's */
	CHECK_EQ(caught.cs, UCS64);
	idt_reset(PF);
	tss.sp[0] = (word)stack_top;
	/* The TSS is too short for RSP0. */
	gdt_set(KTSS, (word)&tss, 10, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
	use_ist(TS, 0);
	CHECK_EQ(CATCH(asm volatile("int $0x90" : : : "memory")), 0x90); /* no stack is wanted */
	gdt_set(KTSS, (word)&tss, sizeof(tss) - 1, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
}

/* Two pages: the IDT's entries up to #GP's and those from #PF's on. */
static void table(void)
{
	static struct gate copy[512] __attribute__((aligned(4096)));
	struct { uint16_t limit; word base; } __attribute__((packed)) old, moved;

	asm volatile("sidt %0" : "=m"(old));
	for (unsigned i = 0; i < 256; i++)
		copy[256 - 14 + i] = idt[i];
	moved.limit = old.limit;
	moved.base = GONE + 4096 - 14 * sizeof(struct gate);
	map(0, 0);
	map(1, (word)copy + 4096);
	asm volatile("lidt %0" : : "m"(moved));
	CHECK_EQ(CATCH(asm volatile("ud2")), PF);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught_cr2, moved.base + UD * sizeof(struct gate));
	map(0, (word)copy);
	CHECK_EQ(CATCH(asm volatile("ud2")), UD);
	map(1, 0);
	CHECK_EQ(CATCH((void)*(volatile char *)(GONE + 8192)), DF);
	CHECK_EQ(caught_cr2, GONE + 4096);
	asm volatile("lidt %0" : : "m"(old));
}

static void refused_tables(void)
{
	const unsigned s = SLOT(0);

	gdt[s / 8 + 1] = 0;
	gdt_set(s, (word)&tss, 0x67, 0x8b);
	EXPECT(GP, s, "ltr %w0", "r"(s)); /* busy */
	gdt_set(s, (word)&tss, 0x67, 0x81);
	EXPECT(GP, s, "ltr %w0", "r"(s)); /* 16-bit TSSs are gone */
	gdt_set(s, (word)&tss, 0x67, 0x09);
	EXPECT(NP, s, "ltr %w0", "r"(s));
	gdt_set(s, (word)&tss, 0x67, 0x89);
	gdt[s / 8 + 1] = 0x1f0000000000; /* the upper half's type is not 0 */
	EXPECT(GP, s, "ltr %w0", "r"(s));
	gdt[s / 8 + 1] = 0x8000; /* a base that is not canonical */
	EXPECT(GP, s, "ltr %w0", "r"(s));
	EXPECT(GP, 0, "ltr %w0", "r"(0));
	gdt_set(s, (word)&tss, 0x67, 0x82);
	gdt[s / 8 + 1] = 0;
	EXPECT(NONE, 0, "lldt %w0", "r"(s));
	EXPECT(NONE, 0, "lldt %w0", "r"(0));
	EXPECT(GP, 0x1f8, "lldt %w0", "r"(0x1f8)); /* its upper half is beyond the table */
}

void guest_main(void)
{
	boot_pml4[1] = (word)level[0] | P | RW;
	level[0][0] = (word)level[1] | P | RW;
	level[1][0] = (word)level[2] | P | RW;
	WRITE_REG(cr3, READ_REG(cr3));
	stacks();
	inner_stacks();
	table();
	refused_tables();
}
