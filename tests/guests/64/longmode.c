/* SPDX-License-Identifier: MIT */
/*
 * IA-32e mode: compatibility mode, far transfers and call gates, interrupt frames, IST, IRETQ,
 * null SS, instructions that are gone, leaving and entering the mode. Intel SDM vol. 3, 2.2,
 * 5.8.3.1, 6.14, 9.8.5.
 */
#include "guest.h"

static char odd_stack[4096] __attribute__((aligned(16)));

/* ---- compatibility mode ---- */

CODE(compat_ops, ".code32\n"
		 "mov $0xffffffff, %eax; inc %eax; mov %eax, record\n"
		 "xor %ecx, %ecx; dec %ecx; .byte 0x41; mov %ecx, record + 8\n" /* INC, not REX */
		 "pusha; popa; push %es; pop %es; mov %esp, %edx; int $0x80\n.code64");
CODE(compat_sgdt, ".code32\nsgdt record; sidt record + 16; int $0x80\n.code64");
CODE(compat_syscall, ".code32\nsyscall; int $0x80\n.code64");
CODE(compat_ud, ".code32\nud2\n.code64");
CODE(compat_swapgs, ".code32\n.byte 0x0f, 0x01, 0xf8\n.code64");
CODE(compat_fs, ".code32\nmov $0x60, %eax; mov %eax, %fs; mov %fs:0x10, %ecx; int $0x80\n.code64");
CODE(compat_limit, ".code32\nmov $0x60, %eax; mov %eax, %fs; mov %fs:0x1000, %ecx\n.code64");
CODE(compat_to_64, ".code32\nljmp $0x08, $1f\n.code64\n1: mov $0x123456789abcdef0, %rax;"
		"int $0x80");
CODE(compat_16, ".code16\nmov $0xffff, %ax; inc %ax; mov %esp, %ecx; int $0x80\n.code64");
CODE(compat_jump_tss, ".code32\nljmp $0x50, $0\n.code64");
CODE(compat_null_ds, ".code32\nxor %eax, %eax; mov %eax, %ds; mov record, %eax\n.code64");

/* Goes there by RETF, in ring 0. */
static unsigned far(unsigned selector, const void *code)
{
	return CATCH(asm volatile("push %0; push %1; movq $771f, mark_ip; 771: lretq"
				  : : "r"((word)selector), "r"(code) : "memory"));
}

static void compatibility(void)
{
	CHECK_EQ(far(KCS32, compat_ops), USER_DONE);
	CHECK_EQ(caught.cs, KCS32);
	CHECK_EQ(ONCE(record[0]), 0);
	CHECK_EQ((uint32_t)record[1], 0);
	CHECK_EQ(far(KCS32, compat_sgdt), USER_DONE);
	CHECK_EQ((uint16_t)record[0], 511);
	CHECK_EQ((uint32_t)(record[0] >> 16), (word)gdt);
	CHECK_EQ(far(KCS32, compat_ud), UD);
	CHECK_EQ(caught.ip, AT(compat_ud));
	CHECK_EQ(far(KCS32, compat_swapgs), UD);
	if (cpuid(0, 0).ebx == 0x756e6547)
		CHECK_EQ(far(KCS32, compat_syscall), UD); /* Intel's: in 64-bit mode only */
	gdt_set(SLOT(0), (word)odd_stack, 0xfff, A_DATA | A_DB);
	*(uint32_t *)(odd_stack + 0x10) = 0xabcd1234;
	CHECK_EQ(far(KCS32, compat_fs), USER_DONE);
	CHECK_EQ(caught.cx, 0xabcd1234);
	CHECK_EQ(rdmsr(MSR_FS_BASE), (word)odd_stack);
	CHECK_EQ(far(KCS32, compat_limit), GP);
	EXPECT(NONE, 0, "mov %%fs:0x1000, %%cl", "r"(0)); /* 64-bit mode has no limits */
	CHECK_EQ(far(KCS32, compat_null_ds), GP);
	CHECK_EQ(far(KCS32, compat_to_64), USER_DONE);
	CHECK_EQ(caught.ax, 0x123456789abcdef0);
	CHECK_EQ(far(KCS32, compat_jump_tss), GP); /* no task switches */
	CHECK_EQ(caught.error, KTSS);
	gdt_set(SLOT(1), AT(compat_16) & ~0xfffu, 0xffff, A_CODE);
	CHECK_EQ(far(SLOT(1), (void *)(AT(compat_16) & 0xfff)), USER_DONE);
	CHECK_EQ(caught.ax & 0xffff, 0);
	CHECK_EQ(caught.cs, SLOT(1));
	/* Ring 3. */
	CHECK_EQ(CATCH(enter(UCS32, AT(compat_ops), 2, UDS, (word)user_stack_top - 64)), USER_DONE);
	CHECK_EQ(caught.cs, UCS32);
	CHECK_EQ(caught.ss, UDS);
	CHECK_EQ((uint32_t)record[1], 0);
}

static void code_descriptors(void)
{
	gdt_set(SLOT(2), 0, 0xfffff, A_CODE | A_L | A_DB | A_G); /* L and D: reserved */
	CHECK_EQ(far(SLOT(2), compat_ud), GP);
	CHECK_EQ(caught.error, SLOT(2));
	CHECK_EQ(caught.ip, mark_ip);
	gdt_set(SLOT(2), 0x1000, 0, A_CODE | A_L); /* base and limit do not count */
	CHECK_EQ(far(SLOT(2), compat_ud), UD);
	CHECK_EQ(caught.ip, AT(compat_ud));
	CHECK_EQ(far(0, compat_ud), GP);
	CHECK_EQ(caught.error, 0);
	EXPECT(GP, KTSS, "ljmp *%0", "m"(*(uint64_t[]){ (word)KTSS << 32 }));
	EXPECT(NONE, 0, "mov %0, %%ds; mov %0, %%es", "r"(0)); /* null data segments are usable */
	EXPECT(NONE, 0, "mov %%ds:(%0), %%al", "r"(odd_stack));
	EXPECT(NONE, 0, "mov %0, %%ss; mov %1, %%ss", "r"(0), "r"(KDS)); /* in ring 0, SS too */
	EXPECT(GP, 0, "mov %0, %%ss", "r"(3));
}

/* ---- call gates ---- */

CODE(gate_code, "mov %rsp, record; mov (%rsp), %rax; mov %rax, record + 8; mov 8(%rsp), %rax\n"
		"mov %rax, record + 16; mov 16(%rsp), %rax; mov %rax, record + 24;"
		"mov 24(%rsp), %rax\n"
		"mov %rax, record + 32; mov %ss, %eax; mov %rax, record + 40; lretq");
CODE(user_gate, "lcall *gate_pointer; user_gate_back: int $0x80\n"
		"gate_pointer: .long 0; .word 0x63");
CODE(user_gate_32, ".code32\nlcall $0x63, $0; user_gate_32_back: int $0x80\n.code64");
extern char user_gate_back[], user_gate_32_back[];

static void set_gate(unsigned selector, word ip, unsigned type, uint64_t high)
{
	gdt[SLOT(0) / 8] = (ip & 0xffff) | (word)selector << 16 | (word)type << 40 |
			(ip >> 16 & 0xffff) << 48;
	gdt[SLOT(0) / 8 + 1] = ip >> 32 | high;
}

static void call_gates(void)
{
	set_gate(KCS, AT(gate_code), 0xec, 0);
	CHECK_EQ(user(user_gate), USER_DONE);
	CHECK_EQ(record[0], AT(stack_top) - 32);
	CHECK_EQ(record[1], AT(user_gate_back));
	CHECK_EQ(record[2], UCS64);
	CHECK_EQ(record[3], AT(user_stack_top) - 64);
	CHECK_EQ(record[4], UDS);
	CHECK_EQ(record[5] & 0xffff, 0); /* the new SS is null */
	CHECK_EQ(caught.cs, UCS64);
	CHECK_EQ(CATCH(enter(UCS32, AT(user_gate_32), 2, UDS, (word)user_stack_top - 64)),
			USER_DONE);
	CHECK_EQ(record[2], UCS32);
	CHECK_EQ(caught.ip, AT(user_gate_32_back) + 2);
	set_gate(KCS, AT(gate_code), 0xec, 1ul << 40); /* the upper half's type is not 0 */
	CHECK_EQ(user(user_gate), GP);
	CHECK_EQ(caught.error, SLOT(0));
	set_gate(KCS32, AT(gate_code), 0xec, 0); /* to compatibility mode: no */
	CHECK_EQ(user(user_gate), GP);
	CHECK_EQ(caught.error, KCS32);
	set_gate(KCS, AT(gate_code), 0xe4, 0); /* 16-bit gates are gone */
	CHECK_EQ(user(user_gate), GP);
	CHECK_EQ(caught.error, SLOT(0));
	set_gate(KCS, 1ul << 47, 0xec, 0);
	CHECK_EQ(user(user_gate), GP);
	CHECK_EQ(caught.error, 0);
	set_gate(KCS, AT(gate_code), 0xec, 0);
	tss.sp[0] = 1ul << 47; /* a stack that is not canonical */
	idt[SS].low |= 1ull << 32;
	tss.ist[0] = (word)fault_stack_top;
	CHECK_EQ(user(user_gate), SS);
	tss.sp[0] = (word)stack_top;
	idt_reset(SS);
}

/* ---- interrupts ---- */

CODE(user_int, "int $0x80");

static bool note_frame(struct frame *frame)
{
	uint16_t ss;

	asm volatile("mov %%ss, %0" : "=r"(ss));
	record[0] = frame->sp;
	record[1] = (word)(frame + 1);
	record[2] = ss;
	record[3] = frame->ss;
	return true;
}

static void frames(void)
{
	hook[0x90] = note_frame;
	/* The stack is aligned before the frame is pushed. */
	for (unsigned i = 0; i < 16; i++) {
		asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; int $0x90; mov %%rbx, %%rsp"
			     : : "r"(odd_stack + 4096 - i) : "rbx", "memory");
		CHECK_EQ(record[0], (word)odd_stack + 4096 - i);
		CHECK_EQ(record[1], ((word)odd_stack + 4096 - i) & ~15ul);
		CHECK_EQ(record[2], KDS);
		CHECK_EQ(record[3], KDS);
	}
	idt[0x90].low |= 1ull << 32; /* IST 1 */
	tss.ist[0] = (word)fault_stack_top;
	asm volatile("int $0x90" : : : "memory");
	CHECK_EQ(record[1], (word)fault_stack_top);
	CHECK_EQ(record[2], KDS); /* the ring has not changed */
	idt_reset(0x90);
	hook[0x90] = NULL;
	tss.sp[0] = 1ul << 47;
	idt[USER_DONE].low |= 2ull << 32;
	tss.ist[1] = (word)fault_stack_top - 1024;
	CHECK_EQ(user(user_int), USER_DONE); /* IST wins over RSP0 */
	idt_reset(USER_DONE);
	tss.sp[0] = (word)stack_top;
	/* A gate's type must be a 64-bit interrupt or trap gate's. */
	idt[0x90].low = (idt[0x90].low & ~(0xffull << 40)) | 0x85ull << 40;
	EXPECT(GP, 0x90 * 8 + 2, "int $0x90");
	idt[0x90].low = (idt[0x90].low & ~(0xffull << 40)) | 0x86ull << 40;
	EXPECT(GP, 0x90 * 8 + 2, "int $0x90");
	idt_reset(0x90);
	idt[0x90].low = (idt[0x90].low & ~(0xffffull << 16)) | (word)KCS32 << 16;
	EXPECT(GP, KCS32, "int $0x90"); /* handlers are 64-bit code */
	idt_reset(0x90);
	idt[0x90].high = 0x8000;
	EXPECT(GP, 0, "int $0x90");
	idt_reset(0x90);
	CHECK_EQ(far(KCS32, user_int), USER_DONE);
	CHECK_EQ(caught.ss, KDS); /* also the same ring's frames hold SS */
}

static bool note_ss(struct frame *frame)
{
	note_frame(frame);
	return false;
}

static void null_ss(void)
{
	hook[USER_DONE] = note_ss;
	CHECK_EQ(user(user_int), USER_DONE);
	CHECK_EQ(record[2], 0);
	CHECK_EQ(record[3], UDS);
	hook[USER_DONE] = NULL;
}

/* ---- IRETQ ---- */

static unsigned iret(word ss, word sp, word rflags, word cs, const void *ip)
{
	return CATCH(asm volatile("push %0; push %1; push %2; push %3; push %4\n"
				  "movq $771f, mark_ip; 771: iretq"
				  : : "r"(ss), "r"(sp), "r"(rflags), "r"(cs), "r"(ip) : "memory"));
}

static void returns(void)
{
	const word sp = (word)user_stack_top - 128;

	CHECK_EQ(iret(KDS, sp, 2, KCS, user_int), USER_DONE);
	CHECK_EQ(caught.sp, sp); /* SP and SS are popped in any case */
	CHECK_EQ(iret(0, sp, 2, KCS, user_int), USER_DONE); /* null SS: ring 0, 64-bit code */
	CHECK_EQ(caught.ss, 0);
	CHECK_EQ(iret(0, sp, 2, KCS32, user_int), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.ip, mark_ip);
	CHECK_EQ(iret(3, sp, 2, UCS64, user_int), GP);
	CHECK_EQ(iret(UDS, sp, 2, UCS64, user_int), USER_DONE);
	CHECK_EQ(iret(UDS, sp, 2, UCS32, user_int), USER_DONE);
	CHECK_EQ(iret(KDS, sp, 2, UCS64, user_int), GP);
	CHECK_EQ(caught.error, KDS);
	CHECK_EQ(iret(UDS, sp, 2, KCS | 3, user_int), GP);
	CHECK_EQ(caught.error, KCS);
	CHECK_EQ(iret(UDS, sp, NT | 2, UCS64, user_int), USER_DONE);
	CHECK(caught.flags & NT);
	CHECK_EQ(iret(UDS, sp, VM | 2, UCS64, user_int), USER_DONE); /* no 8086 mode from here */
	CHECK(!(caught.flags & VM));
	EXPECT_EVENT(GP, 0, "pushq $0x4002; popfq; iretq"); /* NT */
	EXPECT(UD, 0, ".byte 0x9a; .long 0; .word 8");
}

static void gone(void)
{
	EXPECT(UD, 0, ".byte 0x06"); /* push es */
	EXPECT(UD, 0, ".byte 0x07");
	EXPECT(UD, 0, ".byte 0x0e");
	EXPECT(UD, 0, ".byte 0x16");
	EXPECT(UD, 0, ".byte 0x17");
	EXPECT(UD, 0, ".byte 0x1e");
	EXPECT(UD, 0, ".byte 0x1f");
	EXPECT(UD, 0, ".byte 0x27"); /* daa … */
	EXPECT(UD, 0, ".byte 0x2f");
	EXPECT(UD, 0, ".byte 0x37");
	EXPECT(UD, 0, ".byte 0x3f");
	EXPECT(UD, 0, ".byte 0x60"); /* pusha */
	EXPECT(UD, 0, ".byte 0x61");
	EXPECT(UD, 0, ".byte 0x82, 0xc0, 0x00");
	EXPECT(UD, 0, ".byte 0xce"); /* into */
	EXPECT(UD, 0, ".byte 0xd4, 0x0a");
	EXPECT(UD, 0, ".byte 0xd5, 0x0a");
	EXPECT(UD, 0, ".byte 0xea; .long 0; .word 8");
	EXPECT(UD, 0, ".byte 0x0f, 0xb2, 0xc0"); /* lss with a register */
}

/* ---- out of the mode and back ---- */

CODE(round_trip, ".code32\n"
		 "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n" /* identity-mapped */
		 "mov $0xc0000080, %ecx; rdmsr; mov %eax, record\n"
		 "and $~0x100, %eax; wrmsr\n"
		 "ljmp $0x38, $1f; 1: mov %cr0, %eax; mov %eax, record + 8\n"
		 "mov $0xc0000080, %ecx; rdmsr; mov %eax, record + 16; or $0x100, %eax; wrmsr\n"
		 "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
		 "rdmsr; mov %eax, record + 24; ljmp $0x08, $1f\n"
		 ".code64\n1: ret");

static void round(void)
{
	word cr4 = READ_REG(cr4);

	EXPECT(GP, 0, "mov %0, %%cr0", "r"(READ_REG(cr0) & ~CR0_PG)); /* not from 64-bit mode */
	EXPECT(GP, 0, "mov %0, %%cr4", "r"(cr4 & ~CR4_PAE));
	CHECK_EQ(try_wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME), GP);
	for (unsigned i = 0; i < 4; i++)
		record[i] = 0;
	asm volatile("call 1f; jmp 2f; 1: push $0x38; push $round_trip; lretq; 2:"
		     : : : "rax", "rcx", "rdx", "memory");
	CHECK_EQ(record[0] & (EFER_LME | EFER_LMA), EFER_LME);
	CHECK(!(record[1] & CR0_PG));
	CHECK_EQ(record[2] & (EFER_LME | EFER_LMA), 0);
	CHECK_EQ(record[3] & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
}

void guest_main(void)
{
	compatibility();
	code_descriptors();
	call_gates();
	frames();
	null_ss();
	returns();
	gone();
	round();
}
