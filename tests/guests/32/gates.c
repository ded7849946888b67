/* SPDX-License-Identifier: MIT */
/*
 * Ways between rings in protected mode: call gates of 32 and 16 bits with stack switch and
 * parameters, RETF outwards, interrupt, trap and 16-bit gates, INT n's privilege check, error codes
 * of the IDT, stacks that the TSS does not hold. Intel SDM vol. 3, 5.8, 6.11 to 6.13.
 */
#include "guest.h"

#define GATE SLOT(0)
#define GATE16 SLOT(1)
#define ONE_CS SLOT(2) /* ring 1 */
#define ONE_SS SLOT(3)
#define CONFORMING SLOT(4)

static char one_stack[1024] __attribute__((aligned(16)));

static void gate_set(unsigned slot, unsigned selector, word offset, unsigned type, unsigned params)
{
	gdt[slot / 8] = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)params << 32 |
			(uint64_t)type << 40 | (uint64_t)(offset >> 16) << 48;
}

/* What a gate leads to: keeps the stack it found, then returns over two parameters. */
CODE(callee, "mov %eax, record + 24; mov (%esp), %eax; mov %eax, record\n"
	     "mov 4(%esp), %eax; mov %eax, record + 4; mov 8(%esp), %eax; mov %eax, record + 8\n"
	     "mov 12(%esp), %eax; mov %eax, record + 12; mov 16(%esp), %eax;"
	     "mov %eax, record + 16\n"
	     "mov 20(%esp), %eax; mov %eax, record + 20; mov %cs, %eax; mov %eax, record + 28\n"
	     "lret $8");
CODE(callee0, "mov %cs, %eax; mov %eax, record + 28; mov 4(%esp), %eax; mov %eax, record + 4;"
		"lret");
CODE(callee_event, "ud2");
CODE(user_call_gate, "push $0x1111; push $0x2222; lcall $0x60, $0x12345678; user_back: int $0x80");
CODE(user_call_gate0, "lcall $0x60, $0; int $0x80");
CODE(user_call_rpl, "lcall $0x63, $0; int $0x80");
CODE(user_jump_gate, "ljmp $0x60, $0");
CODE(user_call_gate16, "pushw $0x11; pushw $0x22; lcall $0x68, $0; user_back16: int $0x80");
CODE(callee16, "mov (%esp), %eax; mov %eax, record; mov 4(%esp), %eax; mov %eax, record + 4\n"
	       "mov 8(%esp), %eax; mov %eax, record + 8; data16 lret $4");
extern char user_back[], user_back16[];

static void call_gates(void)
{
	gate_set(GATE, KCS, AT(callee), 0xec, 2);
	CHECK_EQ(user(user_call_gate), USER_DONE);
	CHECK_EQ(caught.ip, AT(user_back) + 2);
	CHECK_EQ(record[0], AT(user_back));
	CHECK_EQ(record[1], UCS32);
	CHECK_EQ(record[2], 0x2222); /* parameters keep their order */
	CHECK_EQ(record[3], 0x1111);
	CHECK_EQ(record[4], AT(user_stack_top) - 72);
	CHECK_EQ(record[5], UDS);
	CHECK_EQ(record[7], KCS);
	CHECK_EQ(caught.sp, AT(user_stack_top) - 64); /* RET 8 took them from the outer stack too */

	gate_set(GATE, KCS | 3, AT(callee0), 0xec, 0); /* the gate's own RPL does not count */
	CHECK_EQ(user(user_call_gate0), USER_DONE);
	CHECK_EQ(user(user_call_rpl), USER_DONE);
	CHECK_EQ(user(user_jump_gate), GP); /* JMP does not go inwards */
	CHECK_EQ(caught.error, KCS);
	gate_set(GATE, KCS, AT(callee0), 0x8c, 0);
	CHECK_EQ(user(user_call_gate0), GP); /* DPL */
	CHECK_EQ(caught.error, GATE);
	gate_set(GATE, KCS, AT(callee0), 0x6c, 0);
	CHECK_EQ(user(user_call_gate0), NP);
	CHECK_EQ(caught.error, GATE);
	gate_set(GATE, 0, AT(callee0), 0xec, 0);
	CHECK_EQ(user(user_call_gate0), GP);
	CHECK_EQ(caught.error, 0);
	gate_set(GATE, KDS, AT(callee0), 0xec, 0);
	CHECK_EQ(user(user_call_gate0), GP);
	CHECK_EQ(caught.error, KDS);
	gate_set(GATE, 0x400, AT(callee0), 0xec, 0);
	CHECK_EQ(user(user_call_gate0), GP);
	CHECK_EQ(caught.error, 0x400);
	gdt_set(CONFORMING, 0, 0xfffff, 0x9e | A_G | A_DB);
	gate_set(GATE, CONFORMING, AT(callee0), 0xec, 0); /* ring and stack stay */
	CHECK_EQ(user(user_call_gate0), USER_DONE);
	CHECK_EQ(record[7], CONFORMING | 3);
	CHECK_EQ(record[1], UCS32);
	gdt_set(CONFORMING, 0, 0xfffff, 0x1e | A_G | A_DB);
	CHECK_EQ(user(user_call_gate0), NP);
	CHECK_EQ(caught.error, CONFORMING);
	gdt_set(CONFORMING, 0, 0xff, 0x9a | A_DB);
	CHECK_EQ(user(user_call_gate0), GP); /* entry beyond the limit */
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.ip, AT(user_call_gate0));
	CHECK_EQ(caught.cs, UCS32);
}

static void gates_from_ring_0(void)
{
	gate_set(GATE, KCS, AT(callee0), 0x8c, 5); /* same ring: nothing is copied */
	EXPECT(NONE, 0, "lcall $0x60, $0");
	CHECK_EQ(record[1], KCS);
	EXPECT(GP, GATE, "lcall $0x63, $0"); /* RPL against the gate's DPL */
	gate_set(GATE, UCS32, AT(callee0), 0x8c, 0);
	EXPECT(GP, UCS32 & ~3, "lcall $0x60, $0"); /* never outwards */
	gate_set(GATE, KCS, AT(callee_event), 0x8c, 0);
	EXPECT_EVENT(UD, 0, "ljmp $0x60, $0");
	CHECK_EQ(caught.ip, AT(callee_event));
}

static void call_gate_16(void)
{
	/* Offsets of 16 bits: the code is in a segment of its own. */
	gdt_set(SLOT(5), AT(callee16) & ~0xfffu, 0xffff, A_CODE | A_DB);
	gate_set(GATE16, SLOT(5), AT(callee16) & 0xfff, 0xe4, 2);
	gdt_set(SLOT(6), 0, 0, 0);
	user(user_call_gate16);
	/* A 16-bit frame holds 16 bits of ESP and EIP. */
	CHECK_EQ(record[0] & 0xffff, AT(user_back16) & 0xffff);
	CHECK_EQ(record[0] >> 16, UCS32);
	CHECK_EQ(record[1], 0x00110022);
	CHECK_EQ(record[2] & 0xffff, (AT(user_stack_top) - 68) & 0xffff);
	CHECK_EQ(record[2] >> 16, UDS);
}

CODE(one_entry, "mov %cs, %eax; mov %eax, record + 28; mov %ss, %eax; mov %eax, record + 24;"
		"int $0x80");

static void ring_1(void)
{
	gdt_set(ONE_CS, 0, 0xfffff, FLAT_CODE | A_DPL(1));
	gdt_set(ONE_SS, 0, 0xfffff, FLAT_DATA | A_DPL(1));
	tss.ss1 = ONE_SS | 1;
	tss.esp1 = (word)one_stack + sizeof(one_stack);
	gate_set(GATE, ONE_CS, AT(one_entry), 0xec, 0);
	CHECK_EQ(user(user_call_gate0), USER_DONE);
	CHECK_EQ(record[7], ONE_CS | 1);
	CHECK_EQ(record[6], ONE_SS | 1);
	CHECK_EQ(caught.cs, ONE_CS | 1);
	CHECK_EQ(caught.sp, (word)one_stack + sizeof(one_stack) - 16);
	tss.ss1 = ONE_SS;
	CHECK_EQ(user(user_call_gate0), TS);
	CHECK_EQ(caught.error, ONE_SS);
	tss.ss1 = 0;
	CHECK_EQ(user(user_call_gate0), TS);
	CHECK_EQ(caught.error, 0);
	tss.ss1 = 0x401;
	CHECK_EQ(user(user_call_gate0), TS);
	CHECK_EQ(caught.error, 0x400);
	tss.ss1 = ONE_CS | 1;
	CHECK_EQ(user(user_call_gate0), TS);
	CHECK_EQ(caught.error, ONE_CS);
	tss.ss1 = ONE_SS | 1;
	gdt_set(ONE_SS, 0, 0xfffff, (FLAT_DATA & ~0x80) | A_DPL(1));
	CHECK_EQ(user(user_call_gate0), SS);
	CHECK_EQ(caught.error, ONE_SS);
	gdt_set(ONE_SS, (word)one_stack, 0xff, A_DATA | A_DB | A_DPL(1));
	tss.esp1 = 8;
	CHECK_EQ(user(user_call_gate0), SS); /* the new stack is too small */
	CHECK_EQ(caught.error, ONE_SS);
	CHECK_EQ(caught.sp, AT(user_stack_top) - 64);
}

/* RETF from ring 0 to ring 3: what it makes of the data segments, and what it refuses. */
CODE(user_segments, "mov %ds, %eax; mov %es, %edx; mov %fs, %ecx; mov %gs, %ebx; int $0x80");

static unsigned far_return(word cs, word ss)
{
	return CATCH(asm volatile("mov %2, %%ds; mov %3, %%es; mov %2, %%fs; mov %4, %%gs\n"
				  "push %1; push $user_stack_top - 64; push %0;"
				  "push $user_segments\n"
				  ".globl the_lret\nthe_lret: lret"
				  : : "S"(cs), "D"(ss), "r"(KDS), "b"(UDS), "r"(CONFORMING)
				  : "memory"));
}
extern char the_lret[];

static void far_returns(void)
{
	gdt_set(CONFORMING, 0, 0xfffff, 0x9e | A_G | A_DB);
	CHECK_EQ(far_return(UCS32, UDS), USER_DONE);
	CHECK_EQ(caught.ax, 0);          /* ring 0's DS is taken away */
	CHECK_EQ(caught.dx, UDS);        /* the outer ring's own stays */
	CHECK_EQ(caught.cx, 0);
	CHECK_EQ(caught.bx, CONFORMING); /* and what anybody may read */
	CHECK_EQ(far_return(UCS32, KDS), GP);
	CHECK_EQ(caught.error, KDS);
	CHECK_EQ(caught.ip, AT(the_lret));
	CHECK_EQ(far_return(UCS32, 0), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(far_return(UCS32, UDS & ~3), GP);
	CHECK_EQ(caught.error, UDS & ~3);
	CHECK_EQ(far_return(KCS | 3, UDS), GP);
	CHECK_EQ(caught.error, KCS);
	CHECK_EQ(far_return(UCS32 & ~3, UDS), GP); /* RPL 0, DPL 3 */
	CHECK_EQ(caught.error, UCS32 & ~3);
	CHECK_EQ(far_return(UCS32, UCS32), GP);
	CHECK_EQ(far_return(0, UDS), GP);
	CHECK_EQ(caught.error, 0);
	gdt_set(SLOT(7), 0, 0xfffff, (FLAT_DATA & ~0x80) | A_DPL(3));
	CHECK_EQ(far_return(UCS32, SLOT(7) | 3), SS);
	CHECK_EQ(caught.error, SLOT(7));
	gdt_set(SLOT(7), 0, 0xfffff, (FLAT_CODE & ~0x80) | A_DPL(3));
	CHECK_EQ(far_return(SLOT(7) | 3, UDS), NP);
	CHECK_EQ(caught.error, SLOT(7));
}

/* ---- the IDT ---- */

CODE(user_int_90, "int $0x90; int $0x80");
CODE(user_int3, "int3; int $0x80");
CODE(user_into, "mov $0x7fffffff, %eax; inc %eax; into; int $0x80");
CODE(user_int_13, "int $13; int $0x80");

static void int_privilege(void)
{
	CHECK_EQ(user(user_int_90), GP); /* its gate is ring 0's */
	CHECK_EQ(caught.error, 0x90 * 8 + 2);
	CHECK_EQ(caught.ip, AT(user_int_90));
	CHECK_EQ(user(user_int3), GP);
	CHECK_EQ(caught.error, 3 * 8 + 2);
	CHECK_EQ(user(user_into), GP);
	CHECK_EQ(caught.error, 4 * 8 + 2);
	CHECK_EQ(user(user_int_13), GP);
	CHECK_EQ(caught.error, 13 * 8 + 2);
	idt_set(BP, KCS, (void *)(word)((idt[BP].low & 0xffff) | idt[BP].low >> 48 << 16), 0xee);
	CHECK_EQ(user(user_int3), BP);
	CHECK_EQ(caught.ip, AT(user_int3) + 1);
	idt_reset(BP);
	EXPECT_EVENT(0x90, 0, "int $0x90");
	EXPECT_EVENT(BP, 0, "int3");
}

CODE(gate_flags, "pushf; pop %eax; mov %eax, record; mov 8(%esp), %eax; mov %eax, record + 4;"
		"iret");
CODE(gate_16, "mov (%esp), %eax; mov %eax, record; mov 4(%esp), %eax; mov %eax, record + 4;"
		"data16 iret");

static void gate_types(void)
{
	idt_set(0x90, KCS, gate_flags, 0x8e);
	EXPECT(NONE, 0, "sti; int $0x90; pushf; pop %%eax; cli; mov %%eax, record + 8", "r"(0));
	CHECK(!(record[0] & IF));
	CHECK(record[1] & IF);
	CHECK(record[2] & IF);
	idt_set(0x90, KCS, gate_flags, 0x8f);
	EXPECT(NONE, 0, "sti; int $0x90; cli");
	CHECK(record[0] & IF);
	/* NT and TF are cleared by both. */
	EXPECT(NONE, 0, "pushl $0x4002; popf; int $0x90; pushl $2; popf");
	CHECK(!(record[0] & NT));
	CHECK(record[1] & NT);
	gdt_set(SLOT(8), AT(gate_16) & ~0xfffu, 0xffff, A_CODE | A_DB);
	idt_set(0x90, SLOT(8), (void *)(AT(gate_16) & 0xfff), 0x86);
	/* A 16-bit gate pushes IP, CS, FLAGS as words: code above 64 K cannot be returned to. */
	CATCH(asm volatile("movl $1f, mark_ip; int $0x90; 1:" : : : CLOBBERS));
	CHECK_EQ(record[0], (mark_ip & 0xffff) | KCS << 16);
	CHECK_EQ(record[1] & 0xff00, 0);
	idt_reset(0x90);
}

static void bad_gates(void)
{
	static const struct { unsigned selector, type; unsigned vector, error; } bad[] = {
		{ KCS, 0x0e, NP, 0x90 * 8 + 2 },
		{ KCS, 0x8c, GP, 0x90 * 8 + 2 },
		{ KCS, 0x89, GP, 0x90 * 8 + 2 },
		{ KCS, 0x00, GP, 0x90 * 8 + 2 },
		{ KCS, 0x9e, GP, 0x90 * 8 + 2 },
		{ 0, 0x8e, GP, 0 },
		{ KDS, 0x8e, GP, KDS },
		{ 0x400, 0x8e, GP, 0x400 },
		{ UCS32, 0x8e, GP, UCS32 & ~3 },
		{ SLOT(7), 0x8e, NP, SLOT(7) },
	};

	gdt_set(SLOT(7), 0, 0xfffff, FLAT_CODE & ~0x80);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		idt_set(0x90, bad[i].selector, gate_flags, bad[i].type);
		EXPECT(bad[i].vector, bad[i].error, "int $0x90");
	}
	idt_reset(0x90);
}

/* An exception whose own gate is bad: EXT tells that no INT n asked for it. */
static void external_errors(void)
{
	idt_set(UD, KCS, gate_flags, 0x0e);
	EXPECT(NP, UD * 8 + 3, "ud2");
	idt_set(UD, KDS, gate_flags, 0x8e);
	EXPECT(GP, KDS | 1, "ud2");
	idt_set(UD, 0, gate_flags, 0x8e);
	EXPECT(GP, 1, "ud2");
	idt_reset(UD);
	idt_set(DB, KCS, gate_flags, 0x0e);
	EXPECT(NP, DB * 8 + 3, ".byte 0xf1"); /* INT1 counts as external */
	idt_reset(DB);
	idt_set(BP, KCS, gate_flags, 0x0e);
	EXPECT(NP, BP * 8 + 2, "int3");
	idt_reset(BP);
}

static void short_table(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) old, cut;

	asm volatile("sidt %0" : "=m"(old));
	cut = old;
	cut.limit = 0x90 * 8 + 6;
	asm volatile("lidt %0" : : "m"(cut));
	EXPECT(GP, 0x90 * 8 + 2, "int $0x90");
	cut.limit = 0x90 * 8 + 7;
	asm volatile("lidt %0" : : "m"(cut));
	EXPECT_EVENT(0x90, 0, "int $0x90");
	asm volatile("lidt %0" : : "m"(old));
}

/* Interrupts through a conforming segment stay in the ring they came from. */
CODE(conforming_handler, "mov %cs, %eax; mov %eax, record + 28; iret");

static void conforming_gate(void)
{
	gdt_set(CONFORMING, 0, 0xfffff, 0x9e | A_G | A_DB);
	idt_set(0x90, CONFORMING, conforming_handler, 0xee);
	CHECK_EQ(user(user_int_90), USER_DONE);
	CHECK_EQ(record[7], CONFORMING | 3);
	EXPECT(NONE, 0, "int $0x90");
	CHECK_EQ(record[7], CONFORMING);
	idt_reset(0x90);
}

CODE(user_io, "in $0x80, %al; int $0x80");
CODE(user_cli, "cli; int $0x80");
CODE(user_popf, "pushl $0x3202; popf; pushf; pop %eax; int $0x80");
CODE(user_hlt, "hlt");
CODE(user_lgdt, "lgdt (%esp)");
CODE(user_mov_cr, "mov %cr0, %eax");
CODE(user_mov_dr, "mov %dr7, %eax");
CODE(user_clts, "clts");
CODE(user_invlpg, "invlpg (%esp)");
CODE(user_wbinvd, "wbinvd");
CODE(user_rdmsr, "rdmsr");
CODE(user_lldt, "lldt %ax");
CODE(user_ltr, "ltr %ax");
CODE(user_lmsw, "lmsw %ax");

static void privileged(void)
{
	static const char *const code[] = {
		user_hlt, user_lgdt, user_mov_cr, user_mov_dr, user_clts, user_invlpg, user_wbinvd,
		user_rdmsr, user_lldt, user_ltr, user_lmsw, user_cli,
	};

	for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
		CHECK_EQ(user(code[i]), GP);
		CHECK_EQ(caught.error, 0);
		CHECK_EQ(caught.ip, AT(code[i]));
	}
	CHECK_EQ(user_flags(user_cli, IOPL(3) | 2), USER_DONE);
	CHECK_EQ(user_flags(user_popf, 2), USER_DONE);
	CHECK_EQ(caught.ax & (IF | IOPL(3)), 0); /* silently kept */
	CHECK_EQ(user_flags(user_popf, IOPL(3) | 2), USER_DONE);
	CHECK_EQ(caught.ax & (IF | IOPL(3)), IF | IOPL(3));
}

static void io_bitmap(void)
{
	for (unsigned i = 0; i < 8192; i++)
		tss.bitmap[i] = 0xff;
	CHECK_EQ(user(user_io), GP);
	CHECK_EQ(user_flags(user_io, IOPL(3) | 2), USER_DONE);
	tss.bitmap[0x80 / 8] = 0xfe;
	CHECK_EQ(user(user_io), USER_DONE);
	/* Two bytes of the map are always read: the last may not lie beyond the limit. */
	gdt_set(KTSS, (word)&tss, offsetof(struct tss, bitmap) + 0x80 / 8, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
	CHECK_EQ(user(user_io), GP);
	gdt_set(KTSS, (word)&tss, offsetof(struct tss, bitmap) + 0x80 / 8 + 1, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
	CHECK_EQ(user(user_io), USER_DONE);
	tss.iomap = sizeof(tss);
	CHECK_EQ(user(user_io), GP);
	tss.iomap = offsetof(struct tss, bitmap);
	gdt_set(KTSS, (word)&tss, sizeof(tss) - 1, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
}

void guest_main(void)
{
	call_gates();
	gates_from_ring_0();
	call_gate_16();
	ring_1();
	far_returns();
	int_privilege();
	gate_types();
	bad_gates();
	external_errors();
	short_table();
	conforming_gate();
	privileged();
	io_bitmap();
}
