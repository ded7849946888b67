/* SPDX-License-Identifier: MIT */
/* Checks, tables and event records: see guest.h. */
#include "guest.h"

#include <stdarg.h>

#define COM1 0x3f8
#define COM1_LSR (COM1 + 5)
#define LSR_THRE 0x20
#define DEBUG_EXIT 0xf4
#define PIC1_MASK 0x21
#define PIC2_MASK 0xa1
#define EXIT_MAX 127

struct frame caught;
word caught_cr2, mark_ip;
volatile word record[16];
hook_fn *hook[256];
struct gate idt[256] __attribute__((aligned(16)));
struct tss tss;

extern char vectors[];
extern uint32_t context_valid;
_Noreturn void context_restore(void);
_Noreturn void halt(void);
void trap(struct frame *frame);
void guest_start(void);

static unsigned checks, first_failed;

/* ---- saying it ---- */

static void put(char c)
{
	while (!(inb(COM1_LSR) & LSR_THRE))
		;
	outb(COM1, (uint8_t)c);
}

static void put_number(word value, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	while (n)
		put(digits[--n]);
}

void guest_print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
		} else if (*++format == 's') {
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
		} else {
			put_number(va_arg(args, word), *format == 'x' ? 16 : 10);
		}
	}
	va_end(args);
}

_Noreturn void guest_exit(void)
{
	guest_print("%d checks, first failed: %d\r\n", (word)checks, (word)first_failed);
	outb(DEBUG_EXIT, (uint8_t)(first_failed > EXIT_MAX ? EXIT_MAX : first_failed));
	halt();
}

/* ---- checks ---- */

static bool count(bool good)
{
	checks++;
	if (!good && !first_failed)
		first_failed = checks;
	return good;
}

void check(bool good, const char *text, int line)
{
	if (!count(good))
		guest_print("FAIL line %d: %s\r\n", (word)line, text);
}

void check_equal(word got, word want, const char *text, int line)
{
	if (!count(got == want))
		guest_print("FAIL line %d: %s is %x, want %x\r\n", (word)line, text, got, want);
}

void check_event(unsigned vector, word error, bool at_mark, const char *text, int line)
{
	bool same = caught.vector == vector;

	if (same && vector != NONE)
		same = caught.error == error && (!at_mark || caught.ip == mark_ip);
	if (count(same))
		return;
	guest_print("FAIL line %d: %s: got vector %x error %x at %x (%x after), "
		    "want %x error %x\r\n",
		    (word)line, text, caught.vector, caught.error, caught.ip, caught.ip - mark_ip,
		    (word)vector, error);
}

bool have(const char *what, bool present)
{
	if (!present)
		guest_print("no %s: not checked\r\n", what);
	return present;
}

/* ---- events ---- */

void context_drop(void)
{
	context_valid = 0;
}

void trap(struct frame *frame)
{
	word cr2 = READ_REG(cr2);

	if (hook[frame->vector] && hook[frame->vector](frame))
		return;
	caught = *frame;
	caught_cr2 = cr2;
	if (context_valid)
		context_restore();
	guest_print("FAIL: unexpected vector %x error %x at %x:%x, CR2 %x, sp %x\r\n",
			frame->vector,
		    frame->error, frame->cs, frame->ip, cr2, (word)frame);
	count(false);
	guest_exit();
}

unsigned user_flags(const void *code, word flags)
{
	return CATCH(enter(UCS, (word)code, flags, UDS, (word)user_stack_top - 64));
}

unsigned user(const void *code)
{
	return user_flags(code, 2);
}

unsigned try_rdmsr(uint32_t index)
{
	return CATCH(rdmsr(index));
}

unsigned try_wrmsr(uint32_t index, uint64_t value)
{
	return CATCH(wrmsr(index, value));
}

/* ---- tables ---- */

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned attr)
{
	return (uint64_t)(limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(attr >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

void gdt_set(unsigned selector, uint32_t base, uint32_t limit, unsigned attr)
{
	gdt[selector / 8] = descriptor(base, limit, attr);
}

void idt_set(unsigned vector, unsigned selector, const void *handler, unsigned type)
{
	uint64_t ip = (word)handler;

	idt[vector].low = (ip & 0xffff) | (uint64_t)selector << 16 | (uint64_t)type << 40 |
			  (ip >> 16 & 0xffff) << 48;
#ifdef __x86_64__
	idt[vector].high = ip >> 32;
#endif
}

void idt_reset(unsigned vector)
{
	idt_set(vector, KCS, vectors + 16 * vector, vector == USER_DONE ? 0xee : 0x8e);
}

static void load_tables(void)
{
	struct { uint16_t limit; word base; } __attribute__((packed)) pointer = {
		sizeof(idt) - 1, (word)idt,
	};

	for (unsigned i = 0; i < 256; i++)
		idt_reset(i);
	asm volatile("lidt %0" : : "m"(pointer));
#ifdef __x86_64__
	tss.sp[0] = (word)stack_top;
	gdt[KTSS / 8 + 1] = 0;
#else
	tss.esp0 = (word)stack_top;
	tss.ss0 = KDS;
#endif
	tss.iomap = offsetof(struct tss, bitmap);
	tss.bitmap[8192] = 0xff;
	gdt_set(KTSS, (word)&tss, sizeof(tss) - 1, 0x89);
	asm volatile("ltr %w0" : : "r"(KTSS));
}

void guest_start(void)
{
	outb(PIC1_MASK, 0xff);
	outb(PIC2_MASK, 0xff);
	load_tables();
	guest_main();
	guest_exit();
}
