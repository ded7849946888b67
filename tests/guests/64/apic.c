/* SPDX-License-Identifier: MIT */
/*
 * The local APIC: identification, self IPIs, IRR, ISR and TMR, priorities by TPR and CR8, EOI,
 * spurious vector, illegal vectors, its timer in all modes, x2APIC mode and the ways between modes.
 * Intel SDM vol. 3, chapter 10.
 */
#include "guest.h"

#define ICR_SELF 0x44000u
#define LVT_MASKED 0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define MSR_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define BASE_X2APIC (1u << 10)
#define BASE_ENABLE (1u << 11)

static volatile unsigned order[16], count;
static bool end = true; /* the handler writes EOI */

static bool on_interrupt(struct frame *frame)
{
	if (count < 16)
		order[count] = (unsigned)frame->vector;
	count++;
	record[frame->vector & 15] = apic_read(APIC_PPR);
	if (end)
		apic_write(APIC_EOI, 0);
	return true;
}

static void send_self(unsigned vector)
{
	apic_write(APIC_ICR, ICR_SELF | vector);
	WAIT(!(apic_read(APIC_ICR) & 1 << 12));
}

static bool bit_set(unsigned reg, unsigned vector)
{
	return apic_read(reg + 0x10 * (vector / 32)) >> vector % 32 & 1;
}

static void open_window(void)
{
	asm volatile("sti; nop; nop; nop; cli" : : : "memory");
}

static void identity(void)
{
	CHECK(rdmsr(MSR_APIC_BASE) & BASE_ENABLE);
	CHECK_EQ(rdmsr(MSR_APIC_BASE) & ~0xffful, APIC_BASE);
	CHECK_EQ(apic_read(APIC_ID), 0);
	CHECK_EQ(apic_read(0x30) & 0xff, 0x14);
	CHECK((apic_read(0x30) >> 16 & 0xff) >= 5);
	CHECK_EQ(apic_read(0xe0) >> 28, 0xf); /* DFR: flat */
	apic_write(0xd0, 0x12345678); /* LDR */
	CHECK_EQ(apic_read(0xd0), 0x12000000);
	CHECK_EQ(apic_read(APIC_TPR), 0);
	apic_write(APIC_SVR, 0x1ff);
	CHECK_EQ(apic_read(APIC_SVR), 0x1ff);
}

static void pending_and_service(void)
{
	for (unsigned i = 0x20; i < 0xff; i++)
		if (i != USER_DONE)
			hook[i] = on_interrupt;
	count = 0;
	send_self(0x61);
	CHECK(bit_set(APIC_IRR, 0x61));
	CHECK(!bit_set(APIC_ISR, 0x61));
	CHECK_EQ(count, 0);
	end = false;
	open_window();
	CHECK_EQ(count, 1);
	CHECK(!bit_set(APIC_IRR, 0x61));
	CHECK(bit_set(APIC_ISR, 0x61));
	CHECK(!bit_set(APIC_TMR, 0x61));
	CHECK_EQ(apic_read(APIC_PPR), 0x60);
	/* While it is in service its class waits, higher ones do not. */
	send_self(0x6f);
	open_window();
	CHECK_EQ(count, 1);
	send_self(0x71);
	open_window();
	CHECK_EQ(count, 2);
	CHECK_EQ(order[1], 0x71);
	CHECK_EQ(apic_read(APIC_PPR), 0x70);
	apic_write(APIC_EOI, 0); /* the highest in service ends */
	CHECK(!bit_set(APIC_ISR, 0x71));
	CHECK(bit_set(APIC_ISR, 0x61));
	end = true;
	apic_write(APIC_EOI, 0);
	open_window();
	CHECK_EQ(count, 3);
	CHECK_EQ(order[2], 0x6f);
	CHECK_EQ(apic_read(APIC_PPR), 0);
	/* Two requests of one vector are one. */
	count = 0;
	send_self(0x42);
	send_self(0x42);
	open_window();
	CHECK_EQ(count, 1);
	/* Highest first. */
	count = 0;
	send_self(0x30);
	send_self(0xe0);
	send_self(0x55);
	send_self(0x54);
	asm volatile("sti; nop; nop; nop; nop; nop; nop; nop; nop; cli");
	CHECK_EQ(count, 4);
	CHECK_EQ(order[0], 0xe0);
	CHECK_EQ(order[1], 0x55);
	CHECK_EQ(order[2], 0x54);
	CHECK_EQ(order[3], 0x30);
	CHECK_EQ(record[0x5], 0x50);
}

static void priorities(void)
{
	count = 0;
	apic_write(APIC_TPR, 0x50);
	CHECK_EQ(READ_REG(cr8), 5);
	CHECK_EQ(apic_read(APIC_PPR), 0x50);
	send_self(0x5f);
	open_window();
	CHECK_EQ(count, 0);
	send_self(0x60);
	open_window();
	CHECK_EQ(count, 1);
	WRITE_REG(cr8, 4ul);
	CHECK_EQ(apic_read(APIC_TPR), 0x40);
	open_window();
	CHECK_EQ(count, 2);
	CHECK_EQ(order[1], 0x5f);
	WRITE_REG(cr8, 15ul);
	send_self(0xfe);
	open_window();
	CHECK_EQ(count, 2);
	/* CR8 opens what waits, at once. */
	asm volatile("sti; mov %0, %%cr8; nop; cli" : : "r"(0ul) : "memory");
	CHECK_EQ(count, 3);
	apic_write(APIC_TPR, 0x3a);
	CHECK_EQ(READ_REG(cr8), 3);
	CHECK_EQ(apic_read(APIC_PPR), 0x3a);
	apic_write(APIC_TPR, 0);
}

static void errors(void)
{
	count = 0;
	apic_write(APIC_LVT_ERROR, 0x77);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ICR, ICR_SELF | 0x0f); /* an illegal vector */
	open_window();
	CHECK_EQ(count, 1);
	CHECK_EQ(order[0], 0x77);
	apic_write(APIC_ESR, 0);
	CHECK(apic_read(APIC_ESR) & 1 << 5);
	apic_write(APIC_ESR, 0);
	CHECK_EQ(apic_read(APIC_ESR), 0);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	/* Disabled by software, the LVTs are masked, and stay so. */
	apic_write(APIC_SVR, 0xff);
	CHECK(apic_read(APIC_LVT_TIMER) & LVT_MASKED);
	apic_write(APIC_LVT_TIMER, 0x42);
	CHECK(apic_read(APIC_LVT_TIMER) & LVT_MASKED);
	apic_write(APIC_SVR, 0x1ff);
}

/* ---- the timer ---- */

static void timer(void)
{
	uint32_t first;

	apic_write(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
	CHECK_EQ(apic_read(APIC_TIMER_DIVIDE), 0xb);
	apic_write(APIC_LVT_TIMER, LVT_MASKED | 0x42);
	apic_write(APIC_TIMER_INITIAL, 0xffffffff);
	first = apic_read(APIC_TIMER_COUNT);
	CHECK(WAIT(apic_read(APIC_TIMER_COUNT) < first));
	CHECK_EQ(apic_read(APIC_TIMER_INITIAL), 0xffffffff);
	apic_write(APIC_TIMER_INITIAL, 0);
	CHECK_EQ(apic_read(APIC_TIMER_COUNT), 0);

	count = 0;
	apic_write(APIC_LVT_TIMER, 0x42);
	apic_write(APIC_TIMER_INITIAL, 1000);
	CHECK(WAIT(bit_set(APIC_IRR, 0x42)));
	open_window();
	CHECK_EQ(count, 1);
	CHECK_EQ(order[0], 0x42);
	CHECK_EQ(apic_read(APIC_TIMER_COUNT), 0); /* one shot */
	for (uint64_t start = rdtsc(); rdtsc() - start < 3000000;)
		;
	open_window();
	CHECK_EQ(count, 1);

	count = 0;
	apic_write(APIC_LVT_TIMER, PERIODIC | 0x43);
	apic_write(APIC_TIMER_INITIAL, 50000);
	asm volatile("sti");
	CHECK(WAIT(ONCE(count) >= 5));
	asm volatile("cli");
	CHECK(apic_read(APIC_TIMER_COUNT) <= 50000);
	apic_write(APIC_TIMER_INITIAL, 0);
	open_window();
	open_window();
	count = 0;
	for (uint64_t start = rdtsc(); rdtsc() - start < 3000000;)
		;
	open_window();
	CHECK_EQ(count, 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

static void deadline(void)
{
	uint64_t when;

	if (!have("TSC deadline", cpuid(1, 0).ecx & 1 << 24))
		return;
	count = 0;
	wrmsr(MSR_DEADLINE, rdtsc() + 1000); /* not in this mode: ignored */
	CHECK_EQ(rdmsr(MSR_DEADLINE), 0);
	apic_write(APIC_LVT_TIMER, DEADLINE | 0x44);
	when = rdtsc() + 5000000;
	wrmsr(MSR_DEADLINE, when);
	CHECK_EQ(rdmsr(MSR_DEADLINE), when);
	asm volatile("sti; hlt; cli");
	CHECK_EQ(count, 1);
	CHECK(rdtsc() >= when);
	CHECK_EQ(rdmsr(MSR_DEADLINE), 0); /* disarmed */
	wrmsr(MSR_DEADLINE, 1); /* the past */
	CHECK(WAIT(bit_set(APIC_IRR, 0x44)));
	open_window();
	CHECK_EQ(count, 2);
	wrmsr(MSR_DEADLINE, rdtsc() + 3000000);
	wrmsr(MSR_DEADLINE, 0);
	for (uint64_t start = rdtsc(); rdtsc() - start < 6000000;)
		;
	open_window();
	CHECK_EQ(count, 2);
	apic_write(APIC_TIMER_INITIAL, 1000); /* has no meaning in this mode */
	CHECK_EQ(apic_read(APIC_TIMER_COUNT), 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

/* ---- x2APIC ---- */

#define X2(reg) (MSR_X2APIC + (reg) / 16)

static void x2apic(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	if (!have("x2APIC", cpuid(1, 0).ecx & 1 << 21))
		return;
	CHECK_EQ(try_rdmsr(X2(APIC_ID)), GP); /* not in this mode */
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)BASE_ENABLE) | BASE_X2APIC), GP);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base | 1), GP);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base | 1ull << 60), GP);
	apic_write(APIC_TPR, 0x20);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base | BASE_X2APIC), NONE);
	CHECK_EQ(rdmsr(X2(APIC_ID)), 0);
	CHECK_EQ(rdmsr(X2(APIC_TPR)), 0x20); /* kept */
	CHECK_EQ(rdmsr(X2(APIC_SVR)), 0x1ff);
	CHECK_EQ(rdmsr(X2(0xd0)), 1); /* LDR follows from the ID */
	CHECK_EQ(try_wrmsr(X2(0xd0), 1), GP);
	CHECK_EQ(try_wrmsr(X2(APIC_ID), 1), GP);
	CHECK_EQ(try_rdmsr(X2(0xe0)), GP); /* there is no DFR */
	CHECK_EQ(try_rdmsr(X2(APIC_ICR_HIGH)), GP);
	CHECK_EQ(try_rdmsr(X2(APIC_EOI)), GP); /* write-only */
	CHECK_EQ(try_wrmsr(X2(APIC_EOI), 1), GP); /* nothing but 0 */
	CHECK_EQ(try_wrmsr(X2(APIC_EOI), 0), NONE);
	CHECK_EQ(try_wrmsr(X2(APIC_TPR), 0x100), GP); /* reserved bits */
	CHECK_EQ(try_wrmsr(X2(APIC_TPR), 1ull << 32), GP);
	CHECK_EQ(try_wrmsr(X2(APIC_PPR), 0), GP);
	CHECK_EQ(try_wrmsr(X2(APIC_ESR), 1), GP);
	CHECK_EQ(try_rdmsr(0x8ff), GP);
	CHECK_EQ(try_rdmsr(MSR_X2APIC), GP);
	wrmsr(X2(APIC_TPR), 0);
	count = 0;
	hook[0x45] = NULL;
	/* self IPI */
	CHECK_EQ(CATCH(wrmsr(0x83f, 0x45); asm volatile("sti; nop; nop; cli")), 0x45);
	wrmsr(X2(APIC_EOI), 0);
	hook[0x46] = NULL; /* by destination: the whole ICR is one MSR */
	CHECK_EQ(CATCH(wrmsr(X2(APIC_ICR), 0x46); asm volatile("sti; nop; nop; cli")), 0x46);
	wrmsr(X2(APIC_EOI), 0);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base), GP); /* only by way of "disabled" */
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base & ~(uint64_t)BASE_ENABLE), NONE);
	CHECK(!(cpuid(1, 0).edx & 1 << 9)); /* CPUID tells */
	CHECK_EQ(try_rdmsr(X2(APIC_ID)), GP);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)BASE_ENABLE) | BASE_X2APIC), GP);
	CHECK_EQ(try_wrmsr(MSR_APIC_BASE, base), NONE);
	CHECK(cpuid(1, 0).edx & 1 << 9);
	CHECK_EQ(apic_read(APIC_ID), 0);
	CHECK_EQ(apic_read(APIC_SVR) & 0x1ff, 0xff); /* as after reset */
	apic_write(APIC_SVR, 0x1ff);
}

void guest_main(void)
{
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	identity();
	pending_and_service();
	priorities();
	errors();
	timer();
	deadline();
	x2apic();
}
