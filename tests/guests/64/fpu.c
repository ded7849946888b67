/* SPDX-License-Identifier: MIT */
/*
 * x87 and SSE as the system sees them: CR0.EM, TS, MP, #NM, #UD, unmasked #MF and #XM, FERR# and
 * IRQ 13, FNINIT, FXSAVE and XSAVE images. Intel SDM vol. 3, 2.5, 8.5 of vol. 1, 13.
 */
#include "guest.h"

#define MXCSR_DEFAULT 0x1f80u
#define PIC1 0x20
#define PIC2 0xa0
#define IRQ13_VECTOR 0x5d

static uint8_t image[4096] __attribute__((aligned(64)));
static const double zero, one = 1.0;

static void not_available(void)
{
	word cr0 = READ_REG(cr0), cr4 = READ_REG(cr4);

	WRITE_REG(cr0, (cr0 & ~(CR0_EM | CR0_MP)) | CR0_TS | CR0_NE);
	EXPECT(NM, 0, "fnop");
	EXPECT(NM, 0, "fninit");
	EXPECT(NM, 0, "fnstcw record");
	EXPECT(NM, 0, "emms");
	EXPECT(NONE, 0, "fwait"); /* needs MP, too */
	EXPECT(NM, 0, "fxsave %0", "m"(image));
	WRITE_REG(cr0, READ_REG(cr0) | CR0_MP);
	EXPECT(NM, 0, "fwait");
	WRITE_REG(cr0, (cr0 & ~(CR0_TS | CR0_MP)) | CR0_EM);
	EXPECT(NM, 0, "fnop");
	EXPECT(NONE, 0, "fwait");
	EXPECT(UD, 0, "emms");
	WRITE_REG(cr4, cr4 | CR4_OSFXSR);
	EXPECT(UD, 0, "xorps %%xmm0, %%xmm0", "r"(0)); /* EM: #UD for SSE */
	WRITE_REG(cr0, (cr0 & ~(CR0_EM | CR0_MP)) | CR0_TS);
	EXPECT(NM, 0, "xorps %%xmm0, %%xmm0", "r"(0));
	EXPECT(NM, 0, "ldmxcsr record");
	EXPECT(NONE, 0, "sfence; lfence; mfence; prefetcht0 record; movnti %%eax, record", "r"(0));
	WRITE_REG(cr0, cr0 & ~(CR0_TS | CR0_EM));
	WRITE_REG(cr4, cr4 & ~CR4_OSFXSR);
	EXPECT(UD, 0, "xorps %%xmm0, %%xmm0", "r"(0));
	EXPECT(UD, 0, "movd %%eax, %%xmm0", "r"(0));
	EXPECT(NONE, 0, "fninit; emms");
	WRITE_REG(cr4, cr4 | CR4_OSFXSR);
	EXPECT(NONE, 0, "xorps %%xmm0, %%xmm0", "r"(0));
	EXPECT(NONE, 0, "clts");
}

static void x87_errors(void)
{
	uint16_t control = 0x037b, status; /* zero divide unmasked */

	WRITE_REG(cr0, READ_REG(cr0) | CR0_NE);
	asm volatile("fninit; fldcw %0" : : "m"(control));
	/* The error waits for the next waiting instruction. */
	EXPECT(NONE, 0, "fldl %0; fdivl %1", "m"(one), "m"(zero));
	asm volatile("fnstsw %0" : "=m"(status));
	CHECK_EQ(status & 0x84, 0x84); /* summary and ZE */
	EXPECT(MF, 0, "fwait");
	EXPECT(MF, 0, "fldz");
	EXPECT(MF, 0, "emms");
	EXPECT(NONE, 0, "fnstcw record; fnstsw %%ax", "r"(0));
	EXPECT(NONE, 0, "fnclex; fwait");
	asm volatile("fninit");
	EXPECT(NONE, 0, "fldz; fdivrl %0; fwait", "m"(one)); /* masked again */
	asm volatile("fninit");
}

static bool irq13;

static bool on_irq13(struct frame *frame)
{
	(void)frame;
	irq13 = true;
	outb(0xf0, 0);
	asm volatile("fnclex");
	outb(PIC2, 0x20);
	outb(PIC1, 0x20);
	return true;
}

static void pic_start(void)
{
	outb(PIC1, 0x11);
	outb(PIC1 + 1, 0x50);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, 0x58);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, 0xfb);
	outb(PIC2 + 1, 0xdf);
}

/* With CR0.NE clear the error goes out by FERR# and comes back as interrupt 13. */
static void old_errors(void)
{
	uint16_t control = 0x037b;

	pic_start();
	hook[IRQ13_VECTOR] = on_irq13;
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_NE);
	asm volatile("fninit; fldcw %0; sti; fldl %1; fdivl %2; fwait"
		     : : "m"(control), "m"(one), "m"(zero));
	WAIT(ONCE(irq13));
	asm volatile("cli; fninit");
	CHECK(irq13);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_NE);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

static void sse_errors(void)
{
	uint32_t mxcsr = MXCSR_DEFAULT & ~0x200u; /* divide by zero unmasked */
	uint32_t back;
	word cr4 = READ_REG(cr4);

	asm volatile("ldmxcsr %0; movsd %1, %%xmm0" : : "m"(mxcsr), "m"(one) : );
	WRITE_REG(cr4, cr4 | CR4_OSXMMEXCPT);
	EXPECT(XM, 0, "divsd %0, %%xmm0", "m"(zero));
	asm volatile("stmxcsr %0" : "=m"(back));
	CHECK_EQ(back & 0x3f, 4);
	WRITE_REG(cr4, cr4 & ~CR4_OSXMMEXCPT);
	EXPECT(UD, 0, "divsd %0, %%xmm0", "m"(zero));
	WRITE_REG(cr4, cr4);
	mxcsr = 0xffff0000;
	EXPECT(GP, 0, "ldmxcsr %0", "m"(mxcsr));
	mxcsr = MXCSR_DEFAULT;
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	EXPECT(GP, 0, "movaps %0, %%xmm0", "m"(image[1])); /* alignment */
	EXPECT(NONE, 0, "movups %0, %%xmm0", "m"(image[1]));
	EXPECT(GP, 0, "movntdq %%xmm0, %0", "m"(image[8]));
}

static void images(void)
{
	static const uint64_t pattern[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };
	uint64_t got[2];

	asm volatile("fninit; fld1; movups %0, %%xmm5" : : "m"(pattern));
	for (unsigned i = 0; i < 512; i++)
		image[i] = 0xee;
	asm volatile("fxsave64 %0" : "=m"(image));
	CHECK_EQ(*(uint16_t *)image, 0x37f);
	CHECK_EQ(image[4], 0x80); /* the abridged tag word */
	CHECK_EQ(*(uint32_t *)(image + 24), MXCSR_DEFAULT);
	CHECK_EQ(*(uint64_t *)(image + 32), 0x8000000000000000);
	CHECK_EQ(*(uint64_t *)(image + 160 + 80), pattern[0]);
	CHECK_EQ(image[511], 0xee); /* the last 96 bytes are the program's */
	*(uint64_t *)(image + 160 + 80) = 0x42;
	asm volatile("fxrstor64 %1; movups %%xmm5, %0" : "=m"(got) : "m"(image));
	CHECK_EQ(got[0], 0x42);
	CHECK_EQ(got[1], pattern[1]);
	*(uint32_t *)(image + 24) = 0x80000000;
	EXPECT(GP, 0, "fxrstor64 %0", "m"(image));
	EXPECT(GP, 0, "fxsave64 %0", "m"(image[8]));
	asm volatile("fninit");
}

static void extended_images(void)
{
	word cr4 = READ_REG(cr4);
	uint64_t got[2] = { 0 };
	static const uint64_t pattern[2] = { 0xdeadbeefcafebabe, 0x0123456789abcdef };

	if (!have("XSAVE", cpuid(1, 0).ecx & 1 << 26))
		return;
	EXPECT(UD, 0, "xsave %0", "m"(image));
	WRITE_REG(cr4, cr4 | CR4_OSXSAVE);
	asm volatile("xsetbv" : : "c"(0), "a"(3), "d"(0));
	for (unsigned i = 0; i < 1024; i++)
		image[i] = 0;
	asm volatile("movups %1, %%xmm3; xsave64 %0" : "=m"(image) : "m"(pattern), "a"(3), "d"(0));
	CHECK_EQ(*(uint64_t *)(image + 512) & 2, 2);
	CHECK_EQ(*(uint64_t *)(image + 160 + 48), pattern[0]);
	/* A component whose bit is clear is restored to its initial state. */
	*(uint64_t *)(image + 512) = 0;
	asm volatile("xrstor64 %1; movups %%xmm3, %0" : "=m"(got) : "m"(image), "a"(2), "d"(0));
	CHECK_EQ(got[0] | got[1], 0);
	/* Reserved header bytes, bits that XCR0 has not, misalignment. */
	image[512 + 16] = 1;
	EXPECT(GP, 0, "xrstor64 %0", "m"(image));
	image[512 + 16] = 0;
	*(uint64_t *)(image + 512) = 1ull << 62;
	EXPECT(GP, 0, "xrstor64 %0", "m"(image));
	*(uint64_t *)(image + 512) = 0;
	EXPECT(GP, 0, "xsave64 %0", "m"(image[16]));
	WRITE_REG(cr0, READ_REG(cr0) | CR0_TS);
	EXPECT(NM, 0, "xsave64 %0", "m"(image));
	asm volatile("clts");
	asm volatile("xsetbv" : : "c"(0), "a"(1), "d"(0));
	EXPECT(UD, 0, "vzeroupper");
	WRITE_REG(cr4, cr4);
}

/* ---- the same again and again, as translated code has it ---- */

#define HOT 100

struct environment {
	uint32_t control, status, tags, ip, opcode, operand, selector;
};

#define STORE_ENVIRONMENT(env) asm volatile("fnstenv %0; fldenv %0" : "+m"(env))

/* The last instruction's address, also where the next one faults or is not an x87 instruction's. */
static void hot_addresses(void)
{
	struct environment env;
	static uint64_t ip;
	static unsigned i;

	for (i = 0; i < HOT; i++) {
		asm volatile("fninit; fld1; fldl %2; lea 1f(%%rip), %0; 1: faddl %3; fnstcw record;"
			     "fnstenv %1"
			     : "=&r"(ip), "=m"(env) : "m"(one), "m"(zero));
		CHECK_EQ(env.ip, (uint32_t)ip);
		asm volatile("fldenv %0" : : "m"(env));
		EXPECT_EVENT(GP, 0, "fldz; lea 1f(%%rip), %%rdx; 1: fld1; mov %%rdx, record;"
			     "mov (%0), %%eax; fldpi", "b"(1ull << 62));
		STORE_ENVIRONMENT(env);
		CHECK_EQ(env.ip, *(uint32_t *)record);
		asm volatile("lea 1f(%%rip), %0; jmp 2f; 2: 1: fchs; jmp 3f; 3: fnstenv %1"
			     : "=&r"(ip), "=m"(env));
		CHECK_EQ(env.ip, (uint32_t)ip);
	}
	asm volatile("fninit");
}

/* Errors that come and go: a control word that unmasks one comes in the middle of hot code. */
static void hot_errors(void)
{
	uint16_t unmasked = 0x037b, masked = 0x037f, status;
	struct environment env;
	/* What EXPECT might else lose. */
	static uint64_t ip;
	static unsigned i;

	for (i = 0; i < 2 * HOT; i++) {
		bool error = i >= HOT && i & 1;
		uint16_t *control = error ? &unmasked : &masked;

		asm volatile("fninit; fldl %2; fldcw %3; lea 1f(%%rip), %0; 1: fdivl %4; fnstsw %1"
			     : "=&r"(ip), "=m"(status) : "m"(one), "m"(*control), "m"(zero));
		CHECK_EQ(status & 0x84, error ? 0x84 : 4);
		if (error) {
			EXPECT(MF, 0, "fld1");
			asm volatile("fnstenv %0" : "=m"(env));
			CHECK_EQ(env.opcode >> 16, 0x435 | (env.opcode >> 16 & 0xc7)); /* DC /6 */
			CHECK_EQ(env.operand, (uint32_t)(uintptr_t)&zero);
		} else {
			EXPECT(NONE, 0, "fld1");
			EXPECT(NONE, 0, "fwait; fstpt record");
			asm volatile("fldl %2; lea 1f(%%rip), %0; 1: fdivl %3; fnstenv %1"
				     : "=&r"(ip), "=m"(env) : "m"(one), "m"(zero));
		}
		CHECK_EQ(env.ip, (uint32_t)ip);
	}
	asm volatile("fninit");
}

static void hot_rounding(void)
{
	static const double number = 2.5;
	static const int64_t rounded[] = { 2, 2, 3, 2 };
	uint16_t control;
	int64_t got;

	for (unsigned i = 0; i < HOT; i++) {
		control = (uint16_t)(0x037f | i % 4 << 10);
		asm volatile("fldcw %1; fldl %2; fistpll %0" : "=m"(got) : "m"(control), "m"(number));
		CHECK_EQ(got, rounded[i % 4]);
	}
	asm volatile("fninit");
}

/* A fault shows the flags of the comparison before it, which somebody wants behind it. */
static void hot_flags(void)
{
	static const uint32_t mxcsr = MXCSR_DEFAULT & ~0x200u, usual = MXCSR_DEFAULT;
	static volatile unsigned i;
	word cr4 = READ_REG(cr4);

	WRITE_REG(cr4, cr4 | CR4_OSXMMEXCPT);
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	for (i = 0; i < HOT; i++) {
		EXPECT_EVENT(XM, 0, "movsd %0, %%xmm0; movsd %1, %%xmm1; cmp $1, %2;"
			     "divsd %%xmm1, %%xmm0; setc record; setz record + 1",
			     "m"(one), "m"(zero), "r"(i % 3));
		CHECK_EQ(caught.flags & 0x41, i % 3 == 0 ? 1 : i % 3 == 1 ? 0x40 : 0);
	}
	asm volatile("ldmxcsr %0" : : "m"(usual));
	WRITE_REG(cr4, cr4);
}

static void hot(void)
{
	WRITE_REG(cr0, (READ_REG(cr0) & ~(CR0_EM | CR0_TS)) | CR0_NE | CR0_MP);
	WRITE_REG(cr4, READ_REG(cr4) | CR4_OSFXSR);
	/* Vector instructions are translated where all are allowed. */
	if (have("XSAVE", cpuid(1, 0).ecx & 1 << 26)) {
		WRITE_REG(cr4, READ_REG(cr4) | CR4_OSXSAVE);
		asm volatile("xsetbv" : : "c"(0), "a"(cpuid(0xd, 0).eax), "d"(0));
	}
	hot_addresses();
	hot_errors();
	hot_rounding();
	hot_flags();
}

void guest_main(void)
{
	not_available();
	x87_errors();
	sse_errors();
	images();
	extended_images();
	old_errors();
	hot();
}
