/* SPDX-License-Identifier: MIT */
/*
 * What kernels do all the time, in code that is hot: control registers and selectors that are read,
 * bases of segments, CH. Each value comes to registers of every kind that a translator may know.
 * Intel SDM vol. 2, MOV, RDFSBASE; vol. 3, 2.5.
 */
#include "guest.h"

#define TIMES 100
#define ONES ~0ul
#define HIGH ~0xfffful

static word out[8];

/* rdi: where eight values go. Each register is all ones before. */
#define ALL_ONES "mov $-1, %rdx; mov %rdx, %rcx; mov %rdx, %r9; mov %rdx, %r10; mov %rdx, %r14\n"
#define STORE "mov %rdx, (%rdi); mov %rcx, 8(%rdi); mov %r9, 16(%rdi); mov %r10, 24(%rdi)\n" \
	      "mov %r14, 32(%rdi); ret"
CODE(controls, ALL_ONES "mov %cr0, %rdx; mov %cr2, %rcx; mov %cr3, %r9; mov %cr4, %r10; mov %cr2, %r14\n"
     STORE);
CODE(selectors, ALL_ONES "mov %cs, %dx; mov %ss, %ecx; mov %cs, %r9w; mov %cs, %r10d; mov %ss, %r14\n"
     STORE);
/* CH beside its own low half, memory, flags that are read and flags that are kept. */
CODE(high_bytes, "mov $0x12345678, %ecx; mov $0x55, %edx; stc; adc $0x71, %ch; adc %dl, %ch\n"
     "mov %cl, %ch; add %ch, %cl; mov %rcx, (%rdi); mov %ch, 8(%rdi); xor 8(%rdi), %ch\n"
     "setz %dl; or $0x80, %ch; movzx %ch, %eax; mov %rax, 16(%rdi); mov %rdx, 24(%rdi)\n"
     "mov %rcx, 32(%rdi); ret");

static void run(const void *code)
{
	asm volatile("call *%0" : : "r"(code), "D"(out) : "rax", "rcx", "rdx", "r9", "r10", "r14",
		     "memory", "cc");
}

/* Runs a piece of code that is hot in the end; it stores the same each time. */
static void repeat(const void *code)
{
	word first[5];
	unsigned wrong = 0;

	run(code);
	for (unsigned i = 0; i < 5; i++)
		first[i] = out[i];
	for (unsigned n = 0; n < TIMES; n++) {
		run(code);
		for (unsigned i = 0; i < 5; i++)
			wrong += out[i] != first[i];
	}
	CHECK_EQ(wrong, 0);
}

static void registers(void)
{
	WRITE_REG(cr2, 0x123456789a);
	repeat(controls);
	CHECK_EQ(out[0], READ_REG(cr0));
	CHECK_EQ(out[1], 0x123456789a);
	CHECK_EQ(out[2], READ_REG(cr3));
	CHECK_EQ(out[3], READ_REG(cr4));
	CHECK_EQ(out[4], 0x123456789a);
	repeat(selectors);
	CHECK_EQ(out[0], HIGH | READ_REG(cs));
	CHECK_EQ(out[1], READ_REG(ss));
	CHECK_EQ(out[2], HIGH | READ_REG(cs));
	CHECK_EQ(out[3], READ_REG(cs));
	CHECK_EQ(out[4], READ_REG(ss));
	repeat(high_bytes);
	/* 0x56 + 0x71 + 1 = 0xc8, + 0x55: carries; then CL, twice CL in CL. */
	CHECK_EQ(out[0], 0x123478f0);
	CHECK_EQ(out[1] & 0xff, 0x78);
	CHECK_EQ(out[2], 0x80);
	CHECK_EQ(out[3], 1);
	CHECK_EQ(out[4], 0x123480f0);
}

/* ---- bases ---- */

static void __attribute__((noinline)) set_fs(word base)
{
	asm volatile("wrfsbase %0" : : "r"(base));
}

static void __attribute__((noinline)) set_gs(word base)
{
	asm volatile("mov %0, %%r9; wrgsbase %%r9" : : "r"(base) : "r9");
}

static void __attribute__((noinline)) set_fs_32(word base)
{
	asm volatile("wrfsbase %k0" : : "r"(base));
}

static word __attribute__((noinline)) get_fs(void)
{
	word value = ONES;

	asm volatile("rdfsbase %0" : "+r"(value));
	return value;
}

static word __attribute__((noinline)) get_gs(void)
{
	word value;

	asm volatile("mov $-1, %%r10; rdgsbase %%r10d; mov %%r10, %0" : "=r"(value) : : "r10");
	return value;
}

static void bases(void)
{
	unsigned wrong = 0;

	if (!have("FSGSBASE", cpuid(7, 0).ebx & 1))
		return;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_FSGSBASE);
	for (word i = 0; i < TIMES; i++) {
		word base = (i << 33) - (i & 1 ? 1ul << 47 : 0);

		set_fs(base);
		set_gs(base + 5);
		wrong += get_fs() != base || get_gs() != (uint32_t)(base + 5);
		wrong += rdmsr(MSR_FS_BASE) != base || rdmsr(MSR_GS_BASE) != base + 5;
		set_fs_32(ONES - i);
		wrong += get_fs() != (uint32_t)(ONES - i);
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(CATCH(set_fs(1ul << 47)), GP);
	CHECK_EQ(CATCH(set_gs(ONES << 48)), GP);
	CHECK_EQ(get_fs(), (uint32_t)(ONES - (TIMES - 1)));
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_FSGSBASE);
	CHECK_EQ(CATCH(set_fs(0)), UD);
	CHECK_EQ(CATCH(get_gs()), UD);
	wrmsr(MSR_GS_BASE, 0);
	wrmsr(MSR_FS_BASE, 0);
}

void guest_main(void)
{
	registers();
	bases();
}
