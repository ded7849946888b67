/* SPDX-License-Identifier: MIT */
/*
 * ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT. One handler for each operation, form and
 * size, so that none decides anything at run time; a row of a table for each operation.
 * Intel SDM vol. 2.
 *
 * Flags after AND, OR, XOR and TEST do not depend on flags before (AF included: processors clear
 * it), so only ADC, SBB, INC and DEC get the guest's carry.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_LOCK_MR, FORM_LOCK_MI, FORMS };

/* A result in a register; on memory, plain and locked. */
#define ALU_BINARY(op, carry, bits)                                                                \
	static inline uint##bits##_t op##_value##bits(struct x86_cpu *cpu, uint##bits##_t a,       \
						      uint##bits##_t b)                            \
	{                                                                                          \
		uint16_t ax;                                                                       \
                                                                                                   \
		__asm__(carry #op " %[b], %[a]" ALU_FLAGS_OUT                                      \
			: [a] "+r"(a), "=a"(ax)                                                    \
			: [b] "r"(b), [f] "m"(cpu->state.rflags)                                   \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		return a;                                                                          \
	}

#define ALU_ON_MEMORY(op, carry, lock, name, bits)                                                 \
	static inline void op##_##name##bits(struct x86_cpu *cpu, void *host, uint##bits##_t b)    \
	{                                                                                          \
		uint16_t ax;                                                                       \
                                                                                                   \
		__asm__ volatile(carry lock #op " %[b], %[a]" ALU_FLAGS_OUT                        \
				 : [a] "+m"(*(uint##bits##_t *)host), "=a"(ax)                     \
				 : [b] "r"(b), [f] "m"(cpu->state.rflags)                          \
				 : "cc", "memory");                                                \
		alu_set_flags(cpu, ax);                                                            \
	}

#define ALU_FORMS_READING(op, bits)                                                                \
	static void op##_rr##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		op##_value##bits(cpu, gp_get##bits(cpu, insn->dst), gp_get##bits(cpu, insn->src)); \
	}                                                                                          \
	static void op##_ri##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		op##_value##bits(cpu, gp_get##bits(cpu, insn->dst), (uint##bits##_t)insn->imm);    \
	}                                                                                          \
	static inline void op##_rm##bits##_with(struct x86_cpu *cpu, const struct insn *insn,      \
						uint##bits##_t b)                                  \
	{                                                                                          \
		op##_value##bits(cpu, gp_get##bits(cpu, insn->dst), b);                            \
	}                                                                                          \
	GP_LOADING(op##_rm##bits, bits)                                                            \
	static inline void op##_mr##bits##_with(struct x86_cpu *cpu, const struct insn *insn,      \
						uint##bits##_t a)                                  \
	{                                                                                          \
		op##_value##bits(cpu, a, gp_get##bits(cpu, insn->dst));                            \
	}                                                                                          \
	GP_LOADING(op##_mr##bits, bits)                                                            \
	static inline void op##_mi##bits##_with(struct x86_cpu *cpu, const struct insn *insn,      \
						uint##bits##_t a)                                  \
	{                                                                                          \
		op##_value##bits(cpu, a, (uint##bits##_t)insn->imm);                               \
	}                                                                                          \
	GP_LOADING(op##_mi##bits, bits)

#define ALU_FORMS_REGISTER(op, bits)                                                               \
	static void op##_rr##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst,                                                       \
			     op##_value##bits(cpu, gp_get##bits(cpu, insn->dst),                   \
					      gp_get##bits(cpu, insn->src)));                      \
	}                                                                                          \
	static void op##_ri##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst,                                                       \
			     op##_value##bits(cpu, gp_get##bits(cpu, insn->dst),                   \
					      (uint##bits##_t)insn->imm));                         \
	}                                                                                          \
	static inline void op##_rm##bits##_with(struct x86_cpu *cpu, const struct insn *insn,      \
						uint##bits##_t b)                                  \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst,                                                       \
			     op##_value##bits(cpu, gp_get##bits(cpu, insn->dst), b));              \
	}                                                                                          \
	GP_LOADING(op##_rm##bits, bits)

/* name: plain or locked. The slow half is out of line: its bounce buffer burdens no hot stack. */
#define ALU_FORMS_MEMORY(op, bits, name, is_locked)                                                \
	static __attribute__((noinline)) void op##_slow_##name##bits(                              \
		struct x86_cpu *cpu, uint64_t linear, uint##bits##_t b)                            \
	{                                                                                          \
		struct x86_rmw rmw;                                                                \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, is_locked, &rmw);                             \
		op##_##name##bits(cpu, rmw.host, b);                                               \
		x86_rmw_end(cpu, &rmw);                                                            \
	}                                                                                          \
	static inline void op##_at_##name##bits(struct x86_cpu *cpu, const struct insn *insn,      \
						uint##bits##_t b)                                  \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		void *host = gp_rmw_direct(cpu, linear, bits / 8);                                 \
                                                                                                   \
		if (likely(host))                                                                  \
			op##_##name##bits(cpu, host, b);                                           \
		else                                                                               \
			op##_slow_##name##bits(cpu, linear, b);                                    \
	}                                                                                          \
	static void op##_##name##_mr##bits(struct x86_cpu *cpu, const struct insn *insn)           \
	{                                                                                          \
		op##_at_##name##bits(cpu, insn, gp_get##bits(cpu, insn->dst));                     \
	}                                                                                          \
	static void op##_##name##_mi##bits(struct x86_cpu *cpu, const struct insn *insn)           \
	{                                                                                          \
		op##_at_##name##bits(cpu, insn, (uint##bits##_t)insn->imm);                        \
	}

#define ALU_DEFINE_WRITING(op, carry, bits)                                                        \
	ALU_BINARY(op, carry, bits)                                                                \
	ALU_ON_MEMORY(op, carry, "", plain, bits)                                                  \
	ALU_ON_MEMORY(op, carry, "lock ", locked, bits)                                            \
	ALU_FORMS_REGISTER(op, bits)                                                               \
	ALU_FORMS_MEMORY(op, bits, plain, false)                                                   \
	ALU_FORMS_MEMORY(op, bits, locked, true)

#define ALU_DEFINE_READING(op, bits)                                                               \
	ALU_BINARY(op, "", bits)                                                                   \
	ALU_FORMS_READING(op, bits)

#define ALU_WRITING(op, carry)                                                                     \
	ALU_DEFINE_WRITING(op, carry, 8)                                                           \
	ALU_DEFINE_WRITING(op, carry, 16)                                                          \
	ALU_DEFINE_WRITING(op, carry, 32)                                                          \
	ALU_DEFINE_WRITING(op, carry, 64)
ALU_WRITING(add, "")
ALU_WRITING(or, "")
ALU_WRITING(adc, ALU_CARRY_IN)
ALU_WRITING(sbb, ALU_CARRY_IN)
ALU_WRITING(and, "")
ALU_WRITING(sub, "")
ALU_WRITING(xor, "")

#define ALU_READING(op)                                                                            \
	ALU_DEFINE_READING(op, 8)                                                                  \
	ALU_DEFINE_READING(op, 16)                                                                 \
	ALU_DEFINE_READING(op, 32)                                                                 \
	ALU_DEFINE_READING(op, 64)
ALU_READING(cmp)
ALU_READING(test)

/* ---- one operand ---- */

#define ALU_UNARY_ON(op, name, is_locked, lock, suffix, bits)                                \
	static inline void op##_on_##name##bits(struct x86_cpu *cpu, void *host)                   \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__ volatile(ALU_FLAGS_IN lock #op suffix " %[a]" ALU_FLAGS_OUT                \
				 : [a] "+m"(*(uint##bits##_t *)host), "+a"(ax)                     \
				 :                                                                 \
				 : "cc", "memory");                                                \
		alu_set_flags(cpu, ax);                                                            \
	}                                                                                          \
	static __attribute__((noinline)) void op##_slow_##name##bits(struct x86_cpu *cpu,          \
								     uint64_t linear)              \
	{                                                                                          \
		struct x86_rmw rmw;                                                                \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, is_locked, &rmw);                             \
		op##_on_##name##bits(cpu, rmw.host);                                               \
		x86_rmw_end(cpu, &rmw);                                                            \
	}                                                                                          \
	static void op##_##name##_m##bits(struct x86_cpu *cpu, const struct insn *insn)            \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		void *host = gp_rmw_direct(cpu, linear, bits / 8);                                 \
                                                                                                   \
		if (likely(host))                                                                  \
			op##_on_##name##bits(cpu, host);                                           \
		else                                                                               \
			op##_slow_##name##bits(cpu, linear);                                       \
	}

#define ALU_UNARY_SIZE(op, suffix, bits)                                                    \
	static void op##_r##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %[a]" ALU_FLAGS_OUT : [a] "+r"(a), "+a"(ax) : : "cc");  \
		alu_set_flags(cpu, ax);                                                            \
		gp_set##bits(cpu, insn->dst, a);                                                   \
	}                                                                                          \
	ALU_UNARY_ON(op, plain, false, "", suffix, bits)                                    \
	ALU_UNARY_ON(op, locked, true, "lock ", suffix, bits)

#define ALU_UNARY(op)                                                                              \
	ALU_UNARY_SIZE(op, "b", 8)                                                          \
	ALU_UNARY_SIZE(op, "w", 16)                                                         \
	ALU_UNARY_SIZE(op, "l", 32)                                                         \
	ALU_UNARY_SIZE(op, "q", 64)
ALU_UNARY(inc)
ALU_UNARY(dec)
ALU_UNARY(neg)
ALU_UNARY(not)

/* ---- selection ---- */

#define SIZES(name) { name##8, name##16, name##32, name##64 }
#define ROW_WRITING(op)                                                                            \
	{                                                                                          \
		[FORM_RR] = SIZES(op##_rr), [FORM_RI] = SIZES(op##_ri),                            \
		[FORM_RM] = SIZES(op##_rm), [FORM_MR] = SIZES(op##_plain_mr),                      \
		[FORM_MI] = SIZES(op##_plain_mi), [FORM_LOCK_MR] = SIZES(op##_locked_mr),          \
		[FORM_LOCK_MI] = SIZES(op##_locked_mi),                                            \
	}
#define ROW_READING(op)                                                                            \
	{                                                                                          \
		[FORM_RR] = SIZES(op##_rr), [FORM_RI] = SIZES(op##_ri),                            \
		[FORM_RM] = SIZES(op##_rm), [FORM_MR] = SIZES(op##_mr),                            \
		[FORM_MI] = SIZES(op##_mi), [FORM_LOCK_MR] = SIZES(op##_mr),                       \
		[FORM_LOCK_MI] = SIZES(op##_mi),                                                   \
	}
#define ROW_UNARY(op) { SIZES(op##_r), SIZES(op##_plain_m), SIZES(op##_locked_m) }

static enum form form_of(const struct insn_info *info, const struct insn *insn)
{
	bool imm = info->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	bool lock = insn->flags & INSN_LOCK;

	if (!(insn->flags & INSN_MEM))
		return imm ? FORM_RI : FORM_RR;
	if (!(insn->flags & INSN_MEM_FIRST))
		return FORM_RM;
	if (imm)
		return lock ? FORM_LOCK_MI : FORM_MI;
	return lock ? FORM_LOCK_MR : FORM_MR;
}

static int binary_index(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_ADD: return 0;
	case ZYDIS_MNEMONIC_OR: return 1;
	case ZYDIS_MNEMONIC_ADC: return 2;
	case ZYDIS_MNEMONIC_SBB: return 3;
	case ZYDIS_MNEMONIC_AND: return 4;
	case ZYDIS_MNEMONIC_SUB: return 5;
	case ZYDIS_MNEMONIC_XOR: return 6;
	case ZYDIS_MNEMONIC_CMP: return 7;
	case ZYDIS_MNEMONIC_TEST: return 8;
	default: return -1;
	}
}

static int unary_index(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_INC: return 0;
	case ZYDIS_MNEMONIC_DEC: return 1;
	case ZYDIS_MNEMONIC_NEG: return 2;
	case ZYDIS_MNEMONIC_NOT: return 3;
	default: return -1;
	}
}

insn_fn *gp_select_alu(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const binary[][FORMS][4] = {
		ROW_WRITING(add), ROW_WRITING(or), ROW_WRITING(adc), ROW_WRITING(sbb),
		ROW_WRITING(and), ROW_WRITING(sub), ROW_WRITING(xor), ROW_READING(cmp),
		ROW_READING(test),
	};
	static insn_fn *const unary[][3][4] = {
		ROW_UNARY(inc), ROW_UNARY(dec), ROW_UNARY(neg), ROW_UNARY(not),
	};
	int which = binary_index(info->z.mnemonic);
	unsigned size = gp_size_index(info->op[0].size / 8);

	if (which >= 0)
		return binary[which][form_of(info, insn)][size];
	which = unary_index(info->z.mnemonic);
	if (which < 0)
		return NULL;
	if (!(insn->flags & INSN_MEM))
		return unary[which][0][size];
	return unary[which][insn->flags & INSN_LOCK ? 2 : 1][size];
}
