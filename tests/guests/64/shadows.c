/* SPDX-License-Identifier: MIT */
/*
 * When interrupts are taken: STI's and MOV SS's shadows, POPF and IRET, CLI, HLT; NMIs until IRET.
 * Interrupts are sent to oneself through the local APIC, so that they wait for the flag.
 * Intel SDM vol. 3, 6.7 and 6.8.
 */
#include "guest.h"

#define VECTOR 0x51
#define ICR_SELF 0x44000
#define ICR_NMI 0x4400

static volatile word taken_at;
static volatile unsigned taken, nmis, nmi_depth, nmi_deepest;
static bool disable_after;

static bool on_interrupt(struct frame *frame)
{
	taken_at = frame->ip;
	taken++;
	apic_write(APIC_EOI, 0);
	if (disable_after)
		frame->flags &= ~IF;
	return true;
}

/* One interrupt waits; where code is interrupted. */
static word interrupted(const void *code)
{
	word at;

	taken = 0;
	taken_at = 0;
	apic_write(APIC_ICR, ICR_SELF | VECTOR);
	WAIT(apic_read(APIC_IRR + 0x10 * (VECTOR / 32)) & 1 << VECTOR % 32);
	asm volatile("call *%0; cli" : : "r"(code) : "rax", "rcx", "rdx", "memory", "cc");
	at = taken_at;
	if (!taken) /* it must not wait for the next test */
		asm volatile("sti; nop; nop; cli");
	return at;
}

CODE(s_sti, "sti; s_a0: nop; s_a1: nop; cli; ret");
CODE(s_sti_cli, "sti; cli; nop; nop; s_b: sti; nop; s_b1: cli; ret");
CODE(s_sti_sti, "sti; sti; s_c: nop; s_c1: cli; ret");
CODE(s_sti_ss, "mov %ss, %eax; sti; mov %eax, %ss; s_d0: nop; s_d1: nop; cli; ret");
CODE(s_popf, "pushf; orl $0x200, (%rsp); popf; s_e0: nop; cli; ret");
CODE(s_popf_ss, "mov %ss, %eax; pushf; orl $0x200, (%rsp); mov %eax, %ss; popf; s_f: nop; cli;"
		"ret");
CODE(s_iret, "mov %rsp, %rcx; mov %ss, %eax; push %rax; push %rcx; pushf; orl $0x200, (%rsp)\n"
	     "push $8; push $s_g; iretq; s_g: nop; cli; ret");
CODE(s_sti_hlt, "sti; hlt; s_h: cli; ret");
CODE(s_none, "nop; nop; ret");
CODE(s_rep, "push %rdi; mov $record, %edi; mov $0, %ecx; sti; rep stosb; s_i: nop; cli;"
		"pop %rdi; ret");
extern char s_a1[], s_b1[], s_c[], s_d1[], s_d0[], s_e0[], s_f[], s_g[], s_h[], s_i[];

static void interrupts(void)
{
	word at;

	hook[VECTOR] = on_interrupt;
	disable_after = true;
	CHECK_EQ(interrupted(s_none), 0);
	CHECK_EQ(interrupted(s_sti), AT(s_a1)); /* one instruction runs first */
	CHECK_EQ(interrupted(s_sti_cli), AT(s_b1)); /* and it may be CLI */
	CHECK_EQ(interrupted(s_sti_sti), AT(s_c)); /* only the STI that sets IF casts a shadow */
	CHECK_EQ(interrupted(s_popf), AT(s_e0));
	CHECK_EQ(interrupted(s_iret), AT(s_g));
	CHECK_EQ(interrupted(s_sti_hlt), AT(s_h)); /* the classic idle loop */
	CHECK_EQ(interrupted(s_rep), AT(s_i));
	at = interrupted(s_sti_ss); /* two shadows in a row: the second may be left out */
	CHECK(at == AT(s_d0) || at == AT(s_d1));
	CHECK_EQ(interrupted(s_popf_ss), AT(s_f));
	disable_after = false;
}

/* An interrupt that comes up in straight-line code is taken in the window that follows, hot or cold. */
static void windows(void)
{
	enum { TIMES = 200 };

	taken = 0;
	for (unsigned i = 0; i < TIMES; i++)
		asm volatile("movl %0, (%1); mfence; sti; nop; nop; nop; nop; cli"
			     : : "r"(ICR_SELF | VECTOR), "r"(APIC_BASE + APIC_ICR) : "memory");
	CHECK_EQ(taken, TIMES);
}

/* ---- NMIs ---- */

static void send_nmi(void)
{
	apic_write(APIC_ICR_HIGH, apic_read(APIC_ID));
	apic_write(APIC_ICR, ICR_NMI);
}

static void spin(void)
{
	for (uint64_t start = rdtsc(); rdtsc() - start < 2000000;)
		asm volatile("pause");
}

static bool on_nmi(struct frame *frame)
{
	nmis++;
	nmi_depth++;
	if (nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	taken_at = frame->ip;
	if (nmis == 1) {
		send_nmi();
		send_nmi(); /* one is held back, the other is lost or merged */
		spin();
		record[0] = nmis;
	}
	nmi_depth--;
	return true;
}

static bool on_nmi_iret(struct frame *frame)
{
	(void)frame;
	nmis++;
	if (nmis == 1) {
		send_nmi();
		spin();
		record[0] = nmis;
		asm volatile("int $0x52" : : : "memory"); /* whose IRET unblocks NMIs */
		spin();
		record[1] = nmis;
	}
	return true;
}

static bool nothing(struct frame *frame)
{
	(void)frame;
	return true;
}

static void non_maskable(void)
{
	hook[NMI] = on_nmi;
	nmis = nmi_deepest = 0;
	send_nmi();
	WAIT(ONCE(nmis) == 2);
	spin();
	CHECK_EQ(record[0], 1);
	CHECK_EQ(nmis, 2);
	CHECK_EQ(nmi_deepest, 1);
	hook[NMI] = on_nmi_iret;
	hook[0x52] = nothing;
	nmis = 0;
	send_nmi();
	WAIT(ONCE(nmis) == 2);
	CHECK_EQ(record[0], 1);
	CHECK_EQ(record[1], 2);
	/* It ends HLT, whatever IF says. */
	hook[NMI] = on_nmi_iret;
	nmis = 10;
	send_nmi();
	WAIT(ONCE(nmis) == 11);
	CHECK_EQ(nmis, 11);
}

static void halt_with_nmi(void)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR);
	hook[VECTOR] = on_interrupt;
	taken = 0;
	apic_write(APIC_TIMER_INITIAL, 20000);
	asm volatile("sti; hlt; 1: cli; movq $1b, mark_ip" : : : "memory");
	CHECK_EQ(taken, 1);
	CHECK_EQ(taken_at, mark_ip);
}

void guest_main(void)
{
	apic_write(APIC_SVR, 0x1ff);
	interrupts();
	windows();
	non_maskable();
	halt_with_nmi();
}
