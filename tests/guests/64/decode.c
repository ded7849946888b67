/* SPDX-License-Identifier: MIT */
/*
 * What the decoder refuses and how: LOCK, 15 bytes, undefined opcodes, VEX among wrong prefixes,
 * and instructions that reach into a page which is not there. Intel SDM vol. 2, 2.3 and appendix
 * A.
 */
#include "guest.h"

#define TEST (1ul << 39)
#define FRAME 0x800000ul

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));

static void locks(void)
{
	EXPECT(UD, 0, ".byte 0xf0, 0x90");             /* nop */
	EXPECT(UD, 0, ".byte 0xf0, 0x01, 0xc0");       /* add %eax, %eax */
	EXPECT(UD, 0, ".byte 0xf0, 0x03, 0x03");       /* add (%rbx), %eax */
	EXPECT(UD, 0, ".byte 0xf0, 0x8b, 0x03");       /* mov */
	EXPECT(UD, 0, ".byte 0xf0, 0x39, 0x03");       /* cmp */
	EXPECT(UD, 0, ".byte 0xf0, 0x85, 0x03");       /* test */
	EXPECT(UD, 0, ".byte 0xf0, 0x0f, 0xa3, 0x03"); /* bt */
	EXPECT(UD, 0, ".byte 0xf0, 0x0f, 0xba, 0x23, 0x00");
	EXPECT(UD, 0, ".byte 0xf0, 0xc1, 0x23, 0x01"); /* shl */
	EXPECT(UD, 0, ".byte 0xf0, 0x8f, 0x03");       /* pop */
	EXPECT(UD, 0, ".byte 0xf0, 0xff, 0x33");       /* push */
	EXPECT(UD, 0, ".byte 0xf0, 0xff, 0x13");       /* call */
	EXPECT(UD, 0, ".byte 0xf0, 0xa4");             /* movsb */
	EXPECT(UD, 0, ".byte 0xf0, 0x87, 0xc0");       /* xchg of registers */
	EXPECT(UD, 0, ".byte 0xf0, 0x0f, 0xc7, 0xc8");
	EXPECT(UD, 0, ".byte 0xf0, 0xf6, 0x23");       /* mul */
	EXPECT(UD, 0, ".byte 0xf0, 0xfa");
	EXPECT(UD, 0, ".byte 0xf0, 0x0f, 0x0b");
	EXPECT(NONE, 0, "lock xchg %%eax, (%0); lock addl $1, (%0); lock notl (%0);"
			"lock btsl $1, (%0)\n"
			"lock cmpxchg %%ecx, (%0); lock xadd %%eax, (%0); lock cmpxchg8b (%0);"
			"lock decb (%0)",
	       "b"(FRAME));
}

static void undefined(void)
{
	EXPECT(UD, 0, "ud2");
	EXPECT(UD, 0, ".byte 0x0f, 0xb9, 0xc0"); /* ud1 */
	EXPECT(UD, 0, ".byte 0x0f, 0xff, 0xc0"); /* ud0 */
	EXPECT(UD, 0, ".byte 0x66, 0x0f, 0x0b");
	EXPECT(UD, 0, ".byte 0x0f, 0x04");
	EXPECT(UD, 0, ".byte 0x0f, 0x0a");
	EXPECT(UD, 0, ".byte 0x0f, 0x24, 0xc0");
	EXPECT(UD, 0, ".byte 0x0f, 0x36");
	EXPECT(UD, 0, ".byte 0x0f, 0xc7, 0x00");  /* group 9, /0 */
	EXPECT(UD, 0, ".byte 0x0f, 0xba, 0xc0, 0x00"); /* group 8, /0 */
	EXPECT(UD, 0, ".byte 0xff, 0xf8");        /* group 5, /7 */
	EXPECT(UD, 0, ".byte 0xfe, 0xd0");        /* group 4, /2 */
	EXPECT(UD, 0, ".byte 0x8f, 0xc8");
	EXPECT(UD, 0, ".byte 0xc6, 0xc8, 0x00");  /* group 11, /1 */
	EXPECT(UD, 0, ".byte 0x8d, 0xc0");        /* lea of a register */
	EXPECT(UD, 0, ".byte 0x0f, 0x01, 0xd1");
	EXPECT(UD, 0, ".byte 0x0f, 0x20, 0xc8");  /* mov %cr1, %rax */
	EXPECT(UD, 0, ".byte 0x0f, 0x22, 0xe8");  /* mov %rax, %cr5 */
	EXPECT(UD, 0, ".byte 0x44, 0x0f, 0x20, 0xc8");  /* CR9 */
	EXPECT(UD, 0, ".byte 0x44, 0x0f, 0x21, 0xc0");  /* DR8 */
	/* VEX after 66, F2, F3, LOCK or REX. */
	EXPECT(UD, 0, ".byte 0x66, 0xc5, 0xf8, 0x77");
	EXPECT(UD, 0, ".byte 0xf3, 0xc5, 0xf8, 0x77");
	EXPECT(UD, 0, ".byte 0xf0, 0xc5, 0xf8, 0x77");
	EXPECT(UD, 0, ".byte 0x48, 0xc5, 0xf8, 0x77");
	EXPECT(UD, 0, ".byte 0xc5, 0xf8, 0x77"); /* CR4.OSXSAVE is clear */
	/* REX counts only just before the opcode. */
	EXPECT(NONE, 0, "mov $-1, %%rax; .byte 0x48, 0x66, 0x05, 0x01, 0x00;"
			"cmp $0xffff0000, %%eax\n"
			"mov %%rax, record", "b"(0));
	CHECK_EQ(record[0], 0xffffffffffff0000);
	EXPECT(NONE, 0, ".byte 0xf3; nop; .byte 0xf2; nop; .byte 0x66; nop; .byte 0x67; nop;"
			".byte 0x2e; nop");
	EXPECT(NONE, 0, ".byte 0x66, 0x66, 0x66, 0x66, 0x2e; nopw 0(%%rax, %%rax, 1)", "b"(0));
}

/* Puts count prefixes before an instruction. */
static unsigned prefixed(unsigned count, const char *code, unsigned size)
{
	uint8_t *at = (uint8_t *)FRAME;

	for (unsigned i = 0; i < count; i++)
		*at++ = 0x2e;
	for (unsigned i = 0; i < size; i++)
		*at++ = (uint8_t)code[i];
	*at = 0xc3;
	return CATCH(((void (*)(void))FRAME)());
}

static void fifteen_bytes(void)
{
	CHECK_EQ(prefixed(14, "\x90", 1), NONE);
	CHECK_EQ(prefixed(15, "\x90", 1), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.ip, FRAME);
	CHECK_EQ(prefixed(10, "\xb8\1\2\3\4", 5), NONE);
	CHECK_EQ(prefixed(11, "\xb8\1\2\3\4", 5), GP);
	CHECK_EQ(prefixed(14, "\x0f\x0b", 2), GP); /* the length comes first */
	CHECK_EQ(prefixed(13, "\x0f\x0b", 2), UD);
	CHECK_EQ(prefixed(40, "\x90", 1), GP);
}

/* ---- at the end of a page ---- */

static unsigned at_end(const char *code, unsigned size, unsigned present)
{
	for (unsigned i = 0; i < present; i++)
		*(uint8_t *)(FRAME + 4096 - present + i) = (uint8_t)code[i];
	(void)size;
	return CATCH(((void (*)(void))(TEST + 4096 - present))());
}

static void page_end(void)
{
	boot_pml4[1] = (word)level[0] | 7;
	level[0][0] = (word)level[1] | 7;
	level[1][0] = (word)level[2] | 7;
	level[2][0] = FRAME | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	for (unsigned present = 1; present < 10; present++) {
		CHECK_EQ(at_end("\x48\xb8\1\2\3\4\5\6\7\x08", 10, present), PF);
		CHECK_EQ(caught_cr2, TEST + 4096);
		CHECK_EQ(caught.ip, TEST + 4096 - present);
		CHECK_EQ(caught.error, 0);
	}
	CHECK_EQ(at_end("\xc3", 1, 1), NONE);
	CHECK_EQ(at_end("\x90\xc3", 2, 2), NONE);
	CHECK_EQ(at_end("\x0f\x0b", 2, 2), UD);
	CHECK_EQ(at_end("\x06", 1, 1), UD); /* undefined by its first byte: no more is fetched */
	CHECK_EQ(at_end("\x0f", 2, 1), PF);
	/* Run off the end, with the next page there. */
	level[2][1] = (FRAME + 0x1000) | 7;
	*(uint8_t *)(FRAME + 0x1000) = 0xc3;
	CHECK_EQ(at_end("\x90", 1, 1), NONE);
	*(uint8_t *)(FRAME + 0x1000) = 0x0b;
	CHECK_EQ(at_end("\x0f", 1, 1), UD);
	CHECK_EQ(caught.ip, TEST + 4095);
	/* The second page is somewhere else now. */
	*(uint8_t *)(FRAME + 0x2000) = 0xa2; /* 0f a2: cpuid */
	*(uint8_t *)(FRAME + 0x2001) = 0xc3;
	level[2][1] = (FRAME + 0x2000) | 7;
	invlpg((void *)(TEST + 4096));
	CHECK_EQ(CATCH(asm volatile("call *%0" : : "r"(TEST + 4095) : "rax", "rbx", "rcx",
			"rdx")), NONE);
}

void guest_main(void)
{
	locks();
	undefined();
	fifteen_bytes();
	page_end();
}
