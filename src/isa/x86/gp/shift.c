/* SPDX-License-Identifier: MIT */
/*
 * ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD. Intel SDM vol. 2.
 *
 * All run with the guest's flags loaded, because a count of zero leaves them, and what the
 * undefined ones become may depend on what they were. A register's ROL and ROR by an immediate
 * above one leave OF alone on some processors, where those by CL, and those of memory, do not; so
 * they have handlers of their own, which let a host rotation of the same kind have the last word:
 * rol(x, n) = rol(rol(x, n - 2), 2).
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

#define SHIFT_VALUE(op, bits)                                                                      \
	static inline uint##bits##_t op##_value##bits(struct x86_cpu *cpu, uint##bits##_t a,       \
						      uint8_t count)                               \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %%cl, %[a]" ALU_FLAGS_OUT                               \
			: [a] "+r"(a), "+a"(ax)                                                    \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		return a;                                                                          \
	}

#define ROTATE_VALUE_IMM(op, bits)                                                                 \
	static inline uint##bits##_t op##_imm_value##bits(struct x86_cpu *cpu, uint##bits##_t a,   \
							  uint8_t count)                           \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		count = (uint8_t)((count & (bits == 64 ? 63 : 31)) - 2);                           \
		__asm__(#op " %%cl, %[a]\n\t" ALU_FLAGS_IN #op " $2, %[a]" ALU_FLAGS_OUT           \
			: [a] "+r"(a), "+a"(ax)                                                    \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		return a;                                                                          \
	}

/* The memory form always goes through begin and end: it writes even when the count is 0. */
#define SHIFT_REGISTER(op, value, name, count, bits)                                               \
	static void op##_r_##name##bits(struct x86_cpu *cpu, const struct insn *insn)              \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst,                                                       \
			     value##bits(cpu, gp_get##bits(cpu, insn->dst), count));               \
	}
#define SHIFT_MEMORY(op, value, name, count, bits)                                                 \
	static void op##_m_##name##bits(struct x86_cpu *cpu, const struct insn *insn)              \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		struct x86_rmw rmw;                                                                \
		uint##bits##_t *host;                                                              \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, false, &rmw);                                 \
		host = rmw.host;                                                                   \
		*host = value##bits(cpu, *host, count);                                            \
		x86_rmw_end(cpu, &rmw);                                                            \
	}

#define COUNT_CL gp_get8(cpu, GP_OFFSET(X86_RCX))
#define COUNT_IMM (uint8_t)insn->imm

#define SHIFT_SIZE(op, bits)                                                                       \
	SHIFT_VALUE(op, bits)                                                                      \
	SHIFT_REGISTER(op, op##_value, cl, COUNT_CL, bits)                                         \
	SHIFT_MEMORY(op, op##_value, cl, COUNT_CL, bits)                                           \
	SHIFT_REGISTER(op, op##_value, imm, COUNT_IMM, bits)                                       \
	SHIFT_MEMORY(op, op##_value, imm, COUNT_IMM, bits)
#define SHIFT(op) SHIFT_SIZE(op, 8) SHIFT_SIZE(op, 16) SHIFT_SIZE(op, 32) SHIFT_SIZE(op, 64)
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

#define ROTATE_SIZE(op, bits)                                                                      \
	ROTATE_VALUE_IMM(op, bits)                                                                 \
	SHIFT_REGISTER(op, op##_imm_value, many, COUNT_IMM, bits)
#define ROTATE(op) ROTATE_SIZE(op, 8) ROTATE_SIZE(op, 16) ROTATE_SIZE(op, 32) ROTATE_SIZE(op, 64)
ROTATE(rol)
ROTATE(ror)

/* ---- SHLD, SHRD ---- */

#define DOUBLE_SIZE(op, bits)                                                                      \
	static inline uint##bits##_t op##_value##bits(struct x86_cpu *cpu, uint##bits##_t a,       \
						      uint##bits##_t b, uint8_t count)             \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %%cl, %[b], %[a]" ALU_FLAGS_OUT                         \
			: [a] "+r"(a), "+a"(ax)                                                    \
			: [b] "r"(b), "c"(count)                                                   \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		return a;                                                                          \
	}                                                                                          \
	static void op##_by##bits(struct x86_cpu *cpu, const struct insn *insn, uint8_t count)     \
	{                                                                                          \
		struct x86_rmw rmw;                                                                \
		uint##bits##_t *host;                                                              \
		uint64_t linear;                                                                   \
                                                                                                   \
		if (!(insn->flags & INSN_MEM)) {                                                   \
			gp_set##bits(cpu, insn->dst,                                               \
				     op##_value##bits(cpu, gp_get##bits(cpu, insn->dst),           \
						      gp_get##bits(cpu, insn->src), count));       \
			return;                                                                    \
		}                                                                                  \
		linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                         \
		x86_rmw_begin(cpu, linear, bits / 8, false, &rmw);                                 \
		host = rmw.host;                                                                   \
		*host = op##_value##bits(cpu, *host, gp_get##bits(cpu, insn->dst), count);         \
		x86_rmw_end(cpu, &rmw);                                                            \
	}                                                                                          \
	static void op##_cl##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		op##_by##bits(cpu, insn, COUNT_CL);                                                \
	}                                                                                          \
	static void op##_imm##bits(struct x86_cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		op##_by##bits(cpu, insn, COUNT_IMM);                                               \
	}
#define DOUBLE(op) DOUBLE_SIZE(op, 16) DOUBLE_SIZE(op, 32) DOUBLE_SIZE(op, 64)
DOUBLE(shld)
DOUBLE(shrd)

/* ---- selection ---- */

#define SIZES(name) { name##8, name##16, name##32, name##64 }
#define ROW(op) { { SIZES(op##_r_imm), SIZES(op##_m_imm) }, { SIZES(op##_r_cl), SIZES(op##_m_cl) } }
#define ROW_DOUBLE(op)                                                                             \
	{ { NULL, op##_imm16, op##_imm32, op##_imm64 }, { NULL, op##_cl16, op##_cl32, op##_cl64 } }

static insn_fn *select_double(const struct insn_info *info, unsigned size)
{
	static insn_fn *const table[2][2][4] = { ROW_DOUBLE(shld), ROW_DOUBLE(shrd) };
	bool by_cl = info->op[2].type == ZYDIS_OPERAND_TYPE_REGISTER;

	return table[info->z.mnemonic == ZYDIS_MNEMONIC_SHRD][by_cl][size];
}

static insn_fn *select_rotate_many(const struct insn_info *info, unsigned size)
{
	static insn_fn *const table[2][4] = { SIZES(rol_r_many), SIZES(ror_r_many) };

	return table[info->z.mnemonic == ZYDIS_MNEMONIC_ROR][size];
}

insn_fn *gp_select_shift(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const table[][2][2][4] = {
		ROW(rol), ROW(ror), ROW(rcl), ROW(rcr), ROW(shl), ROW(shr), ROW(sar),
	};
	bool by_cl = info->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	bool memory = insn->flags & INSN_MEM;
	unsigned size = gp_size_index(info->op[0].size / 8);
	unsigned which;

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_ROL: which = 0; break;
	case ZYDIS_MNEMONIC_ROR: which = 1; break;
	case ZYDIS_MNEMONIC_RCL: which = 2; break;
	case ZYDIS_MNEMONIC_RCR: which = 3; break;
	case ZYDIS_MNEMONIC_SHL: which = 4; break;
	case ZYDIS_MNEMONIC_SHR: which = 5; break;
	case ZYDIS_MNEMONIC_SAR: which = 6; break;
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return select_double(info, size);
	default:
		return NULL;
	}
	if (which < 2 && !by_cl && !memory && (insn->imm & (size == 3 ? 63 : 31)) > 1)
		return select_rotate_many(info, size);
	return table[which][by_cl][memory][size];
}
