/* SPDX-License-Identifier: MIT */
/*
 * Real mode: interrupts through the vector table, limits of 64 KiB and their faults, addresses of
 * 16 bits, decimal instructions, what exists in protected mode only, segments kept from protected
 * mode. Intel SDM vol. 3, 20.1; vol. 1, 3.3 and 7.3.
 *
 * Each piece of code is copied to 3000:0000 and run with a vector table whose every entry leads
 * back; INT 0x80 is its regular end.
 */
#include "guest.h"

#define CODE_BASE ((volatile char *)0x30000ul)
#define DATA_BASE ((volatile uint8_t *)0x40000ul)
#define STACK_BASE ((volatile uint8_t *)0x50000ul)
#define LOW_BASE 0x7000u
#define CODE16(name, text) CODE(name, ".code16\n" text "\nint $0x80\n.code32")
#define REAL(name) real(name, name##_end)

/* What the entry at the end of a piece keeps. */
extern struct {
	uint32_t di, si, bp, unused, bx, dx, cx, ax;
	uint16_t vector, ip, cs, flags, sp, ds, es, ss;
} real_state;
extern char real_low[], real_low_end[];
void real_enter(void);

/* Linked here, run at LOW_BASE: 256 entries of 8 bytes from offset 0x100 on. */
asm(".text\n.code16\n.globl real_low\nreal_low:\n"
    "mov $0x48, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
    "mov %cr0, %eax; and $~1, %al; mov %eax, %cr0\n"
    "ljmp $0x700, $1f - real_low\n"
    "1: mov $0x5000, %ax; mov %ax, %ss; mov $0x1000, %esp\n"
    "mov $0x4000, %ax; mov %ax, %ds; mov %ax, %es\n"
    "xor %eax, %eax; xor %ebx, %ebx; xor %ecx, %ecx; xor %edx, %edx\n"
    "xor %esi, %esi; xor %edi, %edi; xor %ebp, %ebp; pushw $2; popf\n"
    "ljmp $0x3000, $0\n"
    ".org real_low + 0x100\n"
    ".set vector16, 0\n.rept 256\npushw $vector16\njmp real_common\n"
    ".balign 8\n.set vector16, vector16 + 1\n.endr\n"
    "real_common:\n"
    "pushw %ds; pushw %es; pushal\n"
    "mov %sp, %bp\n"
    "xor %ax, %ax; mov %ax, %ds\n"
    /* Kept below the code that runs: 0x6f00. */
    "mov %ax, %es; mov $0x6f00, %di; mov %sp, %si; mov $16, %cx; cld\n"
    "rep movsw %ss:(%si), %es:(%di)\n"
    "mov 36(%bp), %ax; stosw; mov 38(%bp), %ax; stosw; mov 40(%bp), %ax; stosw\n"
    "mov 42(%bp), %ax; stosw; lea 44(%bp), %ax; stosw\n"
    "mov 34(%bp), %ax; stosw; mov 32(%bp), %ax; stosw; mov %ss, %ax; stosw\n"
    "mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
    "ljmpl $0x08, $real_back\n"
    "real_low_end:\n"
    ".code32\n"
    ".globl real_enter\nreal_enter:\n"
    "pusha; mov %esp, real_sp; sidt real_idt\n"
    "lidt real_ivt; ljmp $0x78, $0\n" /* a code segment over the copy: SLOT(3) */
    "real_back: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
    "mov real_sp, %esp; lidt real_idt; popa; ret\n"
    ".data\nreal_sp: .long 0\nreal_idt: .skip 6\nreal_ivt: .word 0x3ff; .long 0\n"
    ".globl real_state\n.set real_state, 0x6f00\n.text");

static unsigned real(const char *code, const char *end)
{
	for (unsigned i = 0; code + i < end; i++)
		CODE_BASE[i] = code[i];
	real_enter();
	return ((volatile typeof(real_state) *)&real_state)->vector;
}

static void prepare(void)
{
	volatile uint16_t *ivt = (volatile uint16_t *)0ul;
	volatile char *low = (volatile char *)LOW_BASE;

	asm volatile("" : "+r"(ivt));
	for (unsigned i = 0; real_low + i < real_low_end; i++)
		low[i] = real_low[i];
	for (unsigned i = 0; i < 256; i++) {
		ivt[i * 2] = (uint16_t)(0x100 + i * 8);
		ivt[i * 2 + 1] = LOW_BASE >> 4;
	}
	gdt_set(SLOT(3), LOW_BASE, 0xffff, A_CODE);
}

/* ---- interrupts ---- */

CODE16(c_plain, "mov $0x1234, %ax; stc; sti");
CODE16(c_int, "int $0x21; c_int_back:");
CODE16(c_div, "xor %cx, %cx; div %cx");
CODE16(c_bound, "movl $0x00050001, (0); mov $6, %ax; bound %ax, (0)");
CODE16(c_into, "mov $0x7f, %al; inc %al; into");
CODE16(c_int3, "int3");
CODE16(c_ud, "ud2");
CODE16(c_iret, "pushw $0x0003; push %cs; pushw $1f - c_iret; iret; 1: pushf; pop %ax");
CODE16(c_short, "mov $0x80 * 4 + 2, %bx; mov %bx, (0); movl $0, (2); lidt (0)");
CODE16(c_step, "pushw $0x102; popf; nop");

static void interrupts(void)
{
	CHECK_EQ(REAL(c_plain), USER_DONE);
	CHECK_EQ(real_state.ax, 0x1234);
	CHECK_EQ(real_state.cs, 0x3000);
	CHECK_EQ(real_state.flags, IF | CF | 2);
	CHECK_EQ(real_state.sp, 0x1000);
	CHECK_EQ(real_state.ss, 0x5000);
	CHECK_EQ(REAL(c_int), 0x21);
	CHECK_EQ(real_state.ip, 2);
	CHECK_EQ(REAL(c_div), DE);
	CHECK_EQ(real_state.ip, 2);
	CHECK_EQ(REAL(c_bound), BR);
	CHECK_EQ(REAL(c_into), OF);
	CHECK_EQ(real_state.ip, 5);
	CHECK_EQ(REAL(c_int3), BP);
	CHECK_EQ(real_state.ip, 1);
	CHECK_EQ(REAL(c_ud), UD);
	CHECK_EQ(REAL(c_iret), USER_DONE);
	CHECK_EQ(real_state.ax & 0xffff, 3);
	CHECK_EQ(real_state.sp, 0x1000);
	CHECK_EQ(REAL(c_short), GP); /* beyond the table's limit */
	CHECK_EQ(REAL(c_step), DB);
	CHECK_EQ(real_state.ip, 5);
}

/* ---- limits and addresses ---- */

CODE16(c_word_at_end, "mov (0xffff), %ax");
CODE16(c_byte_at_end, "movb $0x5a, (0xffff); mov (0xffff), %al");
CODE16(c_bp_at_end, "mov $0xffff, %bp; mov (%bp), %ax");
CODE16(c_far_32, "mov $0x10000, %ebx; mov (%ebx), %al");
CODE16(c_far_esp, "mov $0x10000, %ebx; mov %ss:(%ebx), %al");
CODE16(c_push_wraps, "xor %sp, %sp; pushw $0x1234; mov %sp, %ax");
CODE16(c_pop_end, "mov $0xffff, %sp; pop %ax");
CODE16(c_ip_end, "jmp c_ip_end + 0xffff");
CODE16(c_jump_far, "ljmp $0x2fff, $1f - c_jump_far + 16; 1: mov %cs, %ax");
CODE16(c_near_32, "pushl $0x10000; retl");
CODE16(c_wrap_16, "movb $0x77, (1); mov $0xffff, %bx; mov 2(%bx), %al");
CODE16(c_modes, "movw $0x1111, (0x30); movw $0x2222, %ss:(0x30)\n"
		"mov $0x10, %bx; mov $0x20, %si; mov (%bx, %si), %ax\n"
		"mov $0x10, %bp; mov $0x20, %di; mov (%bp, %di), %cx\n"
		"mov -0x10(%bp, %di), %dx; mov %ds:(%bp, %di), %dx");
CODE16(c_segment, "mov $0x4100, %ax; mov %ax, %fs; movb $0x66, %fs:(0x10); mov (0x1010), %al");
CODE16(c_high, "mov $0xffff, %ax; mov %ax, %fs; mov %fs:(0x10), %al");
CODE16(c_string, "mov $0xfffe, %di; mov $3, %cx; mov $0xaa, %al; rep stosb");
CODE16(c_push_mem, "movw $0xbeef, (4); pushw (4); pop %bx; pushl $0x12345678; popl %ecx");
CODE16(c_lea, "mov $0xfff0, %bx; lea 0x20(%bx), %ax; lea 0x20(%ebx), %ecx");
CODE16(c_loop, "mov $0x10002, %ecx; xor %ax, %ax; 1: inc %ax; loop 1b; mov %ecx, %edx");
CODE16(c_enter, "mov $0x1234, %bp; enter $4, $0; mov %bp, %ax; mov %sp, %bx; leave");

static void addresses(void)
{
	DATA_BASE[0] = 0;
	CHECK_EQ(REAL(c_word_at_end), GP);
	CHECK_EQ(real_state.ip, 0);
	CHECK_EQ(REAL(c_byte_at_end), USER_DONE);
	CHECK_EQ(real_state.ax, 0x5a);
	CHECK_EQ(REAL(c_bp_at_end), SS);
	CHECK_EQ(REAL(c_far_32), GP);
	CHECK_EQ(REAL(c_far_esp), SS);
	CHECK_EQ(REAL(c_push_wraps), USER_DONE);
	CHECK_EQ(real_state.ax, 0xfffe);
	CHECK_EQ(STACK_BASE[0xffff] << 8 | STACK_BASE[0xfffe], 0x1234);
	CHECK_EQ(REAL(c_pop_end), SS);
	CHECK_EQ(real_state.sp, 0xffff);
	CODE_BASE[0xffff] = (char)0x90;
	CHECK_EQ(REAL(c_ip_end), GP); /* fetches do not wrap */
	CHECK_EQ(REAL(c_near_32), GP);
	CHECK_EQ(REAL(c_jump_far), USER_DONE);
	CHECK_EQ(real_state.ax, 0x2fff);
	CHECK_EQ(REAL(c_wrap_16), USER_DONE);
	CHECK_EQ(real_state.ax, 0x77);
	CHECK_EQ(REAL(c_modes), USER_DONE);
	CHECK_EQ(real_state.ax, 0x1111);
	CHECK_EQ(real_state.cx, 0x2222);
	CHECK_EQ(real_state.dx, 0x1111);
	CHECK_EQ(REAL(c_segment), USER_DONE);
	CHECK_EQ(real_state.ax & 0xff, 0x66);
	/* The A20 line is on: FFFF:0010 is not 0000:0000. */
	CHECK_EQ(REAL(c_high), USER_DONE);
	CHECK_EQ(real_state.ax & 0xff, *(volatile uint8_t *)0x100000);
	CHECK_EQ(REAL(c_string), USER_DONE);
	CHECK_EQ(real_state.di, 1);
	CHECK_EQ(DATA_BASE[0], 0xaa);
	CHECK_EQ(REAL(c_push_mem), USER_DONE);
	CHECK_EQ(real_state.bx, 0xbeef);
	CHECK_EQ(real_state.cx, 0x12345678);
	CHECK_EQ(REAL(c_lea), USER_DONE);
	CHECK_EQ(real_state.ax, 0x0010);
	CHECK_EQ(real_state.cx, 0x10010);
	CHECK_EQ(REAL(c_loop), USER_DONE);
	CHECK_EQ(real_state.ax, 2);
	CHECK_EQ(real_state.dx, 0x10000);
	CHECK_EQ(REAL(c_enter), USER_DONE);
	CHECK_EQ(real_state.ax, 0x0ffe);
	CHECK_EQ(real_state.bx, 0x0ffa);
	CHECK_EQ(real_state.bp, 0x1234);
}

/* ---- what protected mode has ---- */

CODE16(c_sldt, "sldt %ax");
CODE16(c_str, "str %ax");
CODE16(c_lldt, "xor %ax, %ax; lldt %ax");
CODE16(c_ltr, "xor %ax, %ax; ltr %ax");
CODE16(c_lar, "lar %ax, %ax");
CODE16(c_lsl, "lsl %ax, %ax");
CODE16(c_verr, "verr %ax");
CODE16(c_arpl, ".byte 0x63, 0xc0");
CODE16(c_sysenter, "sysenter");
CODE16(c_vex, ".byte 0xc5, 0xf8, 0x77");
CODE16(c_mov_cs, ".byte 0x8e, 0xc8");
CODE16(c_smsw, "smsw %ax; sgdt (0); sidt (8); mov %cr0, %ebx");
CODE16(c_bad_cr0, "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0");
CODE16(c_lock, ".byte 0xf0, 0x90");

static void foreign(void)
{
	CHECK_EQ(REAL(c_sldt), UD);
	CHECK_EQ(REAL(c_str), UD);
	CHECK_EQ(REAL(c_lldt), UD);
	CHECK_EQ(REAL(c_ltr), UD);
	CHECK_EQ(REAL(c_lar), UD);
	CHECK_EQ(REAL(c_lsl), UD);
	CHECK_EQ(REAL(c_verr), UD);
	CHECK_EQ(REAL(c_arpl), UD);
	CHECK_EQ(REAL(c_sysenter), GP);
	CHECK_EQ(REAL(c_vex), UD);
	CHECK_EQ(REAL(c_mov_cs), UD);
	CHECK_EQ(REAL(c_lock), UD);
	CHECK_EQ(REAL(c_bad_cr0), GP); /* paging wants protection */
	CHECK_EQ(REAL(c_smsw), USER_DONE);
	CHECK_EQ(real_state.ax & 1, 0);
	CHECK_EQ(*(volatile uint16_t *)DATA_BASE, 511);
	CHECK_EQ(*(volatile uint16_t *)(DATA_BASE + 8), 0x3ff);
}

/* Limits that protected mode left behind: "unreal" mode. */
CODE16(c_unreal, "lgdtl %cs:1f - c_unreal; mov %cr0, %eax; or $1, %al; mov %eax, %cr0; jmp 2f\n"
		 "1: .word 511; .long gdt; 2: mov $0x10, %bx; mov %bx, %fs\n"
		 "and $~1, %al; mov %eax, %cr0; jmp 3f; 3:\n"
		 "mov $unreal_there, %ebx; mov %fs:(%ebx), %ecx\n"
		 "mov $0x4000, %ax; mov %ax, %fs; mov $0x20000, %ebx; movb %fs:(%ebx), %dl");

extern const uint32_t unreal_there;
const uint32_t unreal_there = 0x600dcafe;

static void unreal(void)
{
	*(volatile uint8_t *)0x60000 = 0x3c;
	CHECK_EQ(REAL(c_unreal), USER_DONE);
	CHECK_EQ(real_state.cx, 0x600dcafe);
	CHECK_EQ(real_state.dx & 0xff, 0x3c); /* a new base, the limit stays */
	/* A limit of 64 KiB again for what comes after. */
	asm volatile("mov %0, %%fs" : : "r"(KDS16));
}

/* ---- decimal arithmetic, beside a model of the manual's pseudo-code ---- */

struct decimal { uint8_t al, ah; bool cf, af; };

static struct decimal model_daa(uint8_t al, bool cf, bool af, bool subtract)
{
	struct decimal r = { .al = al, .cf = cf, .af = af };

	if ((al & 15) > 9 || af) {
		r.cf = cf || (subtract ? al < 6 : al > 0xf9);
		r.al = (uint8_t)(subtract ? r.al - 6 : r.al + 6);
		r.af = true;
	} else {
		r.af = false;
	}
	if (al > 0x99 || cf) {
		r.al = (uint8_t)(subtract ? r.al - 0x60 : r.al + 0x60);
		r.cf = true;
	} else if (!subtract) {
		r.cf = false;
	}
	return r;
}

static struct decimal model_aaa(uint8_t al, bool af, bool subtract)
{
	struct decimal r = { .al = al & 15, .ah = 0x40 };

	if ((al & 15) > 9 || af) {
		uint16_t ax = (uint16_t)(0x4000 | al);

		ax = (uint16_t)(subtract ? ax - 0x106 : ax + 0x106);
		r = (struct decimal){ ax & 15, (uint8_t)(ax >> 8), true, true };
	}
	return r;
}

#define DECIMAL(op, ax, flags) ({ \
	word ax_ = (ax), flags_ = (flags); \
	asm volatile("push %1; popf; " op "; pushf; pop %1" : "+a"(ax_), "+r"(flags_) : : "cc"); \
	decimal(ax_, flags_); })
#define AF 0x10ul

static struct decimal decimal(word ax, word flags)
{
	return (struct decimal){ (uint8_t)ax, (uint8_t)(ax >> 8), flags & CF, flags & AF };
}

static bool same(struct decimal a, struct decimal b)
{
	return a.al == b.al && a.ah == b.ah && a.cf == b.cf && a.af == b.af;
}

static void decimals(void)
{
	bool daa = true, das = true, aaa = true, aas = true, aam = true, aad = true;

	for (unsigned i = 0; i < 1024; i++) {
		uint8_t al = (uint8_t)i;
		bool cf = i & 256, af = i & 512;
		word flags = 2 | (cf ? CF : 0) | (af ? AF : 0);

		daa &= same(DECIMAL("daa", al, flags), model_daa(al, cf, af, false));
		das &= same(DECIMAL("das", al, flags), model_daa(al, cf, af, true));
		aaa &= same(DECIMAL("aaa", 0x4000 | al, flags), model_aaa(al, af, false));
		aas &= same(DECIMAL("aas", 0x4000 | al, flags), model_aaa(al, af, true));
	}
	for (unsigned i = 0; i < 256; i++) {
		struct decimal m = DECIMAL("aam", i, 2), d = DECIMAL("aad $7", 0x300 | i, 2);

		aam &= m.ah == i / 10 && m.al == i % 10;
		aad &= d.ah == 0 && d.al == (uint8_t)(i + 21);
	}
	CHECK(daa);
	CHECK(das);
	CHECK(aaa);
	CHECK(aas);
	CHECK(aam);
	CHECK(aad);
	EXPECT(DE, 0, "aam $0");
	EXPECT(NONE, 0, "aad $0");
}

void guest_main(void)
{
	prepare();
	interrupts();
	addresses();
	foreign();
	unreal();
	decimals();
}
