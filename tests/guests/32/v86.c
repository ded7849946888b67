/* SPDX-License-Identifier: MIT */
/*
 * Virtual-8086 mode: entry and exit, IOPL-sensitive instructions, INT n with and without the
 * virtual mode extensions and their redirection map, virtual interrupts there and in protected
 * mode, limits. Intel SDM vol. 3, chapter 20.
 */
#include "guest.h"

#define V86_SEG 0x2000u
#define V86_BASE ((char *)(V86_SEG * 16))
#define V86_SS 0x3000u
#define V86_DS 0x4000u

/* A piece of 16-bit code; it ends with INT3, whose gate anybody may use. */
#define CODE16(name, text) CODE(name, ".code16\n" text "\n.code32")
#define V86(name, flags) v86(name, name##_end, flags)

static void __attribute__((noinline, noreturn)) v86_enter(word flags)
{
	asm volatile("pushl %1; pushl %1; pushl %1; pushl $0x4444; pushl %2; pushl $0x1000\n"
		     "pushl %0; pushl %3; pushl $0; iret"
		     : : "r"(flags | VM | 2), "r"(V86_DS), "r"(V86_SS), "r"(V86_SEG));
	__builtin_unreachable();
}

static unsigned v86(const char *code, const char *end, word flags)
{
	for (unsigned i = 0; i < 256; i++)
		V86_BASE[i] = (char)0xcc;
	for (unsigned i = 0; code + i < end; i++)
		V86_BASE[i] = code[i];
	return CATCH(v86_enter(flags));
}

/* In the code, faults are told by the offset at which they came. */
static bool faults(unsigned vector, word error, word ip)
{
	return caught.vector == vector && caught.error == error && caught.ip == ip &&
	       caught.cs == V86_SEG && caught.flags & VM;
}

CODE16(c_nothing, "");
CODE16(c_segments, "mov %cs, %ax; mov %ss, %bx; mov %ds, %cx; mov %es, %dx; mov %fs, %si");
CODE16(c_store, "movw $0x5aa5, (0x10); mov $0x5000, %ax; mov %ax, %es; movw $0xa55a, %es:(0x20)");
CODE16(c_cli, "cli");
CODE16(c_sti, "sti");
CODE16(c_pushf, "pushf");
CODE16(c_popf, "pushw $0x7202; popf; pushf; pop %ax");
CODE16(c_popf_bare, "popf");
CODE16(c_iret, "iret");
CODE16(c_int, "int $0x80");
CODE16(c_int90, "int $0x90");
CODE16(c_hlt, "hlt");
CODE16(c_mov_cr, "mov %eax, %cr0");
CODE16(c_lgdt, "lgdt (0)");
CODE16(c_sldt, "sldt %ax");
CODE16(c_lar, "lar %ax, %ax");
CODE16(c_verr, "verr %ax");
CODE16(c_arpl, ".byte 0x63, 0xc0");
CODE16(c_in, "in $0x80, %al");
CODE16(c_beyond, "mov (0xffff), %ax");
CODE16(c_beyond32, "mov $0x10000, %ebx; mov (%ebx), %al");
CODE16(c_stack_beyond, "mov $0xffff, %bp; mov (%bp), %ax");
CODE16(c_pop_beyond, "mov $0xffff, %sp; pop %ax");
CODE16(c_push_wrap, "mov $0, %sp; pushw $0x1234; mov %sp, %ax");
CODE16(c_far, "ljmp $0x1fff, $1f - c_far + 0x10; 1: mov %cs, %ax");
CODE16(c_pushfl, "pushfl");
CODE16(c_popfl, "popfl");
CODE16(c_sysenter, "sysenter");

static void entry_and_exit(void)
{
	CHECK_EQ(V86(c_nothing, IOPL(3)), BP);
	CHECK_EQ(caught.ip, 1);
	CHECK_EQ(caught.cs, V86_SEG);
	CHECK_EQ(caught.ss, V86_SS);
	CHECK_EQ(caught.sp & 0xffff, 0x1000);
	CHECK_EQ(caught.v86_ds, V86_DS);
	CHECK_EQ(caught.v86_es, 0x4444);
	CHECK_EQ(caught.ds, 0); /* the handler starts with null data segments */
	CHECK_EQ(caught.es, 0);
	CHECK_EQ(caught.fs, 0);
	CHECK_EQ(caught.gs, 0);
	CHECK_EQ(caught.flags, VM | IOPL(3) | 2);
	CHECK_EQ(V86(c_segments, 0), BP);
	CHECK_EQ(caught.ax & 0xffff, V86_SEG);
	CHECK_EQ(caught.bx & 0xffff, V86_SS);
	CHECK_EQ(caught.cx & 0xffff, V86_DS);
	CHECK_EQ(caught.dx & 0xffff, 0x4444);
	CHECK_EQ(V86(c_store, 0), BP);
	CHECK_EQ(*(volatile uint16_t *)(V86_DS * 16 + 0x10), 0x5aa5);
	CHECK_EQ(*(volatile uint16_t *)(0x5000 * 16 + 0x20), 0xa55a);
	CHECK_EQ(V86(c_far, 0), BP);
	CHECK_EQ(caught.ax & 0xffff, V86_SEG - 1);
}

static void sensitive(void)
{
	static const char *const code[][2] = {
		{ c_cli, c_cli_end }, { c_sti, c_sti_end }, { c_pushf, c_pushf_end },
		{ c_popf_bare, c_popf_bare_end }, { c_iret, c_iret_end }, { c_int, c_int_end },
		{ c_pushfl, c_pushfl_end }, { c_popfl, c_popfl_end },
	};

	for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
		v86(code[i][0], code[i][1], 0);
		CHECK(faults(GP, 0, 0));
		v86(code[i][0], code[i][1], IOPL(2));
		CHECK(faults(GP, 0, 0));
	}
	CHECK_EQ(V86(c_cli, IOPL(3) | IF), BP);
	CHECK(!(caught.flags & IF));
	CHECK_EQ(V86(c_sti, IOPL(3)), BP);
	CHECK(caught.flags & IF);
	CHECK_EQ(V86(c_popf, IOPL(3)), BP);
	CHECK_EQ(caught.ax & 0xff02, NT | IOPL(3) | IF | 2);
	CHECK(caught.flags & VM);
	CHECK_EQ(V86(c_int, IOPL(3)), USER_DONE);
	CHECK_EQ(caught.ip, 2);
	CHECK(caught.flags & VM);
	V86(c_int90, IOPL(3)); /* a gate of ring 0 */
	CHECK(faults(GP, 0x90 * 8 + 2, 0));
	/* A handler in another ring than 0 will not do. */
	idt_set(0x90, UCS32, 0, 0xee);
	V86(c_int90, IOPL(3));
	CHECK(faults(GP, UCS32 & ~3, 0));
	gdt_set(SLOT(0), 0, 0xfffff, 0x9e | A_G | A_DB);
	idt_set(0x90, SLOT(0), 0, 0xee);
	V86(c_int90, IOPL(3)); /* nor a conforming one */
	CHECK(faults(GP, SLOT(0), 0));
	idt_reset(0x90);
}

static void forbidden(void)
{
	V86(c_hlt, IOPL(3));
	CHECK(faults(GP, 0, 0));
	V86(c_mov_cr, IOPL(3));
	CHECK(faults(GP, 0, 0));
	V86(c_lgdt, IOPL(3));
	CHECK(faults(GP, 0, 0));
	V86(c_sldt, IOPL(3));
	CHECK(faults(UD, 0, 0));
	V86(c_lar, IOPL(3));
	CHECK(faults(UD, 0, 0));
	V86(c_verr, IOPL(3));
	CHECK(faults(UD, 0, 0));
	V86(c_arpl, IOPL(3));
	CHECK(faults(UD, 0, 0));
	V86(c_sysenter, IOPL(3));
	CHECK(faults(GP, 0, 0)); /* SYSENTER_CS is null */
	tss.bitmap[0x80 / 8] = 0xff;
	V86(c_in, IOPL(3)); /* ports go by the bitmap alone */
	CHECK(faults(GP, 0, 0));
	tss.bitmap[0x80 / 8] = 0;
	CHECK_EQ(V86(c_in, 0), BP);
}

static void limits(void)
{
	V86(c_beyond, 0);
	CHECK(faults(GP, 0, 0));
	V86(c_beyond32, 0);
	CHECK(faults(GP, 0, 6));
	V86(c_stack_beyond, 0);
	CHECK(faults(SS, 0, 3));
	V86(c_pop_beyond, 0);
	CHECK(faults(SS, 0, 3));
	CHECK_EQ(V86(c_push_wrap, 0), BP);
	CHECK_EQ(caught.ax & 0xffff, 0xfffe);
	CHECK_EQ(*(volatile uint16_t *)(V86_SS * 16 + 0xfffe), 0x1234);
}

/* ---- virtual mode extensions ---- */

CODE16(c_vme_int, "int $0x21");
CODE16(c_vme_handler, "mov %sp, %bp; mov 4(%bp), %ax; pushf; pop %bx");
CODE16(c_vme_popf_if, "pushw $0x0202; popf");
CODE16(c_vme_popf_tf, "pushw $0x0100; popf");
CODE16(c_vme_iret, "pushw $0x0202; pushw $0x2000; pushw $1f - c_vme_iret; iret; 1:");
CODE16(c_vme_pushf, "pushf; pop %ax");

static void extended(void)
{
	volatile uint16_t *ivt = (volatile uint16_t *)0ul;

	if (!have("VME", cpuid(1, 0).edx & 2))
		return;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_VME);
	asm volatile("" : "+r"(ivt));
	CHECK_EQ(V86(c_sti, 0), BP);
	CHECK(caught.flags & VIF);
	CHECK(!(caught.flags & IF));
	CHECK_EQ(V86(c_cli, VIF | IF), BP);
	CHECK(!(caught.flags & VIF));
	CHECK(caught.flags & IF);
	V86(c_sti, VIP);
	CHECK(faults(GP, 0, 0));
	CHECK_EQ(V86(c_cli, VIP), BP);
	CHECK_EQ(V86(c_vme_pushf, VIF), BP);
	CHECK_EQ(caught.ax & 0xffff, IOPL(3) | IF | 2);
	CHECK_EQ(V86(c_vme_pushf, IF), BP);
	CHECK_EQ(caught.ax & 0xffff, IOPL(3) | 2);
	CHECK_EQ(V86(c_vme_popf_if, 0), BP);
	CHECK(caught.flags & VIF);
	CHECK(!(caught.flags & IF));
	V86(c_vme_popf_if, VIP);
	CHECK(faults(GP, 0, 3));
	V86(c_vme_popf_tf, 0);
	CHECK(faults(GP, 0, 3));
	CHECK_EQ(V86(c_vme_iret, 0), BP);
	CHECK(caught.flags & VIF);
	V86(c_pushfl, 0); /* the 32-bit forms stay sensitive */
	CHECK(faults(GP, 0, 0));
	V86(c_popfl, 0);
	CHECK(faults(GP, 0, 0));

	for (unsigned i = 0; i < 32; i++)
		tss.redirect[i] = 0xff;
	V86(c_vme_int, 0); /* not redirected, IOPL below 3 */
	CHECK(faults(GP, 0, 0));
	V86(c_vme_int, IOPL(3));
	CHECK(faults(GP, 0x21 * 8 + 2, 0));
	tss.redirect[0x21 / 8] = 0xfd;
	for (unsigned i = 0; c_vme_handler + i < c_vme_handler_end + 1; i++)
		V86_BASE[0x100 + i] = c_vme_handler + i < c_vme_handler_end ?
				c_vme_handler[i] : (char)0xcc;
	ivt[0x21 * 2] = 0x100;
	ivt[0x21 * 2 + 1] = V86_SEG;
	CHECK_EQ(V86(c_vme_int, VIF), BP);
	CHECK_EQ(caught.ip, 0x100 + (c_vme_handler_end - c_vme_handler) + 1);
	CHECK_EQ(caught.ax & 0xffff, IOPL(3) | IF | 2); /* the image tells of VIF and IOPL 3 */
	CHECK(!(caught.flags & VIF));
	CHECK_EQ(caught.sp & 0xffff, 0x1000 - 6);
	CHECK_EQ(V86(c_vme_int, IOPL(3) | IF), BP);
	CHECK_EQ(caught.ax & 0xffff, IOPL(3) | IF | 2);
	CHECK(!(caught.flags & IF));
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_VME);
	V86(c_vme_int, 0);
	CHECK(faults(GP, 0, 0));
}

CODE(user_cli, "cli; int $0x80");
CODE(user_sti, "sti; int $0x80");
CODE(user_pushf, "pushf; pop %eax; int $0x80");

static void protected_virtual_interrupts(void)
{
	if (!have("PVI", cpuid(1, 0).edx & 2))
		return;
	CHECK_EQ(user(user_cli), GP);
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PVI);
	CHECK_EQ(user_flags(user_sti, 2), USER_DONE);
	CHECK(caught.flags & VIF);
	CHECK_EQ(user_flags(user_cli, VIF | IF | 2), USER_DONE);
	CHECK(!(caught.flags & VIF));
	CHECK(caught.flags & IF);
	CHECK_EQ(user_flags(user_sti, VIP | 2), GP);
	CHECK_EQ(caught.error, 0);
	CHECK_EQ(user_flags(user_pushf, VIF | 2), USER_DONE);
	CHECK_EQ(caught.ax & (IF | IOPL(3)), 0); /* PUSHF is not virtualised here */
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_PVI);
}

void guest_main(void)
{
	uint64_t bp = idt[BP].low;

	idt_set(BP, KCS, (void *)(word)((bp & 0xffff) | bp >> 48 << 16), 0xee);
	entry_and_exit();
	sensitive();
	forbidden();
	limits();
	extended();
	protected_virtual_interrupts();
}
