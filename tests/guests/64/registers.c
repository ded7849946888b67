/* SPDX-License-Identifier: MIT */
/*
 * What control registers, MSRs and XCR0 take and refuse; CPUID's consistency with them; UMIP, TSD.
 * Intel SDM vol. 3, 2.5, 2.6; vol. 2, MOV CR, XSETBV, WRMSR.
 */
#include "guest.h"

#define EXPECT_CR0(vector, value) EXPECT(vector, 0, "mov %0, %%cr0", "r"(value))
#define EXPECT_CR4(vector, value) EXPECT(vector, 0, "mov %0, %%cr4", "r"(value))

static void control_0(void)
{
	word cr0 = READ_REG(cr0);

	CHECK(cr0 & 0x10); /* ET is always set */
	EXPECT_CR0(GP, cr0 | 1ul << 32);
	EXPECT_CR0(GP, cr0 & ~CR0_PE);
	EXPECT_CR0(GP, cr0 & ~CR0_PG);
	EXPECT_CR0(GP, (cr0 & ~CR0_CD) | CR0_NW);
	EXPECT_CR0(NONE, cr0 | CR0_CD | CR0_NW);
	EXPECT_CR0(NONE, cr0 | CR0_CD);
	EXPECT_CR0(NONE, cr0 & ~0x10ul); /* ignored */
	CHECK(READ_REG(cr0) & 0x10);
	EXPECT_CR0(NONE, cr0 | 1ul << 6); /* reserved ones below 32 are ignored */
	CHECK_EQ(READ_REG(cr0) & 1ul << 6, 0);
	EXPECT_CR0(NONE, cr0);
	/* LMSW sets PE, MP, EM, TS; it cannot clear PE. */
	EXPECT(NONE, 0, "lmsw %w0", "r"(0xe));
	CHECK_EQ(READ_REG(cr0) & 0xf, 0xf);
	EXPECT(NONE, 0, "lmsw %w0", "r"(0));
	CHECK_EQ(READ_REG(cr0) & 0xf, 1);
	EXPECT(NONE, 0, "mov %0, %%cr0; clts", "r"(cr0 | CR0_TS));
	CHECK(!(READ_REG(cr0) & CR0_TS));
	WRITE_REG(cr0, cr0);
}

/* A bit that CPUID does not offer is reserved. */
static void __attribute__((noinline)) feature_bit(word bit, bool present)
{
	word cr4 = READ_REG(cr4);

	EXPECT_CR4(present ? NONE : GP, cr4 | bit);
	WRITE_REG(cr4, cr4);
}

static void control_4(void)
{
	word cr4 = READ_REG(cr4);
	struct cpuid f1 = cpuid(1, 0), f7 = cpuid(7, 0);
	const struct { word bit; bool present; } feature[] = {
		{ CR4_FSGSBASE, f7.ebx & 1 }, { CR4_PCIDE, f1.ecx & 1 << 17 },
		{ CR4_OSXSAVE, f1.ecx & 1 << 26 }, { CR4_SMEP, f7.ebx & 1 << 7 },
		{ CR4_SMAP, f7.ebx & 1 << 20 }, { CR4_PKE, f7.ecx & 1 << 3 },
		{ CR4_UMIP, f7.ecx & 1 << 2 },
	};

	EXPECT_CR4(GP, cr4 & ~CR4_PAE);
	EXPECT_CR4(GP, cr4 | 1ul << 15);
	EXPECT_CR4(GP, cr4 | 1ul << 31);
	EXPECT_CR4(GP, cr4 | 1ul << 63);
	EXPECT_CR4(GP, cr4 ^ 1ul << 12); /* LA57 does not change in long mode */
	for (unsigned i = 0; i < sizeof(feature) / sizeof(feature[0]); i++) {
		if (feature[i].bit == CR4_SMEP || feature[i].bit == CR4_SMAP)
			continue; /* our own pages are user pages */
		feature_bit(feature[i].bit, feature[i].present);
	}
	EXPECT_CR4(NONE, cr4 | CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
			 CR4_OSXMMEXCPT | 1ul << 6);
	WRITE_REG(cr4, cr4);
	EXPECT(GP, 0, "mov %0, %%cr3", "r"(READ_REG(cr3) | 1ul << 62));
	EXPECT(GP, 0, "mov %0, %%cr8", "r"(16ul));
	EXPECT(NONE, 0, "mov %0, %%cr8", "r"(15ul));
	CHECK_EQ(READ_REG(cr8), 15);
	WRITE_REG(cr8, 0);
	EXPECT(NONE, 0, "mov %0, %%cr2", "r"(1ul << 47)); /* need not be canonical */
	CHECK_EQ(READ_REG(cr2), 1ul << 47);
}

static void efer(void)
{
	uint64_t value = rdmsr(MSR_EFER);

	CHECK_EQ(value & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
	CHECK_EQ(try_wrmsr(MSR_EFER, value & ~EFER_LME), GP);
	CHECK_EQ(try_wrmsr(MSR_EFER, value | 2), GP);
	CHECK_EQ(try_wrmsr(MSR_EFER, value | 1ull << 32), GP);
	CHECK_EQ(try_wrmsr(MSR_EFER, value & ~EFER_LMA), NONE); /* LMA is read-only */
	CHECK_EQ(rdmsr(MSR_EFER), value);
	CHECK_EQ(try_wrmsr(MSR_EFER, value | EFER_SCE | EFER_NXE), NONE);
	wrmsr(MSR_EFER, value);
}

CODE(user_rdtsc, "rdtsc; int $0x80");
CODE(user_rdtscp, "rdtscp; int $0x80");
CODE(user_rdpmc, "xor %ecx, %ecx; rdpmc; int $0x80");
CODE(user_sgdt, "sgdt -64(%rsp); sidt -64(%rsp); sldt %eax; str %ecx; smsw %edx; int $0x80");
CODE(user_smsw, "smsw %eax");
CODE(user_str, "str %eax");
CODE(user_wrmsr, "wrmsr");
CODE(user_xsetbv, "xor %ecx, %ecx; xgetbv; xsetbv");

static void msrs(void)
{
	uint64_t tsc;

	CHECK_EQ(try_rdmsr(0x12345678), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(try_wrmsr(0x12345678, 0), GP);
	CHECK_EQ(try_rdmsr(0xc0000085), GP);
	CHECK_EQ(try_rdmsr(MSR_APIC_BASE), NONE);
	CHECK(rdmsr(MSR_APIC_BASE) & 1 << 8); /* the bootstrap processor */
	wrmsr(MSR_FMASK, 0x12345);
	CHECK_EQ(rdmsr(MSR_FMASK), 0x12345);
	CHECK_EQ(try_wrmsr(MSR_FMASK, 1ull << 32), GP);
	CHECK_EQ(try_wrmsr(0x277, 0x0007040600070406), NONE); /* PAT */
	CHECK_EQ(rdmsr(0x277), 0x0007040600070406);
	CHECK_EQ(try_wrmsr(0x277, 2), GP); /* memory type 2 does not exist */
	CHECK_EQ(try_wrmsr(0x277, 8), GP);
	if (have("MTRRs", cpuid(1, 0).edx & 1 << 12)) {
		CHECK_EQ(try_wrmsr(0xfe, 0), GP); /* MTRRCAP */
		CHECK_EQ(try_wrmsr(0x2ff, 2), GP);
		CHECK_EQ(try_rdmsr(0x200), NONE);
	}
	wrmsr(0xc0000103, 0x55); /* TSC_AUX */
	if (cpuid(0x80000001, 0).edx & 1 << 27) {
		word cx = 0;

		asm volatile("rdtscp" : "=c"(cx) : : "rax", "rdx");
		CHECK_EQ(cx, 0x55);
	}
	tsc = rdtsc();
	wrmsr(0x10, tsc + (1ull << 40));
	CHECK(rdtsc() - tsc >= 1ull << 40);
	CHECK(rdtsc() - tsc < 1ull << 41);
	CHECK_EQ(user(user_wrmsr), GP);
}

static void user_limits(void)
{
	word cr4 = READ_REG(cr4);

	CHECK_EQ(user(user_rdtsc), USER_DONE);
	CHECK_EQ(user(user_rdpmc), GP);
	CHECK_EQ(user(user_sgdt), USER_DONE);
	CHECK_EQ(caught.cx & 0xffff, KTSS);
	WRITE_REG(cr4, cr4 | CR4_TSD);
	CHECK_EQ(user(user_rdtsc), GP);
	CHECK_EQ(user(user_rdtscp), GP);
	rdtsc();
	WRITE_REG(cr4, cr4);
	if (have("UMIP", cpuid(7, 0).ecx & 1 << 2)) {
		WRITE_REG(cr4, cr4 | CR4_UMIP);
		CHECK_EQ(user(user_sgdt), GP);
		CHECK_EQ(user(user_smsw), GP);
		CHECK_EQ(user(user_str), GP);
		EXPECT(NONE, 0, "str %%eax; smsw %%eax; sldt %%eax", "r"(0));
		WRITE_REG(cr4, cr4);
	}
}

static unsigned xsetbv(uint32_t index, uint64_t value)
{
	return CATCH(asm volatile("xsetbv" : : "c"(index), "a"((uint32_t)value),
			"d"((uint32_t)(value >> 32))));
}

static uint64_t xgetbv(void)
{
	uint32_t low, high;

	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

static void xcr0(void)
{
	word cr4 = READ_REG(cr4);
	uint64_t supported;

	if (!have("XSAVE", cpuid(1, 0).ecx & 1 << 26))
		return;
	CHECK(!(cpuid(1, 0).ecx & 1 << 27));
	EXPECT_EVENT(UD, 0, "xor %%ecx, %%ecx; xgetbv", "r"(0));
	WRITE_REG(cr4, cr4 | CR4_OSXSAVE | CR4_OSFXSR);
	CHECK(cpuid(1, 0).ecx & 1 << 27); /* CPUID tells of CR4.OSXSAVE */
	supported = cpuid(0xd, 0).eax | (uint64_t)cpuid(0xd, 0).edx << 32;
	CHECK_EQ(xgetbv(), 1);
	CHECK_EQ(xsetbv(0, 0), GP);     /* x87 is not optional */
	CHECK_EQ(xsetbv(0, 2), GP);
	CHECK_EQ(xsetbv(1, 1), GP);
	CHECK_EQ(xsetbv(0, 1 | 1ull << 62), GP);
	CHECK_EQ(xsetbv(0, 3), NONE);
	CHECK_EQ(xgetbv(), 3);
	CHECK_EQ(cpuid(0xd, 0).ebx, 576); /* what is enabled takes that much */
	if (supported & 4) {
		CHECK_EQ(xsetbv(0, 5), GP); /* AVX without SSE */
		CHECK_EQ(xsetbv(0, 7), NONE);
		CHECK_EQ(cpuid(0xd, 0).ebx, 832);
		CHECK_EQ(xsetbv(0, 0x27), GP); /* AVX-512: all three or none */
	}
	if ((supported & 0xe7) == 0xe7)
		CHECK_EQ(xsetbv(0, 0xe7), NONE);
	CHECK_EQ(xsetbv(0, supported), NONE);
	CHECK_EQ(cpuid(0xd, 0).ebx <= cpuid(0xd, 0).ecx, true);
	CHECK_EQ(user(user_xsetbv), GP);
	xsetbv(0, 1);
	WRITE_REG(cr4, cr4);
}

static void identification(void)
{
	uint32_t top = cpuid(0, 0).eax;
	struct cpuid last = cpuid(top, 0), beyond = cpuid(top + 100, 0);

	CHECK(top >= 0xd);
	/* Beyond the last basic leaf Intel answers as for that one. */
	if (cpuid(0, 0).ebx == 0x756e6547 && top < 0x40000000)
		CHECK(beyond.eax == last.eax || !beyond.eax);
	CHECK(cpuid(0x80000000, 0).eax >= 0x80000008);
	CHECK((cpuid(0x80000008, 0).eax & 0xff) >= 36);
	CHECK_EQ(cpuid(0x80000008, 0).eax >> 8 & 0xff, 48);
	CHECK(cpuid(0x80000001, 0).edx & 1 << 29);
	CHECK(cpuid(1, 0).edx & 1);
	/* ID can be toggled, upper halves are cleared. */
	write_flags(ID | 2);
	CHECK(read_flags() & ID);
	write_flags(2);
	CHECK(!(read_flags() & ID));
	{
		word ax = ~0ul, bx = ~0ul, cx = ~0ul, dx = ~0ul;

		ax = 0xffffffff00000000ul;
		asm volatile("cpuid" : "+a"(ax), "+b"(bx), "+c"(cx), "+d"(dx));
		CHECK_EQ(ax >> 32 | bx >> 32 | cx >> 32 | dx >> 32, 0);
	}
}

void guest_main(void)
{
	control_0();
	control_4();
	efer();
	msrs();
	user_limits();
	xcr0();
	identification();
}
