/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions: single steps and what swallows or delays them, breakpoints of every kind and
 * length, DR6, DR7, general detect, INT1, the resume flag. Intel SDM vol. 3, chapter 17.
 */
#include "guest.h"

#define B(n) (1ul << (n))
#define BD (1ul << 13)
#define BS (1ul << 14)
#define DR6_CLEAR 0xffff0ff0ul
#define DR7_CLEAR 0x400ul
#define EXEC 0ul
#define ON_WRITE 1ul
#define ON_IO 2ul
#define ON_ACCESS 3ul
#define LEN(bytes) ((bytes) == 8 ? 2ul : (bytes) - 1ul)
#define DR7(n, type, bytes) (1ul << (2 * (n)) | (type) << (16 + 4 * (n)) | \
		LEN(bytes) << (18 + 4 * (n)))
#define STEPS 32

static struct { word ip, dr6, flags; } step[STEPS];
static volatile unsigned steps;
static bool resume_flag; /* for the breakpoint's handler to set */

static bool note(struct frame *frame)
{
	if (steps < STEPS) {
		step[steps].ip = frame->ip;
		step[steps].dr6 = READ_REG(dr6);
		step[steps].flags = frame->flags;
	}
	steps++;
	WRITE_REG(dr6, DR6_CLEAR);
	if (resume_flag)
		frame->flags |= RF;
	if (steps > 100) /* something does not end */
		WRITE_REG(dr7, DR7_CLEAR);
	return true;
}

/* Calls code, which sets TF itself; the steps are in step[]. */
static unsigned trace(const void *code)
{
	steps = 0;
	hook[DB] = note;
	WRITE_REG(dr6, DR6_CLEAR);
	asm volatile("call *%0" : : "r"(code) : "rax", "rcx", "rdx", "rsi", "rdi", "rbx",
			"memory", "cc");
	hook[DB] = NULL;
	return steps;
}

#define TF_ON "pushf; orl $0x100, (%rsp); popf\n"
#define TF_OFF "pushf; andl $~0x100, (%rsp); popf\n"

CODE(t_plain, TF_ON "t_p0: nop; t_p1: mov $1, %eax; t_p2:" TF_OFF "t_p5: nop; ret");
extern char t_p0[], t_p1[], t_p2[], t_p5[];
CODE(t_rep, "mov $3, %ecx; mov $record, %edi; xor %eax, %eax;" TF_ON "t_r0: rep stosb;"
		"t_r1:" TF_OFF "ret");
extern char t_r0[], t_r1[];
CODE(t_ss, "mov %ss, %eax;" TF_ON "t_s0: mov %eax, %ss; t_s1: nop; t_s2:" TF_OFF "ret");
extern char t_s0[], t_s1[], t_s2[];
CODE(t_pushf, TF_ON "pushf; pop %rax; t_f0:" TF_OFF "mov %rax, record; ret");
CODE(t_int, TF_ON "t_i0: int $0x90; t_i1: nop; t_i2:" TF_OFF "ret");
extern char t_i0[], t_i1[], t_i2[];
CODE(t_jump, TF_ON "jmp t_j1; nop; t_j1: call t_j2; t_j3:" TF_OFF "ret; t_j2: ret");
extern char t_j1[], t_j2[], t_j3[];
CODE(t_iret, "mov %rsp, %rcx; mov %ss, %eax; push %rax; push %rcx; pushf; orl $0x100, (%rsp)\n"
	     "push $8; push $t_e0; iretq; t_e0: nop; t_e1:" TF_OFF "ret");
extern char t_e0[], t_e1[];
CODE(t_fault, TF_ON "t_x0: ud2; t_x1: nop; t_x2:" TF_OFF "ret");
extern char t_x0[], t_x1[], t_x2[];
CODE(t_cpuid, TF_ON "cpuid; t_c1: rdtsc; t_c2: in $0x80, %al; t_c3: mov %cr0, %rax;"
		"t_c4:" TF_OFF "ret");
extern char t_c1[], t_c2[], t_c3[], t_c4[];

static bool skip_ud(struct frame *frame)
{
	record[0] = frame->flags;
	frame->ip += 2;
	frame->flags &= ~RF;
	return true;
}

static bool do_nothing(struct frame *frame)
{
	record[1] = frame->flags;
	record[2] = read_flags();
	return true;
}

static void single_steps(void)
{
	CHECK_EQ(trace(t_plain), 5);
	CHECK_EQ(step[0].ip, AT(t_p1)); /* POPF's own TF counts from the next on */
	CHECK_EQ(step[0].dr6, DR6_CLEAR | BS);
	CHECK(step[0].flags & TF);
	CHECK_EQ(step[1].ip, AT(t_p2));
	CHECK_EQ(step[4].ip, AT(t_p5)); /* the POPF that clears TF is still traced */
	CHECK(!(step[4].flags & TF));
	CHECK_EQ(trace(t_rep), 6);
	CHECK_EQ(step[0].ip, AT(t_r0)); /* after each iteration */
	CHECK_EQ(step[1].ip, AT(t_r0));
	CHECK_EQ(step[2].ip, AT(t_r1));
	CHECK_EQ(trace(t_ss), 4);
	CHECK_EQ(step[0].ip, AT(t_s2)); /* none between MOV SS and what follows */
	CHECK_EQ(trace(t_pushf), 5);
	CHECK(record[0] & TF);
	hook[0x90] = do_nothing;
	CHECK_EQ(trace(t_int), 4);
	/* INT n clears TF: the handler is not traced, nor INT n; IRET sets it again. */
	CHECK_EQ(step[0].ip, AT(t_i2));
	CHECK(record[1] & TF);
	CHECK(!(record[2] & TF));
	CHECK_EQ(trace(t_jump), 6);
	CHECK_EQ(step[0].ip, AT(t_j1));
	CHECK_EQ(step[1].ip, AT(t_j2));
	CHECK_EQ(step[2].ip, AT(t_j3));
	CHECK_EQ(trace(t_iret), 4);
	CHECK_EQ(step[0].ip, AT(t_e1));
	hook[UD] = skip_ud;
	CHECK_EQ(trace(t_fault), 4);
	CHECK_EQ(step[0].ip, AT(t_x2)); /* no step for what faulted */
	CHECK(record[0] & TF);
	CHECK(record[0] & RF);
	hook[UD] = NULL;
	CHECK_EQ(trace(t_cpuid), 7);
	CHECK_EQ(step[0].ip, AT(t_c1));
	CHECK_EQ(step[2].ip, AT(t_c3));
	CHECK_EQ(step[3].ip, AT(t_c4));
}

/* ---- ring 3: SYSCALL under TF ---- */

CODE(user_syscall, "u_s0: nop; u_s1: syscall; u_s2: nop; u_s3: int $0x80");
CODE(sys_entry, "nop; nop; sysretq");
CODE(user_steps, "nop; u_n1: int $0x80");
extern char u_s0[], u_s1[], u_s2[], u_s3[], u_n1[];

static void in_ring_3(void)
{
	steps = 0;
	hook[DB] = note;
	CHECK_EQ(user_flags(user_steps, TF | 2), USER_DONE);
	CHECK_EQ(steps, 1);
	CHECK_EQ(step[0].ip, AT(u_n1));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)UCS32 << 48 | (uint64_t)KCS << 32);
	wrmsr(MSR_LSTAR, AT(sys_entry));
	wrmsr(MSR_FMASK, TF);
	steps = 0;
	CHECK_EQ(user_flags(user_syscall, TF | 2), USER_DONE);
	CHECK_EQ(step[0].ip, AT(u_s1));
	CHECK_EQ(step[1].ip, AT(u_s2)); /* SYSRET brings TF back, and is traced by it */
	CHECK_EQ(step[2].ip, AT(u_s3));
	CHECK_EQ(steps, 3);
	hook[DB] = NULL;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
}

/* ---- breakpoints ---- */

CODE(b_exec, "nop; b_e0: mov $1, %eax; b_e1: nop; ret");
CODE(b_loop, "mov $3, %ecx; b_l0: dec %ecx; jnz b_l0; ret");
extern char b_e0[], b_e1[], b_l0[];

static unsigned with_dr7(const void *code, word dr7)
{
	unsigned n;

	WRITE_REG(dr7, dr7);
	n = trace(code);
	WRITE_REG(dr7, DR7_CLEAR);
	return n;
}

static void on_execution(void)
{
	WRITE_REG(dr0, b_e0);
	resume_flag = true;
	CHECK_EQ(with_dr7(b_exec, DR7(0, EXEC, 1)), 1);
	CHECK_EQ(step[0].ip, AT(b_e0)); /* a fault: before the instruction */
	CHECK_EQ(step[0].dr6, DR6_CLEAR | B(0));
	CHECK(!(step[0].flags & RF)); /* RF is the handler's to set */
	CHECK_EQ(with_dr7(b_exec, 0), 0);
	CHECK_EQ(with_dr7(b_exec, DR7(0, EXEC, 1) << 1), 1); /* the global enable bit */
	WRITE_REG(dr0, b_e0 + 1); /* only the first byte counts */
	CHECK_EQ(with_dr7(b_exec, DR7(0, EXEC, 1)), 0);
	WRITE_REG(dr3, b_l0);
	CHECK_EQ(with_dr7(b_loop, DR7(3, EXEC, 1)), 3); /* RF lasts for one instruction */
	CHECK_EQ(step[2].ip, AT(b_l0));
	CHECK_EQ(step[2].dr6, DR6_CLEAR | B(3));
	WRITE_REG(dr1, b_l0);
	CHECK_EQ(with_dr7(b_loop, DR7(3, EXEC, 1) | DR7(1, EXEC, 1)), 3);
	CHECK_EQ(step[0].dr6, DR6_CLEAR | B(3) | B(1));
	resume_flag = false;
}

static struct { uint8_t before[16], at[16], after[16]; } watched __attribute__((aligned(16)));

CODE(w_byte, "movb $1, (%rsi); w_1: nop; ret");
CODE(w_read, "mov (%rsi), %al; w_2: nop; ret");
CODE(w_qword, "movq $1, (%rsi); w_3: nop; ret");
CODE(w_rmw, "lock incl (%rsi); w_4: nop; ret");
CODE(w_rep, "mov %rsi, %rdi; sub $2, %rdi; mov $4, %ecx; xor %eax, %eax; rep stosb; w_5: nop; ret");
CODE(w_push, "lea 8(%rsi), %rdx; xchg %rdx, %rsp; push %rax; w_6: xchg %rdx, %rsp; ret");
CODE(w_ss, "mov %ss, %eax; mov %eax, (%rsi); mov (%rsi), %ss; w_7: nop; w_8: nop; ret");
extern char w_1[], w_2[], w_3[], w_4[], w_5[], w_6[], w_7[], w_8[];

/* Runs code with RSI at an address, and breakpoint 0 there. */
static unsigned watch(const void *code, word at, word address, word type, unsigned bytes)
{
	WRITE_REG(dr0, address);
	WRITE_REG(dr7, DR7(0, type, bytes));
	steps = 0;
	hook[DB] = note;
	WRITE_REG(dr6, DR6_CLEAR);
	asm volatile("call *%0" : : "r"(code), "S"(at) : "rax", "rcx", "rdx", "rdi", "memory",
			"cc");
	hook[DB] = NULL;
	WRITE_REG(dr7, DR7_CLEAR);
	return steps;
}

static void on_data(void)
{
	const word at = (word)watched.at;

	CHECK_EQ(watch(w_byte, at, at, ON_WRITE, 1), 1);
	CHECK_EQ(step[0].ip, AT(w_1)); /* a trap: after the instruction */
	CHECK_EQ(step[0].dr6, DR6_CLEAR | B(0));
	CHECK_EQ(*(uint8_t *)at, 1);
	CHECK_EQ(watch(w_read, at, at, ON_WRITE, 1), 0);
	CHECK_EQ(watch(w_read, at, at, ON_ACCESS, 1), 1);
	CHECK_EQ(step[0].ip, AT(w_2));
	CHECK_EQ(watch(w_byte, at, at, ON_ACCESS, 1), 1);
	CHECK_EQ(watch(w_byte, at + 1, at, ON_WRITE, 1), 0);
	CHECK_EQ(watch(w_byte, at + 1, at, ON_WRITE, 2), 1);
	CHECK_EQ(watch(w_byte, at + 3, at, ON_WRITE, 4), 1);
	CHECK_EQ(watch(w_byte, at + 4, at, ON_WRITE, 4), 0);
	CHECK_EQ(watch(w_byte, at + 7, at, ON_WRITE, 8), 1);
	CHECK_EQ(watch(w_byte, at + 8, at, ON_WRITE, 8), 0);
	CHECK_EQ(watch(w_byte, at, at + 3, ON_WRITE, 4), 1); /* aligned down by its length */
	CHECK_EQ(watch(w_qword, at - 7, at, ON_WRITE, 1), 1);
	CHECK_EQ(watch(w_qword, at - 8, at, ON_WRITE, 1), 0);
	CHECK_EQ(watch(w_qword, at, at + 7, ON_WRITE, 1), 1);
	CHECK_EQ(watch(w_rmw, at, at, ON_WRITE, 4), 1);
	CHECK_EQ(step[0].ip, AT(w_4));
	CHECK_EQ(watch(w_rep, at, at, ON_WRITE, 1), 1);
	/* at that iteration, or soon after */
	CHECK(step[0].ip == AT(w_5) - 2 || step[0].ip == AT(w_5));
	CHECK_EQ(watch(w_push, at, at, ON_WRITE, 8), 1);
	CHECK_EQ(step[0].ip, AT(w_6));
	/* Held back by MOV SS. */
	CHECK_EQ(watch(w_ss, at, at, ON_ACCESS, 2), 2);
	CHECK_EQ(step[1].ip, AT(w_8));
	/* Together with a step. */
	WRITE_REG(dr0, at);
	hook[DB] = note;
	steps = 0;
	WRITE_REG(dr7, DR7(0, ON_WRITE, 1));
	asm volatile("pushf; orl $0x100, (%%rsp); popf; movb $1, (%0); nop; pushf;"
			"andl $~0x100, (%%rsp); popf"
		     : : "r"(at) : "memory", "cc");
	WRITE_REG(dr7, DR7_CLEAR);
	CHECK_EQ(step[0].dr6, DR6_CLEAR | BS | B(0));
	hook[DB] = NULL;
}

static void on_io(void)
{
	word cr4 = READ_REG(cr4);

	WRITE_REG(cr4, cr4 | CR4_DE);
	WRITE_REG(dr2, 0x80);
	steps = 0;
	hook[DB] = note;
	WRITE_REG(dr7, DR7(2, ON_IO, 1));
	asm volatile("outb %%al, $0x80; in $0x80, %%al; in $0x61, %%al" : : : "eax");
	WRITE_REG(dr7, DR7_CLEAR);
	CHECK_EQ(steps, 2);
	CHECK_EQ(step[0].dr6, DR6_CLEAR | B(2));
	hook[DB] = NULL;
	EXPECT(UD, 0, "mov %%dr4, %%rax", "r"(0)); /* not aliases any more */
	EXPECT(UD, 0, "mov %%rax, %%dr5", "r"(0));
	WRITE_REG(cr4, cr4);
}

/* ---- registers ---- */

CODE(user_dr, "mov %dr7, %rax");
CODE(user_int1, ".byte 0xf1; u_i1: int $0x80");
extern char u_i1[];

static bool note_gd(struct frame *frame)
{
	note(frame);
	record[3] = READ_REG(dr7);
	return true;
}

static void registers(void)
{
	WRITE_REG(dr6, 0);
	CHECK_EQ(READ_REG(dr6) & ~0x1ul, DR6_CLEAR & ~1ul);
	WRITE_REG(dr6, 0xfffffffful & ~0x11800ul);
	CHECK_EQ(READ_REG(dr6) & 0xf00f, 0xe00f); /* bit 12 stays clear */
	CHECK_EQ(READ_REG(dr6) & 0x0ff0, 0x0ff0);
	WRITE_REG(dr6, DR6_CLEAR);
	WRITE_REG(dr7, 0);
	CHECK_EQ(READ_REG(dr7), DR7_CLEAR);
	WRITE_REG(dr7, 0xd000ul); /* 12, 14, 15 are reserved */
	CHECK_EQ(READ_REG(dr7), DR7_CLEAR);
	EXPECT(GP, 0, "mov %0, %%dr7", "r"(1ul << 32));
	EXPECT(GP, 0, "mov %0, %%dr6", "r"(1ul << 32));
	WRITE_REG(dr0, 0x123456789abcdef0);
	CHECK_EQ(READ_REG(dr0), 0x123456789abcdef0);
	WRITE_REG(dr0, 0);
	EXPECT(NONE, 0, "mov %%dr4, %%rax; mov %%dr5, %%rax", "r"(0));
	CHECK_EQ(user(user_dr), GP);
	/* General detect: a fault at any MOV DR; the handler may. */
	hook[DB] = note_gd;
	steps = 0;
	WRITE_REG(dr7, 1ul << 13);
	asm volatile("movq $1f, mark_ip; 1: mov %%dr0, %%rax" : : : "rax", "memory");
	CHECK_EQ(steps, 1);
	CHECK_EQ(step[0].ip, mark_ip);
	CHECK_EQ(step[0].dr6, DR6_CLEAR | BD);
	CHECK_EQ(record[3], DR7_CLEAR);
	hook[DB] = note;
	steps = 0;
	CHECK_EQ(user(user_int1), USER_DONE); /* no privilege check */
	CHECK_EQ(steps, 1);
	CHECK_EQ(step[0].ip, AT(u_i1));
	CHECK_EQ(step[0].dr6, DR6_CLEAR);
	hook[DB] = NULL;
}

void guest_main(void)
{
	single_steps();
	in_ring_3();
	on_execution();
	on_data();
	on_io();
	registers();
}
