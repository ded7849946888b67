/* SPDX-License-Identifier: MIT */
/*
 * The ways in which a guest ends or restarts its machine: the last word of the command line names
 * one. test_guests.py knows the status that each must give. Coming back from it is a failure.
 */
#include "guest.h"

#define PM1_CONTROL 0x604
#define SLEEP_S5 (5 << 10 | 1 << 13)
#define CMOS 0x70
#define CMOS_MARK 0x50
#define MARK 0xa7

static bool is(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static const char *last_word(const char *line)
{
	const char *word_ = line;

	for (; *line; line++)
		if (*line == ' ')
			word_ = line + 1;
	return word_;
}

static void outw(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

/* A reset that starts the guest again: the second time the CMOS memory tells. */
static void reboot(void)
{
	outb(CMOS, CMOS_MARK);
	if (inb(CMOS + 1) == MARK)
		guest_exit();
	outb(CMOS, CMOS_MARK);
	outb(CMOS + 1, MARK);
	outb(0xcf9, 6);
}

static void triple_fault(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) none = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(none));
}

/* 0xcf9 acts on the reset bit's rise. */
static void port_cf9(void)
{
	outb(0xcf9, 2);
	CHECK_EQ(inb(0xcf9), 2);
	outb(0xcf9, 6);
}

/* Power management sleeps only when SLP_EN is written, and only as \_S5 says. */
static void soft_off(void)
{
	outw(PM1_CONTROL, 5 << 10);
	outw(PM1_CONTROL, 1 << 10 | 1 << 13);
	outw(PM1_CONTROL, SLEEP_S5);
}

void guest_main(void)
{
	const char *how = last_word(*(const char **)(boot_info + 16));

	if (is(how, "end=cf9"))
		port_cf9();
	else if (is(how, "end=i8042"))
		outb(0x64, 0xfe);
	else if (is(how, "end=port92"))
		outb(0x92, (uint8_t)(inb(0x92) | 1));
	else if (is(how, "end=triple"))
		triple_fault();
	else if (is(how, "end=s5"))
		soft_off();
	else if (is(how, "end=reboot"))
		reboot();
	else if (is(how, "end=value"))
		outb(0xf4, 21);
	else if (is(how, "end=big-value"))
		asm volatile("outl %0, %1" : : "a"(0x12345681), "Nd"((uint16_t)0xf4));
	for (unsigned i = 0; i < 1000; i++) /* the end need not come at that very instruction */
		inb(0x80);
	check(false, how, __LINE__);
}
