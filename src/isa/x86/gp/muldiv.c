/* SPDX-License-Identifier: MIT */
/*
 * MUL IMUL DIV IDIV and the sign extensions of the accumulator. Intel SDM vol. 2.
 *
 * A division that would fault is found before the host divides: unsigned, the quotient does not fit
 * when the dividend's upper half reaches the divisor; signed, by the same test on magnitudes and
 * then by the magnitude of the quotient.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

#define RAX GP_OFFSET(X86_RAX)
#define RDX GP_OFFSET(X86_RDX)
#define AH (GP_OFFSET(X86_RAX) + 1)

/* RAX is the instruction's own: flags wait in another register. SAHF and ADD need AH and AL. */
#define WIDE_FLAGS_IN "movzwl %w[ax], %%eax\n\t" ALU_FLAGS_IN "mov %[low], %%rax\n\t"
#define WIDE_FLAGS_OUT "\n\tmov %%rax, %[low]\n\tlahf\n\tseto %%al\n\tmovzwl %%ax, %k[ax]"

/* One operand: op is the host's whole instruction on low (RAX) and high (RDX), operand a. */
#define WIDE(name, text)                                                                           \
	static inline void wide_##name(struct x86_cpu *cpu, uint64_t *low, uint64_t *high,         \
				       uint64_t a)                                                 \
	{                                                                                          \
		uint64_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(WIDE_FLAGS_IN text WIDE_FLAGS_OUT                                          \
			: [low] "+r"(*low), "+d"(*high), [ax] "+r"(ax)                             \
			: [a] "r"(a)                                                               \
			: "rax", "cc");                                                            \
		alu_set_flags(cpu, (uint16_t)ax);                                                  \
	}
#define WIDE_SIZES(op)                                                                             \
	WIDE(op##8, #op "b %b[a]")                                                                 \
	WIDE(op##16, #op "w %w[a]")                                                                \
	WIDE(op##32, #op "l %k[a]")                                                                \
	WIDE(op##64, #op "q %q[a]")
WIDE_SIZES(mul)
WIDE_SIZES(imul)
WIDE_SIZES(div)
WIDE_SIZES(idiv)

static inline uint64_t magnitude(int64_t value)
{
	return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

/* ---- does it fit? high:low is the dividend, each of the operand's size ---- */

#define DIVIDE_CHECKS(bits)                                                                        \
	static bool div_fits##bits(uint64_t low, uint64_t high, uint64_t divisor)                  \
	{                                                                                          \
		(void)low;                                                                         \
		return (uint##bits##_t)high < (uint##bits##_t)divisor;                             \
	}                                                                                          \
	static bool idiv_fits##bits(uint64_t low, uint64_t high, uint64_t divisor)                 \
	{                                                                                          \
		int64_t dividend = (int64_t)((uint64_t)(int64_t)(int##bits##_t)high << bits |      \
					     (uint##bits##_t)low);                                 \
		int64_t by = (int##bits##_t)divisor;                                               \
		uint64_t quotient, limit = (1ull << (bits - 1)) - ((dividend < 0) == (by < 0));    \
                                                                                                   \
		if (!by)                                                                           \
			return false;                                                              \
		quotient = magnitude(dividend) / magnitude(by);                                    \
		return quotient <= limit;                                                          \
	}
DIVIDE_CHECKS(8)
DIVIDE_CHECKS(16)
DIVIDE_CHECKS(32)

static bool div_fits64(uint64_t low, uint64_t high, uint64_t divisor)
{
	(void)low;
	return high < divisor;
}

static bool idiv_fits64(uint64_t low, uint64_t high, uint64_t divisor)
{
	bool negative = (int64_t)high < 0;
	bool positive_quotient = negative == ((int64_t)divisor < 0);
	uint64_t by = magnitude((int64_t)divisor);
	uint64_t quotient, remainder;

	if (negative) {
		high = ~high + !low;
		low = -low;
	}
	if (high >= by)
		return false;
	__asm__("divq %[by]" : "=a"(quotient), "=d"(remainder) : [by] "r"(by), "0"(low), "1"(high)
		: "cc");
	return quotient <= (1ull << 63) - positive_quotient;
}

/* ---- one operand ---- */

#define ONE_OPERAND(op, bits, check)                                                               \
	static void op##_wide##bits(struct x86_cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint64_t a = gp_read##bits(cpu, insn, insn->dst);                                  \
		uint64_t low = cpu->state.gpr[X86_RAX], high = cpu->state.gpr[X86_RDX];            \
                                                                                                   \
		check;                                                                             \
		wide_##op##bits(cpu, &low, &high, a);                                              \
		gp_set##bits(cpu, RAX, (uint##bits##_t)low);                                       \
		gp_set##bits(cpu, RDX, (uint##bits##_t)high);                                      \
	}
/* 8-bit operands use AX alone. */
#define ONE_OPERAND_BYTE(op, check)                                                                \
	static void op##_wide8(struct x86_cpu *cpu, const struct insn *insn)                       \
	{                                                                                          \
		uint64_t a = gp_read8(cpu, insn, insn->dst);                                       \
		uint64_t low = cpu->state.gpr[X86_RAX], high = gp_get8(cpu, AH);                   \
                                                                                                   \
		check;                                                                             \
		wide_##op##8(cpu, &low, &high, a);                                                 \
		gp_set16(cpu, RAX, (uint16_t)low);                                                 \
	}
#define DIVIDE_CHECK(op, bits)                                                                     \
	if (unlikely(!op##_fits##bits(low, high, a)))                                              \
	x86_raise(cpu, X86_DE)

#define MULTIPLIES(op)                                                                             \
	ONE_OPERAND_BYTE(op, )                                                                     \
	ONE_OPERAND(op, 16, )                                                                      \
	ONE_OPERAND(op, 32, )                                                                      \
	ONE_OPERAND(op, 64, )
MULTIPLIES(mul)
MULTIPLIES(imul)

#define DIVIDES(op)                                                                                \
	ONE_OPERAND_BYTE(op, DIVIDE_CHECK(op, 8))                                                  \
	ONE_OPERAND(op, 16, DIVIDE_CHECK(op, 16))                                                  \
	ONE_OPERAND(op, 32, DIVIDE_CHECK(op, 32))                                                  \
	ONE_OPERAND(op, 64, DIVIDE_CHECK(op, 64))
DIVIDES(div)
DIVIDES(idiv)

/* ---- IMUL with two and three operands ---- */

#define IMUL_SIZE(bits)                                                                            \
	static inline uint##bits##_t imul_value##bits(struct x86_cpu *cpu, uint##bits##_t a,       \
						      uint##bits##_t b)                            \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN "imul %[b], %[a]" ALU_FLAGS_OUT                               \
			: [a] "+r"(a), "+a"(ax)                                                    \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		return a;                                                                          \
	}                                                                                          \
	static void imul_two##bits(struct x86_cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		uint##bits##_t b = gp_read##bits(cpu, insn, insn->src);                            \
                                                                                                   \
		gp_set##bits(cpu, insn->dst,                                                       \
			     imul_value##bits(cpu, gp_get##bits(cpu, insn->dst), b));              \
	}                                                                                          \
	static void imul_three##bits(struct x86_cpu *cpu, const struct insn *insn)                 \
	{                                                                                          \
		uint##bits##_t b = gp_read##bits(cpu, insn, insn->src);                            \
                                                                                                   \
		gp_set##bits(cpu, insn->dst, imul_value##bits(cpu, b, (uint##bits##_t)insn->imm)); \
	}
IMUL_SIZE(16)
IMUL_SIZE(32)
IMUL_SIZE(64)

/* ---- CBW CWDE CDQE, CWD CDQ CQO ---- */

#define EXTEND_ACCUMULATOR(name, from, to)                                                         \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		(void)insn;                                                                        \
		gp_set##to(cpu, RAX, (uint##to##_t)(int##from##_t)cpu->state.gpr[X86_RAX]);        \
	}
EXTEND_ACCUMULATOR(cbw, 8, 16)
EXTEND_ACCUMULATOR(cwde, 16, 32)
EXTEND_ACCUMULATOR(cdqe, 32, 64)

#define SPREAD_SIGN(name, bits)                                                                    \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		(void)insn;                                                                        \
		gp_set##bits(cpu, RDX,                                                             \
			     (uint##bits##_t)((int##bits##_t)cpu->state.gpr[X86_RAX] >>            \
					      (bits - 1)));                                        \
	}
SPREAD_SIGN(cwd, 16)
SPREAD_SIGN(cdq, 32)
SPREAD_SIGN(cqo, 64)

#define SIZES(name) { name##8, name##16, name##32, name##64 }

static insn_fn *select_imul(const struct insn_info *info, unsigned size)
{
	static insn_fn *const one[] = SIZES(imul_wide);
	static insn_fn *const two[] = { NULL, imul_two16, imul_two32, imul_two64 };
	static insn_fn *const three[] = { NULL, imul_three16, imul_three32, imul_three64 };

	switch (info->z.opcode) {
	case 0xaf: return two[size];
	case 0x69:
	case 0x6b: return three[size];
	default: return one[size];
	}
}

insn_fn *gp_select_muldiv(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const mul[] = SIZES(mul_wide);
	static insn_fn *const div[] = SIZES(div_wide);
	static insn_fn *const idiv[] = SIZES(idiv_wide);
	unsigned size = gp_size_index(info->op[0].size / 8);

	(void)insn;
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_MUL: return mul[size];
	case ZYDIS_MNEMONIC_IMUL: return select_imul(info, size);
	case ZYDIS_MNEMONIC_DIV: return div[size];
	case ZYDIS_MNEMONIC_IDIV: return idiv[size];
	case ZYDIS_MNEMONIC_CBW: return cbw;
	case ZYDIS_MNEMONIC_CWDE: return cwde;
	case ZYDIS_MNEMONIC_CDQE: return cdqe;
	case ZYDIS_MNEMONIC_CWD: return cwd;
	case ZYDIS_MNEMONIC_CDQ: return cdq;
	case ZYDIS_MNEMONIC_CQO: return cqo;
	default: return NULL;
	}
}
