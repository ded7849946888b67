/* SPDX-License-Identifier: MIT */
/*
 * Joint of the general-purpose semantics (gp_*.c): typed access to operands, and the parts of
 * x86_select_gp. Each select returns NULL for an instruction that is not its own.
 */
#ifndef RINGLET_ISA_X86_GP_H
#define RINGLET_ISA_X86_GP_H

#include "isa/x86/memory/access.h"
#include "isa/x86/decode.h"
#include "isa/x86/insn.h"
#include "isa/x86/x86.h"

insn_fn *gp_select_alu(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_shift(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_muldiv(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_mov(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_stack(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_bit(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_bmi(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_atomic(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_flags(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_bcd(const struct insn_info *info, struct insn *insn);
insn_fn *gp_select_misc(const struct insn_info *info, struct insn *insn);

/* #UD: an instruction that may not be LOCKed. */
insn_fn gp_locked_undefined;

/* Offset of a general-purpose register, as in struct insn. */
#define GP_OFFSET(reg) ((uint16_t)offsetof(struct x86_cpu, state.gpr[reg]))

/*
 * Index of an operand size in bytes (1, 2, 4, 8) in the tables of handlers: 0 … 3. Any index will do
 * for operands of other sizes, which no handler of those tables has.
 */
static inline unsigned gp_size_index(unsigned size)
{
	return (unsigned)__builtin_ctz(size | 8) & 3;
}

/* enum x86_seg_index of a memory operand's segment; both count in encoding order. */
static inline uint8_t gp_segment(ZydisRegister segment)
{
	return segment >= ZYDIS_REGISTER_ES && segment <= ZYDIS_REGISTER_GS ?
		       (uint8_t)(segment - ZYDIS_REGISTER_ES) : X86_DS;
}

#define GP_DEFINE_REG(bits, written)                                                               \
	static inline uint##bits##_t gp_get##bits(const struct x86_cpu *cpu, uint16_t off)         \
	{                                                                                          \
		return *(const uint##bits##_t *)((const char *)cpu + off);                         \
	}                                                                                          \
	static inline void gp_set##bits(struct x86_cpu *cpu, uint16_t off, uint##bits##_t value)   \
	{                                                                                          \
		*(uint##written##_t *)((char *)cpu + off) = value;                                 \
	}                                                                                          \
	/* The operand that may be memory, register at off otherwise. */                           \
	static inline uint##bits##_t gp_read##bits(struct x86_cpu *cpu, const struct insn *insn,   \
						   uint16_t off)                                   \
	{                                                                                          \
		if (insn->flags & INSN_MEM)                                                        \
			return x86_load##bits(cpu, x86_operand_linear(cpu, insn, bits / 8,         \
								      X86_READ));                  \
		return gp_get##bits(cpu, off);                                                     \
	}
GP_DEFINE_REG(8, 8)
GP_DEFINE_REG(16, 16)
GP_DEFINE_REG(32, 64)
GP_DEFINE_REG(64, 64)

/*
 * Handlers with a memory operand, made of name_with (cpu, insn, value) and name_value (cpu, insn):
 * the fast path calls nothing, so it saves no register; whatever is not plain goes the whole
 * way again in a function of its own.
 */
#define GP_LOADING(name, bits)                                                                     \
	static __attribute__((noinline)) void name##_slow(struct x86_cpu *cpu,                     \
							  const struct insn *insn)                 \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_READ);               \
                                                                                                   \
		name##_with(cpu, insn, x86_load##bits(cpu, linear));                               \
	}                                                                                          \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		uint64_t linear = x86_address(cpu, insn);                                          \
		struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);                                 \
                                                                                                   \
		if (likely((insn->flags & INSN_PLAIN) &&                                           \
			   x86_tag_covers(e->read_tag, linear, bits / 8)))                         \
			name##_with(cpu, insn, *(volatile uint##bits##_t *)(linear + e->addend));  \
		else                                                                               \
			name##_slow(cpu, insn);                                                    \
	}
#define GP_STORING(name, bits)                                                                     \
	static __attribute__((noinline)) void name##_slow(struct x86_cpu *cpu,                     \
							  const struct insn *insn)                 \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_WRITE);              \
                                                                                                   \
		x86_store##bits(cpu, linear, name##_value(cpu, insn));                             \
	}                                                                                          \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		uint64_t linear = x86_address(cpu, insn);                                          \
		struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);                                 \
                                                                                                   \
		if (likely((insn->flags & INSN_PLAIN) &&                                           \
			   x86_tag_covers(e->write_tag, linear, bits / 8)))                        \
			*(volatile uint##bits##_t *)(linear + e->addend) =                         \
				name##_value(cpu, insn);                                           \
		else                                                                               \
			name##_slow(cpu, insn);                                                    \
	}

/* As gp_read…, by size. */
static inline uint64_t gp_read(struct x86_cpu *cpu, const struct insn *insn, uint16_t off,
			       unsigned size)
{
	if (insn->flags & INSN_MEM)
		return x86_load(cpu, x86_operand_linear(cpu, insn, size, X86_READ), size);
	return insn_read_reg(cpu, off, size);
}

static inline uint64_t gp_mask(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << size * 8) - 1;
}

/* The memory operand's linear address for an offset that is not the one insn itself gives. */
static inline uint64_t gp_linear_at(struct x86_cpu *cpu, const struct insn *insn, uint64_t offset,
				    unsigned size, enum x86_access access)
{
	if (insn->flags & INSN_SEG_FLAT)
		return offset;
	return x86_linear(cpu, insn->seg, offset, size, access);
}

/*
 * Host address for a write or read-modify-write in plain RAM, NULL when it needs x86_store or
 * x86_rmw_begin. Never crosses a cache line, so that the host may LOCK it cheaply.
 */
static inline void *gp_rmw_direct(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);

	if (likely((linear & ~0xfffull) == e->write_tag && (linear & 63) + size <= 64))
		return (void *)(linear + e->addend);
	return NULL;
}

#endif
