/* SPDX-License-Identifier: MIT */
/*
 * Events in hot loops: a tick of the APIC timer, single steps, breakpoints on instructions and
 * data that are set while the loop is hot, faults that the handler mends. Whatever comes
 * between, the loop's result is as if nothing had. Intel SDM vol. 3, 6.3, 10.5.4, 17.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define PAGE 4096ul
#define TEST (1ul << 39)
#define FRAME 0x800000ul
#define VECTOR 0x61
#define LOOPS 20000ul
#define SLEEPS 200ul
#define DR7_EXECUTE 0x1ul
#define DR7_WRITE_8 0x90001ul
#define DR6_BS (1ul << 14)

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static volatile unsigned ticks, stray;
static volatile word steps, hits;

/* rcx: how often; rdi: a place of eight bytes. All that it computes depends on flags, too. */
CODE(loop, "xor %eax, %eax; xor %edx, %edx; 1: add $0x7fffffff, %eax; adc $0, %rdx\n"
     "mov %rdx, (%rdi)\n"
     "add (%rdi), %rax; rol $3, %rax; sbb $1, %rdx; add %rcx, %rdx; dec %rcx; jnz 1b; ret");
CODE(tight, "1: dec %rcx; jnz 1b; ret");
CODE(spins, "1: pause; cmp %rcx, (%rdi); jb 1b; ret");
/* The same by other ways around than a loop's. */
CODE(sleeps, "1: sti; hlt; cli; cmp %rcx, (%rdi); jb 1b; ret");
CODE(by_ret, "lea 1f(%rip), %rax; 1: cmp %rcx, (%rdi); jae 2f; push %rax; ret; 2: ret");
CODE(by_jump, "lea 1f(%rip), %rax; 1: cmp %rcx, (%rdi); jae 2f; jmp *%rax; 2: ret");
CODE(by_call, "lea 1f(%rip), %rax; push %rax; 1: lea 8(%rsp), %rsp; cmp %rcx, (%rdi); jae 2f\n"
     "call *%rax; 2: ret");
CODE(by_pages, "1: cmp %rcx, (%rdi); jae 2f; jmp 3f; 2: ret; .skip 4096; 3: jmp 1b");
CODE(vectors_loop, "movq %rcx, %xmm0; pxor %xmm1, %xmm1; 1: paddd %xmm0, %xmm1\n"
     "pshufd $0x39, %xmm1, %xmm1\n"
     "movdqu %xmm1, (%rdi); dec %rcx; jnz 1b; movq %xmm1, %rax; ret");
CODE(stepped, "mov $5, %ecx; 1: lea 3(%rax), %rax; dec %ecx; jnz 1b; ret");

static word place[2] __attribute__((aligned(16)));

static word run(const void *code, word count, volatile void *where)
{
	word result = 0;

	asm volatile("call *%3" : "+a"(result), "+c"(count), "+D"(where) : "r"(code)
		     : "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

static bool on_tick(struct frame *frame)
{
	/* The interrupted code is one of ours, at an instruction of it. */
	if (!(frame->flags & IF))
		stray++;
	ticks++;
	place[1]++;
	apic_write(APIC_EOI, 0);
	return true;
}

static void tick_every(uint32_t count)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, count ? VECTOR | 1 << 17 : 1 << 16);
	apic_write(APIC_TIMER_INITIAL, count);
}

static void interrupted(void)
{
	word want = run(loop, LOOPS, &place[0]);
	word vectors_want = run(vectors_loop, LOOPS, place);
	unsigned wrong = 0;

	hook[VECTOR] = on_tick;
	tick_every(20011);
	for (unsigned i = 0; i < 100 || ONCE(ticks) < 100; i++) {
		asm volatile("sti");
		wrong += run(loop, LOOPS, &place[0]) != want;
		run(tight, LOOPS, NULL);
		asm volatile("cli");
		wrong += run(loop, LOOPS, &place[0]) != want;
	}
	/* A handler's store ends a loop that only reads. */
	for (unsigned i = 0; i < 100; i++) {
		const void *const ways[] = { spins, by_ret, by_jump, by_call, by_pages };
		word until = ONCE(place[1]) + 2;

		asm volatile("sti");
		run(ways[i % 5], until, &place[1]);
		asm volatile("cli");
		wrong += ONCE(place[1]) < until;
	}
	run(sleeps, ONCE(place[1]) + SLEEPS, &place[1]);
	hook[VECTOR] = NULL;
	tick_every(0);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(stray, 0);
	CHECK_EQ(run(vectors_loop, LOOPS, place), vectors_want);
}

static bool on_vector_tick(struct frame *frame)
{
	(void)frame;
	ticks++;
	apic_write(APIC_EOI, 0);
	return true;
}

static void vectors_interrupted(void)
{
	word want;
	unsigned wrong = 0;

	want = run(vectors_loop, LOOPS, place);
	hook[VECTOR] = on_vector_tick;
	ticks = 0;
	tick_every(15013);
	asm volatile("sti");
	for (unsigned i = 0; i < 100 || ONCE(ticks) < 50; i++)
		wrong += run(vectors_loop, LOOPS, place) != want;
	asm volatile("cli");
	tick_every(0);
	CHECK_EQ(wrong, 0);
}

/* ---- debugging what is hot ---- */

static bool on_step(struct frame *frame)
{
	steps += (READ_REG(dr6) & DR6_BS) != 0;
	WRITE_REG(dr6, 0xffff0ff0);
	(void)frame;
	return true;
}

static bool on_hit(struct frame *frame)
{
	hits += READ_REG(dr6) & 1;
	WRITE_REG(dr6, 0xffff0ff0);
	frame->flags |= RF;
	return true;
}

static void single_steps(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < 1000; i++)
		wrong += run(stepped, 0, NULL) != 15;
	hook[DB] = on_step;
	for (unsigned i = 0; i < 50; i++) {
		word result = 0;

		steps = 0;
		asm volatile("pushf; orl $0x100, (%%rsp); popf; call *%1\n"
			     "pushf; andl $~0x100, (%%rsp); popf"
			     : "+a"(result) : "r"(stepped) : "ecx", "memory", "cc");
		wrong += result != 15;
		/* CALL, MOV, the loop, RET, PUSHF to POPF */
		wrong += ONCE(steps) != 1 + 1 + 15 + 1 + 3;
		for (unsigned k = 0; k < 50; k++)
			wrong += run(stepped, 0, NULL) != 15;
	}
	hook[DB] = NULL;
	CHECK_EQ(wrong, 0);
}

static void breakpoints(void)
{
	word want = run(loop, 500, place);
	unsigned wrong = 0;

	hook[DB] = on_hit;
	for (unsigned i = 0; i < 100; i++) {
		wrong += run(loop, 500, place) != want;
		hits = 0;
		WRITE_REG(dr0, AT(loop) + 4); /* the ADD, once a round */
		WRITE_REG(dr7, DR7_EXECUTE);
		wrong += run(loop, 50, place) != run(loop, 50, place);
		WRITE_REG(dr7, 0);
		wrong += ONCE(hits) != 100;
		wrong += run(loop, 500, place) != want;
		hits = 0;
		WRITE_REG(dr0, place);
		WRITE_REG(dr7, DR7_WRITE_8);
		wrong += run(loop, 500, place) != want;
		WRITE_REG(dr7, 0);
		wrong += ONCE(hits) != 500;
	}
	hook[DB] = NULL;
	WRITE_REG(dr0, 0);
	CHECK_EQ(wrong, 0);
}

/* ---- faults that are mended ---- */

static volatile word faults, expected;

static bool on_fault(struct frame *frame)
{
	word page = READ_REG(cr2) - TEST;

	faults++;
	if (READ_REG(cr2) != expected || (frame->error & ~2ul))
		stray++;
	level[2][page / PAGE] |= P;
	return true;
}

CODE(walk, "xor %eax, %eax; 1: add %rcx, (%rdi); adc (%rdi), %rax; add $4096, %rdi; dec %rcx\n"
     "jnz 1b; ret");

/*
 * Pages that come when they are touched, under a loop that has flags to keep: a kernel's daily
 * work.
 */
static void demand(void)
{
	const unsigned pages = 32;
	word want = 0;
	unsigned wrong = 0;

	hook[PF] = on_fault;
	for (unsigned round = 0; round < 100; round++) {
		unsigned missing = round % pages;

		for (unsigned page = 0; page < pages; page++) {
			*(volatile word *)(FRAME + page * PAGE) = page;
			level[2][page] = (FRAME + page * PAGE) | RW | (page == missing ? 0 : P);
			invlpg((void *)(TEST + page * PAGE));
		}
		expected = TEST + missing * PAGE;
		faults = 0;
		want = 0;
		for (unsigned page = 0; page < pages; page++)
			want += page + (pages - page);
		wrong += run(walk, pages, (void *)TEST) != want;
		wrong += ONCE(faults) != 1;
	}
	hook[PF] = NULL;
	CHECK_EQ(wrong, 0);
	CHECK_EQ(stray, 0);
}

void guest_main(void)
{
	boot_pml4[TEST >> 39] = (word)level[0] | P | RW;
	level[0][0] = (word)level[1] | P | RW;
	level[1][0] = (word)level[2] | P | RW;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_OSFXSR | CR4_OSXMMEXCPT);
	apic_write(APIC_SVR, 0x1ff);
	interrupted();
	vectors_interrupted();
	single_steps();
	breakpoints();
	demand();
}
