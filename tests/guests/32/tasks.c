/* SPDX-License-Identifier: MIT */
/*
 * Task switches: by JMP, CALL, IRET and through task gates, what they save and load, busy flags,
 * NT, CR0.TS, the T bit, 16-bit TSSs, and what each kind of damage raises. Intel SDM vol. 3,
 * chapter 7.
 */
#include "guest.h"

#define TASK SLOT(0)
#define GATE SLOT(1)
#define TASK16 SLOT(2)
#define LDT SLOT(3)
#define ODD SLOT(4)
#define AVAILABLE 0x89
#define BUSY 0x8b

static struct tss task;
static uint16_t task16[22];
static char task_stack[4096] __attribute__((aligned(16)));
static char task_stack0[4096] __attribute__((aligned(16)));

/* What the other task does: tells what it found,
		and goes back; once more when it is called again. */
CODE(task_code, "mov %esp, record; pushf; popl record + 4; str record + 8; mov %cr0, %edx\n"
		"mov %edx, record + 12; mov %eax, record + 16; mov %ss, record + 20\n"
		"clts; iret; jmp task_code");
CODE(task_jumps_back, "mov %eax, record + 16; str record + 8; clts; ljmp $0x50, $0;"
		"jmp task_jumps_back");
CODE(task_user, "int $0x80");
/* Entered by an exception: the error code is on its stack. */
CODE(task_handler, "popl record + 24; str record + 8; addl $2, tss + 32; clts; iret;"
		"jmp task_handler");

static unsigned type_of(unsigned selector)
{
	return (uint8_t)(ONCE(gdt[selector / 8]) >> 40);
}

static void task_make(const void *code)
{
	task = (struct tss){
		.eip = (word)code, .cs = KCS, .ss = KDS, .ds = KDS, .es = KDS, .eflags = 2,
		.esp = (word)task_stack + sizeof(task_stack), .ss0 = KDS,
		.esp0 = (word)task_stack0 + sizeof(task_stack0), .iomap = 104, .eax = 0x11111111,
	};
	gdt_set(TASK, (word)&task, 103, AVAILABLE);
}

/* After an event in another task: this one again. */
static void back(void)
{
	asm volatile("clts");
	gdt_set(KTSS, (word)&tss, sizeof(tss) - 1, AVAILABLE);
	asm volatile("ltr %w0" : : "r"(KTSS));
}

static void by_call(void)
{
	task_make(task_code);
	EXPECT(NONE, 0, "mov $0x77777777, %%eax; stc; lcall $0x60, $0; clts", "r"(0));
	CHECK_EQ(record[0], (word)task_stack + sizeof(task_stack));
	CHECK_EQ(record[1] & ~CF, NT | 2);
	CHECK_EQ(record[2] & 0xffff, TASK);
	CHECK(record[3] & CR0_TS);
	CHECK_EQ(record[4], 0x11111111);
	CHECK_EQ(task.back, KTSS);
	CHECK_EQ(tss.eax, 0x77777777);
	CHECK(tss.eflags & CF);
	CHECK(!(tss.eflags & NT));
	CHECK_EQ(tss.cs, KCS);
	CHECK_EQ(tss.ds, KDS);
	CHECK(!(task.eflags & NT)); /* IRET left without it */
	CHECK_EQ(type_of(TASK), AVAILABLE);
	CHECK_EQ(type_of(KTSS), BUSY);
	/* The next time it goes on behind its IRET. */
	EXPECT(NONE, 0, "lcall $0x60, $0; clts");
	CHECK_EQ(task.esp, (word)task_stack + sizeof(task_stack));
}

static void by_jump(void)
{
	task_make(task_jumps_back);
	EXPECT(NONE, 0, "ljmp $0x60, $0; clts");
	CHECK_EQ(record[2] & 0xffff, TASK);
	CHECK_EQ(task.back, 0);
	CHECK_EQ(type_of(TASK), AVAILABLE);
	CHECK_EQ(type_of(KTSS), BUSY);
	CHECK(!(read_flags() & NT));
}

static void by_gate(void)
{
	task_make(task_code);
	gdt[GATE / 8] = (uint64_t)TASK << 16 | 0x85ull << 40;
	EXPECT(NONE, 0, "lcall $0x68, $0; clts");
	CHECK_EQ(record[2] & 0xffff, TASK);
	idt_set(0x90, TASK, 0, 0x85);
	EXPECT(NONE, 0, "int $0x90; clts");
	CHECK_EQ(task.back, KTSS);
	gdt[GATE / 8] = (uint64_t)TASK << 16 | 0x05ull << 40;
	EXPECT(NP, GATE, "lcall $0x68, $0");
	gdt[GATE / 8] = (uint64_t)KDS << 16 | 0x85ull << 40;
	EXPECT(GP, KDS, "lcall $0x68, $0");
	gdt[GATE / 8] = (uint64_t)KTSS << 16 | 0x85ull << 40;
	EXPECT(GP, KTSS, "ljmp $0x68, $0"); /* busy */
	idt_set(0x90, KDS, 0, 0x85);
	EXPECT(GP, KDS, "int $0x90");
	idt_set(0x90, TASK | 4, 0, 0x85);
	EXPECT(GP, TASK | 4, "int $0x90");
	idt_reset(0x90);
	gdt[GATE / 8] = (uint64_t)TASK << 16 | 0x85ull << 40;
	EXPECT(GP, GATE, "lcall $0x6b, $0"); /* RPL 3, gate's DPL 0 */
}

static void by_exception(void)
{
	task_make(task_handler);
	idt_set(GP, TASK, 0, 0x85);
	record[6] = 0;
	/* mov %eax, %fs of 2 bytes: the handler skips it in the TSS. */
	EXPECT(NONE, 0, "mov $0x400, %%eax; mov %%eax, %%fs; clts", "r"(0));
	CHECK_EQ(record[6], 0x400);
	CHECK_EQ(record[2] & 0xffff, TASK);
	idt_reset(GP);
}

static void refused(void)
{
	task_make(task_code);
	gdt_set(TASK, (word)&task, 103, BUSY);
	EXPECT(GP, TASK, "lcall $0x60, $0");
	EXPECT(GP, TASK, "ljmp $0x60, $0");
	gdt_set(TASK, (word)&task, 103, 0x09);
	EXPECT(NP, TASK, "lcall $0x60, $0");
	gdt_set(TASK, (word)&task, 102, AVAILABLE);
	EXPECT(TS, TASK, "lcall $0x60, $0");
	gdt_set(TASK, (word)&task, 103, AVAILABLE);
	EXPECT(GP, TASK, "lcall $0x63, $0"); /* RPL 3, DPL 0 */
	/* A nested return to something that is no busy TSS. */
	tss.back = TASK;
	EXPECT_EVENT(TS, TASK, "pushl $0x4002; popf; iret");
	tss.back = KDS;
	EXPECT_EVENT(TS, KDS, "pushl $0x4002; popf; iret");
	tss.back = 0x400;
	EXPECT_EVENT(TS, 0x400, "pushl $0x4002; popf; iret");
	tss.back = TASK | 4;
	EXPECT_EVENT(TS, TASK | 4, "pushl $0x4002; popf; iret");
	CHECK_EQ(type_of(KTSS), BUSY);
}

/* Damage found in the new task: it is the new task that has the fault, at its first instruction. */
static void damaged(void)
{
	static const struct {
		uint16_t offset;
		uint32_t value;
		uint8_t vector;
		uint16_t error;
	} bad[] = {
		{ offsetof(struct tss, cs), 3, TS, 0 },
		{ offsetof(struct tss, cs), 0x403, TS, 0x400 },
		{ offsetof(struct tss, cs), KDS | 3, TS, KDS },
		{ offsetof(struct tss, cs), KCS | 3, TS, KCS },
		{ offsetof(struct tss, ss), 0, TS, 0 },
		{ offsetof(struct tss, ss), KDS, TS, KDS },
		{ offsetof(struct tss, ss), UCS32, TS, UCS32 & ~3 },
		{ offsetof(struct tss, ss), ODD | 3, SS, ODD },
		{ offsetof(struct tss, ds), KDS, TS, KDS },
		{ offsetof(struct tss, es), 0x400, TS, 0x400 },
		{ offsetof(struct tss, fs), ODD | 3, NP, ODD },
		{ offsetof(struct tss, gs), KTSS, TS, KTSS },
		{ offsetof(struct tss, ldt), KDS, TS, KDS },
		{ offsetof(struct tss, ldt), LDT, TS, LDT },
	};

	gdt_set(ODD, 0, 0xfffff, (FLAT_DATA & ~0x80) | A_DPL(3));
	gdt_set(LDT, 0, 0xff, 0x02);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		task_make(task_user);
		task.cs = UCS32;
		task.ss = task.ds = task.es = UDS;
		*(uint32_t *)((char *)&task + bad[i].offset) = bad[i].value;
		CATCH(asm volatile("lcall $0x60, $0" : : : CLOBBERS));
		CHECK_EQ(caught.vector, bad[i].vector);
		CHECK_EQ(caught.error, bad[i].error);
		CHECK_EQ(caught.ip, AT(task_user));
		CHECK_EQ(type_of(TASK), BUSY);
		CHECK_EQ(type_of(KTSS), BUSY);
		back();
	}
}

static void to_ring_3(void)
{
	task_make(task_user);
	task.cs = UCS32;
	task.ss = task.ds = task.es = UDS;
	CHECK_EQ(CATCH(asm volatile("lcall $0x60, $0" : : : CLOBBERS)), USER_DONE);
	CHECK_EQ(caught.cs, UCS32);
	CHECK_EQ(caught.sp, (word)task_stack + sizeof(task_stack));
	back();
	/* EIP beyond the new code segment. */
	gdt_set(ODD, 0, 0xff, A_CODE | A_DB | A_DPL(3));
	task_make(task_user);
	task.cs = ODD | 3;
	task.ss = task.ds = task.es = UDS;
	CHECK_EQ(CATCH(asm volatile("lcall $0x60, $0" : : : CLOBBERS)), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(caught.cs, ODD | 3);
	back();
}

static void debug_trap(void)
{
	task_make(task_user);
	task.trap = 1;
	WRITE_REG(dr6, 0xffff0ff0);
	CHECK_EQ(CATCH(asm volatile("lcall $0x60, $0" : : : CLOBBERS)), DB);
	CHECK_EQ(caught.ip, AT(task_user)); /* before its first instruction */
	CHECK(READ_REG(dr6) & 0x8000);
	back();
	WRITE_REG(dr6, 0xffff0ff0);
}

CODE(task16_code, "mov %esp, record; mov %eax, record + 16; str record + 8; mov %ecx, record + 4\n"
		  "clts; data16 iret");

static void old_kind(void)
{
	gdt_set(ODD, (word)task16_code & ~0xffffu, 0xffff, A_CODE | A_DB);
	gdt_set(TASK16, (word)task16, 43, 0x81);
	task16[0] = 0;
	task16[7] = (uint16_t)(word)task16_code; /* IP */
	task16[8] = 2;                           /* FLAGS */
	task16[9] = 0x1234;                      /* AX */
	task16[10] = 0x5678;                     /* CX */
	task16[13] = 0x8000;                     /* SP */
	task16[17] = KDS;                        /* ES, CS, SS, DS */
	task16[18] = ODD;
	task16[19] = KDS16;
	task16[20] = KDS;
	EXPECT(NONE, 0, "lcall $0x70, $0; clts");
	CHECK_EQ(record[0] & 0xffff, 0x8000);
	CHECK_EQ(record[4] & 0xffff, 0x1234);
	CHECK_EQ(record[1] & 0xffff, 0x5678);
	CHECK_EQ(record[2] & 0xffff, TASK16);
	CHECK_EQ(task16[0], KTSS);
	gdt_set(TASK16, (word)task16, 42, 0x81);
	EXPECT(TS, TASK16, "lcall $0x70, $0");
}

void guest_main(void)
{
	by_call();
	by_jump();
	by_gate();
	by_exception();
	refused();
	damaged();
	to_ring_3();
	debug_trap();
	old_kind();
}
