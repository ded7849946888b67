/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, and the FS and GS bases. Intel SDM vol. 2; vol. 3,
 * 5.8.7 and 5.8.8.
 */
#include "guest.h"

CODE(user_syscall, "mov $0x1111, %ecx; syscall; user_syscall_back: int $0x80");
CODE(user_sysenter, "sysenter; int $0x80");
CODE(user_sysret, "sysretq");
CODE(user_sysexit, "sysexitl");
CODE(user_swapgs, "swapgs");
CODE(compat_syscall, ".code32\nsyscall; int $0x80\n.code64");
/* DEC: one byte of 64-bit code's REX */
CODE(compat_done, ".code32\n.byte 0x48; int $0x80\n.code64");
CODE(user_done, "int $0x80");
CODE(entry, "mov %rcx, record; mov %r11, record + 8; mov %rsp, record + 16; mov %ss, %eax\n"
	    "mov %rax, record + 24; mov %cs, %eax; mov %rax, record + 32; pushf; pop %rax\n"
	    "mov %rax, record + 40; sysretq");
CODE(entry_32, "sysretl");
CODE(entry_event, "int $0x80");
extern char user_syscall_back[];

static void system_calls(void)
{
	CHECK_EQ(user(user_syscall), UD); /* EFER.SCE is clear */
	CHECK_EQ(caught.ip, AT(user_syscall) + 5);
	EXPECT(UD, 0, "sysretq");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)UCS32 << 48 | (uint64_t)KCS << 32);
	wrmsr(MSR_LSTAR, AT(entry));
	wrmsr(MSR_FMASK, IF | CF);
	CHECK_EQ(user_flags(user_syscall, IF | CF | ZF | 2), USER_DONE);
	CHECK_EQ(record[0], AT(user_syscall_back));
	CHECK_EQ(record[1], IF | CF | ZF | 2);
	CHECK_EQ(record[2], AT(user_stack_top) - 64); /* the stack stays the user's */
	CHECK_EQ(record[3], KDS);
	CHECK_EQ(record[4], KCS);
	CHECK_EQ(record[5] & (IF | CF | ZF), ZF);
	CHECK_EQ(caught.cs, UCS64);
	CHECK_EQ(caught.ss, UDS);
	CHECK_EQ(caught.flags, IF | CF | ZF | 2);
	wrmsr(MSR_LSTAR, AT(entry_event));
	CHECK_EQ(user(user_syscall), USER_DONE);
	CHECK_EQ(caught.cs, KCS);
	CHECK_EQ(caught.ss, KDS);
	CHECK_EQ(user(user_sysret), GP);
	CHECK_EQ(caught.error, 0);
	if (cpuid(0, 0).ebx == 0x756e6547) {
		CHECK_EQ(CATCH(enter(UCS32, AT(compat_syscall), 2, UDS, (word)user_stack_top)), UD);
		/* Intel's finds a bad RIP while still in ring 0. */
		CHECK_EQ(CATCH(asm volatile("movq $771f, mark_ip; 771: sysretq"
					    : : "c"(1ul << 47) : "memory")), GP);
		CHECK_EQ(caught.cs, KCS);
		CHECK_EQ(caught.ip, mark_ip);
	}
	CHECK_EQ(CATCH(asm volatile("mov $2, %%r11d; sysretl" : : "c"(compat_done) : "r11")),
			USER_DONE);
	CHECK_EQ(caught.cs, UCS32);
	CHECK_EQ(caught.ip, AT(compat_done) + 3);
	CHECK_EQ(caught.ss, UDS);
	/* Flags that SYSRET does not bring. */
	CHECK_EQ(CATCH(asm volatile("mov $-1 & ~0x4100, %%r11; sysretq" : : "c"(user_done)
			: "r11")),
		 USER_DONE);
	CHECK_EQ(caught.flags & (RF | VM | TF), 0);
	CHECK_EQ(caught.flags & (IF | CF | IOPL(3) | ID), IF | CF | IOPL(3) | ID);
	CHECK_EQ(caught.flags & 0xffffffffffc08028ul, 0);
}

CODE(user_zero, "or $1, %eax; xor %eax, %eax; syscall; int $0x80");

/* Often, so that it is translated: R11 has the flags of the last instruction before. */
static void flags_of_a_hot_call(void)
{
	unsigned wrong = 0;

	wrmsr(MSR_LSTAR, AT(entry));
	for (unsigned i = 0; i < 200; i++) {
		if (user(user_zero) != USER_DONE || (record[1] & (ZF | PFLAG)) != (ZF | PFLAG) ||
		    (caught.flags & (ZF | PFLAG)) != (ZF | PFLAG))
			wrong++;
	}
	CHECK_EQ(wrong, 0);
}

CODE(user_loop, "mov $100, %ebx; user_loop_again: cmp $101, %ebx; syscall; user_loop_back: dec %ebx\n"
		"jnz user_loop_again; int $0x80");
CODE(user_clock, "mov $100, %ebx; user_clock_again: syscall; rdtsc; dec %ebx; jnz user_clock_again\n"
		 "int $0x80");
extern char user_loop_back[];

/* A hundred calls of translated code with these flags, of which the last one left its record. */
static void check_loop(word flags, word masked)
{
	/* Of the comparison before the call: 1 … 100 are less than 101. */
	word seen = flags | CF | SFLAG;

	wrmsr(MSR_FMASK, masked);
	CHECK_EQ(user_flags(user_loop, flags | 2), USER_DONE);
	CHECK_EQ(record[0], AT(user_loop_back));
	CHECK_EQ(record[1] & (IF | CF | SFLAG | ZF | ACF | DFLAG | ID), seen);
	CHECK_EQ(record[3], KDS);
	CHECK_EQ(record[4], KCS);
	CHECK_EQ(record[5] & (IF | CF | SFLAG | ZF | ACF | DFLAG | ID), seen & ~masked);
	CHECK_EQ(caught.cs, UCS64);
	CHECK_EQ(caught.ss, UDS);
	CHECK_EQ(caught.flags & (IF | ACF | DFLAG | ID), flags);
}

/* What hot calls depend on changes between them. */
static void hot_calls(void)
{
	wrmsr(MSR_LSTAR, AT(entry));
	for (unsigned i = 0; i < 3; i++) {
		check_loop(0, IF | CF);
		check_loop(IF | ID, IF);
		check_loop(IF, SFLAG | DFLAG | ACF);
		check_loop(ACF, ACF);
		check_loop(ACF | DFLAG, 0);
		CHECK_EQ(user(user_clock), USER_DONE);
		WRITE_REG(cr4, READ_REG(cr4) | CR4_TSD);
		CHECK_EQ(user(user_clock), GP);
		CHECK_EQ(caught.bx, 100);
		WRITE_REG(cr4, READ_REG(cr4) & ~CR4_TSD);
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
		CHECK_EQ(user(user_loop), UD);
		CHECK_EQ(caught.bx, 100);
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	}
}

/* The one instruction, from a place that gets hot. */
static unsigned sysret_to(const void *code, word flags)
{
	return CATCH(asm volatile("movq $771f, mark_ip; mov %1, %%r11; 771: sysretq"
				  : : "c"(code), "r"(flags) : "r11", "memory"));
}

static volatile unsigned interrupts;

static bool on_interrupt(struct frame *frame)
{
	interrupts += frame->cs == UCS64 && frame->ip == AT(user_done);
	apic_write(APIC_EOI, 0);
	return true;
}

static void hot_returns(void)
{
	bool intel = cpuid(0, 0).ebx == 0x756e6547;
	unsigned wrong = 0;

	apic_write(APIC_SVR, 0x1ff);
	hook[0x60] = on_interrupt;
	for (unsigned i = 0; i < 100; i++) {
		wrong += sysret_to(user_done, 2) != USER_DONE || caught.cs != UCS64;
		wrong += sysret_to(user_done, TF | 2) != DB || caught.ip != AT(user_done);
		wrong += sysret_to(user_done, ACF | 2) != USER_DONE || !(caught.flags & ACF);
		if (intel)
			wrong += sysret_to((void *)(1ul << 47), 2) != GP || caught.cs != KCS ||
				 caught.ip != mark_ip;
		apic_write(APIC_ICR, 0x44060);
		wrong += sysret_to(user_done, IF | 2) != USER_DONE || interrupts != i + 1;
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(interrupts, 100);
}

CODE(enter_code, "mov %rsp, record; mov %ss, %eax; mov %rax, record + 8; pushf; pop %rax\n"
		 "mov %rax, record + 16; int $0x80");

static void fast_calls(void)
{
	if (!have("SYSENTER", cpuid(1, 0).edx & 1 << 11))
		return;
	CHECK_EQ(user(user_sysenter), GP); /* a null SYSENTER_CS */
	CHECK_EQ(caught.error, 0);
	wrmsr(MSR_SYSENTER_CS, KCS);
	wrmsr(MSR_SYSENTER_ESP, AT(stack_top) - 512);
	wrmsr(MSR_SYSENTER_EIP, AT(enter_code));
	CHECK_EQ(user_flags(user_sysenter, IF | CF | 2), USER_DONE);
	CHECK_EQ(record[0], AT(stack_top) - 512);
	CHECK_EQ(record[1], KDS);
	CHECK_EQ(record[2] & (IF | CF), CF);
	CHECK_EQ(caught.cs, KCS);
	CHECK_EQ(user(user_sysexit), GP);
	CHECK_EQ(CATCH(asm volatile("sysexitq" : : "d"(user_done), "c"(user_stack_top - 64))),
			USER_DONE);
	CHECK_EQ(caught.cs, UCS64);
	CHECK_EQ(caught.ss, UDS_SYSEXIT);
	CHECK_EQ(caught.sp, AT(user_stack_top) - 64);
	CHECK_EQ(CATCH(asm volatile("sysexitl" : : "d"(compat_done), "c"(user_stack_top - 64))),
			USER_DONE);
	CHECK_EQ(caught.cs, UCS32);
	CHECK_EQ(caught.ss, UDS);
	CHECK_EQ(CATCH(asm volatile("movq $771f, mark_ip; 771: sysexitq"
				    : : "d"(1ul << 47), "c"(0) : "memory")), GP);
	CHECK_EQ(caught.ip, mark_ip);
	wrmsr(MSR_SYSENTER_CS, 3);
	EXPECT(GP, 0, "sysexitq");
	wrmsr(MSR_SYSENTER_CS, 0);
}

static void bases(void)
{
	static word here = 0x1122334455667788, there = 0x99aabbccddeeff00;
	word value;

	wrmsr(MSR_GS_BASE, (word)&here);
	wrmsr(MSR_KERNEL_GS_BASE, (word)&there);
	asm volatile("mov %%gs:0, %0" : "=r"(value));
	CHECK_EQ(value, here);
	asm volatile("swapgs; mov %%gs:0, %0" : "=r"(value));
	CHECK_EQ(value, there);
	CHECK_EQ(rdmsr(MSR_GS_BASE), (word)&there);
	CHECK_EQ(rdmsr(MSR_KERNEL_GS_BASE), (word)&here);
	CHECK_EQ(user(user_swapgs), GP);
	CHECK_EQ(rdmsr(MSR_GS_BASE), (word)&there);
	/* A selector load takes the descriptor's base. */
	gdt_set(SLOT(0), 0x12345678, 0xfffff, FLAT_DATA);
	asm volatile("mov %0, %%gs" : : "r"(SLOT(0)));
	CHECK_EQ(rdmsr(MSR_GS_BASE), 0x12345678);
	if (!have("FSGSBASE", cpuid(7, 0).ebx & 1))
		return;
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_FSGSBASE);
	EXPECT(UD, 0, "rdfsbase %%rax", "r"(0));
	EXPECT(UD, 0, "wrgsbase %%rax", "r"(0));
	WRITE_REG(cr4, READ_REG(cr4) | CR4_FSGSBASE);
	asm volatile("wrgsbase %1; rdgsbase %0" : "=r"(value) : "r"(0xffff812345678000ul));
	CHECK_EQ(value, 0xffff812345678000ul);
	CHECK_EQ(rdmsr(MSR_GS_BASE), 0xffff812345678000ul);
	EXPECT(GP, 0, "wrfsbase %0", "r"(1ul << 47));
	asm volatile("wrfsbase %k1; rdfsbase %0" : "=r"(value) : "r"(0x1234567887654321ul));
	CHECK_EQ(value, 0x87654321);
	wrmsr(MSR_GS_BASE, 0);
	wrmsr(MSR_FS_BASE, 0);
}

void guest_main(void)
{
	system_calls();
	flags_of_a_hot_call();
	hot_calls();
	hot_returns();
	fast_calls();
	bases();
}
