/* SPDX-License-Identifier: MIT */
/*
 * System instructions, decoded from bytes and run one at a time: control and debug registers,
 * privilege, SYSCALL and its kin, port I/O.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "x86_fixture.h"

#include <cmocka.h>

#include "dev/bus.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/decode.h"

#define RIP 0x1000u
#define BUFFER 0x3000u
#define TSS 0x8000u
#define PDPTRS 0x9000u
#define NONCANONICAL 0x0000800000000000ull
#define FAULTS(f, vector_, ...) \
	(assert_true(raises(f, (const uint8_t[]){ __VA_ARGS__ },                                   \
			    sizeof((const uint8_t[]){ __VA_ARGS__ }))),                            \
	 assert_int_equal((f)->cpu->fault.vector, vector_))
#define RUNS(f, ...)                                                                               \
	assert_false(raises(f, (const uint8_t[]){ __VA_ARGS__ },                                   \
			    sizeof((const uint8_t[]){ __VA_ARGS__ })))

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	x86_cpuid_destroy(fixture.cpu->cpuid);
	assert_int_equal(x86_cpuid_create("host", 0, 1, NULL, &fixture.cpu->cpuid, NULL), 0);
	fixture.cpu->state.cr0 = X86_CR0_ET;
	fixture.cpu->state.dr7 = X86_DR7_FIXED;
	fixture.cpu->state.xcr0 = 1;
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

static bool raises(struct x86_fixture *f, const uint8_t *bytes, unsigned size)
{
	static struct insn insn;
	unsigned length = x86_decode(f->cpu, f->cpu->mode, bytes, size, &insn);

	/* What does not exist is not measured either. */
	assert_true(length == size || length == 1);
	f->cpu->insn = &insn;
	f->cpu->state.rip = RIP + insn.length;
	return X86_RAISES(f, insn.fn(f->cpu, &insn));
}

static void mov_cr(struct x86_fixture *f, unsigned cr, uint64_t value, bool faults)
{
	f->cpu->state.gpr[X86_RAX] = value;
	if (faults)
		FAULTS(f, X86_GP, 0x0f, 0x22, (uint8_t)(0xc0 | cr << 3));
	else
		RUNS(f, 0x0f, 0x22, (uint8_t)(0xc0 | cr << 3));
}

/* ---- control registers ---- */

static void cr0_rules(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_protected(f, 0);
	mov_cr(f, 0, X86_CR0_PG, true);
	mov_cr(f, 0, X86_CR0_PE | X86_CR0_NW, true);
	mov_cr(f, 0, X86_CR0_PE | X86_CR0_NW | X86_CR0_CD, false);
	/* ET is always set, reserved bits never. */
	mov_cr(f, 0, X86_CR0_PE | 1 << 20, false);
	assert_int_equal(f->cpu->state.cr0, X86_CR0_PE | X86_CR0_ET);
	mov_cr(f, 0, 0, false);
	assert_false(f->cpu->protected_mode);
}

static void long_mode_comes_and_goes(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t on = X86_CR0_PE | X86_CR0_PG;

	x86_fixture_protected(f, 0);
	f->cpu->state.efer = X86_EFER_LME;
	mov_cr(f, 0, on, true); /* no PAE */
	f->cpu->state.cr4 = X86_CR4_PAE;
	f->cpu->state.tr.attr = X86_SEG_P | 3;
	mov_cr(f, 0, on, true); /* a 16-bit TSS */
	f->cpu->state.tr.attr = X86_SEG_P | 11;
	f->cpu->state.seg[X86_CS].attr |= X86_SEG_L;
	mov_cr(f, 0, on, true); /* CS.L */
	f->cpu->state.seg[X86_CS].attr &= ~(uint32_t)X86_SEG_L;
	mov_cr(f, 0, on, false);
	assert_true(f->cpu->long_mode);
	assert_int_equal(f->cpu->mode, X86_MODE_32);
	mov_cr(f, 4, 0, true); /* PAE stays */
	mov_cr(f, 0, X86_CR0_PE, false);
	assert_false(f->cpu->long_mode);
	x86_fixture_long(f, 0, 0x10000);
	mov_cr(f, 0, X86_CR0_PE, true); /* not from 64-bit mode */
	mov_cr(f, 0, on | 1ull << 32, true);
}

static void cr3_and_cr4_rules(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t beyond = 1ull << x86_maxphyaddr(f->cpu);

	x86_fixture_long(f, 0, 0x10000);
	mov_cr(f, 3, 0x20000, false);
	mov_cr(f, 3, beyond, true);
	mov_cr(f, 3, 1ull << 63, true);
	mov_cr(f, 3, 0x20001, false);
	mov_cr(f, 4, X86_CR4_PAE | X86_CR4_PCIDE, true); /* the PCID would not be 0 */
	mov_cr(f, 3, 0x20000, false);
	mov_cr(f, 4, X86_CR4_PAE | X86_CR4_PCIDE, false);
	mov_cr(f, 3, 1ull << 63 | 0x20005, false);
	assert_int_equal(f->cpu->state.cr3, 0x20005);
	mov_cr(f, 4, X86_CR4_PAE | X86_CR4_LA57, true);
	mov_cr(f, 4, X86_CR4_PAE | 1 << 13, true);
	mov_cr(f, 4, X86_CR4_PAE | 1ull << 32, true);
	f->cpu->state.gpr[X86_RAX] = 0xf;
	RUNS(f, 0x44, 0x0f, 0x22, 0xc0); /* MOV CR8, RAX */
	f->cpu->state.gpr[X86_RAX] = 0x10;
	FAULTS(f, X86_GP, 0x44, 0x0f, 0x22, 0xc0);
}

static void pae_loads_its_pointers(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_protected(f, 0);
	mov_cr(f, 4, X86_CR4_PAE, false);
	x86_poke(f, PDPTRS, 0xa001, 8);
	mov_cr(f, 3, PDPTRS, false);
	mov_cr(f, 0, X86_CR0_PE | X86_CR0_PG, false);
	assert_int_equal(f->cpu->state.pdpte[0], 0xa001);
	x86_poke(f, PDPTRS, 0xa003, 8);
	mov_cr(f, 3, PDPTRS, true); /* a reserved bit */
	assert_int_equal(f->cpu->state.pdpte[0], 0xa001);
}

static void machine_status_word(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_protected(f, 0);
	f->cpu->state.cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_TS;
	f->cpu->state.gpr[X86_RAX] = 2;
	RUNS(f, 0x0f, 0x01, 0xf0);
	assert_int_equal(f->cpu->state.cr0, X86_CR0_PE | X86_CR0_ET | X86_CR0_MP);
	RUNS(f, 0x0f, 0x01, 0xe0);
	assert_int_equal(f->cpu->state.gpr[X86_RAX], 0x13);
	f->cpu->state.cr0 |= X86_CR0_TS;
	RUNS(f, 0x0f, 0x06);
	assert_false(f->cpu->state.cr0 & X86_CR0_TS);
}

/* ---- privilege ---- */

static void ring_3_may_not(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_long(f, 3, 0x10000);
	FAULTS(f, X86_GP, 0x0f, 0x20, 0xc0);       /* MOV RAX, CR0 */
	FAULTS(f, X86_GP, 0x0f, 0x22, 0xd8);       /* MOV CR3, RAX */
	FAULTS(f, X86_GP, 0x0f, 0x21, 0xf8);       /* MOV RAX, DR7 */
	FAULTS(f, X86_GP, 0xf4);                   /* HLT */
	FAULTS(f, X86_GP, 0x0f, 0x30);             /* WRMSR */
	FAULTS(f, X86_GP, 0x0f, 0x32);             /* RDMSR */
	FAULTS(f, X86_GP, 0x0f, 0x09);             /* WBINVD */
	FAULTS(f, X86_GP, 0x0f, 0x01, 0x38);       /* INVLPG */
	FAULTS(f, X86_GP, 0x0f, 0x06);             /* CLTS */
	FAULTS(f, X86_GP, 0x0f, 0x01, 0xf8);       /* SWAPGS */
	FAULTS(f, X86_GP, 0x48, 0x0f, 0x35);       /* SYSEXIT */
	FAULTS(f, X86_GP, 0x0f, 0x33);             /* RDPMC */
	RUNS(f, 0x0f, 0x31);                       /* RDTSC */
	RUNS(f, 0x0f, 0x01, 0xe0);                 /* SMSW */
	f->cpu->state.cr4 |= X86_CR4_TSD | X86_CR4_UMIP;
	FAULTS(f, X86_GP, 0x0f, 0x31);
	FAULTS(f, X86_GP, 0x0f, 0x01, 0xf9);
	FAULTS(f, X86_GP, 0x0f, 0x01, 0xe0);
	FAULTS(f, X86_GP, 0x0f, 0x01, 0x00);       /* SGDT */
}

static void nobody_has(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_long(f, 0, 0x10000);
	FAULTS(f, X86_UD, 0x0f, 0x01, 0xc1);       /* VMCALL */
	FAULTS(f, X86_UD, 0x0f, 0x01, 0xd9);       /* VMMCALL */
	FAULTS(f, X86_UD, 0x0f, 0xaa);             /* RSM */
	FAULTS(f, X86_UD, 0x0f, 0x01, 0xc8);       /* MONITOR */
	FAULTS(f, X86_UD, 0x0f, 0x01, 0xc9);       /* MWAIT */
	FAULTS(f, X86_UD, 0x0f, 0x37);             /* GETSEC */
	FAULTS(f, X86_UD, 0xf3, 0x0f, 0xae, 0xe8); /* INCSSPD */
	FAULTS(f, X86_UD, 0x0f, 0x01, 0xd0);       /* XGETBV without OSXSAVE */
	FAULTS(f, X86_UD, 0xf3, 0x48, 0x0f, 0xae, 0xc0); /* RDFSBASE without FSGSBASE */
	f->cpu->state.cr4 |= X86_CR4_FSGSBASE;
	f->cpu->state.gpr[X86_RAX] = NONCANONICAL;
	RUNS(f, 0xf3, 0x48, 0x0f, 0xae, 0xc0);
	f->cpu->state.gpr[X86_RAX] = NONCANONICAL;
	FAULTS(f, X86_GP, 0xf3, 0x48, 0x0f, 0xae, 0xd0); /* WRFSBASE */
}

/* ---- XCR0 ---- */

static void xcr0_rules(void **state)
{
	struct x86_fixture *f = *state;
	static const uint64_t wrong[] = { 0, 2, 5, 0x27, 0xe1, 1ull << 62 | 1, 0x20001,
					 0x40007 };

	if (!x86_cpuid_has(f->cpu, X86_FEATURE_AVX))
		skip();
	x86_fixture_long(f, 0, 0x10000);
	f->cpu->state.cr4 |= X86_CR4_OSXSAVE;
	f->cpu->state.gpr[X86_RCX] = 0;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		f->cpu->state.gpr[X86_RAX] = (uint32_t)wrong[i];
		f->cpu->state.gpr[X86_RDX] = wrong[i] >> 32;
		FAULTS(f, X86_GP, 0x0f, 0x01, 0xd1);
	}
	f->cpu->state.gpr[X86_RAX] = 7;
	f->cpu->state.gpr[X86_RDX] = 0;
	RUNS(f, 0x0f, 0x01, 0xd1);
	f->cpu->state.gpr[X86_RAX] = 0;
	RUNS(f, 0x0f, 0x01, 0xd0);
	assert_int_equal(f->cpu->state.gpr[X86_RAX], 7);
	f->cpu->state.gpr[X86_RCX] = 2;
	FAULTS(f, X86_GP, 0x0f, 0x01, 0xd0);
	f->cpu->state.gpr[X86_RCX] = 1;
	FAULTS(f, X86_GP, 0x0f, 0x01, 0xd1);
}

/* ---- debug registers ---- */

static void debug_registers(void **state)
{
	struct x86_fixture *f = *state;

	x86_fixture_long(f, 0, 0x10000);
	f->cpu->state.gpr[X86_RAX] = 0xffffffff;
	RUNS(f, 0x0f, 0x23, 0xf0); /* MOV DR6, RAX */
	assert_int_equal(f->cpu->state.dr6, 0xffffefff);
	f->cpu->state.gpr[X86_RAX] = 0xffff0000;
	RUNS(f, 0x0f, 0x23, 0xe8); /* MOV DR5, RAX: DR7 */
	assert_int_equal(f->cpu->state.dr7, 0xffff0400);
	f->cpu->state.gpr[X86_RAX] = 1ull << 32;
	FAULTS(f, X86_GP, 0x0f, 0x23, 0xf8);
	RUNS(f, 0x0f, 0x23, 0xc0);
	assert_int_equal(f->cpu->state.dr[0], 1ull << 32);
	f->cpu->state.cr4 |= X86_CR4_DE;
	FAULTS(f, X86_UD, 0x0f, 0x21, 0xe0);
	f->cpu->state.dr7 = X86_DR7_FIXED | X86_DR7_GD;
	f->cpu->state.dr6 = X86_DR6_FIXED;
	FAULTS(f, X86_DB, 0x0f, 0x21, 0xc0);
	assert_true(f->cpu->state.dr6 & X86_DR6_BD);
}

static void breakpoints_match(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	s->dr[0] = 0x1234;
	s->dr[2] = 0x61;
	/* L0: execution; G2: I/O of 2 bytes */
	s->dr7 = X86_DR7_FIXED | 1 << 0 | 1 << 5 | 2u << 24 | 1u << 26;
	assert_int_equal(x86_debug_fetch_hits(f->cpu, 0x1234), 1);
	assert_int_equal(x86_debug_fetch_hits(f->cpu, 0x1235), 0);
	assert_int_equal(x86_debug_io_hits(f->cpu, 0x60, 1), 0); /* needs CR4.DE */
	s->cr4 |= X86_CR4_DE;
	assert_int_equal(x86_debug_io_hits(f->cpu, 0x60, 1), 4);
	assert_int_equal(x86_debug_io_hits(f->cpu, 0x5e, 4), 4);
	assert_int_equal(x86_debug_io_hits(f->cpu, 0x62, 4), 0);
}

/* ---- SYSCALL and its kin ---- */

static void syscall_and_back(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_fixture_long(f, 3, 0x10000);
	FAULTS(f, X86_UD, 0x0f, 0x05); /* EFER.SCE is clear */
	s->efer |= X86_EFER_SCE;
	s->star = 0x0023001000000000ull;
	s->lstar = 0xffffffff81000000ull;
	s->sfmask = X86_TF | X86_IF;
	s->rflags = X86_F1 | X86_IF | X86_TF | X86_CF;
	RUNS(f, 0x0f, 0x05);
	assert_int_equal(s->rip, s->lstar);
	assert_int_equal(s->gpr[X86_RCX], RIP + 2);
	assert_int_equal(s->gpr[X86_R11], X86_F1 | X86_IF | X86_TF | X86_CF);
	assert_int_equal(s->rflags, X86_F1 | X86_CF);
	assert_int_equal(s->seg[X86_CS].selector, 0x10);
	assert_int_equal(s->seg[X86_SS].selector, 0x18);
	assert_int_equal(f->cpu->cpl, 0);
	assert_false(f->cpu->single_step);
	s->gpr[X86_RCX] = NONCANONICAL;
	FAULTS(f, X86_GP, 0x48, 0x0f, 0x07);
	assert_int_equal(f->cpu->cpl, 0);
	s->gpr[X86_RCX] = 0x400000;
	s->gpr[X86_R11] |= X86_RF | X86_VM;
	RUNS(f, 0x48, 0x0f, 0x07);
	assert_int_equal(s->rip, 0x400000);
	assert_int_equal(s->rflags, X86_F1 | X86_IF | X86_TF | X86_CF);
	assert_int_equal(s->seg[X86_CS].selector, 0x33);
	assert_int_equal(s->seg[X86_SS].selector, 0x2b);
	assert_int_equal(f->cpu->cpl, 3);
	assert_int_equal(f->cpu->mode, X86_MODE_64);
	assert_true(f->cpu->single_step);
}

static void sysret_to_32_bits(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_fixture_long(f, 0, 0x10000);
	s->efer |= X86_EFER_SCE;
	s->star = 0x0023001000000000ull;
	s->gpr[X86_RCX] = 0x1000400000;
	RUNS(f, 0x0f, 0x07);
	assert_int_equal(s->rip, 0x400000);
	assert_int_equal(s->seg[X86_CS].selector, 0x23);
	assert_int_equal(f->cpu->mode, X86_MODE_32);
	FAULTS(f, X86_UD, 0x0f, 0x05); /* Intel has no SYSCALL here */
}

static void sysenter_and_back(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_fixture_protected(f, 3);
	s->sysenter_cs = 3;
	FAULTS(f, X86_GP, 0x0f, 0x34);
	s->sysenter_cs = 0x60;
	s->sysenter_esp = 0x7000;
	s->sysenter_eip = 0xc0100000;
	s->rflags = X86_F1 | X86_IF;
	RUNS(f, 0x0f, 0x34);
	assert_int_equal(s->rip, 0xc0100000);
	assert_int_equal(s->gpr[X86_RSP], 0x7000);
	assert_int_equal(s->rflags, X86_F1);
	assert_int_equal(s->seg[X86_SS].selector, 0x68);
	assert_int_equal(f->cpu->cpl, 0);
	s->gpr[X86_RDX] = 0x8048000;
	s->gpr[X86_RCX] = 0xbffff000;
	RUNS(f, 0x0f, 0x35);
	assert_int_equal(s->rip, 0x8048000);
	assert_int_equal(s->gpr[X86_RSP], 0xbffff000);
	assert_int_equal(s->seg[X86_CS].selector, 0x73);
	assert_int_equal(s->seg[X86_SS].selector, 0x7b);
	assert_int_equal(f->cpu->cpl, 3);
}

/* ---- descriptor tables ---- */

static void descriptor_tables(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_fixture_protected(f, 0);
	s->gpr[X86_RAX] = BUFFER;
	x86_poke(f, BUFFER, 0xfe123456007full, 6);
	RUNS(f, 0x0f, 0x01, 0x10);
	assert_int_equal(s->gdtr.base, 0xfe123456);
	assert_int_equal(s->gdtr.limit, 0x7f);
	RUNS(f, 0x66, 0x0f, 0x01, 0x18);
	assert_int_equal(s->idtr.base, 0x123456);
	x86_poke(f, BUFFER, ~0ull, 8);
	RUNS(f, 0x0f, 0x01, 0x00);
	assert_int_equal(x86_peek(f, BUFFER, 8), 0xfffffe123456007full);
}

/* ---- ports ---- */

struct port {
	uint64_t last;
	unsigned writes, reads;
};

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct port *port = opaque;

	(void)cpu;
	assert_true(offset + size <= 8);
	return 0x11223340 + port->reads++;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct port *port = opaque;

	(void)cpu;
	assert_true(offset + size <= 8);
	port->last = value;
	port->writes++;
}

static void add_port(struct x86_fixture *f, struct port *port)
{
	const struct bus_range range = { .base = 0x60, .size = 8, .name = "port", .opaque = port,
					 .read = port_read, .write = port_write };

	assert_int_equal(bus_add(f->cpu->cpu.env.pio, &range, NULL), 0);
}

static void in_and_out(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	struct port port = { 0 };

	add_port(f, &port);
	x86_fixture_protected(f, 0);
	s->gpr[X86_RAX] = 0xffffffffffffffff;
	RUNS(f, 0xe4, 0x60); /* IN AL, 60H */
	assert_int_equal(s->gpr[X86_RAX], 0xffffffffffffff40);
	s->gpr[X86_RDX] = 0x60;
	RUNS(f, 0x66, 0xed); /* IN AX, DX */
	assert_int_equal(s->gpr[X86_RAX], 0xffffffffffff3341);
	RUNS(f, 0xed); /* IN EAX, DX */
	assert_int_equal(s->gpr[X86_RAX], 0x11223342);
	RUNS(f, 0xee); /* OUT DX, AL */
	assert_int_equal(port.last, 0x42);
	RUNS(f, 0xe7, 0x61);
	assert_int_equal(port.last, 0x11223342);
	s->gpr[X86_RDX] = 0x5000;
	RUNS(f, 0xec);
	assert_int_equal(s->gpr[X86_RAX], 0x112233ff);
}

static void string_ports(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;
	struct port port = { 0 };

	add_port(f, &port);
	x86_fixture_protected(f, 0);
	s->gpr[X86_RDX] = 0x60;
	s->gpr[X86_RDI] = BUFFER;
	s->gpr[X86_RCX] = 3;
	RUNS(f, 0xf3, 0x66, 0x6d); /* REP INSW */
	assert_int_equal(x86_peek(f, BUFFER, 8), 0x334233413340);
	assert_int_equal(s->gpr[X86_RDI], BUFFER + 6);
	assert_int_equal(s->gpr[X86_RCX], 0);
	assert_int_equal(s->rip, RIP + 3);
	s->rflags |= X86_DF;
	s->gpr[X86_RSI] = BUFFER + 4;
	s->gpr[X86_RCX] = 2;
	f->cpu->single_step = true;
	RUNS(f, 0xf3, 0x6e); /* REP OUTSB, a step at a time */
	assert_int_equal(port.last, 0x42);
	assert_int_equal(s->gpr[X86_RCX], 1);
	assert_int_equal(s->gpr[X86_RSI], BUFFER + 3);
	assert_int_equal(s->rip, RIP);
	RUNS(f, 0xf3, 0x6e);
	assert_int_equal(s->rip, RIP + 2);
	RUNS(f, 0xf3, 0x6e); /* nothing left */
	assert_int_equal(port.writes, 2);
	/* Memory that cannot be written: the port is not read. */
	s->seg[X86_ES].limit = 0x10;
	port.reads = 0;
	FAULTS(f, X86_GP, 0x6c);
	assert_int_equal(port.reads, 0);
}

static void io_permissions(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_state *s = &f->cpu->state;

	x86_fixture_protected(f, 3);
	s->gpr[X86_RDX] = 0x60;
	s->tr = (struct x86_seg){ .base = TSS, .limit = 0x68 + 0x10, .attr = X86_SEG_P | 11 };
	x86_poke(f, TSS + 102, 0x68, 2);
	x86_poke(f, TSS + 0x68, 0, 8);
	x86_poke(f, TSS + 0x70, 0, 8);
	x86_poke(f, TSS + 0x68 + 0x60 / 8, 0x02, 1);
	RUNS(f, 0xec);
	FAULTS(f, X86_GP, 0x66, 0xed); /* port 61H is closed */
	s->gpr[X86_RDX] = 0x7f;
	RUNS(f, 0xec);
	s->gpr[X86_RDX] = 0x80; /* its second byte lies beyond the limit */
	FAULTS(f, X86_GP, 0xec);
	s->rflags |= X86_IOPL;
	RUNS(f, 0xec);
	s->rflags &= ~X86_IOPL;
	s->gpr[X86_RDX] = 0x60;
	s->tr.attr = X86_SEG_P | 3;
	FAULTS(f, X86_GP, 0xec); /* a 16-bit TSS has no bitmap */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cr0_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(long_mode_comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(cr3_and_cr4_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(pae_loads_its_pointers, setup, teardown),
		cmocka_unit_test_setup_teardown(machine_status_word, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_3_may_not, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_has, setup, teardown),
		cmocka_unit_test_setup_teardown(xcr0_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(debug_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(breakpoints_match, setup, teardown),
		cmocka_unit_test_setup_teardown(syscall_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(sysret_to_32_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(sysenter_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptor_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(in_and_out, setup, teardown),
		cmocka_unit_test_setup_teardown(string_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(io_permissions, setup, teardown),
	};

	return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
