/* SPDX-License-Identifier: MIT */
/*
 * MOV between general registers, memory and immediates, MOVZX MOVSX MOVSXD, LEA, CMOVcc, MOVBE,
 * MOVNTI, MOVDIRI, XLAT. MOV to and from segment, control and debug registers is elsewhere.
 * Intel SDM vol. 2.
 */
#include "isa/x86/gp/cond.h"
#include "isa/x86/gp/gp.h"
#include "isa/x86/memory/segment.h"

#define MOV_SIZE(bits)                                                                             \
	static void mov_rr##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst, gp_get##bits(cpu, insn->src));                        \
	}                                                                                          \
	static void mov_ri##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst, (uint##bits##_t)insn->imm);                           \
	}                                                                                          \
	static inline void mov_rm##bits##_with(struct x86_cpu *cpu, const struct insn *insn,       \
					       uint##bits##_t value)                               \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst, value);                                               \
	}                                                                                          \
	GP_LOADING(mov_rm##bits, bits)                                                             \
	static inline uint##bits##_t mov_mr##bits##_value(struct x86_cpu *cpu,                     \
							  const struct insn *insn)                 \
	{                                                                                          \
		return gp_get##bits(cpu, insn->dst);                                               \
	}                                                                                          \
	GP_STORING(mov_mr##bits, bits)                                                             \
	static inline uint##bits##_t mov_mi##bits##_value(struct x86_cpu *cpu,                     \
							  const struct insn *insn)                 \
	{                                                                                          \
		(void)cpu;                                                                         \
		return (uint##bits##_t)insn->imm;                                                  \
	}                                                                                          \
	GP_STORING(mov_mi##bits, bits)
MOV_SIZE(8)
MOV_SIZE(16)
MOV_SIZE(32)
MOV_SIZE(64)

#define LEA_SIZE(bits)                                                                             \
	static void lea##bits(struct x86_cpu *cpu, const struct insn *insn)                        \
	{                                                                                          \
		gp_set##bits(cpu, insn->dst, (uint##bits##_t)x86_effective(cpu, insn));            \
	}
LEA_SIZE(16)
LEA_SIZE(32)
LEA_SIZE(64)

/* ---- with extension: type is what the source is read as ---- */

#define EXTEND(name, type, from, to)                                                               \
	static void name##_r##from##to(struct x86_cpu *cpu, const struct insn *insn)               \
	{                                                                                          \
		gp_set##to(cpu, insn->dst, (uint##to##_t)(type)gp_get##from(cpu, insn->src));      \
	}                                                                                          \
	static inline void name##_m##from##to##_with(struct x86_cpu *cpu, const struct insn *insn, \
						     uint##from##_t value)                         \
	{                                                                                          \
		gp_set##to(cpu, insn->dst, (uint##to##_t)(type)value);                             \
	}                                                                                          \
	GP_LOADING(name##_m##from##to, from)
#define EXTEND_BOTH(from, to)                                                                      \
	EXTEND(movzx, uint##from##_t, from, to)                                                    \
	EXTEND(movsx, int##from##_t, from, to)
EXTEND_BOTH(8, 16)
EXTEND_BOTH(8, 32)
EXTEND_BOTH(8, 64)
EXTEND_BOTH(16, 16)
EXTEND_BOTH(16, 32)
EXTEND_BOTH(16, 64)
EXTEND(movsx, int32_t, 32, 32)
EXTEND(movsx, int32_t, 32, 64)

/* ---- CMOVcc: the source is always read, a 32-bit destination always written ---- */

#define CMOV_SIZE(cc, bits)                                                                        \
	static void cmov_##cc##bits(struct x86_cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint##bits##_t value = gp_read##bits(cpu, insn, insn->src);                        \
                                                                                                   \
		if (!x86_cond_##cc(cpu))                                                           \
			value = gp_get##bits(cpu, insn->dst);                                      \
		gp_set##bits(cpu, insn->dst, value);                                               \
	}
#define CMOV(cc, expression) CMOV_SIZE(cc, 16) CMOV_SIZE(cc, 32) CMOV_SIZE(cc, 64)
X86_CONDITIONS(CMOV)

/* ---- the rest ---- */

#define MOVBE_SIZE(bits)                                                                           \
	static void movbe_rm##bits(struct x86_cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_READ);               \
                                                                                                   \
		gp_set##bits(cpu, insn->dst, __builtin_bswap##bits(x86_load##bits(cpu, linear)));  \
	}                                                                                          \
	static void movbe_mr##bits(struct x86_cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_WRITE);              \
                                                                                                   \
		x86_store##bits(cpu, linear, __builtin_bswap##bits(gp_get##bits(cpu, insn->dst))); \
	}
MOVBE_SIZE(16)
MOVBE_SIZE(32)
MOVBE_SIZE(64)

static void xlat(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t offset = (cpu->state.gpr[X86_RBX] + (uint8_t)cpu->state.gpr[X86_RAX]) &
			  gp_mask(insn->addrsize);
	uint64_t linear = x86_linear(cpu, insn->seg, offset, 1, X86_READ);

	gp_set8(cpu, GP_OFFSET(X86_RAX), x86_load8(cpu, linear));
}

static insn_fn *select_xlat(const struct insn_info *info, struct insn *insn)
{
	for (unsigned i = 0; i < info->z.operand_count; i++)
		if (info->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			insn->seg = gp_segment(info->op[i].mem.segment);
	return xlat;
}

#define MOVDIR64B_BYTES 64

static void movdir64b(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t offset = insn_read_reg(cpu, insn->dst, insn->addrsize);
	uint64_t from = x86_operand_linear(cpu, insn, MOVDIR64B_BYTES, X86_READ);
	uint64_t to = offset;
	uint8_t line[MOVDIR64B_BYTES];

	x86_load_bytes(cpu, from, line, sizeof(line));
	if (cpu->mode != X86_MODE_64)
		to = x86_linear(cpu, X86_ES, offset, MOVDIR64B_BYTES, X86_WRITE);
	/* It is the other operand that may fault with #SS. */
	if (to % MOVDIR64B_BYTES || (cpu->mode == X86_MODE_64 && !x86_canonical(cpu, to)))
		x86_general_protection(cpu);
	x86_store_bytes(cpu, to, line, sizeof(line));
}

/* ---- selection ---- */

#define SIZES(name) { name##8, name##16, name##32, name##64 }
#define WIDER(name) { NULL, name##16, name##32, name##64 }

static insn_fn *select_mov(const struct insn_info *info, const struct insn *insn)
{
	static insn_fn *const rr[] = SIZES(mov_rr), *const ri[] = SIZES(mov_ri),
			      *const rm[] = SIZES(mov_rm), *const mr[] = SIZES(mov_mr),
			      *const mi[] = SIZES(mov_mi);
	bool imm = info->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	unsigned size = gp_size_index(info->op[0].size / 8);

	for (unsigned i = 0; i < 2; i++) {
		if (info->op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(info->op[i].reg.value)) {
		case ZYDIS_REGCLASS_GPR8:
		case ZYDIS_REGCLASS_GPR16:
		case ZYDIS_REGCLASS_GPR32:
		case ZYDIS_REGCLASS_GPR64:
			break;
		default:
			return NULL;
		}
	}
	if (!(insn->flags & INSN_MEM))
		return imm ? ri[size] : rr[size];
	if (!(insn->flags & INSN_MEM_FIRST))
		return rm[size];
	return imm ? mi[size] : mr[size];
}

static insn_fn *select_extension(const struct insn_info *info, const struct insn *insn)
{
	/* [zero, sign][register, memory][source][destination] */
	static insn_fn *const table[2][2][3][4] = {
		{ { { NULL, movzx_r816, movzx_r832, movzx_r864 },
		    { NULL, movzx_r1616, movzx_r1632, movzx_r1664 } },
		  { { NULL, movzx_m816, movzx_m832, movzx_m864 },
		    { NULL, movzx_m1616, movzx_m1632, movzx_m1664 } } },
		{ { { NULL, movsx_r816, movsx_r832, movsx_r864 },
		    { NULL, movsx_r1616, movsx_r1632, movsx_r1664 },
		    { NULL, NULL, movsx_r3232, movsx_r3264 } },
		  { { NULL, movsx_m816, movsx_m832, movsx_m864 },
		    { NULL, movsx_m1616, movsx_m1632, movsx_m1664 },
		    { NULL, NULL, movsx_m3232, movsx_m3264 } } },
	};
	unsigned to = gp_size_index(info->op[0].size / 8);
	unsigned from = gp_size_index(info->op[1].size / 8);
	bool sign = info->z.mnemonic != ZYDIS_MNEMONIC_MOVZX;

	/* MOVSXD r16, r/m16, a plain move, of which the decoder says that it reads 32 bits. */
	if (to == 1 && from == 2)
		from = 1;
	return table[sign][insn->flags & INSN_MEM ? 1 : 0][from > 2 ? 2 : from][to];
}

static insn_fn *select_cmov(const struct insn_info *info)
{
#define CMOV_ROW(cc, expression) WIDER(cmov_##cc),
	static insn_fn *const table[16][4] = { X86_CONDITIONS(CMOV_ROW) };

	return table[info->z.opcode & 15][gp_size_index(info->op[0].size / 8)];
}

insn_fn *gp_select_mov(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const lea[] = WIDER(lea), *const movbe_rm[] = WIDER(movbe_rm),
			      *const movbe_mr[] = WIDER(movbe_mr);
	unsigned size = gp_size_index(info->op[0].size / 8);

	if (info->z.meta.category == ZYDIS_CATEGORY_CMOV)
		return select_cmov(info);
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return select_mov(info, insn);
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		return select_extension(info, insn);
	case ZYDIS_MNEMONIC_LEA:
		return lea[size];
	case ZYDIS_MNEMONIC_MOVBE:
		return insn->flags & INSN_MEM_FIRST ? movbe_mr[size] : movbe_rm[size];
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_MOVDIRI:
		return size == 3 ? mov_mr64 : mov_mr32;
	case ZYDIS_MNEMONIC_MOVDIR64B:
		return movdir64b;
	case ZYDIS_MNEMONIC_XLAT:
		return select_xlat(info, insn);
	default:
		return NULL;
	}
}
