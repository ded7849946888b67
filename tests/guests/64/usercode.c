/* SPDX-License-Identifier: MIT */
/*
 * Code of ring 3 whose pages change, or do not, with every kind of flush: what an engine has
 * learned of jumps to it may outlive a flush only where the tables still say the same. Intel SDM
 * vol. 3, 4.10.
 */
#include "guest.h"

#define ALL 0x27ul /* with the accessed bit: nothing but the change itself tells of it */
#define USER 4ul
#define ACCESSED 0x20ul
#define PS 0x80ul
#define NX (1ul << 63)
#define NO_FLUSH (1ul << 63)
#define FETCH_ERROR 0x15 /* present, user, fetch */
#define ABSENT_ERROR 0x14
#define TEST (1ul << 39)
#define LARGE (TEST + (1ul << 30)) /* its own page directory */
#define FRAME 0x800000ul           /* 2 MiB and its neighbour */
#define FRAME_BYTES 0x200000ul
#define PAGES 512u
#define HOT 100 /* calls after which any engine has made its mind up */

enum invpcid { ONE_PAGE, ONE_CONTEXT, EVERYTHING, ALL_BUT_GLOBAL };

extern word boot_pml4[512];
static word pml4[2][512] __attribute__((aligned(4096)));
static word pdpt[2][512] __attribute__((aligned(4096)));
static word pd[3][512] __attribute__((aligned(4096)));
static word pt[3][512] __attribute__((aligned(4096)));
word call_target, call_times, call_step;

/* Calls call_target so often, each time that much further on; EAX is what the last one gave. */
CODE(calls, "mov call_target, %rdx; mov call_times, %rbx\n"
	    "1: call *%rdx; add call_step, %rdx; dec %rbx; jnz 1b; int $0x80");

static bool pcids, invpcids, nx;

/* "mov $value, %eax; ret", in memory that is mapped to itself */
static void emit_value(word frame, uint32_t value)
{
	*(volatile uint8_t *)frame = 0xb8;
	*(volatile uint32_t *)(frame + 1) = value;
	*(volatile uint8_t *)(frame + 5) = 0xc3;
}

static unsigned call(word at, word times, word step)
{
	call_target = at;
	call_times = times;
	call_step = step;
	return user(calls);
}

/* What code at an address gives; ~0: it did not come to an end. */
static word run(word at)
{
	return call(at, 1, 0) == USER_DONE ? caught.ax : ~0ul;
}

static word run_hot(word at)
{
	return call(at, HOT, 0) == USER_DONE ? caught.ax : ~0ul;
}

/* ---- flushes: each of the current context, at least of TEST ---- */

static void by_cr3(void)
{
	WRITE_REG(cr3, READ_REG(cr3));
}

static void by_invlpg(void)
{
	invlpg((void *)(TEST + 0x123));
}

static void by_globals(void)
{
	word cr4 = READ_REG(cr4);

	WRITE_REG(cr4, cr4 ^ CR4_PGE);
	WRITE_REG(cr4, cr4);
}

static void by_several(void)
{
	by_cr3();
	by_globals();
	by_cr3();
}

static void by_invpcid(word type)
{
	word operand[2] = { READ_REG(cr4) & CR4_PCIDE ? READ_REG(cr3) & 0xfff : 0, TEST };

	asm volatile("invpcid %0, %1" : : "m"(operand), "r"(type) : "memory");
}

static void by_page(void) { by_invpcid(ONE_PAGE); }
static void by_context(void) { by_invpcid(ONE_CONTEXT); }
static void by_everything(void) { by_invpcid(EVERYTHING); }
static void by_all_but_global(void) { by_invpcid(ALL_BUT_GLOBAL); }

/* ---- one page ---- */

static void one_page(void flush(void))
{
	pt[0][0] = FRAME | ALL;
	flush();
	for (volatile unsigned i = 0; i < 4; i++) {
		CHECK_EQ(run_hot(TEST), 1);
		/* Nothing has changed. */
		flush();
		CHECK_EQ(run(TEST), 1);
		/* Another place, and back. */
		pt[0][0] = (FRAME + 0x1000) | ALL;
		flush();
		CHECK_EQ(run(TEST), 2);
		CHECK_EQ(run_hot(TEST), 2);
		pt[0][0] = FRAME | ALL;
		flush();
		CHECK_EQ(run_hot(TEST), 1);
		/* What changed meanwhile, unheard of, is heard of now. */
		pt[0][0] = (FRAME + 0x1000) | ALL;
		run(TEST);
		flush();
		CHECK_EQ(run_hot(TEST), 2);
		pt[0][0] = FRAME | ALL;
		flush();
		CHECK_EQ(run_hot(TEST), 1);
		/* A fetch marks the page again. */
		pt[0][0] = FRAME | (ALL & ~ACCESSED);
		flush();
		CHECK_EQ(run(TEST), 1);
		CHECK_EQ(pt[0][0] & ACCESSED, ACCESSED);
		/* Other code in the same place. */
		emit_value(FRAME, 10);
		flush();
		CHECK_EQ(run(TEST), 10);
		emit_value(FRAME, 1);
		CHECK_EQ(run_hot(TEST), 1);
	}
}

static void denied(void flush(void), word entry, word error)
{
	pt[0][0] = FRAME | ALL;
	flush();
	CHECK_EQ(run_hot(TEST), 1);
	pt[0][0] = entry;
	flush();
	CHECK_EQ(call(TEST, 1, 0), PF);
	CHECK_EQ(caught_cr2, TEST);
	CHECK_EQ(caught.ip, TEST);
	CHECK_EQ(caught.error, error);
	pt[0][0] = FRAME | ALL;
	flush();
	CHECK_EQ(run(TEST), 1);
}

static void all_of_one_page(void flush(void))
{
	one_page(flush);
	denied(flush, 0, ABSENT_ERROR & (nx ? ~0ul : ~0x10ul));
	denied(flush, FRAME | (ALL & ~USER), FETCH_ERROR & (nx ? ~0ul : ~0x10ul));
	if (nx)
		denied(flush, FRAME | ALL | NX, FETCH_ERROR);
}

/* ---- larger, smaller ---- */

static void make_small(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		pt[1][i] = (FRAME + i * 4096ul) | ALL;
	pd[1][0] = (word)pt[1] | ALL;
}

static void sizes(void)
{
	const word at = LARGE + 0x5000;

	emit_value(FRAME + 0x5000, 3);
	emit_value(FRAME + 0x6000, 4);
	make_small();
	by_cr3();
	for (volatile unsigned i = 0; i < 4; i++) {
		CHECK_EQ(run_hot(at), 3);
		/* Larger: INVLPG of another address of the large page forgets this one, too. */
		pd[1][0] = FRAME | ALL | PS;
		by_cr3();
		CHECK_EQ(run_hot(at), 3);
		pd[1][0] = 0;
		invlpg((void *)(LARGE + 0x123000));
		CHECK_EQ(call(at, 1, 0), PF);
		CHECK_EQ(caught_cr2, at);
		pd[1][0] = FRAME | ALL | PS;
		CHECK_EQ(run_hot(at), 3);
		/* Smaller, in the same place; then one of them in another. */
		make_small();
		by_cr3();
		CHECK_EQ(run_hot(at), 3);
		pt[1][5] = (FRAME + 0x6000) | ALL;
		invlpg((void *)at);
		CHECK_EQ(run_hot(at), 4);
		make_small();
		by_cr3();
		CHECK_EQ(run(at), 3);
	}
}

/* ---- many pages, of which one changes ---- */

static void many_pages(unsigned count)
{
	for (unsigned i = 0; i < PAGES; i++) {
		emit_value(FRAME + FRAME_BYTES + i * 4096ul, i);
		pt[2][i] = (FRAME + FRAME_BYTES + i * 4096ul) | ALL;
	}
	by_cr3();
	for (volatile unsigned n = 0; n < HOT; n++) {
		unsigned i = n * 37 % count;

		CHECK_EQ(call(TEST + FRAME_BYTES, count, 0x1000), USER_DONE);
		CHECK_EQ(caught.ax, count - 1);
		by_cr3();
		CHECK_EQ(run(TEST + FRAME_BYTES), 0);
		pt[2][i] = (FRAME + FRAME_BYTES + (PAGES - 1) * 4096ul) | ALL;
		by_cr3();
		CHECK_EQ(run(TEST + FRAME_BYTES + i * 4096ul), PAGES - 1);
		pt[2][i] = (FRAME + FRAME_BYTES + i * 4096ul) | ALL;
		by_cr3();
	}
}

/* ---- contexts ---- */

/* Two roots with other code in TEST. */
static word make_root(unsigned which, word frame)
{
	for (unsigned i = 0; i < 512; i++) {
		pml4[which][i] = boot_pml4[i];
		pdpt[which][i] = 0;
	}
	pml4[which][1] = (word)pdpt[which] | ALL;
	pdpt[which][0] = (word)pd[2] | ALL;
	if (which) {
		pdpt[which][0] = (word)pd[0] | ALL;
		pt[0][0] = frame | ALL;
	} else {
		pd[2][0] = (word)pt[1] | ALL;
		pt[1][0] = frame | ALL;
	}
	return (word)pml4[which];
}

static void contexts(void)
{
	const word cr3 = READ_REG(cr3), cr4 = READ_REG(cr4);
	const word root[2] = { make_root(0, FRAME), make_root(1, FRAME + 0x1000) };
	word *entry[2] = { &pt[1][0], &pt[0][0] };

	WRITE_REG(cr4, cr4 | CR4_PCIDE);
	for (volatile unsigned i = 0; i < 8; i++) {
		/* One PCID, two roots in turn, each time with a flush. */
		for (volatile unsigned which = 0; which < 2; which++) {
			WRITE_REG(cr3, root[which] | 5);
			CHECK_EQ(run(TEST), which + 1);
			CHECK_EQ(run_hot(TEST), which + 1);
		}
		/* Two PCIDs, whose translations stay. */
		WRITE_REG(cr3, root[0] | 6);
		CHECK_EQ(run_hot(TEST), 1);
		WRITE_REG(cr3, NO_FLUSH | root[1] | 5);
		CHECK_EQ(run_hot(TEST), 2);
		WRITE_REG(cr3, NO_FLUSH | root[0] | 6);
		CHECK_EQ(run(TEST), 1);
		/* What changes in another one than this shows when it comes with a flush … */
		*entry[1] = FRAME | ALL;
		WRITE_REG(cr3, root[1] | 5);
		CHECK_EQ(run_hot(TEST), 1);
		*entry[1] = (FRAME + 0x1000) | ALL;
		WRITE_REG(cr3, root[1] | 5);
		CHECK_EQ(run_hot(TEST), 2);
		if (!invpcids)
			continue;
		/* … or after INVPCID from elsewhere. */
		for (volatile word type = ONE_PAGE; type <= ALL_BUT_GLOBAL; type++) {
			word operand[2] = { 5, TEST };

			WRITE_REG(cr3, NO_FLUSH | root[0] | 6);
			*entry[1] = FRAME | ALL;
			asm volatile("invpcid %0, %1" : : "m"(operand), "r"(type) : "memory");
			WRITE_REG(cr3, NO_FLUSH | root[1] | 5);
			CHECK_EQ(run_hot(TEST), 1);
			WRITE_REG(cr3, NO_FLUSH | root[0] | 6);
			CHECK_EQ(run_hot(TEST), 1);
			*entry[1] = (FRAME + 0x1000) | ALL;
			asm volatile("invpcid %0, %1" : : "m"(operand), "r"(type) : "memory");
			WRITE_REG(cr3, NO_FLUSH | root[1] | 5);
			CHECK_EQ(run_hot(TEST), 2);
		}
	}
	/* More of them than any engine remembers, each with a flush, and one root. */
	for (volatile unsigned i = 1; i < 40; i++) {
		*entry[1] = (FRAME + i % 2 * 0x1000) | ALL;
		WRITE_REG(cr3, root[1] | i);
		CHECK_EQ(run_hot(TEST), i % 2 + 1);
	}
	WRITE_REG(cr3, cr3);
	WRITE_REG(cr4, cr4);
}

void guest_main(void)
{
	void (*const flushes[])(void) = { by_cr3, by_invlpg, by_globals, by_several };
	void (*const invpcid_flushes[])(void) = {
		by_page, by_context, by_everything, by_all_but_global,
	};

	pcids = have("PCID", cpuid(1, 0).ecx & 1 << 17);
	invpcids = have("INVPCID", cpuid(7, 0).ebx & 1 << 10);
	nx = have("NX", cpuid(0x80000001, 0).edx & 1 << 20);
	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	boot_pml4[1] = (word)pdpt[0] | ALL;
	pdpt[0][0] = (word)pd[0] | ALL;
	pdpt[0][1] = (word)pd[1] | ALL;
	pd[0][0] = (word)pt[0] | ALL;
	pd[0][1] = (word)pt[2] | ALL;
	by_cr3();
	emit_value(FRAME, 1);
	emit_value(FRAME + 0x1000, 2);
	for (volatile unsigned i = 0; i < 4; i++)
		all_of_one_page(flushes[i]);
	for (volatile unsigned i = 0; i < 4 && invpcids; i++)
		all_of_one_page(invpcid_flushes[i]);
	sizes();
	many_pages(20);
	many_pages(PAGES - 1);
	if (pcids)
		contexts();
}
