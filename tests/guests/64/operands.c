/* SPDX-License-Identifier: MIT */
/*
 * Memory operands of hot code: what an engine remembers of a page must not outlive a change of the
 * mapping, of the page's rights or of one's own, and holds for nothing beside the page. The accesses
 * take every form of address and run often enough to be translated. Intel SDM vol. 3, 4.10.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define US 4ul
#define ALL (P | RW | US)
#define ACCESSED 0x60ul /* and dirty */
#define PS 0x80ul
#define E_P 1
#define E_W 2
#define E_U 4

#define TEST (1ul << 39)
#define FRAME_A 0x800000ul
#define FRAME_B 0x803000ul /* next to no other */
#define PAGE 4096ul
#define HOT 100
#define MIDDLE 2048

extern word boot_pml4[512], boot_pd[2048];
static word level[3][512] __attribute__((aligned(4096))); /* PDPT, PD, PT */

/* rdi: where; rax: the eight bytes there. */
CODE(read_base, "mov (%rdi), %rax; ret");
CODE(read_displaced, "mov 0x1230(%rdi), %rcx; mov %rdi, %rdx; sub $0x10, %rdx; mov 0x10(%rdx), %rax; ret");
CODE(read_index, "mov $3, %ecx; lea -24(%rdi), %rdx; mov (%rdx,%rcx,8), %rax; ret");
CODE(read_index_alone, "mov %rdi, %rax; shr %rax; and $1, %edi; mov (%rdi,%rax,2), %rax; ret");
CODE(read_r11, "mov %rdi, %r11; mov (%r11), %r10; mov %r10, %rax; ret");
CODE(read_r13, "push %r13; mov %rdi, %r13; mov 0(%r13), %rax; pop %r13; ret");
CODE(read_halves, "mov 4(%rdi), %eax; shl $32, %rax; mov (%rdi), %edx; or %rdx, %rax; ret");
CODE(read_bytes, "movzbl 1(%rdi), %eax; mov (%rdi), %al; movzwl 2(%rdi), %edx; shl $16, %edx; "
     "or %rdx, %rax; mov 4(%rdi), %edx; shl $32, %rdx; mov 1(%rdi), %ah; or %rdx, %rax; ret");
CODE(read_pop, "mov %rsp, %rdx; mov %rdi, %rsp; pop %rax; mov %rdx, %rsp; ret");
CODE(read_stack, "mov %rsp, %rdx; lea -0x18(%rdi), %rsp; add $8, %rsp; mov 0x10(%rsp), %rax; "
     "mov %rdx, %rsp; ret");
CODE(read_pops, "mov %rsp, %rdx; lea -8(%rdi), %rsp; pop %rax; pop %rax; mov -8(%rsp), %rcx; "
     "xor %rax, %rcx; or %rcx, %rax; mov %rdx, %rsp; ret");
CODE(read_loaded, "push %rdi; mov (%rsp), %rcx; mov (%rcx), %rax; pop %rcx; ret");
CODE(read_carry, "xor %eax, %eax; cmp $1, %edi; sbb $0, %rax; add (%rdi), %rax; adc $0, %rax; "
     "sbb $0, %rax; ret");
CODE(read_xchg, "mov (%rdi), %rax; xchg %rax, (%rdi); ret");

/* The same of eight bytes from rsi. */
CODE(write_base, "mov %rsi, (%rdi); ret");
CODE(write_index, "mov $2, %ecx; lea -8(%rdi), %rdx; mov %rsi, (%rdx,%rcx,4); ret");
CODE(write_r9, "mov %rdi, %r9; mov %rsi, %r10; mov %r10, (%r9); ret");
CODE(write_push, "mov %rsp, %rdx; lea 8(%rdi), %rsp; push %rsi; mov %rdx, %rsp; ret");
CODE(write_halves, "mov %esi, (%rdi); mov %rsi, %rax; shr $32, %rax; mov %eax, 4(%rdi); ret");
CODE(write_bytes, "mov %esi, %eax; mov %al, (%rdi); mov %ah, 1(%rdi); shr $16, %eax; "
     "mov %ax, 2(%rdi); mov %rsi, %rax; shr $32, %rax; mov %eax, 4(%rdi); ret");
CODE(write_xchg, "mov %rsi, %rax; lock; xchg %rax, (%rdi); ret");
CODE(write_twice, "movl $7, 4(%rdi); mov (%rdi), %rax; mov %rsi, (%rdi); ret");

typedef word read_fn(word where);
typedef void write_fn(word where, word value);

static read_fn *const readers[] = {
	(read_fn *)read_base, (read_fn *)read_index, (read_fn *)read_index_alone,
	(read_fn *)read_r11, (read_fn *)read_r13, (read_fn *)read_halves, (read_fn *)read_bytes,
	(read_fn *)read_pop, (read_fn *)read_stack, (read_fn *)read_loaded, (read_fn *)read_carry,
	/* These touch more than the eight bytes. */
	(read_fn *)read_displaced, (read_fn *)read_pops, (read_fn *)read_xchg,
};
#define READERS (sizeof(readers) / sizeof(readers[0]))
#define PLAIN_READERS (READERS - 3)

static write_fn *const writers[] = {
	(write_fn *)write_base, (write_fn *)write_index, (write_fn *)write_r9,
	(write_fn *)write_push, (write_fn *)write_halves, (write_fn *)write_bytes,
	(write_fn *)write_xchg, (write_fn *)write_twice,
};
#define WRITERS (sizeof(writers) / sizeof(writers[0]))

static void map(unsigned page, word entry)
{
	boot_pml4[1] = (word)level[0] | ALL;
	level[0][0] = (word)level[1] | ALL;
	level[1][0] = (word)level[2] | ALL;
	level[2][page] = entry;
	invlpg((void *)(TEST + page * PAGE));
}

static void reload_cr3(void)
{
	WRITE_REG(cr3, READ_REG(cr3));
}

static void heat_reader(read_fn *read, word where, word want)
{
	for (unsigned i = 0; i < HOT; i++)
		if (read(where) != want)
			CHECK_EQ(read(where), want);
}

static void heat_writer(write_fn *write, word where, word value)
{
	for (unsigned i = 0; i < HOT; i++)
		write(where, value);
	CHECK_EQ(*(volatile word *)where, value);
}

static void fill(word frame, word value)
{
	for (word i = 0; i < PAGE; i += 8)
		*(volatile word *)(frame + i) = value;
}

static void remapped(void)
{
	fill(FRAME_A, 0xaa01aa02aa03aa04);
	fill(FRAME_B, 0xbb01bb02bb03bb04);
	for (unsigned page = 0; page < 3; page++)
		map(page, FRAME_A | ALL);
	for (unsigned i = 0; i < READERS; i++) {
		for (unsigned page = 0; page < 3; page++)
			map(page, FRAME_A | ALL);
		heat_reader(readers[i], TEST + MIDDLE, 0xaa01aa02aa03aa04);
		map(0, FRAME_B | ALL);
		CHECK_EQ(readers[i](TEST + MIDDLE), 0xbb01bb02bb03bb04);
		heat_reader(readers[i], TEST + MIDDLE, 0xbb01bb02bb03bb04);
		level[2][0] = FRAME_A | ALL;
		reload_cr3();
		CHECK_EQ(readers[i](TEST + MIDDLE), 0xaa01aa02aa03aa04);
		map(0, 0);
		CHECK_EQ(CATCH(readers[i](TEST + MIDDLE)), PF);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		map(0, FRAME_A | ALL);
		heat_writer(writers[i], TEST + MIDDLE, i);
		map(0, FRAME_B | ALL);
		writers[i](TEST + MIDDLE, 0x1111111122222222);
		CHECK_EQ(*(volatile word *)(FRAME_A + MIDDLE), i);
		CHECK_EQ(*(volatile word *)(FRAME_B + MIDDLE), 0x1111111122222222);
		heat_writer(writers[i], TEST + MIDDLE, 0x3333333344444444);
		level[2][0] = FRAME_A | ALL;
		reload_cr3();
		writers[i](TEST + MIDDLE, 0x5555555566666666);
		CHECK_EQ(*(volatile word *)(FRAME_A + MIDDLE), 0x5555555566666666);
		CHECK_EQ(*(volatile word *)(FRAME_B + MIDDLE), 0x3333333344444444);
	}
}

static void rights(void)
{
	WRITE_REG(cr0, READ_REG(cr0) | CR0_WP);
	for (unsigned i = 0; i < WRITERS; i++) {
		map(0, FRAME_A | ALL);
		heat_writer(writers[i], TEST + MIDDLE, 1);
		map(0, FRAME_A | P);
		CHECK_EQ(CATCH(writers[i](TEST + MIDDLE, 2)), PF);
		CHECK_EQ(caught.error, E_P | E_W);
		CHECK_EQ(*(volatile word *)(FRAME_A + MIDDLE), 1);
		/* Given back without a flush, and elsewhere. */
		heat_reader((read_fn *)read_base, TEST + MIDDLE, 1);
		level[2][0] = FRAME_B | ALL;
		writers[i](TEST + MIDDLE, 0x123400005678 + i);
		CHECK_EQ(*(volatile word *)(FRAME_B + MIDDLE), 0x123400005678 + i);
		CHECK_EQ(((read_fn *)read_base)(TEST + MIDDLE), 0x123400005678 + i);
		/* The dirty bit comes again. */
		level[2][0] &= ~ACCESSED;
		invlpg((void *)TEST);
		writers[i](TEST + MIDDLE, 3);
		CHECK_EQ(level[2][0] & ACCESSED, ACCESSED);
	}
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_WP);
}

static uint8_t pattern(word offset)
{
	return (uint8_t)(offset * 37 + (offset >> 8) * 11 + 5);
}

static word pattern_word(word offset)
{
	word value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (word)pattern(offset + i) << 8 * i;
	return value;
}

/* Everywhere about the edge between two pages that are not neighbours in memory. */
static void edges(void)
{
	map(0, FRAME_A | ALL);
	map(1, FRAME_B | ALL);
	map(2, FRAME_A | ALL);
	for (word i = 0; i < PAGE; i++) {
		*(volatile uint8_t *)(FRAME_A + i) = pattern(i);
		*(volatile uint8_t *)(FRAME_B + i) = pattern(PAGE + i);
	}
	for (unsigned i = 0; i < PLAIN_READERS; i++) {
		heat_reader(readers[i], TEST + MIDDLE, pattern_word(MIDDLE));
		for (word at = PAGE - 140; at < PAGE + 24; at++) {
			CHECK_EQ(readers[i](TEST + at), pattern_word(at));
			CHECK_EQ(readers[i](TEST + MIDDLE), pattern_word(MIDDLE));
		}
		heat_reader(readers[i], TEST + PAGE - 3, pattern_word(PAGE - 3));
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		for (word at = PAGE - 80; at < PAGE + 24; at++) {
			writers[i](TEST + MIDDLE, pattern_word(MIDDLE));
			writers[i](TEST + at, 0x0123456789abcdef);
			CHECK_EQ(((read_fn *)read_base)(TEST + at), 0x0123456789abcdef);
			writers[i](TEST + at, pattern_word(at));
		}
	}
	for (word i = 0; i < PAGE; i++) {
		if (*(volatile uint8_t *)(FRAME_A + i) != pattern(i))
			CHECK_EQ(i, ~0ul);
		if (*(volatile uint8_t *)(FRAME_B + i) != pattern(PAGE + i))
			CHECK_EQ(i, ~0ul);
	}
	/* A page that is not there, behind one that is. */
	map(1, 0);
	for (unsigned i = 0; i < PLAIN_READERS; i++) {
		heat_reader(readers[i], TEST + PAGE - 8, pattern_word(PAGE - 8));
		CHECK_EQ(CATCH(readers[i](TEST + PAGE - 7)), PF);
		CHECK_EQ(caught_cr2, TEST + PAGE);
		CHECK_EQ(readers[i](TEST + PAGE - 8), pattern_word(PAGE - 8));
	}
}

/* Addresses that no page has, right after everything was forgotten, and while something is known. */
static void wild(void)
{
	static const word addresses[] = {
		1ul << 47, 1ul << 63, (1ul << 63) - 8, 0xffff7ffffffff000, 0xffff7fffffffffc0,
	};

	map(0, FRAME_A | ALL);
	for (unsigned i = 0; i < PLAIN_READERS; i++) {
		bool stack = readers[i] == (read_fn *)read_pop || readers[i] == (read_fn *)read_stack;

		for (unsigned k = 0; k < sizeof(addresses) / sizeof(addresses[0]); k++) {
			heat_reader(readers[i], TEST + MIDDLE, pattern_word(MIDDLE));
			CHECK_EQ(CATCH(readers[i](addresses[k])), stack ? SS : GP);
			reload_cr3();
			CHECK_EQ(CATCH(readers[i](addresses[k])), stack ? SS : GP);
		}
		reload_cr3();
		CHECK_EQ(readers[i](FRAME_B + 8), pattern_word(PAGE + 8));
		CHECK_EQ(CATCH(readers[i](-4ul)), PF);
	}
}

/* What was data becomes code, and is written again. */
static void becomes_code(void)
{
	word (*const code)(void) = (void *)(TEST + MIDDLE + 64);

	map(0, FRAME_A | ALL);
	for (unsigned i = 0; i < WRITERS; i++) {
		/* mov $1, %eax; ret, and after it something. */
		for (unsigned k = 0; k < HOT; k++)
			writers[i](TEST + MIDDLE + 64, 0x9090c300000001b8);
		for (unsigned k = 0; k < HOT; k++)
			if (code() != 1)
				CHECK_EQ(code(), 1);
		writers[i](TEST + MIDDLE + 64, 0x9090c300000002b8);
		CHECK_EQ(code(), 2);
		writers[i](TEST + MIDDLE + 64, 0x9090c300000003b8);
		CHECK_EQ(code(), 3);
	}
}

/* Several accesses through one register. rsi: what is written; rax: what can be told of it. */
CODE(eight_words, "mov %rsi, (%rdi); mov %rsi, 8(%rdi); lea 1(%rsi), %rax; mov %rax, 16(%rdi); "
     "add $24, %rdi; mov %rax, (%rdi); add %rax, 8(%rdi); sub $8, %rdi; mov %rax, 24(%rdi); "
     "mov -16(%rdi), %rax; add 24(%rdi), %rax; mov %rax, 32(%rdi); mov %rax, 40(%rdi); ret");
CODE(push_pop, "mov %rsp, %rcx; mov %rdi, %rsp; push %rsi; push %rdi; push $7; push %rsi; "
     "stc; push %rdi; push %rsi; pop %rax; pop %rdx; adc %rdx, %rax; pop %rdx; pop %r8; pop %r9; "
     "adc %r9, %rax; pop %rsi; mov %rcx, %rsp; ret");
CODE(eight_pushes, "mov %rdi, %rsp; push %rsi; push %rsi; push %rsi; push %rsi; push %rsi; "
     "push %rsi; push %rsi; push %rsi; mov %r12, %rsp; ret");

/* rdx: another register's group, with the carry of the first; rcx: an index beside them. */
CODE(two_groups, "mov (%rdi), %rax; add 8(%rdi), %rax; mov (%rdx), %rcx; mov 8(%rdx), %r8; "
     "adc %r8, %rcx; lea (%rcx,%rax), %rax; ret");
CODE(index_between, "mov %rsi, (%rdi); mov (%rdx,%rcx,8), %rax; mov %rsi, 8(%rdi); "
     "add (%rdi), %rax; ret");
CODE(far_apart, "mov %rsi, (%rdi); mov %rsi, 512(%rdi); mov 256(%rdi), %rax; mov (%rdi), %rax; "
     "add 512(%rdi), %rax; ret");

static void group_pairs(word at)
{
	word (*const two)(word, word, word) = (void *)two_groups;
	word (*const between)(word, word, word, word) = (void *)index_between;

	*(volatile word *)at = ~0ul;
	*(volatile word *)(at + 8) = 2;
	*(volatile word *)(TEST + 64) = 0x100;
	*(volatile word *)(TEST + 72) = 0x1000;
	for (word i = 0; i < 12; i++) {
		word add = i % 5 / 2;

		*(volatile word *)(at + 8) = add;
		CHECK_EQ(two(at, 0, TEST + 64), 0x1100 + add - !add);
	}
	*(volatile word *)(at + 8) = 0;
	CHECK_EQ(two(TEST + 64, 0, at), 0x10ff);
	for (unsigned page = 0; page < 2; page++)
		CHECK_EQ(between(at, 7, TEST + page * PAGE + 8, 7), 7 +
			 *(volatile word *)(TEST + page * PAGE + 64));
	CHECK_EQ(((word (*)(word, word))far_apart)(at, at), 2 * at);
	CHECK_EQ(*(volatile word *)(at + 512), at);
}

static void eight_words_at(word at)
{
	word i = at - TEST;

	((write_fn *)eight_words)(at, i);
	CHECK_EQ(*(volatile word *)(at + 0), i);
	CHECK_EQ(*(volatile word *)(at + 8), i);
	CHECK_EQ(*(volatile word *)(at + 16), i + 1);
	CHECK_EQ(*(volatile word *)(at + 24), i + 1);
	CHECK_EQ(*(volatile word *)(at + 40), i + 1);
	CHECK_EQ(*(volatile word *)(at + 48), i + i + 1);
	CHECK_EQ(*(volatile word *)(at + 56), i + i + 1);
}

/* Eight pushes onto a stack of which only the first few bytes are there. */
static void broken_stack(unsigned good)
{
	word top = TEST + PAGE + 8ul * good;

	for (unsigned i = 0; i < good; i++)
		((volatile word *)(TEST + PAGE))[i] = 0;
	CHECK_EQ(CATCH(asm volatile("mov %%rsp, %%r12; sub $8, %%r12; call *%0" : : "r"(eight_pushes),
				    "D"(top), "S"(0x1234ul) : "r12", "memory")), PF);
	CHECK_EQ(caught.error, E_W);
	CHECK_EQ(caught.sp, TEST + PAGE);
	CHECK_EQ(caught_cr2, TEST + PAGE - 8);
	CHECK_EQ(caught.ip, AT(eight_pushes) + 3 + good);
	for (unsigned i = 0; i < good; i++)
		CHECK_EQ(((volatile word *)(TEST + PAGE))[i], 0x1234);
}

static void groups(void)
{
	word (*const pushes)(word, word) = (void *)push_pop;

	map(0, FRAME_A | ALL);
	map(1, FRAME_B | ALL);
	for (unsigned i = 0; i < HOT; i++) {
		group_pairs(TEST + MIDDLE + i);
		eight_words_at(TEST + MIDDLE + i);
		CHECK_EQ(pushes(TEST + MIDDLE, 3), 2 * (TEST + MIDDLE) + 4);
	}
	for (word at = PAGE - 600; at < PAGE + 80; at++) {
		group_pairs(TEST + at);
		eight_words_at(TEST + at);
		CHECK_EQ(pushes(TEST + at, 3), 2 * (TEST + at) + 4);
	}
	for (unsigned i = 0; i < HOT; i++)
		asm volatile("mov %%rsp, %%r12; sub $8, %%r12; call *%0" : : "r"(eight_pushes),
			     "D"(TEST + MIDDLE), "S"(5ul) : "r12", "memory");
	map(0, 0);
	for (unsigned good = 0; good < 8; good++)
		broken_stack(good);
}

/* The mapping changes between two accesses: rdx, the entry; rsi, what it becomes. */
CODE(remap_inside, "mov (%rdi), %rax; mov 8(%rdi), %rcx; mov %rsi, (%rdx); invlpg (%rdi); "
     "add 16(%rdi), %rax; add 24(%rdi), %rax; ret");
/* The same by way of a fault that is handled: the store through r8 is the first to a page. */
CODE(remap_by_fault, "mov (%rdi), %rax; mov %al, (%r8); add 16(%rdi), %rax; add 24(%rdi), %rax; ret");

static word remap_to;

static bool on_fault(struct frame *frame)
{
	(void)frame;
	if (READ_REG(cr2) != TEST + 2 * PAGE + 64)
		return false;
	map(2, FRAME_B | ALL);
	map(0, remap_to | ALL);
	return true;
}

static void changes_inside(void)
{
	word (*const remap)(word, word, volatile word *) = (void *)remap_inside;

	fill(FRAME_A, 0x100);
	fill(FRAME_B, 0x20000);
	map(0, FRAME_A | ALL);
	for (unsigned i = 0; i < HOT; i++) {
		CHECK_EQ(remap(TEST, FRAME_B | ALL, &level[2][0]), 0x40100);
		CHECK_EQ(remap(TEST, FRAME_A | ALL, &level[2][0]), 0x20200);
	}
	hook[PF] = on_fault;
	for (unsigned i = 0; i < 2 * HOT; i++) {
		word sum;

		map(0, FRAME_A | ALL);
		map(2, i % 3 ? (FRAME_B + PAGE) | ALL : 0);
		remap_to = FRAME_B;
		asm volatile("mov %2, %%r8; call *%1" : "=a"(sum)
			     : "r"(remap_by_fault), "r"(TEST + 2 * PAGE + 64), "D"(TEST)
			     : "r8", "rcx", "memory");
		CHECK_EQ(sum, i % 3 ? 0x300 : 0x40100);
	}
	hook[PF] = NULL;
}

CODE(read_stac, "stac; mov (%rdi), %rax; clac; ret");
CODE(read_plain, "mov (%rdi), %rax; ret");

static void own_pages(word flags)
{
	boot_pd[0] = P | RW | ACCESSED | PS | flags;
	reload_cr3();
}

static void smap(void)
{
	word cr4 = READ_REG(cr4);

	if (!have("SMAP", cpuid(7, 0).ebx & 1 << 20))
		return;
	map(0, FRAME_A | ALL);
	map(1, FRAME_B | P | RW);
	own_pages(0);
	WRITE_REG(cr4, cr4 | CR4_SMAP);
	/* Hot with AC set by itself, and by its caller. */
	heat_reader((read_fn *)read_plain, TEST + PAGE, pattern_word(PAGE));
	heat_reader((read_fn *)read_stac, TEST + 8, pattern_word(8));
	CHECK_EQ(CATCH(((read_fn *)read_plain)(TEST + 8)), PF);
	asm volatile("stac");
	heat_reader((read_fn *)read_plain, TEST + 8, pattern_word(8));
	asm volatile("clac");
	CHECK_EQ(CATCH(((read_fn *)read_plain)(TEST + 8)), PF);
	CHECK_EQ(caught.error, E_P);
	heat_reader((read_fn *)read_plain, TEST + PAGE, pattern_word(PAGE));
	CHECK_EQ(CATCH(((read_fn *)read_plain)(TEST + 8)), PF);
	WRITE_REG(cr4, cr4);
	own_pages(US);
	map(1, FRAME_B | ALL);
}

/* rsp: where. Rings 1 and 3 run the same code, but have not the same rights. */
CODE(outer_read, "mov $200, %ecx; 1: mov (%rsp), %rax; dec %ecx; jnz 1b; int $0x80");

static unsigned outer(unsigned ring)
{
	return CATCH(enter((ring == 3 ? UCS64 : SLOT(0)) | ring, (word)outer_read, 2,
			   (ring == 3 ? UDS : SLOT(1)) | ring, TEST + MIDDLE));
}

static void rings(void)
{
	gdt_set(SLOT(0), 0, 0xfffff, A_CODE | A_L | A_G | A_DPL(1));
	gdt_set(SLOT(1), 0, 0xfffff, FLAT_DATA | A_DPL(1));
	map(0, FRAME_A | ALL);
	CHECK_EQ(outer(3), USER_DONE);
	map(0, FRAME_A | P | RW);
	CHECK_EQ(outer(1), USER_DONE);
	CHECK_EQ(outer(3), PF);
	CHECK_EQ(caught.error, E_P | E_U);
	CHECK_EQ(outer(1), USER_DONE);
	CHECK_EQ(outer(3), PF);
}

CODE(aligned_read, "mov $200, %ecx; 1: mov (%rsp), %rax; dec %ecx; jnz 1b; int $0x80");

/* Alignment checks begin while the page is known. */
static void alignment(void)
{
	map(0, FRAME_A | ALL);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_AM);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(CATCH(enter(UCS64, (word)aligned_read, 2, UDS, TEST + 1)), USER_DONE);
		CHECK_EQ(CATCH(enter(UCS64, (word)aligned_read, 2 | ACF, UDS, TEST + 1)), AC);
		CHECK_EQ(CATCH(enter(UCS64, (word)aligned_read, 2 | ACF, UDS, TEST + 8)),
			 USER_DONE);
	}
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_AM);
}

void guest_main(void)
{
	/* The stack may be what faults. */
	tss.ist[0] = (word)fault_stack_top;
	idt[PF].low |= 1ull << 32;
	idt[GP].low |= 1ull << 32;
	idt[SS].low |= 1ull << 32;
	remapped();
	rights();
	edges();
	wild();
	becomes_code();
	smap();
	rings();
	alignment();
	groups();
	changes_inside();
}
