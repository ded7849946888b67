/* SPDX-License-Identifier: MIT */
/*
 * AMX as the system sees it: XCR0, IA32_XFD and IA32_XFD_ERR, #NM, images with and without tiles, a
 * load that goes on after a page fault. Intel SDM vol. 1, 13.14 and 18; vol. 2, TILELOADD.
 * What tiles compute is compared with the processor's own by tests/oracle.
 */
#include "guest.h"

#define MSR_XFD 0x1c4
#define MSR_XFD_ERR 0x1c5
#define TILEDATA (1ul << 18)
#define TILECFG (1ul << 17)
#define COMPONENTS (7 | TILECFG | TILEDATA)
#define TEST (1ul << 39)
#define FRAME 0x800000ul

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static uint8_t image[16384] __attribute__((aligned(64)));
static uint8_t config[64], back[64], rows[16][64];

static void enabling(void)
{
	EXPECT(UD, 0, "tilerelease");
	WRITE_REG(cr4, READ_REG(cr4) | CR4_OSXSAVE);
	EXPECT(UD, 0, "tilerelease");
	EXPECT_EVENT(GP, 0, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov %0, %%eax; xsetbv",
		     "i"(7 | TILECFG));
	EXPECT_EVENT(GP, 0, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov %0, %%eax; xsetbv",
		     "i"(7 | TILEDATA));
	asm volatile("xsetbv" : : "c"(0), "a"(COMPONENTS), "d"(0));
	EXPECT(NONE, 0, "tilerelease");
	EXPECT(UD, 0, "tilezero %%tmm0", "r"(0)); /* not configured */
	config[0] = 2;
	EXPECT(GP, 0, "ldtilecfg %0", "m"(config));
	config[0] = 1;
	for (unsigned i = 0; i < 8; i++) {
		config[16 + 2 * i] = 64;
		config[48 + i] = 16;
	}
	/* Other than everything else with registers of its own, tiles do not care for CR0.TS. */
	WRITE_REG(cr0, READ_REG(cr0) | CR0_TS);
	EXPECT(NONE, 0, "ldtilecfg %0; tilezero %%tmm0", "m"(config));
	asm volatile("clts; sttilecfg %0" : "=m"(back));
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(back[i], config[i]);
}

static void disabled(void)
{
	CHECK_EQ(try_wrmsr(MSR_XFD, 1), GP);
	CHECK_EQ(try_wrmsr(MSR_XFD, TILECFG), GP);
	wrmsr(MSR_XFD_ERR, 0);
	wrmsr(MSR_XFD, TILEDATA);
	CHECK_EQ(rdmsr(MSR_XFD), TILEDATA);
	EXPECT(NONE, 0, "tilerelease; ldtilecfg %0; sttilecfg %1", "m"(config), "m"(back));
	CHECK_EQ(rdmsr(MSR_XFD_ERR), 0);
	EXPECT(NM, 0, "tilezero %%tmm1", "r"(0));
	CHECK_EQ(rdmsr(MSR_XFD_ERR), TILEDATA);
	wrmsr(MSR_XFD_ERR, 0);
	EXPECT(NM, 0, "tdpbssd %%tmm0, %%tmm1, %%tmm2", "r"(0));
	EXPECT(NM, 0, "tileloadd (%0,%1), %%tmm2", "r"(rows), "r"(64ul));
	/* XSAVE takes the component for unused, XRSTOR refuses to load it. */
	asm volatile("xsave64 %0" : "+m"(image) : "a"(COMPONENTS), "d"(0));
	CHECK_EQ(*(uint64_t *)(image + 512) & (TILECFG | TILEDATA), TILECFG);
	wrmsr(MSR_XFD_ERR, 0);
	*(uint64_t *)(image + 512) |= TILEDATA;
	EXPECT_EVENT(NM, 0, "xor %%edx, %%edx; mov %1, %%eax; xrstor64 %0", "m"(image),
		     "i"(COMPONENTS));
	CHECK_EQ(rdmsr(MSR_XFD_ERR), TILEDATA);
	asm volatile("xrstor64 %0" : : "m"(image), "a"(7 | TILECFG), "d"(0));
	wrmsr(MSR_XFD, 0);
	EXPECT(NONE, 0, "tilezero %%tmm1", "r"(0));
}

static void check_rows(unsigned first, unsigned last, uint8_t value)
{
	uint8_t got[16][64];

	asm volatile("tilestored %%tmm3, (%0,%1)" : : "r"(got), "r"(64ul) : "memory");
	for (unsigned i = first; i <= last; i++)
		CHECK_EQ(got[i][63], value);
}

static void images(void)
{
	for (unsigned i = 0; i < 16 * 64; i++)
		rows[i / 64][i % 64] = 0x5a;
	asm volatile("tileloadd (%0,%1), %%tmm3" : : "r"(rows), "r"(64ul) : "memory");
	asm volatile("xsave64 %0; tilerelease" : "+m"(image) : "a"(COMPONENTS), "d"(0));
	CHECK_EQ(*(uint64_t *)(image + 512) & (TILECFG | TILEDATA), TILECFG | TILEDATA);
	EXPECT(UD, 0, "tilezero %%tmm1", "r"(0));
	asm volatile("xrstor64 %0" : : "m"(image), "a"(COMPONENTS), "d"(0));
	check_rows(0, 15, 0x5a);
	*(uint64_t *)(image + 512) &= ~TILEDATA;
	asm volatile("xrstor64 %0" : : "m"(image), "a"(COMPONENTS), "d"(0));
	check_rows(0, 15, 0);
	/* Compacted, each begins at a cache line. */
	asm volatile("tileloadd (%0,%1), %%tmm3" : : "r"(rows), "r"(64ul) : "memory");
	asm volatile("xsavec64 %0; tilerelease" : "+m"(image)
		     : "a"(TILECFG | TILEDATA), "d"(0));
	CHECK_EQ(image[576], 1);
	CHECK_EQ(image[640 + 3 * 1024], 0x5a);
	asm volatile("xrstor64 %0" : : "m"(image), "a"(TILECFG | TILEDATA), "d"(0));
	check_rows(0, 15, 0x5a);
}

/* The second page comes when it is asked for: row 8 is the first one there. */
static bool on_page_fault(struct frame *frame)
{
	(void)frame;
	asm volatile("sttilecfg %0" : "=m"(back));
	level[2][1] = (FRAME + 0x1000) | 7;
	return true;
}

static void restarted(void)
{
	uint8_t *at = (uint8_t *)TEST + 0x1000 - 8 * 64;

	for (unsigned i = 0; i < 8 * 64; i++) {
		*(volatile uint8_t *)(FRAME + 0x1000 - 8 * 64 + i) = 0x11;
		*(volatile uint8_t *)(FRAME + 0x1000 + i) = 0x22;
	}
	hook[PF] = on_page_fault;
	for (unsigned store = 0; store < 2; store++) {
		level[2][1] = 0;
		invlpg((void *)(TEST + 0x1000));
		back[1] = 0;
		if (store)
			asm volatile("tilestored %%tmm3, (%0,%1)"
				     : : "r"(at), "r"(64ul) : "memory");
		else
			asm volatile("tileloadd (%0,%1), %%tmm3"
				     : : "r"(at), "r"(64ul) : "memory");
		CHECK_EQ(back[1], 8);
		asm volatile("sttilecfg %0" : "=m"(back));
		CHECK_EQ(back[1], 0);
		check_rows(0, 7, 0x11);
		check_rows(8, 15, 0x22);
	}
	hook[PF] = NULL;
}

void guest_main(void)
{
	if (!have("AMX", cpuid(7, 0).edx & 1 << 24)) {
		EXPECT(UD, 0, "tilerelease");
		return;
	}
	boot_pml4[1] = (word)level[0] | 7;
	level[0][0] = (word)level[1] | 7;
	level[1][0] = (word)level[2] | 7;
	level[2][0] = FRAME | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	enabling();
	disabled();
	images();
	for (unsigned i = 0; i < 50; i++) /* translated in the end */
		restarted();
	asm volatile("tilerelease");
}
