/* SPDX-License-Identifier: MIT */
/*
 * Hot code that comes to the edge of what it may access: vectors, strings and stacks that run from
 * a good page into one that is missing, read-only, a device's or that very code; addresses that
 * wrap around; masked elements; faults half-way. Each piece runs a thousand times, so that it is
 * translated, and meets the edge now and then between good accesses. What a handler sees and what
 * was written must be exact.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define E_W 2
#define PAGE 4096ul

#define TEST (1ul << 39)
#define FRAME 0x800000ul

/* Pages of TEST; all others are missing. */
enum { LOW = 2, DATA = 4, NEXT = 5, READONLY = 8, CODE_PAGE = 12, DEVICE = 14 };
#define AT_PAGE(n) (TEST + (n) * PAGE)
#define FRAME_OF(n) (FRAME + (n) * PAGE)

#define ROUNDS 1000
#define EVERY 7 /* one in so many meets the edge */
#define LINE 64

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static unsigned wrong;

static void map(unsigned page, word entry)
{
	level[2][page] = entry;
	invlpg((void *)AT_PAGE(page));
}

static void note(bool good)
{
	wrong += !good;
}

/* Says which part had wrong outcomes, and how many. */
#define DONE() do { CHECK_EQ(wrong, 0); wrong = 0; } while (0)

static void fill(word frame, unsigned bytes, uint8_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		((volatile uint8_t *)frame)[i] = value;
}

static bool filled(word frame, unsigned bytes, uint8_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		if (((volatile uint8_t *)frame)[i] != value)
			return false;
	return true;
}

/* Runs code with rdi, rsi, rcx and rax; vector or NONE. */
static unsigned run(const void *code, word di, word si, word cx, word ax)
{
	return CATCH(asm volatile("call *%4" : "+D"(di), "+S"(si), "+c"(cx), "+a"(ax) : "r"(code)
				  : "rdx", "r8", "r9", "r10", "r11", "memory", "cc"));
}

static bool faulted(unsigned vector, unsigned want, word error, word cr2)
{
	return vector == want && caught.error == error && (want != PF || caught_cr2 == cr2);
}

/* ---- strings ---- */

CODE(copy_bytes, "cld; rep movsb; ret");
CODE(copy_words, "cld; rep movsq; ret");
CODE(copy_down, "std; rep movsb; cld; ret");
CODE(store_bytes, "cld; rep stosb; ret");
CODE(store_words, "cld; rep stosq; ret");
CODE(store_down, "std; rep stosl; cld; ret");
CODE(compare, "cld; repe cmpsb; ret");
CODE(scan, "cld; repne scasb; ret");

/* Up from DATA's last bytes into the page that is missing behind NEXT. */
static void strings_up(void)
{
	const word end = AT_PAGE(NEXT) + PAGE;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned size = 16 + i % 200 * 8, room = i % EVERY ? size : size / 2 / 8 * 8;
		unsigned vector;

		fill(FRAME_OF(NEXT) + PAGE - 2048, 2048, 0x11);
		vector = run(i & 1 ? store_words : store_bytes, end - room, 0,
			     i & 1 ? size / 8 : size, 0x2222222222222222);
		note(filled(FRAME_OF(NEXT) + PAGE - room, room, 0x22));
		note(filled(FRAME_OF(NEXT) + PAGE - 2048, 2048 - room, 0x11));
		if (i % EVERY)
			note(vector == NONE);
		else
			note(faulted(vector, PF, E_W, end) && caught.di == end &&
			     caught.cx == (size - room) / (i & 1 ? 8 : 1));
		/* The source ends first, then the destination. */
		fill(FRAME_OF(DATA), size, (uint8_t)i);
		vector = run(i & 1 ? copy_words : copy_bytes, end - room, AT_PAGE(DATA),
			     i & 1 ? size / 8 : size, 0);
		note(filled(FRAME_OF(NEXT) + PAGE - room, room, (uint8_t)i));
		if (!(i % EVERY))
			note(faulted(vector, PF, E_W, end) && caught.di == end &&
			     caught.si == AT_PAGE(DATA) + room);
		vector = run(copy_bytes, AT_PAGE(DATA), end - room, size, 0);
		if (!(i % EVERY))
			note(faulted(vector, PF, 0, end) && caught.si == end &&
			     caught.di == AT_PAGE(DATA) + room && caught.cx == size - room);
	}
	DONE();
}

/* Down into the missing page below DATA. */
static void strings_down(void)
{
	const word start = AT_PAGE(DATA);

	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		unsigned size = 8 + i % 50 * 4, room = i % EVERY ? size : size / 2 / 4 * 4;
		unsigned vector;

		fill(FRAME_OF(DATA), 512, 0x11);
		vector = run(store_down, start + room - 4, 0, size / 4, 0x33333333);
		note(filled(FRAME_OF(DATA), room, 0x33) &&
		     filled(FRAME_OF(DATA) + room, 512 - room, 0x11));
		if (!(i % EVERY))
			note(faulted(vector, PF, E_W, start - 4) && caught.di == start - 4 &&
			     caught.cx == (size - room) / 4);
		vector = run(copy_down, start + room - 1, AT_PAGE(NEXT) + size - 1, size, 0);
		if (!(i % EVERY))
			note(faulted(vector, PF, E_W, start - 1) && caught.di == start - 1 &&
			     caught.cx == size - room);
	}
	asm volatile("cld");
	DONE();
}

static void comparisons(void)
{
	const word end = AT_PAGE(NEXT) + PAGE;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned room = 8 + i % 100, vector;

		fill(FRAME_OF(NEXT) + PAGE - 256, 256, 0x44);
		fill(FRAME_OF(DATA), 256, 0x44);
		vector = run(compare, end - room, AT_PAGE(DATA), room + !(i % EVERY), 0);
		note(i % EVERY ? vector == NONE :
				 faulted(vector, PF, 0, end) && caught.cx == 1 && caught.di == end);
		vector = run(scan, end - room, 0, room + !(i % EVERY), 0x45);
		note(i % EVERY ? vector == NONE : faulted(vector, PF, 0, end) && caught.cx == 1);
	}
	DONE();
}

/* ---- stacks: at DATA's start, below which nothing is; faults have stacks of their own ---- */

CODE(push_one, "mov %rsp, %rdx; mov %rdi, %rsp; push %rsi; mov %rdx, %rsp; ret");
CODE(push_flags, "mov %rsp, %rdx; mov %rdi, %rsp; pushf; mov %rdx, %rsp; ret");
CODE(push_memory, "mov %rsp, %rdx; mov %rdi, %rsp; push record; mov %rdx, %rsp; ret");
CODE(call_near, "mov %rsp, %rdx; mov %rdi, %rsp; call 1f; 1: mov %rdx, %rsp; ret");
CODE(call_through, "mov %rsp, %rdx; lea 1f(%rip), %rcx; mov %rdi, %rsp; call *%rcx\n"
     "1: mov %rdx, %rsp; ret");
CODE(enter_frame, "mov %rsp, %rdx; mov %rbp, %r8; mov %rdi, %rsp; enter $16, $0; mov %r8, %rbp; "
     "mov %rdx, %rsp; ret");
CODE(pop_one, "mov %rsp, %rdx; mov %rdi, %rsp; pop %rax; mov %rdx, %rsp; ret");
CODE(leave_frame, "mov %rsp, %rdx; mov %rbp, %r8; mov %rdi, %rbp; leave; mov %r8, %rbp\n"
     "mov %rdx, %rsp; ret");

static void stacks(void)
{
	static const void *const pushes[] = { push_one, push_flags, push_memory, call_near,
					      call_through, enter_frame };
	static const void *const pops[] = { pop_one, leave_frame };
	const word bottom = AT_PAGE(DATA), top = AT_PAGE(NEXT) + PAGE, hole = 1ul << 47;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const void *push = pushes[i / 2 % 6], *pop = pops[i / 2 % 2];
		unsigned vector = run(push, bottom + 8 + i % 64 * 8, 0x55, 0, 0);

		note(vector == NONE);
		note(run(pop, top - 8 - i % 64 * 8, 0, 0, 0) == NONE);
		if (i % EVERY)
			continue;
		vector = run(push, bottom + i % 8, 0x55, 0, 0);
		note(faulted(vector, PF, E_W, bottom + i % 8 - 8) &&
		     (caught.sp == bottom + i % 8 || push == enter_frame));
		vector = run(pop, top - i % 8, 0, 0, 0);
		note(faulted(vector, PF, 0, top));
		/* Whatever is wrong with the stack pointer's own address is #SS. */
		note(faulted(run(push, hole + 8, 0x55, 0, 0), SS, 0, 0));
		note(faulted(run(pop, hole, 0, 0, 0), SS, 0, 0));
		note(faulted(run(pop, hole - 4, 0, 0, 0), SS, 0, 0));
	}
	DONE();
}

/* ---- addresses that wrap ---- */

CODE(scaled, "mov 0x10(%rdi,%rsi,8), %rax; mov %rax, record; ret");
CODE(short_address, "mov 0x20(%edi), %rax; mov %rax, record; ret");
CODE(short_store, "mov %rcx, 0x20(%edi,%esi,4); ret");
CODE(from_fs, "mov %fs:8(%rdi), %rax; mov %rax, record; ret");
CODE(to_gs, "mov %rsi, %gs:(%rdi); ret");

static void wrapping(void)
{
	volatile word *here = (volatile word *)AT_PAGE(DATA);
	static word low; /* below 4 GiB */

	for (unsigned i = 0; i < ROUNDS; i++) {
		word turns = (word)i << 61, fs = i & 1 ? -0x1000ul : 0x7ffffffff000ul;

		here[2] = i;
		note(run(scaled, AT_PAGE(DATA) - (8ul << 31), 1ul << 31 | turns, 0, 0) == NONE);
		note(record[0] == i);
		low = ~(word)i;
		note(run(short_address, (uint32_t)(AT(&low) - 0x20) | (word)i << 32, 0, 0, 0) ==
		     NONE);
		note(record[0] == ~(word)i);
		note(run(short_store, AT(&low) + 0xfffff000, (0x1000 - 0x20) / 4 | ~0ul << 32, i,
			 0) == NONE);
		note(low == i);
		wrmsr(MSR_FS_BASE, fs);
		here[1] = i;
		note(run(from_fs, AT_PAGE(DATA) - fs, 0, 0, 0) == NONE);
		note(record[0] == i);
		wrmsr(MSR_GS_BASE, 0xffff800000000000ul);
		note(run(to_gs, AT_PAGE(DATA) - 0xffff800000000000ul, i * 3, 0, 0) == NONE);
		note(here[0] == i * 3);
		if (i % EVERY)
			continue;
		note(faulted(run(scaled, AT_PAGE(DATA), 1ul << 44, 0, 0), GP, 0, 0));
		note(faulted(run(from_fs, 3ul << 46, 0, 0, 0), GP, 0, 0));
		note(faulted(run(to_gs, 0x1000000000000ul, 0, 0, 0), GP, 0, 0));
	}
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, 0);
	DONE();
}

/* ---- registers and flags at a fault ---- */

/* CF is read behind the fault: it must be shown. r8 and rcx change before and behind. */
CODE(carry, "mov $1, %r8d; stc; mov (%rdi), %rax; adc $0, %rsi; mov $2, %r8d; ret");
CODE(no_carry, "mov $1, %r8d; clc; add %rax, (%rdi); mov $2, %r8d; sbb %rsi, %rsi; ret");

static void state_at_faults(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		bool bad = i % EVERY == 3;
		word where = bad ? AT_PAGE(NEXT) + PAGE - i % 8 : AT_PAGE(DATA) + i;
		unsigned vector = run(carry, where, i, 0, 77);

		if (bad)
			note(faulted(vector, PF, 0, AT_PAGE(NEXT) + PAGE) && caught.flags & CF &&
			     caught.ax == 77 && caught.si == i && caught.r8 == 1 &&
			     caught.di == where);
		else
			note(vector == NONE);
		vector = run(no_carry, where, i, 0, 77);
		if (bad)
			note(faulted(vector, PF, E_W, AT_PAGE(NEXT) + PAGE) && caught.ax == 77 &&
			     caught.si == i && caught.r8 == 1);
		else
			note(vector == NONE);
	}
	DONE();
}

/* ---- vectors ---- */

CODE(load_16, "movdqu (%rdi), %xmm0; movdqu %xmm0, record; ret");
CODE(store_16, "movq %rsi, %xmm1; punpcklqdq %xmm1, %xmm1; movdqu %xmm1, (%rdi); ret");
CODE(aligned_16, "movaps (%rdi), %xmm0; ret");
CODE(load_64, "vmovdqu64 (%rdi), %zmm0; ret");
CODE(store_64, "vpbroadcastq %rsi, %zmm1; vmovdqu64 %zmm1, (%rdi); ret");
CODE(masked_store, "kmovq %rcx, %k1; vpbroadcastb %esi, %zmm1; vmovdqu8 %zmm1, (%rdi){%k1}; ret");
CODE(masked_load, "kmovq %rcx, %k1; vmovdqu8 (%rdi), %zmm2{%k1}{z}; vmovdqu64 %zmm2, vector; ret");
CODE(gather, "vmovdqu64 vector, %zmm3; vpxorq %zmm2, %zmm2, %zmm2; kmovq %rcx, %k2; "
     "vpgatherqq (%rdi,%zmm3,8), %zmm2{%k2}; vmovdqu64 %zmm2, vector; ret");
CODE(scatter, "vmovdqu64 vector, %zmm3; vpbroadcastq %rsi, %zmm2; kmovq %rcx, %k2; "
     "vpscatterqq %zmm2, (%rdi,%zmm3,8){%k2}; ret");
CODE(see_gather, "vmovdqu64 %zmm2, vector; kmovq %k2, record; ret");
CODE(save_image, "fxsave64 (%rdi); ret");
CODE(load_image, "fxrstor64 (%rdi); ret");

word vector[8] __attribute__((aligned(64)));

static void sixteen(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		word good = AT_PAGE(NEXT) + PAGE - 16 - i % 64;
		word bad = AT_PAGE(NEXT) + PAGE - i % 15 - 1;

		note(run(store_16, good, i, 0, 0) == NONE && *(volatile word *)(good + 8) == i);
		note(run(load_16, good, 0, 0, 0) == NONE && record[0] == i && record[1] == i);
		note(run(aligned_16, good & ~15ul, 0, 0, 0) == NONE);
		if (i % EVERY)
			continue;
		fill(FRAME_OF(NEXT) + PAGE - 16, 16, 0x66);
		note(faulted(run(store_16, bad, i, 0, 0), PF, E_W, AT_PAGE(NEXT) + PAGE));
		note(filled(FRAME_OF(NEXT) + PAGE - 16, 16, 0x66));
		note(faulted(run(load_16, bad, i, 0, 0), PF, 0, AT_PAGE(NEXT) + PAGE));
		note(faulted(run(aligned_16, good | 1, 0, 0, 0), GP, 0, 0));
		/* Half in a page that may be read only, before one that is missing. */
		note(faulted(run(store_16, AT_PAGE(READONLY) + 32, i, 0, 0), PF, E_W | 1,
			     AT_PAGE(READONLY) + 32));
		note(faulted(run(store_16, AT_PAGE(READONLY) - 8, i, 0, 0), PF, E_W,
			     AT_PAGE(READONLY) - 8));
		note(faulted(run(load_16, (1ul << 47) - 8, 0, 0, 0), GP, 0, 0));
	}
	DONE();
}

static void sixty_four(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		word end = AT_PAGE(NEXT) + PAGE, bad = end - i % 63 - 1;
		unsigned room = (unsigned)(end - bad);
		word inside = room == 64 ? ~0ul : (1ul << room) - 1;

		/* Across two good pages. */
		note(run(store_64, AT_PAGE(NEXT) - i % 64, i, 0, 0) == NONE);
		note(run(load_64, AT_PAGE(NEXT) - i % 64, i, 0, 0) == NONE);
		fill(FRAME_OF(NEXT) + PAGE - LINE, LINE, 0x77);
		note(run(masked_store, bad, 0x88, inside, 0) == NONE);
		note(filled(FRAME_OF(NEXT) + PAGE - room, room, 0x88) &&
		     filled(FRAME_OF(NEXT) + PAGE - LINE, LINE - room, 0x77));
		note(run(masked_load, bad, 0, inside, 0) == NONE);
		note(filled(AT(vector), room, 0x88) && filled(AT(vector) + room, LINE - room, 0));
		/* Nothing at all. */
		note(run(masked_store, AT_PAGE(LOW) - LINE, 0x99, 0, 0) == NONE);
		if (i % EVERY)
			continue;
		note(faulted(run(store_64, bad, i, 0, 0), PF, E_W, end));
		note(faulted(run(masked_store, bad, 0x99, inside << 1 | 1, 0), PF, E_W, end));
		note(filled(FRAME_OF(NEXT) + PAGE - room, room, 0x88));
		note(faulted(run(masked_load, bad, 0, 1ul << room, 0), PF, 0, end));
		note(faulted(run(load_64, bad, 0, 0, 0), PF, 0, end));
	}
	DONE();
}

/* Elements 0 to 4 are there, 5 is not: those before it are done, and the mask says so. */
static void gathers(void)
{
	volatile word *data = (volatile word *)AT_PAGE(DATA);
	const word missing = (AT_PAGE(NEXT) + PAGE - AT_PAGE(DATA)) / 8;

	for (unsigned i = 0; i < ROUNDS; i++) {
		bool bad = !(i % EVERY);

		for (unsigned k = 0; k < 8; k++) {
			data[3 * k] = i + k;
			vector[k] = 3 * k;
		}
		if (bad)
			vector[5] = missing + 1;
		if (!bad) {
			note(run(gather, AT_PAGE(DATA), 0, 0xff, 0) == NONE);
			for (unsigned k = 0; k < 8; k++)
				note(vector[k] == i + k);
		} else {
			note(faulted(run(gather, AT_PAGE(DATA), 0, 0xff, 0), PF, 0,
				     AT_PAGE(NEXT) + PAGE + 8));
			note(run(see_gather, 0, 0, 0, 0) == NONE);
			for (unsigned k = 0; k < 5; k++)
				note(vector[k] == ((ONCE(record[0]) >> k & 1) ? 0 : i + k));
			note(record[0] & 1 << 5);
		}
		for (unsigned k = 0; k < 8; k++)
			vector[k] = 3 * k;
		if (bad)
			vector[5] = missing;
		note(bad ? faulted(run(scatter, AT_PAGE(DATA), ~(word)i, 0xff, 0), PF, E_W,
				   AT_PAGE(NEXT) + PAGE)
			 : run(scatter, AT_PAGE(DATA), ~(word)i, 0xff, 0) == NONE);
		for (unsigned k = 0; k < (bad ? 5 : 8); k++)
			note(data[3 * k] == ~(word)i);
	}
	DONE();
}

static void images(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		word across = AT_PAGE(NEXT) - 256, end = AT_PAGE(NEXT) + PAGE;

		note(run(save_image, across, 0, 0, 0) == NONE);
		note(run(load_image, across, 0, 0, 0) == NONE);
		if (i % EVERY)
			continue;
		/* Which byte of the missing page is told is the processor's choice. */
		note(run(save_image, end - 64 - i % 4 * 16, 0, 0, 0) == PF && caught.error == E_W &&
		     caught_cr2 - end < PAGE);
		note(run(load_image, end - 64, 0, 0, 0) == PF && !caught.error &&
		     caught_cr2 - end < PAGE);
		note(faulted(run(save_image, across + 8, 0, 0, 0), GP, 0, 0));
	}
	DONE();
}

static void vectors(void)
{
	WRITE_REG(cr4, READ_REG(cr4) | CR4_OSFXSR | CR4_OSXMMEXCPT);
	sixteen();
	images();
	if (!have("AVX-512BW", cpuid(7, 0).ebx >> 30 & 1))
		return;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_OSXSAVE);
	asm volatile("xsetbv" : : "c"(0), "a"(cpuid(0xd, 0).eax), "d"(0));
	sixteen();
	sixty_four();
	gathers();
	images();
}

/* ---- devices and code ---- */

CODE(device, "mov (%rdi), %eax; mov %eax, record; ret");

/* The same instruction at memory and at the local APIC's version register. */
static void devices(void)
{
	volatile uint32_t *here = (volatile uint32_t *)AT_PAGE(DATA);
	uint32_t version = *(volatile uint32_t *)(APIC_BASE + 0x30);

	for (unsigned i = 0; i < ROUNDS; i++) {
		*here = i;
		note(run(device, AT(here), 0, 0, 0) == NONE && (uint32_t)record[0] == i);
		note(run(device, AT_PAGE(DEVICE) + 0x30, 0, 0, 0) == NONE &&
		     (uint32_t)record[0] == version);
	}
	DONE();
}

static void put(word at, const char *code, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		((volatile uint8_t *)at)[i] = (uint8_t)code[i];
}

/* mov %esi, 1(%rip) into the MOV behind it; mov $0, %eax; mov %rax, (%rdi); ret */
static void next_instruction(void)
{
	word at = AT_PAGE(CODE_PAGE) + 64;

	put(at, "\x89\x35\1\0\0\0" "\xb8\0\0\0\0" "\x48\x89\7" "\xc3", 15);
	for (unsigned i = 0; i < ROUNDS; i++) {
		note(run((void *)at, AT(record), i, 0, 0) == NONE);
		note(record[0] == i);
		/* Data in the page of the code, next to it and far from it. */
		*(volatile uint8_t *)(AT_PAGE(CODE_PAGE) + 63) = (uint8_t)i;
		*(volatile word *)(AT_PAGE(CODE_PAGE) + 2048) = i;
	}
	DONE();
}

void guest_main(void)
{
	boot_pml4[TEST >> 39] = (word)level[0] | P | RW;
	level[0][0] = (word)level[1] | P | RW;
	level[1][0] = (word)level[2] | P | RW;
	map(LOW, FRAME_OF(LOW) | P | RW);
	map(DATA, FRAME_OF(DATA) | P | RW);
	map(NEXT, FRAME_OF(NEXT) | P | RW);
	map(READONLY, FRAME_OF(READONLY) | P);
	map(CODE_PAGE, FRAME_OF(CODE_PAGE) | P | RW);
	map(DEVICE, APIC_BASE | P | RW);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	tss.ist[0] = (word)fault_stack_top;
	idt[PF].low |= 1ull << 32;
	idt[GP].low |= 1ull << 32;
	idt[SS].low |= 1ull << 32;
	strings_up();
	strings_down();
	comparisons();
	stacks();
	wrapping();
	state_at_faults();
	vectors();
	devices();
	next_instruction();
}
