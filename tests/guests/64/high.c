/* SPDX-License-Identifier: MIT */
/*
 * What kernels read from their half of the addresses, by hot code: an engine that leaves the checks to the
 * host's MMU has to have there what the tables say, and nothing where they say nothing. Intel SDM vol. 3, 4.10.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define US 4ul
#define ACCESSED 0x20ul
#define PS 0x80ul
#define G 0x100ul
#define KERNEL (P | RW | G)
#define GIANT (1ul << 30)
#define TIB (1ul << 40)
#define HIGH 0xffff900000000000ul   /* the beginning of a TiB */
#define LARGE (HIGH + GIANT)        /* its own page directory */
#define HUGE_PAGE (HIGH + 2 * GIANT)
#define MANY (HIGH + 3 * GIANT)
#define MANY_PAGES 1500u
#define FRAME 0x800000ul            /* 4 MiB of memory */
#define HOT 100
#define TIBS 12
#define NO_FLUSH (1ul << 63)

extern word boot_pml4[512];
static word pdpt[512] __attribute__((aligned(4096)));
static word pd[3][512] __attribute__((aligned(4096)));
static word pt[1 + MANY_PAGES / 512 + 1][512] __attribute__((aligned(4096)));
static word alone[TIBS][3][512] __attribute__((aligned(4096)));

/* rdi: where; rax: what. */
/*
 * Each check has code of its own: an engine may keep in mind what it once read from elsewhere, and go another way
 * from then on.
 */
#define LOAD(name) CODE(name, "mov (%rdi), %rax; ret")
LOAD(load_alias);
LOAD(load_remapped);
LOAD(load_flushed);
LOAD(load_absent);
LOAD(load_refuted);
LOAD(load_local);
LOAD(load_invpcid);
LOAD(load_context);
LOAD(load_large);
LOAD(load_huge);
LOAD(load_split);
LOAD(load_many);
LOAD(load_neighbour);
LOAD(load_across);
CODE(load_turns, "mov $10000, %ecx; mov $1 << 40, %rdx\n"
     "1: mov (%rdi), %rax; add (%rdi,%rdx), %rax; add (%rdi,%rdx,2), %rax; dec %ecx; jnz 1b; ret");
LOAD(load_canonical);
LOAD(load_low);
LOAD(load_places);
LOAD(load_user);
LOAD(load_both);
LOAD(load_watched);
CODE(load_far, "mov 0x7fffff00(%rdi), %rax; ret");
CODE(load_before, "mov -8(%rdi), %rax; ret");
CODE(load_frame, "push %rbp; mov %rdi, %rbp; mov (%rbp), %rax; pop %rbp; ret");
CODE(load_three, "mov (%rdi), %rax; mov 8(%rdi), %rdx; add 16(%rdi), %rax; add %rdx, %rax; ret");
CODE(load_chain, "mov (%rdi), %rdi; mov (%rdi), %rdi; mov (%rdi), %rdi; mov 8(%rdi), %rax; ret");
CODE(load_beside, "mov (%rdi), %r9; push %rbx; xor %eax, %eax; cpuid; pop %rbx; mov 8(%rdi), %rax\n"
     "add %r9, %rax; ret");
CODE(load_device, "mov (%rdi), %eax; ret");

static word read_hot(const void *code, word at)
{
	word value = 0;

	for (unsigned i = 0; i < HOT; i++)
		value = read_by(code, at);
	return value;
}

static void put(word frame, word value)
{
	*(volatile word *)frame = value;
}

static void reload(void)
{
	WRITE_REG(cr3, READ_REG(cr3));
}

/* Forgets global translations, too. */
static void forget_all(void)
{
	word cr4 = READ_REG(cr4);

	WRITE_REG(cr4, cr4 & ~CR4_PGE);
	WRITE_REG(cr4, cr4);
}

/* ---- ways to read ---- */

/* All of them add up what lies at rdi: 64 bytes. What they leave depends on flags that went through loads. */
CODE(ways, "mov (%rdi), %rax\n"
     "movzbl 9(%rdi), %ecx; add %rcx, %rax; movswq 10(%rdi), %rdx; add %rdx, %rax\n"
     "add 16(%rdi), %rax; mov 24(%rdi), %r9; mov 28(%rdi), %r10d; mov 32(%rdi), %r11\n"
     "add %r9, %rax; xor %r10, %rax; sub %r11, %rax\n"
     "stc; mov 40(%rdi), %rcx; adc 48(%rdi), %rax; cmovc 40(%rdi), %rdx; sbb %rcx, %rax\n"
     "mov $3, %ecx; add (%rdi,%rcx,8), %rax; rol %cl, %rax; mov $1, %r9d; add 8(%rdi,%r9,8), %rax\n"
     "cmpb $0x55, 1(%rdi); setc %cl; movzbl %cl, %ecx; add %rcx, %rax; testl $0x100, 56(%rdi); setz %cl\n"
     "add %rcx, %rax; imul $3, 16(%rdi), %rcx; xor %rcx, %rax; bt $5, 8(%rdi); adc $0, %rax\n"
     "push %rdi; pop %r11; mov 8(%r11), %r11; add %r11, %rax\n"
     "mov 48(%rdi), %rdi; add %rdi, %rax; ret");
CODE(through_gs, "mov %gs:16, %rax; add %gs:(%rdi), %rax; movzbl %gs:7, %ecx; add %rcx, %rax; ret");

static void ways_to_read(void)
{
	word want;

	for (unsigned i = 0; i < 8; i++)
		put(FRAME + 0x100 + i * 8, 0x9e3779b97f4a7c15ul * (i + 1));
	want = read_by(ways, FRAME + 0x100);
	for (unsigned i = 0; i < HOT; i++)
		if (read_by(ways, HIGH + 0x100) != want)
			CHECK_EQ(i, ~0u);
	CHECK_EQ(read_hot(ways, HIGH + 0x100), want);
	CHECK_EQ(read_by(ways, FRAME + 0x100), want);
	wrmsr(MSR_GS_BASE, FRAME + 0x100);
	want = read_by(through_gs, 0x18);
	wrmsr(MSR_GS_BASE, HIGH + 0x100);
	CHECK_EQ(read_hot(through_gs, 0x18), want);
	wrmsr(MSR_GS_BASE, FRAME + 0x100);
	CHECK_EQ(read_by(through_gs, 0x18), want);
	wrmsr(MSR_GS_BASE, 0);
}

/* What is written by another address is there at once. */
static void aliases(void)
{
	unsigned wrong = 0;

	for (word i = 0; i < HOT; i++) {
		put(FRAME, i);
		wrong += read_by(load_alias, HIGH) != i;
		put(HIGH, ~i);
		wrong += *(volatile word *)FRAME != ~i;
	}
	CHECK_EQ(wrong, 0);
}

/* ---- pages that change ---- */

static void remapped(void)
{
	put(FRAME, 1);
	put(FRAME + 0x1000, 2);
	for (volatile unsigned i = 0; i < 5; i++) {
		pt[0][0] = FRAME | KERNEL;
		invlpg((void *)HIGH);
		CHECK_EQ(read_hot(load_remapped, HIGH), 1);
		pt[0][0] = (FRAME + 0x1000) | KERNEL;
		invlpg((void *)(HIGH + 0x123));
		CHECK_EQ(read_by(load_remapped, HIGH), 2);
	}
	for (volatile unsigned i = 0; i < 5; i++) {
		CHECK_EQ(read_hot(load_flushed, HIGH), 2);
		pt[0][0] = FRAME | KERNEL;
		forget_all();
		CHECK_EQ(read_by(load_flushed, HIGH), 1);
		read_hot(load_flushed, HIGH);
		pt[0][0] = (FRAME + 0x1000) | KERNEL;
		forget_all();
	}
	for (volatile unsigned i = 0; i < 5; i++) {
		CHECK_EQ(read_hot(load_absent, HIGH), 2);
		pt[0][0] = 0;
		invlpg((void *)HIGH);
		CHECK_EQ(CATCH(read_by(load_absent, HIGH)), PF);
		CHECK_EQ(caught_cr2, HIGH);
		CHECK_EQ(caught.error, 0);
		CHECK_EQ(caught.ip, AT(load_absent));
		CHECK_EQ(CATCH(read_by(load_absent, HIGH)), PF);
		pt[0][0] = (FRAME + 0x1000) | KERNEL;
	}
}

static volatile unsigned mended;

static bool map_second(struct frame *frame)
{
	(void)frame;
	mended++;
	pt[0][0] = (FRAME + 0x1000) | KERNEL;
	return true;
}

/* A page fault forgets what it contradicts: who mends it need not do so. */
static void refuted(void)
{
	hook[PF] = map_second;
	for (volatile unsigned i = 0; i < 5; i++) {
		pt[0][0] = FRAME | KERNEL;
		invlpg((void *)HIGH);
		CHECK_EQ(read_hot(load_refuted, HIGH), 1);
		pt[0][0] = 0;
		put(HIGH + 0x100, 0); /* sets the dirty bit, or would */
		CHECK_EQ(read_by(load_refuted, HIGH), 2);
	}
	CHECK_EQ(mended, 5);
	hook[PF] = NULL;
}

/* Those that are not global go with MOV to CR3, though they were global before. */
static void local(void)
{
	for (volatile unsigned i = 0; i < 5; i++) {
		pt[0][0] = FRAME | KERNEL;
		forget_all();
		CHECK_EQ(read_hot(load_local, HIGH), 1);
		pt[0][0] = (FRAME + 0x1000) | P | RW;
		forget_all();
		CHECK_EQ(read_hot(load_local, HIGH), 2);
		pt[0][0] = FRAME | P | RW;
		reload();
		CHECK_EQ(read_by(load_local, HIGH), 1);
	}
}

static void by_invpcid(void)
{
	word address[2] = { 0, HIGH };

	if (!have("INVPCID", cpuid(7, 0).ebx & 1 << 10))
		return;
	put(FRAME, 1);
	put(FRAME + 0x1000, 2);
	for (volatile word i = 0; i < 6; i++) {
		pt[0][0] = FRAME | KERNEL;
		invlpg((void *)HIGH);
		CHECK_EQ(read_hot(load_invpcid, HIGH), 1);
		pt[0][0] = (FRAME + 0x1000) | KERNEL;
		asm volatile("invpcid %0, %1" : : "m"(address), "r"(2ul) : "memory");
		CHECK_EQ(read_by(load_invpcid, HIGH), 2);
	}
}

/* Global pages are every context's; others are not. */
static void contexts(void)
{
	const word cr3 = READ_REG(cr3), cr4 = READ_REG(cr4);
	unsigned wrong = 0;

	if (!have("PCID", cpuid(1, 0).ecx & 1 << 17))
		return;
	WRITE_REG(cr4, cr4 | CR4_PCIDE);
	for (word i = 0; i < 8; i++)
		put(FRAME + i * 4096, i);
	pt[0][0] = FRAME | P | RW;
	invlpg((void *)HIGH);
	for (word i = 1; i < 40; i++) {
		pt[0][0] = (FRAME + i % 8 * 4096) | P | RW;
		WRITE_REG(cr3, cr3 | i % 5); /* with a flush */
		wrong += read_hot(load_context, HIGH) != i % 8;
	}
	CHECK_EQ(wrong, 0);
	pt[0][0] = FRAME | KERNEL;
	WRITE_REG(cr3, cr3);
	WRITE_REG(cr4, cr4);
}

/* INVLPG anywhere in a large page forgets all of it. */
static void large_page(const void *code, word base, word *entry, word frame, word far)
{
	put(frame + 0x5000, 3);
	for (volatile unsigned i = 0; i < 5; i++) {
		*entry = frame | KERNEL | PS;
		invlpg((void *)base);
		CHECK_EQ(read_hot(code, base + 0x5000), 3);
		*entry = 0;
		invlpg((void *)(base + far));
		CHECK_EQ(CATCH(read_by(code, base + 0x5000)), PF);
		CHECK_EQ(caught_cr2, base + 0x5000);
	}
}

static void split(void)
{
	put(FRAME + 0x5000, 3);
	put(FRAME + 0x6000, 4);
	pd[1][0] = FRAME | KERNEL | PS;
	invlpg((void *)LARGE);
	CHECK_EQ(read_hot(load_split, LARGE + 0x5000), 3);
	for (unsigned i = 0; i < 512; i++)
		pt[1][i] = (FRAME + i * 4096ul) | KERNEL;
	pt[1][5] = (FRAME + 0x6000) | KERNEL;
	pd[1][0] = (word)pt[1] | KERNEL;
	forget_all();
	CHECK_EQ(read_by(load_split, LARGE + 0x5000), 4);
	CHECK_EQ(read_hot(load_split, LARGE + 0x5000), 4);
	pd[1][0] = FRAME | KERNEL | PS;
	invlpg((void *)(LARGE + 0x5000));
	CHECK_EQ(read_by(load_split, LARGE + 0x5000), 3);
	/* A huge page's end is beyond memory: nobody answers there. */
	pdpt[2] = 0xc0000000ul | KERNEL | PS;
	invlpg((void *)HUGE_PAGE);
	read_hot(load_device, HUGE_PAGE + 0x10000000);
	CHECK_EQ(read_by(load_device, HUGE_PAGE + 0x3ee00000 + APIC_ID) >> 24, 0);
}

/* More pages than anybody may want to remember. */
static void many_pages(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < MANY_PAGES; i++)
		pt[1 + i / 512][i % 512] = (FRAME + i % 8 * 4096ul) | KERNEL;
	for (word i = 0; i < 8; i++)
		put(FRAME + i * 4096, i);
	for (unsigned i = 0; i <= MANY_PAGES / 512; i++)
		pd[2][i] = (word)pt[1 + i] | KERNEL;
	forget_all();
	for (unsigned round = 0; round < 2; round++)
		for (word i = 0; i < MANY_PAGES; i++)
			wrong += read_by(load_many, MANY + i * 4096) != i % 8;
	for (word i = 0; i < MANY_PAGES; i++) {
		pt[1 + i / 512][i % 512] = (FRAME + (i + 1) % 8 * 4096ul) | KERNEL;
		invlpg((void *)(MANY + i * 4096));
		wrong += read_by(load_many, MANY + i * 4096) != (i + 1) % 8;
		wrong += read_by(load_many, MANY + i / 2 * 4096) != (i / 2 + 1) % 8;
	}
	CHECK_EQ(wrong, 0);
}

/* Small pages side by side that were read before; one is read now, and another one is changed. */
static void neighbours(void)
{
	bool invpcid = have("INVPCID", cpuid(7, 0).ebx & 1 << 10);
	word all[2] = { 0, 0 };

	for (word i = 16; i < 32; i++) {
		pt[0][i] = (FRAME + i * 4096) | KERNEL | ACCESSED;
		put(FRAME + i * 4096, i);
	}
	forget_all();
	for (volatile word i = 31; i > 16; i--) {
		CHECK_EQ(read_hot(load_neighbour, HIGH + 16 * 4096), 16);
		pt[0][i] = FRAME | KERNEL;
		put(FRAME, ~i);
		if (i % 2 && invpcid)
			asm volatile("invpcid %0, %1" : : "m"(all), "r"(2ul) : "memory");
		else
			invlpg((void *)(HIGH + i * 4096));
		CHECK_EQ(read_by(load_neighbour, HIGH + i * 4096), ~i);
	}
}

/* ---- places ---- */

static void edges(void)
{
	/* Two pages that are not neighbours in memory; then the second is missing. */
	pt[0][0] = FRAME | KERNEL;
	pt[0][1] = (FRAME + 0x3000) | KERNEL;
	forget_all();
	*(volatile uint32_t *)(FRAME + 0xffc) = 0x11111111;
	*(volatile uint32_t *)(FRAME + 0x3000) = 0x22222222;
	CHECK_EQ(read_hot(load_across, HIGH + 0xffc), 0x2222222211111111ul);
	pt[0][1] = 0;
	invlpg((void *)(HIGH + 0x1000));
	CHECK_EQ(CATCH(read_by(load_across, HIGH + 0xffc)), PF);
	CHECK_EQ(caught_cr2, HIGH + 0x1000);
	CHECK_EQ(read_by(load_across, HIGH + 0xff8), 0x11111111ul << 32 | *(volatile uint32_t *)(FRAME + 0xff8));
	/* A register of one TiB, an operand in the one before or in the next but two GiB. */
	put(FRAME + 0xff8, 77);
	alone[0][2][511] = FRAME | KERNEL; /* the last page before HIGH */
	boot_pml4[HIGH / (1ul << 39) % 512 - 1] = (word)alone[0][0] | KERNEL;
	alone[0][0][511] = (word)alone[0][1] | KERNEL;
	alone[0][1][511] = (word)alone[0][2] | KERNEL;
	CHECK_EQ(read_hot(load_before, HIGH), 77);
	CHECK_EQ(read_by(load_before, HIGH + 0x1000), 77);
	put(FRAME + 0xf00, 78);
	CHECK_EQ(read_hot(load_far, HIGH + 0x1000 - 0x80000000ul), 78);
	CHECK_EQ(read_hot(load_before, HIGH), 77);
	CHECK_EQ(CATCH(read_by(load_before, HIGH - 0x1000)), PF);
	CHECK_EQ(caught_cr2, HIGH - 0x1008);
	boot_pml4[HIGH / (1ul << 39) % 512 - 1] = 0;
	forget_all();
	CHECK_EQ(CATCH(read_by(load_before, HIGH)), PF);
	CHECK_EQ(caught_cr2, HIGH - 8);
}

/* Wherever bits 40 to 47 lead: if the others do not belong to them, it is no address. */
static void not_canonical(void)
{
	volatile unsigned wrong = 0;

	pt[0][0] = FRAME | KERNEL;
	invlpg((void *)HIGH);
	read_hot(load_canonical, HIGH);
	read_hot(load_low, FRAME);
	for (volatile word bits = 1; bits < 0x10000; bits += bits < 16 || bits >= 0xfff0 ? 1 : 977)
		wrong += CATCH(read_by(load_canonical, HIGH ^ bits << 48)) != GP;
	for (volatile word bits = 1; bits < 0x10000; bits += bits < 16 || bits >= 0xfff0 ? 1 : 977)
		wrong += CATCH(read_by(load_low, FRAME ^ bits << 48)) != GP;
	CHECK_EQ(wrong, 0);
	read_hot(load_frame, HIGH);
	for (volatile word bits = 1; bits < 0x10000; bits <<= 1)
		wrong += CATCH(read_by(load_frame, HIGH ^ bits << 48)) != SS || caught.error;
	CHECK_EQ(wrong, 0);
	CHECK_EQ(CATCH(read_by(load_before, 0xffff800000000000ul)), GP);
	CHECK_EQ(CATCH(read_by(load_canonical, 0xffff7ffffffffffcul)), GP);
	CHECK_EQ(CATCH(read_by(load_far, 0x00007fffffff0000ul)), GP);
	/* Over the top of all addresses, to the bottom. */
	put(0x7e00, 79);
	CHECK_EQ(read_by(load_far, 0x7e00 - 0x7fffff00), 79);
	CHECK_EQ(read_by(load_canonical, HIGH), *(volatile word *)FRAME);
}

/* More TiB than kernels use. */
static void many_places(void)
{
	volatile unsigned wrong = 0;

	for (word i = 0; i < TIBS; i++) {
		boot_pml4[(HIGH + (i + 1) * TIB) / (1ul << 39) % 512] = (word)alone[i][0] | KERNEL;
		alone[i][0][0] = (word)alone[i][1] | KERNEL;
		alone[i][1][0] = (word)alone[i][2] | KERNEL;
		alone[i][2][0] = (FRAME + i * 4096) | KERNEL;
		put(FRAME + i * 4096, i);
	}
	forget_all();
	for (unsigned round = 0; round < 2 * HOT; round++)
		for (word i = 0; i < TIBS; i++)
			wrong += read_by(load_places, HIGH + (i + 1) * TIB) != i;
	CHECK_EQ(wrong, 0);
	/* From one to the next. */
	put(FRAME, HIGH + TIB + 16);
	put(FRAME + 16, HIGH + 2 * TIB + 24);
	put(FRAME + 0x1000 + 24, HIGH + TIB + 32);
	put(FRAME + 40, 80);
	pt[0][0] = FRAME | KERNEL;
	invlpg((void *)HIGH);
	for (unsigned round = 0; round < 2 * HOT; round++)
		wrong += read_by(load_chain, HIGH) != 80;
	CHECK_EQ(wrong, 0);
	/* A loop that no look-up need end, though any other TLB is too small for it. */
	put(FRAME + 0x1000, 1);
	CHECK_EQ(read_by(load_turns, HIGH + TIB), HIGH + TIB + 16 + 3);
	CHECK_EQ(read_by(load_turns, HIGH + TIB), HIGH + TIB + 16 + 3);
	for (volatile word i = 0; i < TIBS; i++) {
		alone[i][2][0] = 0;
		invlpg((void *)(HIGH + (i + 1) * TIB));
		wrong += CATCH(read_by(load_places, HIGH + (i + 1) * TIB)) != PF;
	}
	CHECK_EQ(wrong, 0);
}

/* ---- who may ---- */

static void user_pages(void)
{
	word cr4 = READ_REG(cr4);

	put(FRAME, 5);
	if (!have("SMAP", cpuid(7, 0).ebx & 1 << 20))
		return;
	boot_pml4[0] &= ~US; /* our own */
	boot_pml4[HIGH / (1ul << 39) % 512] |= US;
	pdpt[0] |= US;
	pd[0][0] |= US;
	for (volatile unsigned i = 0; i < 3; i++) {
		pt[0][0] = FRAME | KERNEL;
		forget_all();
		CHECK_EQ(read_hot(load_user, HIGH), 5);
		WRITE_REG(cr4, cr4 | CR4_SMAP);
		CHECK_EQ(read_hot(load_user, HIGH), 5);
		pt[0][0] = FRAME | KERNEL | US;
		invlpg((void *)HIGH);
		CHECK_EQ(CATCH(read_by(load_user, HIGH)), PF);
		CHECK_EQ(caught.error, 1);
		asm volatile("stac");
		CHECK_EQ(read_by(load_user, HIGH), 5);
		asm volatile("clac");
		CHECK_EQ(CATCH(read_by(load_user, HIGH)), PF);
		WRITE_REG(cr4, cr4);
		CHECK_EQ(read_hot(load_user, HIGH), 5);
	}
	pt[0][0] = FRAME | KERNEL;
	forget_all();
}

/* ---- what is no memory, or watched ---- */

static void devices(void)
{
	word id;

	pt[0][0] = FRAME | KERNEL;
	pt[0][2] = APIC_BASE | KERNEL;
	forget_all();
	apic_write(APIC_TPR, 0x30);
	id = apic_read(APIC_TPR);
	CHECK_EQ(read_hot(load_device, HIGH + 0x2000 + APIC_TPR), id);
	read_hot(load_both, HIGH);
	CHECK_EQ((uint32_t)read_by(load_device, HIGH + 0x2000 + APIC_TPR), id);
	apic_write(APIC_TPR, 0);
	CHECK_EQ(read_hot(load_device, HIGH + 0x2000 + APIC_TPR), 0);
	/* One place that reads memory first, and then a device for good. */
	pt[0][0] = APIC_BASE | KERNEL;
	invlpg((void *)HIGH);
	apic_write(APIC_TPR, 0x40);
	CHECK_EQ((uint32_t)read_by(load_both, HIGH + APIC_TPR), 0x40);
	apic_write(APIC_TPR, 0);
	pt[0][0] = FRAME | KERNEL;
	invlpg((void *)HIGH);
}

static volatile unsigned hits;

static bool on_hit(struct frame *frame)
{
	(void)frame;
	hits++;
	WRITE_REG(dr6, 0xffff0ff0ul);
	return true;
}

static void watched(void)
{
	put(FRAME + 0x40, 9);
	read_hot(load_watched, HIGH + 0x40);
	hook[DB] = on_hit;
	WRITE_REG(dr0, HIGH + 0x40);
	WRITE_REG(dr7, 0x402ul | 3ul << 16 | 2ul << 18); /* eight bytes, on access */
	hits = 0;
	CHECK_EQ(read_by(load_watched, HIGH + 0x40), 9);
	CHECK_EQ(hits, 1);
	read_hot(load_watched, HIGH + 0x48);
	CHECK_EQ(hits, 1);
	read_hot(load_watched, HIGH + 0x44);
	CHECK_EQ(hits, 1 + HOT);
	WRITE_REG(dr7, 0x400ul);
	read_hot(load_watched, HIGH + 0x40);
	CHECK_EQ(hits, 1 + HOT);
	hook[DB] = NULL;
}

/* ---- flags and registers, where a hot load faults ---- */

CODE(faults, "mov $0x1234, %eax; mov $7, %r11d; mov $6, %r9d; cmp $0x1235, %eax; mov (%rdi), %rdx\n"
     "faulted: adc %rdx, %rax; add %r11, %rax; add %r9, %rax; ret");

static bool mend(struct frame *frame)
{
	hits += frame->flags & CF && frame->flags & SFLAG && !(frame->flags & ZF) && frame->ax == 0x1234 &&
		frame->r11 == 7 && frame->r9 == 6 && READ_REG(cr2) == HIGH;
	pt[0][0] = FRAME | KERNEL;
	return true;
}

static void faulting(void)
{
	word want;

	put(FRAME, 0x100);
	pt[0][0] = FRAME | KERNEL;
	forget_all();
	want = read_hot(faults, HIGH);
	CHECK_EQ(want, 0x1234 + 0x100 + 1 + 13);
	hook[PF] = mend;
	hits = 0;
	for (unsigned i = 0; i < HOT; i++) {
		pt[0][0] = 0;
		invlpg((void *)HIGH);
		if (read_by(faults, HIGH) != want)
			CHECK_EQ(i, ~0u);
	}
	hook[PF] = NULL;
	CHECK_EQ(hits, HOT);
}

/* Several loads through one register, the second in a page that comes and goes. */
static void several(void)
{
	unsigned wrong = 0;

	put(FRAME + 0xff8, 1);
	put(FRAME, 2);
	put(FRAME + 8, 3);
	for (word i = 0; i < HOT; i++)
		wrong += read_by(load_beside, HIGH) != 5;
	CHECK_EQ(wrong, 0);
	for (word i = 0; i < HOT; i++) {
		pt[0][0] = FRAME | KERNEL;
		pt[0][1] = (FRAME + (1 + i % 3) * 0x1000) | KERNEL;
		put(FRAME + (1 + i % 3) * 0x1000, i);
		put(FRAME + (1 + i % 3) * 0x1000 + 8, 2 * i);
		invlpg((void *)(HIGH + 0x1000));
		wrong += read_by(load_three, HIGH + 0xff8) != 3 * i + 1;
	}
	CHECK_EQ(wrong, 0);
}

void guest_main(void)
{
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PGE);
	boot_pml4[HIGH / (1ul << 39) % 512] = (word)pdpt | P | RW;
	for (unsigned i = 0; i < 2; i++)
		pdpt[i] = (word)pd[i] | P | RW;
	pdpt[3] = (word)pd[2] | P | RW;
	pd[0][0] = (word)pt[0] | P | RW;
	pt[0][0] = FRAME | KERNEL;
	forget_all();
	ways_to_read();
	aliases();
	remapped();
	refuted();
	local();
	by_invpcid();
	contexts();
	large_page(load_large, LARGE, &pd[1][0], FRAME, 0x123000);
	if (have("1 GiB pages", cpuid(0x80000001, 0).edx & 1 << 26)) {
		large_page(load_huge, HUGE_PAGE, &pdpt[2], 0, 0x34567000);
		split();
	}
	many_pages();
	neighbours();
	edges();
	not_canonical();
	many_places();
	user_pages();
	devices();
	watched();
	faulting();
	several();
}
