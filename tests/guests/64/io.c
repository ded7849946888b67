/* SPDX-License-Identifier: MIT */
/*
 * Port I/O: widths, string instructions with their registers, faults in the middle, permissions by
 * IOPL and bitmap in 64-bit mode. Intel SDM vol. 1, chapter 19; vol. 2, INS, OUTS.
 */
#include "guest.h"

#define TEST (1ul << 39)
#define FRAME 0x800000ul
#define SCRATCH 0x3ff /* of COM1 */
#define PCI_ADDRESS 0xcf8
#define NOTHING 0x2f0 /* nobody answers */

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static uint8_t buffer[64];

static void widths(void)
{
	uint32_t value;
	uint16_t half;

	asm volatile("outl %0, %w1" : : "a"(0x80001234), "d"(PCI_ADDRESS));
	asm volatile("inl %w1, %0" : "=a"(value) : "d"(PCI_ADDRESS));
	CHECK_EQ(value & 0xff00fffcu, 0x80001234 & 0xff00fffcu);
	outb(SCRATCH, 0x5a);
	CHECK_EQ(inb(SCRATCH), 0x5a);
	CHECK_EQ(inb(NOTHING), 0xff);
	asm volatile("inw %w1, %0" : "=a"(half) : "d"(NOTHING));
	CHECK_EQ(half, 0xffff);
	asm volatile("inl %w1, %0" : "=a"(value) : "d"(NOTHING));
	CHECK_EQ(value, 0xffffffff);
	{
		word ax = ~0ul;

		asm volatile("inb %w1, %b0" : "+a"(ax) : "d"(SCRATCH));
		CHECK_EQ(ax, 0xffffffffffffff5a); /* only AL */
		ax = ~0ul;
		asm volatile("inl %w1, %k0" : "+a"(ax) : "d"(NOTHING));
		CHECK_EQ(ax, 0xffffffff); /* 32 bits clear the upper half */
	}
}

static void strings(void)
{
	word di = (word)buffer, si = (word)buffer, cx = 5;

	outb(SCRATCH, 0x77);
	asm volatile("rep insb" : "+D"(di), "+c"(cx) : "d"(SCRATCH) : "memory");
	CHECK_EQ(cx, 0);
	CHECK_EQ(di, (word)buffer + 5);
	CHECK_EQ(buffer[0] + buffer[4], 0xee);
	CHECK_EQ(buffer[5], 0);
	buffer[0] = 1;
	buffer[1] = 2;
	buffer[2] = 3;
	cx = 3;
	asm volatile("rep outsb" : "+S"(si), "+c"(cx) : "d"(SCRATCH) : "memory");
	CHECK_EQ(inb(SCRATCH), 3);
	CHECK_EQ(si, (word)buffer + 3);
	cx = 2;
	si = (word)buffer + 2;
	asm volatile("std; rep outsb; cld" : "+S"(si), "+c"(cx) : "d"(SCRATCH) : "memory");
	CHECK_EQ(inb(SCRATCH), 2);
	CHECK_EQ(si, (word)buffer);
	cx = 0;
	di = (word)buffer;
	asm volatile("rep insb" : "+D"(di), "+c"(cx) : "d"(SCRATCH) : "memory");
	CHECK_EQ(di, (word)buffer);
	/* With 32-bit addresses ECX counts, and the upper halves are cleared. */
	cx = 0x100000002;
	di = (word)buffer;
	asm volatile("rep insb (%%dx), %%es:(%%edi)" : "+D"(di), "+c"(cx) : "d"(SCRATCH)
			: "memory");
	CHECK_EQ(cx, 0);
	CHECK_EQ(di, (word)buffer + 2);
}

static void faults_in_the_middle(void)
{
	boot_pml4[1] = (word)level[0] | 7;
	level[0][0] = (word)level[1] | 7;
	level[1][0] = (word)level[2] | 7;
	level[2][0] = FRAME | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	outb(SCRATCH, 0x42);
	CATCH(asm volatile("movq $771f, mark_ip; 771: rep insb"
			   : : "D"(TEST + 4093), "c"(8), "d"(SCRATCH) : "memory"));
	check_event(PF, 2, true, "rep insb", __LINE__);
	CHECK_EQ(caught.cx, 5);
	CHECK_EQ(caught.di, TEST + 4096);
	CHECK_EQ(*(volatile uint8_t *)(FRAME + 4095), 0x42);
	*(volatile uint8_t *)(FRAME + 4095) = 0x24;
	CATCH(asm volatile("movq $771f, mark_ip; 771: rep outsb"
			   : : "S"(TEST + 4095), "c"(8), "d"(SCRATCH) : "memory"));
	check_event(PF, 0, true, "rep outsb", __LINE__);
	CHECK_EQ(caught.cx, 7);
	CHECK_EQ(caught.si, TEST + 4096);
	CHECK_EQ(inb(SCRATCH), 0x24);
	/* What cannot be read is not written to the port. */
	EXPECT_EVENT(PF, 0, "mov $0x3ff, %%edx; outsb", "S"(TEST + 4096));
	CHECK_EQ(inb(SCRATCH), 0x24);
}

CODE(user_in, "mov $0x3ff, %edx; in (%dx), %al; int $0x80");
CODE(user_inw, "mov $0x3ff, %edx; in (%dx), %ax; int $0x80");
CODE(user_ins, "mov $0x3ff, %edx; lea -64(%rsp), %rdi; insb; int $0x80");
CODE(user_last, "mov $0xffff, %edx; in (%dx), %al; int $0x80");

static void permissions(void)
{
	for (unsigned i = 0; i < 8192; i++)
		tss.bitmap[i] = 0xff;
	CHECK_EQ(user(user_in), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.ip, AT(user_in) + 5);
	CHECK_EQ(user(user_ins), GP);
	CHECK_EQ(user_flags(user_in, IOPL(3) | 2), USER_DONE);
	CHECK_EQ(user_flags(user_in, IOPL(2) | 2), GP);
	tss.bitmap[0x3ff / 8] = 0x7f;
	CHECK_EQ(user(user_in), USER_DONE);
	CHECK_EQ(user(user_ins), USER_DONE);
	CHECK_EQ(user(user_inw), GP); /* its second byte is port 0x400 */
	tss.bitmap[0x400 / 8] = 0xfe;
	CHECK_EQ(user(user_inw), USER_DONE);
	tss.bitmap[8191] = 0x7f;
	CHECK_EQ(user(user_last), USER_DONE);
}

void guest_main(void)
{
	widths();
	strings();
	faults_in_the_middle();
	permissions();
}
