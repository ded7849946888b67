/* SPDX-License-Identifier: MIT */
/*
 * AAA AAS DAA DAS AAM AAD, which 64-bit mode, and so the host, does not have. Intel SDM vol. 2.
 *
 * What the manual leaves undefined is as measured on Intel processors in compatibility mode, for
 * every AX and every CF, AF, OF: SF, ZF and PF follow the AL that comes out, OF is 0, AAM clears AF
 * and CF, and AAD leaves the flags of its addition.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

#define AL GP_OFFSET(X86_RAX)
#define AX GP_OFFSET(X86_RAX)
#define AH (GP_OFFSET(X86_RAX) + 1)

/* SF ZF PF of al, AF and CF as given, OF clear. */
static void set_decimal_flags(struct x86_cpu *cpu, uint8_t al, uint64_t af_cf)
{
	uint16_t ax;

	__asm__("test %[al], %[al]" ALU_FLAGS_OUT : "=a"(ax) : [al] "r"(al) : "cc");
	alu_set_flags(cpu, ax);
	cpu->state.rflags = (cpu->state.rflags & ~(X86_AF | X86_CF)) | af_cf;
}

static bool digit_overflows(const struct x86_cpu *cpu)
{
	return (gp_get8(cpu, AL) & 15) > 9 || (cpu->state.rflags & X86_AF);
}

/* AAA and AAS: step is what an overflowing digit adds to AX. */
static void adjust_ascii(struct x86_cpu *cpu, int step)
{
	bool adjust = digit_overflows(cpu);
	uint16_t ax = gp_get16(cpu, AX);

	if (adjust)
		ax = (uint16_t)(ax + step);
	ax &= 0xff0f;
	gp_set16(cpu, AX, ax);
	set_decimal_flags(cpu, (uint8_t)ax, adjust ? X86_AF | X86_CF : 0);
}

static void aaa(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	adjust_ascii(cpu, 0x106);
}

static void aas(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	adjust_ascii(cpu, -0x106);
}

static void daa(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t before = gp_get8(cpu, AL), al = before;
	uint64_t flags = 0;

	(void)insn;
	if (digit_overflows(cpu)) {
		al += 6;
		flags |= X86_AF;
	}
	if (before > 0x99 || (cpu->state.rflags & X86_CF)) {
		al += 0x60;
		flags |= X86_CF;
	}
	gp_set8(cpu, AL, al);
	set_decimal_flags(cpu, al, flags);
}

/* Unlike in DAA, a borrow out of the first step stays in CF. */
static void das(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t before = gp_get8(cpu, AL), al = before;
	uint64_t flags = 0;

	(void)insn;
	if (digit_overflows(cpu)) {
		flags |= X86_AF | (before < 6 ? X86_CF : 0);
		al -= 6;
	}
	if (before > 0x99 || (cpu->state.rflags & X86_CF)) {
		al -= 0x60;
		flags |= X86_CF;
	}
	gp_set8(cpu, AL, al);
	set_decimal_flags(cpu, al, flags);
}

static void aam(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t base = (uint8_t)insn->imm, al = gp_get8(cpu, AL);

	if (!base)
		x86_raise(cpu, X86_DE);
	gp_set8(cpu, AH, al / base);
	gp_set8(cpu, AL, al % base);
	set_decimal_flags(cpu, al % base, 0);
}

static void aad(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t tens = (uint8_t)(gp_get8(cpu, AH) * (uint8_t)insn->imm);
	uint16_t ax;

	__asm__("add %[al], %[tens]" ALU_FLAGS_OUT
		: [tens] "+r"(tens), "=a"(ax)
		: [al] "r"(gp_get8(cpu, AL))
		: "cc");
	alu_set_flags(cpu, ax);
	gp_set16(cpu, AX, tens);
}

insn_fn *gp_select_bcd(const struct insn_info *info, struct insn *insn)
{
	(void)insn;
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_AAA: return aaa;
	case ZYDIS_MNEMONIC_AAS: return aas;
	case ZYDIS_MNEMONIC_DAA: return daa;
	case ZYDIS_MNEMONIC_DAS: return das;
	case ZYDIS_MNEMONIC_AAM: return aam;
	case ZYDIS_MNEMONIC_AAD: return aad;
	default: return NULL;
	}
}
