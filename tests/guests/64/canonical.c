/* SPDX-License-Identifier: MIT */
/*
 * Addresses that are not canonical: #GP(0) or, through the stack, #SS(0); where branches to them
 * are found out; which instructions do not mind. Intel SDM vol. 1, 3.3.7.1; vol. 2, the
 * instructions.
 */
#include "guest.h"

#define BAD (1ul << 47)
#define LAST 0x7ffffffffffful

static void data(void)
{
	EXPECT(GP, 0, "mov (%0), %%al", "r"(BAD));
	EXPECT(GP, 0, "mov %%al, (%0)", "r"(BAD));
	EXPECT(GP, 0, "mov (%0), %%eax", "r"(0xffff7ffffffffffful));
	EXPECT(GP, 0, "mov (%0), %%rax", "r"(LAST)); /* begins below, ends beyond */
	EXPECT(PF, 0, "mov (%0), %%al", "r"(LAST));
	EXPECT(GP, 0, "mov (%0), %%eax", "r"(LAST - 2));
	EXPECT(PF, 0, "mov (%0), %%eax", "r"(LAST - 3));
	EXPECT(PF, 0, "mov (%0), %%al", "r"(0xffff800000000000ul));
	EXPECT(GP, 0, "lock incl (%0)", "r"(BAD));
	EXPECT(GP, 0, "movsb", "S"(BAD), "D"(0x800000));
	EXPECT(GP, 0, "movsb", "D"(BAD), "S"(0x800000));
	EXPECT(NONE, 0, "lea (%0), %%rax", "r"(BAD));
	EXPECT(NONE, 0, "invlpg (%0)", "r"(BAD));
	EXPECT(NONE, 0, "prefetcht0 (%0)", "r"(BAD));
	EXPECT(NONE, 0, "nopl (%0)", "r"(BAD));
	EXPECT(GP, 0, "clflush (%0)", "r"(BAD));
	EXPECT(GP, 0, "lgdt (%0)", "r"(BAD));
	EXPECT(GP, 0, "mov %%fs:(%0), %%al", "r"(BAD));
}

/* Through RSP or RBP it is the stack's fault, whatever a prefix says. */
static unsigned with_rsp(word rsp, const void *code)
{
	return CATCH(asm volatile("mov %0, %%rsp; jmp *%1" : : "r"(rsp), "r"(code) : "memory"));
}

static unsigned with_rbp(word rbp, const void *code)
{
	return CATCH(asm volatile("mov %0, %%rbp; jmp *%1" : : "r"(rbp), "r"(code) : "memory"));
}

CODE(c_push, "push %rax");
CODE(c_pop, "pop %rax");
CODE(c_call, "call c_push");
CODE(c_ret, "ret");
CODE(c_rbp, "mov (%rbp), %al");
CODE(c_rbp_ds, ".byte 0x3e; mov (%rbp), %al");
CODE(c_rsp, "mov 8(%rsp), %al");
CODE(c_rbp_index, "mov (%rax, %rbp), %al");
CODE(c_leave, "leave");
CODE(c_enter, "enter $0, $0");
CODE(c_iret, "iretq");
CODE(c_pushf, "pushf");

static void through_the_stack(void)
{
	/* The handlers' own stack, since RSP is unusable then. */
	idt[SS].low |= 1ull << 32;
	idt[GP].low |= 1ull << 32;
	tss.ist[0] = (word)fault_stack_top;
	CHECK_EQ(with_rsp(BAD + 64, c_push), SS);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.ip, AT(c_push));
	CHECK_EQ(caught.sp, BAD + 64);
	CHECK_EQ(with_rsp(BAD, c_pop), SS);
	CHECK_EQ(with_rsp(BAD + 64, c_call), SS);
	CHECK_EQ(caught.ip, AT(c_call));
	CHECK_EQ(with_rsp(BAD, c_ret), SS);
	CHECK_EQ(with_rsp(BAD, c_rsp), SS);
	CHECK_EQ(with_rsp(BAD + 64, c_pushf), SS);
	CHECK_EQ(with_rsp(BAD, c_iret), SS);
	CHECK_EQ(with_rbp(BAD, c_rbp), SS);
	CHECK_EQ(with_rbp(BAD, c_rbp_ds), SS);
	CHECK_EQ(with_rbp(BAD, c_leave), SS);
	CHECK_EQ(with_rsp(BAD + 64, c_enter), SS);
	CHECK_EQ(CATCH(asm volatile("mov %0, %%rbp; xor %%eax, %%eax; jmp *%1"
				    : : "r"(BAD), "r"(c_rbp_index) : "rax", "memory")), GP);
	idt_reset(SS);
	idt_reset(GP);
}

static void branches(void)
{
	EXPECT(GP, 0, "jmp *%0", "r"(BAD));
	EXPECT(GP, 0, "call *%0", "r"(BAD));
	CHECK_EQ(CATCH(asm volatile("mov %%rsp, record; movq $771f, mark_ip; 771: call *%0"
				    : : "r"(BAD) : "memory")), GP);
	CHECK_EQ(caught.sp, record[0]); /* nothing was pushed */
	CHECK_EQ(CATCH(asm volatile("push %0; mov %%rsp, record; movq $771f, mark_ip; 771: ret"
				    : : "r"(BAD) : "memory")), GP);
	CHECK_EQ(caught.ip, mark_ip);
	CHECK_EQ(caught.sp, record[0]);
	CHECK_EQ(CATCH(asm volatile("mov %%rsp, %%rcx; push $0x10; push %%rcx; push $2; push $8;"
			"push %0\n"
				    "movq $771f, mark_ip; 771: iretq"
				    : : "r"(BAD) : "rcx", "memory")), GP);
	CHECK_EQ(caught.ip, mark_ip);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(CATCH(asm volatile("pushq $8; push %0; movq $771f, mark_ip; 771: lretq"
				    : : "r"(BAD) : "memory")), GP);
	CHECK_EQ(caught.ip, mark_ip);
}

static void registers(void)
{
	struct { uint16_t limit; word base; } __attribute__((packed)) table = { 0xfff, BAD };

	CHECK_EQ(try_wrmsr(MSR_FS_BASE, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_GS_BASE, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_KERNEL_GS_BASE, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_LSTAR, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_CSTAR, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_SYSENTER_ESP, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_SYSENTER_EIP, BAD), GP);
	CHECK_EQ(try_wrmsr(MSR_KERNEL_GS_BASE, 0xffff800000000000ul), NONE);
	CHECK_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0xffff800000000000ul);
	EXPECT(GP, 0, "lgdt %0", "m"(table));
	EXPECT(GP, 0, "lidt %0", "m"(table));
	/* A base moves the edge. */
	wrmsr(MSR_FS_BASE, 0x7ffffffff000ul);
	EXPECT(GP, 0, "mov %%fs:0x1000, %%al", "r"(0));
	EXPECT(PF, 0, "mov %%fs:0xfff, %%al", "r"(0));
	wrmsr(MSR_FS_BASE, 0xfffffffffffffff0ul);
	EXPECT(NONE, 0, "mov %%fs:0x200000, %%al", "r"(0)); /* and wraps */
	wrmsr(MSR_FS_BASE, 0);
}

void guest_main(void)
{
	data();
	through_the_stack();
	branches();
	registers();
}
