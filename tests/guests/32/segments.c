/* SPDX-License-Identifier: MIT */
/*
 * Segments in protected mode: loads by type, privilege and presence with their error codes, limits,
 * expand-down segments, null selectors, accessed bits, LAR/LSL/VERR/VERW/ARPL. Intel SDM vol. 3,
 * chapters 3 and 5.
 */
#include "guest.h"

#define RO_DATA 0x91
#define DOWN 0x97 /* expand-down, writable */
#define EXEC_ONLY 0x99
#define CONFORMING 0x9e
#define ABSENT 0x80

static uint8_t buffer[8192] __attribute__((aligned(4096)));

static uint8_t access_byte(unsigned selector)
{
	return (uint8_t)(ONCE(gdt[selector / 8]) >> 40);
}

static void loads_by_type(void)
{
	const unsigned s = SLOT(0);

	EXPECT(GP, 0x400 & ~7u, "mov %0, %%ds", "r"(0x400)); /* beyond the GDT */
	EXPECT(GP, s, "mov %0, %%es", "r"(s));               /* an empty descriptor */
	gdt_set(s, 0, 0xfffff, EXEC_ONLY | A_G | A_DB);
	EXPECT(GP, s, "mov %0, %%ds", "r"(s));
	gdt_set(s, 0, 0xfffff, FLAT_CODE);
	EXPECT(NONE, 0, "mov %%ds, %%edi; mov %0, %%ds; mov %%edi, %%ds", "S"(s));
	EXPECT(GP, s, "mov %0, %%ss", "r"(s)); /* code is no stack */
	gdt_set(s, 0, 0xfffff, RO_DATA | A_G | A_DB);
	EXPECT(NONE, 0, "mov %0, %%es", "r"(s));
	EXPECT(GP, s, "mov %0, %%ss", "r"(s));
	gdt_set(s, 0, 0xfffff, FLAT_DATA & ~ABSENT);
	EXPECT(NP, s, "mov %0, %%ds", "r"(s));
	EXPECT(SS, s, "mov %0, %%ss", "r"(s));
	gdt_set(s, 0, 0x67, 0x89);
	EXPECT(GP, s, "mov %0, %%ds", "r"(s));
	EXPECT(GP, KTSS, "mov %0, %%fs", "r"(KTSS));
	EXPECT(GP, s | 4, "mov %0, %%ds", "r"(s | 4)); /* no LDT */
	EXPECT(UD, 0, ".byte 0x8e, 0xc8");  /* mov %eax, %cs */
	EXPECT(UD, 0, ".byte 0x8e, 0xf0");  /* segment register 6 */
	EXPECT(UD, 0, ".byte 0x8c, 0xf8");
}

static void loads_by_privilege(void)
{
	const unsigned s = SLOT(1);

	gdt_set(s, 0, 0xfffff, FLAT_DATA);
	EXPECT(GP, s, "mov %0, %%ds", "r"(s | 3)); /* RPL counts */
	EXPECT(GP, s, "mov %0, %%ss", "r"(s | 1));
	EXPECT(GP, UDS & ~3, "mov %0, %%ss", "r"(UDS));
	EXPECT(GP, UDS & ~3, "mov %0, %%ss", "r"(UDS & ~3)); /* DPL 3 at CPL 0 */
	gdt_set(s, 0, 0xfffff, CONFORMING | A_G | A_DB);
	EXPECT(NONE, 0, "mov %0, %%es", "r"(s | 3)); /* conforming code: anybody reads it */
	gdt_set(s, 0, 0xfffff, FLAT_DATA & ~ABSENT);
	EXPECT(GP, s, "mov %0, %%ds", "r"(s | 3)); /* privilege before presence */
}

CODE(user_kernel_ds, "mov $0x10, %eax; mov %eax, %ds; int $0x80");
CODE(user_kernel_ss, "mov $0x10, %eax; mov %eax, %ss; int $0x80");
CODE(user_ss_rpl, "mov $0x20, %eax; mov %eax, %ss; int $0x80");
CODE(user_null_ss, "xor %eax, %eax; mov %eax, %ss; int $0x80");
CODE(user_null_ds, "xor %eax, %eax; mov %eax, %ds; int $0x80");
CODE(user_use_null, "xor %eax, %eax; mov %eax, %ds; mov 0, %al; int $0x80");
CODE(user_own, "mov $0x20, %eax; mov %eax, %ds; mov %eax, %es; int $0x80");

static void loads_in_ring_3(void)
{
	CHECK_EQ(user(user_kernel_ds), GP);
	CHECK_EQ(caught.error, 0x10);
	CHECK_EQ(caught.ip, AT(user_kernel_ds) + 5);
	CHECK_EQ(user(user_kernel_ss), GP);
	CHECK_EQ(caught.error, 0x10);
	CHECK_EQ(user(user_ss_rpl), GP);
	CHECK_EQ(caught.error, 0x20);
	CHECK_EQ(user(user_null_ss), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(user(user_null_ds), USER_DONE);
	CHECK_EQ(user(user_use_null), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(user(user_own), USER_DONE);
	CHECK_EQ(caught.cs, UCS32);
	CHECK_EQ(caught.ss, UDS);
}

static void null_selectors(void)
{
	EXPECT(NONE, 0, "mov %0, %%fs", "r"(0));
	EXPECT(NONE, 0, "mov %0, %%fs", "r"(3));
	EXPECT(GP, 0, "mov %%fs:0, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%al, %%gs:(%0)", "r"(buffer));
	EXPECT(GP, 0, "mov %0, %%ss", "r"(0));
	EXPECT(GP, 0, "lcall *%0", "m"(*(uint64_t[]){ 0 }));
	EXPECT(GP, 0, "ljmp *%0", "m"(*(uint64_t[]){ 0 }));
	EXPECT_EVENT(GP, 0, "push $0; push $0; lret");
}

static void accessed_bits(void)
{
	const unsigned s = SLOT(2);

	gdt_set(s, 0, 0xfffff, (FLAT_DATA & ~1));
	CHECK_EQ(access_byte(s), 0x92);
	EXPECT(NONE, 0, "mov %0, %%fs", "r"(s));
	CHECK_EQ(access_byte(s), 0x93);
	gdt_set(s, 0, 0xfffff, (FLAT_DATA & ~1));
	EXPECT(NONE, 0, "lar %0, %%eax; lsl %0, %%eax; verr %w0; verw %w0", "r"(s));
	CHECK_EQ(access_byte(s), 0x92);
	EXPECT(GP, s, "mov %0, %%fs", "r"(s | 3));
	CHECK_EQ(access_byte(s), 0x92);
	gdt_set(s, 0, 0xfffff, (FLAT_CODE & ~1));
	EXPECT(NONE, 0, "push %0; push $1f; lret; 1: ljmp $0x08, $1f; 1:", "r"(s));
	CHECK_EQ(access_byte(s), 0x9b);
}

/* A segment over buffer in FS, then accesses around its end. */
static void set_fs(uint32_t limit, unsigned attr)
{
	gdt_set(SLOT(3), (word)buffer, limit, attr);
	asm volatile("mov %0, %%fs" : : "r"(SLOT(3)));
}

static void limits(void)
{
	set_fs(0xff, A_DATA | A_DB);
	EXPECT(NONE, 0, "mov %%fs:0xff, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0x100, %%al", "r"(0));
	EXPECT(NONE, 0, "mov %%fs:0xfc, %%eax", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0xfd, %%eax", "r"(0));
	EXPECT(GP, 0, "mov %%ax, %%fs:0xff", "r"(0));
	EXPECT(GP, 0, "mov %%al, %%fs:0xffffffff", "r"(0));
	EXPECT(GP, 0, "mov %%eax, %%fs:0xfffffffe", "r"(0)); /* round the end */
	EXPECT(NONE, 0, ".byte 0x64; lea 0x1000, %%eax", "r"(0)); /* no access */
	EXPECT(GP, 0, "bts %0, %%fs:0", "r"(0x800)); /* a bit far away */
	EXPECT(NONE, 0, "bts %0, %%fs:0", "r"(0x7e0));
	set_fs(1, A_DATA | A_DB | A_G);
	EXPECT(NONE, 0, "mov %%fs:0x1fff, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0x2000, %%al", "r"(0));
	set_fs(0xff, RO_DATA | A_DB);
	EXPECT(NONE, 0, "mov %%fs:0, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%al, %%fs:0", "r"(0));
	EXPECT(GP, 0, "lock incl %%fs:0", "r"(0));
	EXPECT(NONE, 0, "cmp %%eax, %%fs:0", "r"(0));
	set_fs(0xff, A_CODE | A_DB);
	EXPECT(NONE, 0, "mov %%fs:0, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%al, %%fs:0", "r"(0));
	EXPECT(GP, 0, "mov %%al, %%cs:(%0)", "r"(buffer)); /* code is not written to */
	EXPECT(NONE, 0, "mov %%cs:(%0), %%al", "r"(buffer));
}

static void expand_down(void)
{
	set_fs(0xfff, DOWN | A_DB);
	EXPECT(GP, 0, "mov %%fs:0xfff, %%al", "r"(0));
	EXPECT(NONE, 0, "mov %%fs:0x1000, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0xffc, %%eax", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0xffd, %%eax", "r"(0));
	EXPECT(NONE, 0, "mov %%fs:0x10000, %%al", "r"(0));
	set_fs(0xfff, DOWN); /* its upper bound is 64 K */
	EXPECT(NONE, 0, "mov %%fs:0xffff, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0x10000, %%al", "r"(0));
	EXPECT(GP, 0, "mov %%fs:0xffff, %%ax", "r"(0));
	set_fs(0, DOWN | A_DB | A_G);
	EXPECT(GP, 0, "mov %%fs:0xfff, %%al", "r"(0));
	EXPECT(NONE, 0, "mov %%fs:0x1000, %%al", "r"(0));
}

CODE(user_push, "push %eax; int $0x80");
CODE(user_push_bp, "movl $0, (%ebp); int $0x80");
CODE(user_pop, "mov $0xfe, %esp; pop %eax; int $0x80");
CODE(user_call, "call user_call; int $0x80");
CODE(user_enter, "enter $0, $1; int $0x80");
CODE(user_pusha, "pusha; int $0x80");

static unsigned user_stack(const void *code, word sp)
{
	return CATCH(enter(UCS, (word)code, 2, SLOT(5) | 3, sp));
}

static void stack_limits_in_ring_3(void)
{
	gdt_set(SLOT(5), (word)buffer, 0xff, A_DATA | A_DB | A_DPL(3));
	CHECK_EQ(user_stack(user_push, 0x100), USER_DONE);
	CHECK_EQ(caught.sp, 0xfc);
	CHECK_EQ(user_stack(user_push, 2), SS);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.sp, 2);
	CHECK_EQ(caught.ip, AT(user_push));
	CHECK_EQ(user_stack(user_push, 0), SS);
	CHECK_EQ(user_stack(user_push, 0x102), SS);
	CHECK_EQ(user_stack(user_pop, 0), SS);
	CHECK_EQ(caught.sp, 0xfe);
	CHECK_EQ(user_stack(user_call, 3), SS);
	CHECK_EQ(caught.ip, AT(user_call));
	CHECK_EQ(user_stack(user_enter, 4), SS);
	CHECK_EQ(caught.sp, 4);
	CHECK_EQ(user_stack(user_pusha, 31), SS);
	CHECK_EQ(caught.sp, 31);
	CHECK_EQ(user_stack(user_pusha, 32), USER_DONE);
	CHECK_EQ(caught.sp, 0);
}

static void small_stacks(void)
{
	/* A 16-bit stack segment: SP alone counts, and wraps. */
	gdt_set(SLOT(5), (word)buffer & ~0xffffu, 0xffff, A_DATA | A_DPL(3));
	CHECK_EQ(user_stack(user_push, 0x12340000 + 0x1004), USER_DONE);
	CHECK_EQ(caught.sp & 0xffff, 0x1000);
}

#define SEGMENT_OP(op, selector) ({ \
	word value_ = 0xdeadbeef, flags_; \
	asm volatile(op " %2, %0; pushf; pop %1" : "+r"(value_), "=r"(flags_) : "r"(selector) \
			: "cc"); \
	flags_ & ZF ? value_ : 0xbad; })
#define VERIFY(op, selector) ({ \
	word flags_; \
	asm volatile(op " %w1; pushf; pop %0" : "=r"(flags_) : "r"(selector) : "cc"); \
	!!(flags_ & ZF); })

static void queries(void)
{
	gdt_set(SLOT(6), 0x12345678, 0xabcde, A_DATA | A_G | 0x1000);
	CHECK_EQ(SEGMENT_OP("lar", SLOT(6)), 0x00909300 | 0xa0000);
	CHECK_EQ(SEGMENT_OP("lsl", SLOT(6)), 0xabcdefff);
	CHECK_EQ(SEGMENT_OP("lar", SLOT(6) | 3), 0xbad);
	CHECK_EQ(SEGMENT_OP("lar", 0), 0xbad);
	CHECK_EQ(SEGMENT_OP("lsl", 0x400), 0xbad);
	gdt_set(SLOT(6), 0, 0x1234, A_DATA & ~0x80);
	CHECK_EQ(SEGMENT_OP("lsl", SLOT(6)), 0x1234); /* presence does not count */
	gdt_set(SLOT(6), 0, 0x67, 0x89);
	CHECK_EQ(SEGMENT_OP("lar", SLOT(6)), 0x8900);
	CHECK_EQ(SEGMENT_OP("lsl", SLOT(6)), 0x67);
	gdt_set(SLOT(6), 0, 0x67, 0x8c); /* a call gate: LAR yes, LSL no */
	CHECK_EQ(SEGMENT_OP("lar", SLOT(6)), 0x8c00);
	CHECK_EQ(SEGMENT_OP("lsl", SLOT(6)), 0xbad);
	gdt_set(SLOT(6), 0, 0x67, 0x8e); /* an interrupt gate: neither */
	CHECK_EQ(SEGMENT_OP("lar", SLOT(6)), 0xbad);
	CHECK_EQ(SEGMENT_OP("lsl", SLOT(6)), 0xbad);

	CHECK_EQ(VERIFY("verr", KDS), 1);
	CHECK_EQ(VERIFY("verw", KDS), 1);
	CHECK_EQ(VERIFY("verw", KCS), 0);
	CHECK_EQ(VERIFY("verr", KCS), 1);
	CHECK_EQ(VERIFY("verr", KDS | 3), 0);
	CHECK_EQ(VERIFY("verr", UDS), 1);
	CHECK_EQ(VERIFY("verr", KTSS), 0);
	CHECK_EQ(VERIFY("verr", 0), 0);
	gdt_set(SLOT(6), 0, 0xfffff, CONFORMING | A_G | A_DB);
	CHECK_EQ(VERIFY("verr", SLOT(6) | 3), 1);
	gdt_set(SLOT(6), 0, 0xfffff, EXEC_ONLY | A_G | A_DB);
	CHECK_EQ(VERIFY("verr", SLOT(6)), 0);
	gdt_set(SLOT(6), 0, 0xfffff, RO_DATA);
	CHECK_EQ(VERIFY("verw", SLOT(6)), 0);
}

static void arpl(void)
{
	word selector = 0x10, flags;

	asm volatile("arpl %w2, %w0; pushf; pop %1" : "+r"(selector), "=r"(flags) : "r"(0x1b)
			: "cc");
	CHECK_EQ(selector, 0x13);
	CHECK(flags & ZF);
	asm volatile("arpl %w2, %w0; pushf; pop %1" : "+r"(selector), "=r"(flags) : "r"(0x1a)
			: "cc");
	CHECK_EQ(selector, 0x13);
	CHECK(!(flags & ZF));
}

static void far_pointers(void)
{
	static struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) pointer;
	word si, selector;

	pointer.offset = 0x12345678;
	pointer.selector = KDS;
	asm volatile("lfs %2, %0; mov %%fs, %1" : "=r"(si), "=r"(selector) : "m"(pointer));
	CHECK_EQ(si, 0x12345678);
	CHECK_EQ(selector, KDS);
	pointer.selector = 0x400;
	/* The register is not changed by a load that fails. */
	EXPECT(GP, 0x400, "lgs %0, %%ebx", "m"(pointer));
	EXPECT(GP, 0x400, "les %0, %%eax", "m"(pointer));
	EXPECT(UD, 0, ".byte 0xc5, 0xc0"); /* lds with a register operand */
	pointer.selector = 0;
	EXPECT(GP, 0, "lss %0, %%esp", "m"(pointer));
}

static void local_table(void)
{
	static uint64_t ldt[2];

	ldt[1] = descriptor(0, 0xfffff, FLAT_DATA);
	gdt_set(SLOT(7), (word)ldt, sizeof(ldt) - 1, 0x82);
	EXPECT(GP, SLOT(0) & ~7, "lldt %w0", "r"(SLOT(0)));
	gdt_set(SLOT(8), (word)ldt, sizeof(ldt) - 1, 0x02);
	EXPECT(NP, SLOT(8), "lldt %w0", "r"(SLOT(8)));
	EXPECT(GP, SLOT(7) | 4, "lldt %w0", "r"(SLOT(7) | 4));
	EXPECT(NONE, 0, "lldt %w0", "r"(SLOT(7)));
	EXPECT(NONE, 0, "mov %0, %%fs; mov %%fs:(%1), %%eax", "r"(8 | 4), "r"(buffer));
	EXPECT(GP, 0x14, "mov %0, %%fs", "r"(0x10 | 4));
	EXPECT(NONE, 0, "lldt %w0", "r"(0));
	EXPECT(GP, 0xc, "mov %0, %%fs", "r"(8 | 4));
	EXPECT(GP, KTSS, "ltr %w0", "r"(KTSS)); /* busy */
	EXPECT(GP, 0, "ltr %w0", "r"(0));
}

/* A far jump to the next instruction through a selector of ring 0. */
static unsigned far_jump(unsigned selector)
{
	struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) pointer = { 0, 0 };

	pointer.selector = (uint16_t)selector;
	return CATCH(asm volatile("movl $1f, %0; ljmp *%0; 1: ljmp $0x08, $1f; 1:" : : "m"(pointer)
				  : CLOBBERS));
}

static void far_jumps(void)
{
	const unsigned s = SLOT(10);

	CHECK_EQ(far_jump(KCS), NONE);
	CHECK_EQ(far_jump(KCS | 3), GP); /* RPL above DPL */
	CHECK_EQ(caught.error, KCS);
	CHECK_EQ(far_jump(UCS32), GP); /* outwards goes by return alone */
	CHECK_EQ(caught.error, UCS32 & ~3u);
	CHECK_EQ(far_jump(KDS), GP);
	gdt_set(s, 0, 0xfffff, FLAT_CODE & ~0x80);
	CHECK_EQ(far_jump(s), NP);
	CHECK_EQ(caught.error, s);
	gdt_set(s, 0, 0xfffff, CONFORMING | A_G | A_DB);
	CHECK_EQ(far_jump(s), NONE);
	CHECK_EQ(far_jump(s | 3), NONE); /* conforming: RPL does not count */
	gdt_set(s, 0, 0xfffff, CONFORMING | A_G | A_DB | A_DPL(3));
	CHECK_EQ(far_jump(s), GP); /* but its DPL may not be outer */
	gdt_set(s, 0, 0xff, A_CODE | A_DB);
	CHECK_EQ(far_jump(s), GP); /* EIP beyond the limit */
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.cs, KCS);
}

void guest_main(void)
{
	loads_by_type();
	loads_by_privilege();
	loads_in_ring_3();
	null_selectors();
	accessed_bits();
	limits();
	expand_down();
	stack_limits_in_ring_3();
	small_stacks();
	queries();
	arpl();
	far_pointers();
	local_table();
	far_jumps();
}
