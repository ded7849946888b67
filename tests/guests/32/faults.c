/* SPDX-License-Identifier: MIT */
/*
 * Faults in the delivery of faults: which pairs make a double fault (Intel SDM vol. 3, table
 * 6-5), and what the double fault's own task finds.
 */
#include "guest.h"

#define DF_TASK SLOT(0)
#define P 1u
#define RW 2u
#define US 4u
#define PS 0x80u
#define GONE 0x80000000u

static struct tss df_task;
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));

/* Ends CATCH from the double fault's task: its old task is told of in its back link. */
CODE(df_code, "popl record; str record + 4; mov %cr2, %eax; mov %eax, record + 8; ud2");

static void df_prepare(void)
{
	df_task = (struct tss){
		.eip = (word)df_code, .cs = KCS, .ss = KDS, .ds = KDS, .es = KDS, .eflags = 2,
		.esp = (word)fault_stack_top, .iomap = 104, .ss0 = KDS, .esp0 = (word)stack_top,
		.cr3 = (word)directory,
	};
	gdt_set(DF_TASK, (word)&df_task, 103, 0x89);
	idt_set(DF, DF_TASK, 0, 0x85);
	record[0] = record[1] = 0xbad;
}

/* Was it a double fault? Then this task's state is put back. */
static bool double_fault(void)
{
	bool df = record[1] == DF_TASK;

	if (df) {
		asm volatile("clts");
		gdt_set(KTSS, (word)&tss, sizeof(tss) - 1, 0x89);
		asm volatile("ltr %w0" : : "r"(KTSS));
	}
	return df;
}

static void absent(unsigned vector)
{
	idt_set(vector, KCS, 0, 0x0e);
}

static void from_benign(void)
{
	df_prepare();
	absent(UD);
	EXPECT(NP, UD * 8 + 3, "ud2"); /* benign, then contributory: the second */
	CHECK(!double_fault());
	absent(NP);
	idt_reset(UD); /* with which the task ends */
	absent(BP);
	df_prepare();
	CATCH(asm volatile(MARK_IP "int3" : : : CLOBBERS));
	CHECK(double_fault());
	CHECK_EQ(record[0], 0); /* error code */
	CHECK_EQ(tss.eip, mark_ip); /* INT3's fault: at INT3 */
	CHECK_EQ(df_task.back, KTSS);
	idt_reset(BP);
	idt_reset(NP);
}

static void from_contributory(void)
{
	static const uint32_t bounds[2] = { 5, 6 };

	df_prepare();
	absent(GP);
	EXPECT_EVENT(UD, 0, "mov %0, %%fs", "r"(0x400));
	CHECK(double_fault());
	CHECK_EQ(record[0], 0);
	idt_reset(GP);
	absent(DE);
	df_prepare();
	CATCH(asm volatile("xor %%ecx, %%ecx; " MARK_IP "div %%ecx" : : : CLOBBERS));
	CHECK(double_fault());
	CHECK_EQ(tss.eip, mark_ip);
	idt_reset(DE);
	/* #MF, #AC, #DB and others are benign. */
	absent(BR);
	df_prepare();
	EXPECT_EVENT(NP, BR * 8 + 3, "mov $9, %%eax; bound %%eax, %0", "m"(bounds));
	CHECK(!double_fault());
	idt_reset(BR);
}

static void start_paging(void)
{
	for (unsigned i = 0; i < 1024; i++)
		directory[i] = i << 22 | P | RW | US | PS;
	directory[GONE >> 22] = (word)table | P | RW | US;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PSE);
	WRITE_REG(cr3, (word)directory);
	WRITE_REG(cr0, READ_REG(cr0) | CR0_PG);
	tss.cr3 = (word)directory;
}

static void map(unsigned page, word frame)
{
	table[page] = frame ? frame | P | RW : 0;
	invlpg((void *)(GONE + page * 4096));
}

static void from_page_faults(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) old, moved;
	static struct gate copy[1024] __attribute__((aligned(4096)));

	df_prepare();
	absent(PF);
	EXPECT_EVENT(UD, 0, "mov %%eax, (%0)", "r"(GONE));
	CHECK(double_fault());
	CHECK_EQ(record[2], GONE);
	idt_reset(PF);

	/* An IDT whose page ends behind #GP's entry, so that either half of it can be missing. */
	asm volatile("sidt %0" : "=m"(old));
	for (unsigned i = 0; i < 256; i++)
		copy[512 - 14 + i] = idt[i];
	moved.limit = old.limit;
	moved.base = GONE + 4096 - 14 * sizeof(struct gate);
	asm volatile("lidt %0" : : "m"(moved));
	map(0, 0);
	map(1, (word)copy + 4096);
	/* Contributory, then a page fault: that one. */
	EXPECT(PF, 0, "mov %0, %%fs", "r"(0x400));
	CHECK_EQ(caught_cr2, GONE + 4096 - 8);
	map(0, (word)copy);
	EXPECT_EVENT(GP, 0x400, "mov %0, %%fs", "r"(0x400));
	/* A page fault, then another. */
	map(1, 0);
	df_prepare();
	copy[512 - 14 + DF] = idt[DF];
	EXPECT_EVENT(UD, 0, "mov %%eax, (%0)", "r"(GONE + 8192));
	CHECK(double_fault());
	CHECK_EQ(record[2], GONE + 4096);
	asm volatile("lidt %0" : : "m"(old));
}

void guest_main(void)
{
	start_paging();
	from_benign();
	from_contributory();
	from_page_faults();
}
