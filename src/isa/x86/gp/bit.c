/* SPDX-License-Identifier: MIT */
/*
 * BT BTS BTR BTC, BSF BSR POPCNT LZCNT TZCNT, BSWAP, CRC32. Intel SDM vol. 2.
 *
 * A bit offset in a register addresses a bit string: with a memory operand it moves the address by
 * whole operands of its size, signed, before segment and address size apply.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

/* ---- BT family ---- */

#define BIT_ON(op, where, lock, constraint, bits)                                                  \
	static inline void op##_##where##bits(struct x86_cpu *cpu, uint##bits##_t *a,              \
					      uint##bits##_t bit)                                  \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__ volatile(ALU_FLAGS_IN lock #op " %[bit], %[a]" ALU_FLAGS_OUT               \
				 : [a] constraint(*a), "+a"(ax)                                    \
				 : [bit] "r"(bit)                                                  \
				 : "cc");                                                          \
		alu_set_flags(cpu, ax);                                                            \
	}

/* What selects the bit: the immediate's low bits, or a register that also moves the address. */
#define BIT_ADDRESS(bits)                                                                          \
	static inline uint##bits##_t bit_register##bits(struct x86_cpu *cpu,                       \
							const struct insn *insn, uint64_t *offset) \
	{                                                                                          \
		int##bits##_t bit = (int##bits##_t)gp_get##bits(cpu, insn->dst);                   \
                                                                                                   \
		*offset += (uint64_t)((int64_t)bit >> __builtin_ctz(bits)) * (bits / 8);           \
		*offset &= gp_mask(insn->addrsize);                                                \
		return (uint##bits##_t)bit & (bits - 1);                                           \
	}                                                                                          \
	static inline uint##bits##_t bit_immediate##bits(struct x86_cpu *cpu,                      \
							 const struct insn *insn,                  \
							 uint64_t *offset)                         \
	{                                                                                          \
		(void)cpu;                                                                         \
		(void)offset;                                                                      \
		return (uint##bits##_t)insn->imm & (bits - 1);                                     \
	}
BIT_ADDRESS(16)
BIT_ADDRESS(32)
BIT_ADDRESS(64)

#define BIT_REGISTER_FORMS(op, bits)                                                               \
	BIT_ON(op, value, "", "+r", bits)                                                          \
	static void op##_rr##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
                                                                                                   \
		op##_value##bits(cpu, &a, gp_get##bits(cpu, insn->src));                           \
		gp_set##bits(cpu, insn->dst, a);                                                   \
	}                                                                                          \
	static void op##_ri##bits(struct x86_cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
                                                                                                   \
		op##_value##bits(cpu, &a, (uint##bits##_t)insn->imm);                              \
		gp_set##bits(cpu, insn->dst, a);                                                   \
	}

#define BIT_WRITE_FORM(op, form, select, bits)                                                     \
	static void op##_##form##bits(struct x86_cpu *cpu, const struct insn *insn)                \
	{                                                                                          \
		uint64_t offset = x86_effective(cpu, insn), linear;                                \
		uint##bits##_t bit = select##bits(cpu, insn, &offset);                             \
		bool locked = insn->flags & INSN_LOCK;                                             \
		struct x86_rmw rmw;                                                                \
                                                                                                   \
		linear = gp_linear_at(cpu, insn, offset, bits / 8, X86_RMW);                       \
		x86_rmw_begin(cpu, linear, bits / 8, locked, &rmw);                                \
		if (locked)                                                                        \
			op##_locked##bits(cpu, rmw.host, bit);                                     \
		else                                                                               \
			op##_value##bits(cpu, rmw.host, bit);                                      \
		x86_rmw_end(cpu, &rmw);                                                            \
	}

#define BIT_WRITE_SIZE(op, bits)                                                                   \
	BIT_REGISTER_FORMS(op, bits)                                                               \
	BIT_ON(op, locked, "lock ", "+m", bits)                                                    \
	BIT_WRITE_FORM(op, mr, bit_register, bits)                                                 \
	BIT_WRITE_FORM(op, mi, bit_immediate, bits)
#define BIT_WRITE(op) BIT_WRITE_SIZE(op, 16) BIT_WRITE_SIZE(op, 32) BIT_WRITE_SIZE(op, 64)
BIT_WRITE(bts)
BIT_WRITE(btr)
BIT_WRITE(btc)

#define BIT_TEST_FORM(form, select, bits)                                                          \
	static void bt_##form##bits(struct x86_cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint64_t offset = x86_effective(cpu, insn);                                        \
		uint##bits##_t bit = select##bits(cpu, insn, &offset), a;                          \
                                                                                                   \
		a = x86_load##bits(cpu, gp_linear_at(cpu, insn, offset, bits / 8, X86_READ));      \
		bt_value##bits(cpu, &a, bit);                                                      \
	}
/* BT writes nothing: a 32-bit register keeps its upper half. */
#define BIT_REGISTER_FORMS_READING(bits)                                                           \
	BIT_ON(bt, value, "", "+r", bits)                                                          \
	static void bt_rr##bits(struct x86_cpu *cpu, const struct insn *insn)                      \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
                                                                                                   \
		bt_value##bits(cpu, &a, gp_get##bits(cpu, insn->src));                             \
	}                                                                                          \
	static void bt_ri##bits(struct x86_cpu *cpu, const struct insn *insn)                      \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
                                                                                                   \
		bt_value##bits(cpu, &a, (uint##bits##_t)insn->imm);                                \
	}
#define BIT_TEST_SIZE(bits)                                                                        \
	BIT_REGISTER_FORMS_READING(bits)                                                           \
	BIT_TEST_FORM(mr, bit_register, bits)                                                      \
	BIT_TEST_FORM(mi, bit_immediate, bits)
BIT_TEST_SIZE(16)
BIT_TEST_SIZE(32)
BIT_TEST_SIZE(64)

/* ---- counting ---- */

/* The whole destination goes in and out: BSF and BSR of zero leave of it what the host leaves. */
#define COUNT_SIZE(op, letter, bits)                                                               \
	static void op##bits(struct x86_cpu *cpu, const struct insn *insn)                         \
	{                                                                                          \
		uint64_t b = gp_read##bits(cpu, insn, insn->src);                                  \
		uint64_t a = gp_get64(cpu, insn->dst);                                             \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %" letter "[b], %" letter "[a]" ALU_FLAGS_OUT           \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		gp_set64(cpu, insn->dst, a);                                                       \
	}
#define COUNT(op) COUNT_SIZE(op, "w", 16) COUNT_SIZE(op, "k", 32) COUNT_SIZE(op, "q", 64)
COUNT(bsf)
COUNT(bsr)
COUNT(popcnt)
COUNT(lzcnt)
COUNT(tzcnt)

/* ---- BSWAP; of 16 bits it is undefined: as the host does it ---- */

static void bswap16(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t a = gp_get64(cpu, insn->dst);

	__asm__(".byte 0x66\n\tbswap %%eax" : "+a"(a));
	gp_set64(cpu, insn->dst, a);
}

static void bswap32(struct x86_cpu *cpu, const struct insn *insn)
{
	gp_set32(cpu, insn->dst, __builtin_bswap32(gp_get32(cpu, insn->dst)));
}

static void bswap64(struct x86_cpu *cpu, const struct insn *insn)
{
	gp_set64(cpu, insn->dst, __builtin_bswap64(gp_get64(cpu, insn->dst)));
}

/* ---- CRC32: the result has 32 bits, the upper half of the register is cleared ---- */

#define CRC32_SIZE(suffix, letter, result, bits)                                                   \
	static void crc32_##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint64_t b = gp_read##bits(cpu, insn, insn->src);                                  \
		uint64_t a = gp_get32(cpu, insn->dst);                                             \
                                                                                                   \
		__asm__("crc32" suffix " %" letter "[b], %" result "[a]"                           \
			: [a] "+r"(a)                                                              \
			: [b] "r"(b));                                                             \
		gp_set64(cpu, insn->dst, (uint32_t)a);                                             \
	}
CRC32_SIZE("b", "b", "k", 8)
CRC32_SIZE("w", "w", "k", 16)
CRC32_SIZE("l", "k", "k", 32)
CRC32_SIZE("q", "q", "q", 64)

/* ---- selection ---- */

#define WIDER(name) { NULL, name##16, name##32, name##64 }
#define BIT_ROW(op) { WIDER(op##_rr), WIDER(op##_ri), WIDER(op##_mr), WIDER(op##_mi) }

static insn_fn *select_bit_test(const struct insn_info *info, const struct insn *insn,
				unsigned size)
{
	static insn_fn *const table[4][4][4] = { BIT_ROW(bt), BIT_ROW(bts), BIT_ROW(btr),
						 BIT_ROW(btc) };
	unsigned form = (info->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) |
			(insn->flags & INSN_MEM ? 2 : 0);

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_BT: return table[0][form][size];
	case ZYDIS_MNEMONIC_BTS: return table[1][form][size];
	case ZYDIS_MNEMONIC_BTR: return table[2][form][size];
	default: return table[3][form][size];
	}
}

insn_fn *gp_select_bit(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const bsf[] = WIDER(bsf), *const bsr[] = WIDER(bsr),
			      *const popcnt[] = WIDER(popcnt), *const lzcnt[] = WIDER(lzcnt),
			      *const tzcnt[] = WIDER(tzcnt), *const bswap[] = WIDER(bswap);
	static insn_fn *const crc32[] = { crc32_8, crc32_16, crc32_32, crc32_64 };
	unsigned size = gp_size_index(info->op[0].size / 8);

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC: return select_bit_test(info, insn, size);
	case ZYDIS_MNEMONIC_BSF: return bsf[size];
	case ZYDIS_MNEMONIC_BSR: return bsr[size];
	case ZYDIS_MNEMONIC_POPCNT: return popcnt[size];
	case ZYDIS_MNEMONIC_LZCNT: return lzcnt[size];
	case ZYDIS_MNEMONIC_TZCNT: return tzcnt[size];
	case ZYDIS_MNEMONIC_BSWAP: return bswap[size];
	case ZYDIS_MNEMONIC_CRC32: return crc32[gp_size_index(info->op[1].size / 8)];
	default: return NULL;
	}
}
