/* SPDX-License-Identifier: MIT */
/*
 * The PC's interrupt controllers and timers: PIC in virtual-wire mode, PIT, RTC, HPET, I/O APIC
 * with edges and levels. Datasheets of 8259A, 8254, MC146818, 82093AA; IA-PC HPET specification.
 */
#include "guest.h"

#define PIC1 0x20
#define PIC2 0xa0
#define PIC1_VECTOR 0x50
#define PIC2_VECTOR 0x58
#define PIT_MODE 0x43
#define RTC 0x70
#define IOAPIC 0xfec00000ul
#define HPET 0xfed00000ul
#define LVT_MASKED 0x10000u
#define PIT_PIN 2
#define RTC_PIN 8

static volatile unsigned count[256];
static unsigned acknowledge; /* what the handler writes: 0 nothing, 1 PIC, 2 APIC */

static bool on_interrupt(struct frame *frame)
{
	count[frame->vector]++;
	if (acknowledge == 1) {
		if (frame->vector >= PIC2_VECTOR)
			outb(PIC2, 0x20);
		outb(PIC1, 0x20);
	} else if (acknowledge == 2) {
		apic_write(APIC_EOI, 0);
	}
	return true;
}

static void spin(uint64_t cycles)
{
	for (uint64_t start = rdtsc(); rdtsc() - start < cycles;)
		asm volatile("pause");
}

static void pic_start(uint8_t mask1, uint8_t mask2)
{
	outb(PIC1, 0x11);
	outb(PIC1 + 1, PIC1_VECTOR);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, PIC2_VECTOR);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, mask1);
	outb(PIC2 + 1, mask2);
}

static void pit_set(unsigned channel, unsigned mode, uint16_t value)
{
	outb(PIT_MODE, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	outb((uint16_t)(0x40 + channel), (uint8_t)value);
	outb((uint16_t)(0x40 + channel), (uint8_t)(value >> 8));
}

static uint16_t pit_read(unsigned channel)
{
	uint8_t low;

	outb(PIT_MODE, (uint8_t)(channel << 6));
	low = inb((uint16_t)(0x40 + channel));
	return (uint16_t)(inb((uint16_t)(0x40 + channel)) << 8 | low);
}

static void pit_counts(void)
{
	uint16_t first, second;

	pit_set(0, 2, 0);
	first = pit_read(0);
	spin(2000000);
	second = pit_read(0);
	CHECK(first != second);
	/* Channel 2 through port 0x61: gate and output. */
	outb(0x61, (uint8_t)(inb(0x61) & ~3));
	pit_set(2, 0, 2000);
	CHECK(!(inb(0x61) & 0x20));
	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1));
	CHECK(WAIT(inb(0x61) & 0x20));
	outb(0x61, (uint8_t)(inb(0x61) & ~1));
	/* Read-back: status tells mode and access. */
	pit_set(2, 3, 1000);
	outb(PIT_MODE, 0xe8);
	CHECK_EQ(inb(0x42) & 0x3f, 0x36);
}

static void through_the_pic(void)
{
	acknowledge = 1;
	apic_write(APIC_LVT_LINT0, 0x700); /* ExtINT */
	pic_start(0xfe, 0xff);
	CHECK_EQ(inb(PIC1 + 1), 0xfe);
	pit_set(0, 2, 2000);
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[PIC1_VECTOR]) >= 5));
	asm volatile("cli");
	CHECK_EQ(apic_read(APIC_ISR + 0x20), 0); /* ExtINT leaves no trace in the APIC */
	/* Without EOI there is no second one. */
	acknowledge = 0;
	count[PIC1_VECTOR] = 0;
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[PIC1_VECTOR]) >= 1));
	spin(20000000);
	asm volatile("cli");
	CHECK_EQ(count[PIC1_VECTOR], 1);
	outb(PIC1, 0x0b); /* ISR */
	CHECK_EQ(inb(PIC1) & 1, 1);
	outb(PIC1, 0x20);
	CHECK_EQ(inb(PIC1) & 1, 0);
	/* HLT until the timer. */
	acknowledge = 1;
	count[PIC1_VECTOR] = 0;
	asm volatile("sti; hlt; cli");
	CHECK(count[PIC1_VECTOR] >= 1);
	outb(PIC1 + 1, 0xff);
	count[PIC1_VECTOR] = 0;
	asm volatile("sti");
	spin(10000000);
	asm volatile("cli");
	CHECK_EQ(count[PIC1_VECTOR], 0); /* masked */
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
}

static uint8_t rtc_read(uint8_t reg)
{
	outb(RTC, reg);
	return inb(RTC + 1);
}

static void rtc_write(uint8_t reg, uint8_t value)
{
	outb(RTC, reg);
	outb(RTC + 1, value);
}

static void real_time_clock(void)
{
	CHECK(rtc_read(0xd) & 0x80);
	CHECK_EQ(rtc_read(0xa) & 0x70, 0x20);
	CHECK((rtc_read(0) & 0xf) <= 9);
	CHECK(rtc_read(8) >= 1);
	rtc_write(0x30, 0x5a);
	CHECK_EQ(rtc_read(0x30), 0x5a);
	/* Periodic interrupts at 1024 Hz; each is acknowledged by reading register C. */
	apic_write(APIC_LVT_LINT0, 0x700);
	pic_start(0xfb, 0xfe);
	acknowledge = 1;
	count[PIC2_VECTOR] = 0;
	rtc_read(0xc);
	rtc_write(0xa, 0x26);
	rtc_write(0xb, rtc_read(0xb) | 0x40);
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[PIC2_VECTOR]) >= 1));
	asm volatile("cli");
	CHECK_EQ(rtc_read(0xc) & 0xc0, 0xc0);
	count[PIC2_VECTOR] = 0;
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[PIC2_VECTOR]) >= 1));
	asm volatile("cli");
	rtc_write(0xb, rtc_read(0xb) & ~0x40);
	rtc_read(0xc);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
}

/* ---- I/O APIC ---- */

static uint32_t ioapic_read(uint32_t reg)
{
	*(volatile uint32_t *)IOAPIC = reg;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)IOAPIC = reg;
	*(volatile uint32_t *)(IOAPIC + 0x10) = value;
}

static void io_apic(void)
{
	CHECK_EQ(ioapic_read(1) >> 16 & 0xff, 23);
	CHECK(ioapic_read(0x10 + 2 * PIT_PIN) & LVT_MASKED);
	acknowledge = 2;
	count[0x60] = 0;
	ioapic_write(0x11 + 2 * PIT_PIN, 0);
	ioapic_write(0x10 + 2 * PIT_PIN, 0x60); /* fixed, physical, edge */
	pit_set(0, 2, 5000);
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[0x60]) >= 3));
	asm volatile("cli");
	ioapic_write(0x10 + 2 * PIT_PIN, LVT_MASKED | 0x60);
	spin(5000000);
	asm volatile("sti; nop; nop; cli");
	count[0x60] = 0;
	spin(10000000);
	asm volatile("sti; nop; nop; cli");
	CHECK_EQ(count[0x60], 0);
	pit_set(0, 0, 0);
}

/* ---- HPET ---- */

static uint32_t hpet_read(unsigned reg)
{
	return *(volatile uint32_t *)(HPET + reg);
}

static void hpet_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(HPET + reg) = value;
}

static uint64_t hpet_counter(void)
{
	return *(volatile uint64_t *)(HPET + 0xf0);
}

/* Timer 1 on an I/O APIC pin that it may use, as a level. */
static void hpet_level(void)
{
	uint32_t routes = hpet_read(0x124), pin = 23;
	uint64_t period = hpet_read(4), ticks = 1000000000000ull / period; /* a millisecond */
	volatile uint64_t *comparator = (volatile uint64_t *)(HPET + 0x128);

	while (pin && !(routes >> pin & 1))
		pin--;
	CHECK(pin != 0);
	acknowledge = 0;
	count[0x61] = 0;
	ioapic_write(0x11 + 2 * pin, 0);
	ioapic_write(0x10 + 2 * pin, 0x8061); /* level */
	hpet_write(0x120, pin << 9 | 1 << 2 | 1 << 1);
	/* On a slow machine the counter may have passed it before it was set. */
	do {
		*comparator = hpet_counter() + ticks;
		ticks *= 2;
	} while (hpet_counter() >= *comparator && !(hpet_read(0x20) & 1 << 1));
	asm volatile("sti");
	CHECK(WAIT(ONCE(count[0x61]) >= 1));
	spin(1000000);
	asm volatile("cli");
	CHECK_EQ(count[0x61], 1);
	CHECK(apic_read(APIC_TMR + 0x30) & 1 << 1);
	CHECK(ioapic_read(0x10 + 2 * pin) & 1 << 14); /* remote IRR */
	CHECK(hpet_read(0x20) & 1 << 1);
	/* The line is still up: EOI brings the next one. */
	apic_write(APIC_EOI, 0);
	CHECK(WAIT(apic_read(APIC_IRR + 0x30) & 1 << 1));
	hpet_write(0x20, 1 << 1); /* the device lets go */
	CHECK(!(hpet_read(0x20) & 1 << 1));
	asm volatile("sti; nop; nop; cli");
	CHECK_EQ(count[0x61], 2);
	apic_write(APIC_EOI, 0);
	CHECK(!(ioapic_read(0x10 + 2 * pin) & 1 << 14));
	asm volatile("sti; nop; nop; cli");
	CHECK_EQ(count[0x61], 2);
	hpet_write(0x120, 0);
	ioapic_write(0x10 + 2 * pin, LVT_MASKED);
}

static void hpet(void)
{
	uint64_t first;

	CHECK_EQ(hpet_read(0) >> 16, 0x8086);
	CHECK(hpet_read(4) > 0);
	CHECK(hpet_read(4) <= 100000000); /* at least 10 MHz, in femtoseconds */
	hpet_write(0x10, 0);
	first = hpet_counter();
	spin(1000000);
	CHECK_EQ(hpet_counter(), first); /* stopped */
	hpet_write(0x10, 1);
	CHECK(WAIT(hpet_counter() > first));
	first = hpet_counter();
	spin(1000000);
	CHECK(hpet_counter() > first);
	hpet_level();
}

void guest_main(void)
{
	for (unsigned i = 0x20; i < 0x80; i++)
		hook[i] = on_interrupt;
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	pit_counts();
	through_the_pic();
	real_time_clock();
	io_apic();
	hpet();
}
