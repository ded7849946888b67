/* SPDX-License-Identifier: MIT */
/*
 * XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B: the instructions that exchange. On memory they always run
 * with the host's LOCK: it is asked for nearly always, XCHG has it unasked, and without it the only
 * loss is time. Intel SDM vol. 2; vol. 3, 8.1.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

#define RAX GP_OFFSET(X86_RAX)

/* ---- XCHG, XADD ---- */

#define EXCHANGE_SIZE(bits)                                                                        \
	static void xchg_r##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
		uint##bits##_t b = gp_get##bits(cpu, insn->src);                                   \
                                                                                                   \
		gp_set##bits(cpu, insn->dst, b);                                                   \
		gp_set##bits(cpu, insn->src, a);                                                   \
	}                                                                                          \
	static void xchg_m##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		uint##bits##_t value = gp_get##bits(cpu, insn->dst);                               \
		struct x86_rmw rmw;                                                                \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, true, &rmw);                                  \
		__asm__ volatile("xchg %[v], %[m]"                                                 \
				 : [v] "+r"(value), [m] "+m"(*(uint##bits##_t *)rmw.host)          \
				 :                                                                 \
				 : "memory");                                                      \
		x86_rmw_end(cpu, &rmw);                                                            \
		gp_set##bits(cpu, insn->dst, value);                                               \
	}                                                                                          \
	static void xadd_r##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
		uint##bits##_t b = gp_get##bits(cpu, insn->src);                                   \
		uint16_t ax;                                                                       \
                                                                                                   \
		__asm__("xadd %[b], %[a]" ALU_FLAGS_OUT                                            \
			: [a] "+&r"(a), [b] "+&r"(b), "=a"(ax)                                     \
			:                                                                          \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		gp_set##bits(cpu, insn->src, b);                                                   \
		gp_set##bits(cpu, insn->dst, a);                                                   \
	}                                                                                          \
	static void xadd_m##bits(struct x86_cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		uint##bits##_t value = gp_get##bits(cpu, insn->dst);                               \
		struct x86_rmw rmw;                                                                \
		uint16_t ax;                                                                       \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, insn->flags & INSN_LOCK, &rmw);               \
		__asm__ volatile("lock xadd %[v], %[m]" ALU_FLAGS_OUT                              \
				 : [v] "+&r"(value), [m] "+m"(*(uint##bits##_t *)rmw.host),        \
				   "=a"(ax)                                                        \
				 :                                                                 \
				 : "cc", "memory");                                                \
		x86_rmw_end(cpu, &rmw);                                                            \
		alu_set_flags(cpu, ax);                                                            \
		gp_set##bits(cpu, insn->dst, value);                                               \
	}
EXCHANGE_SIZE(8)
EXCHANGE_SIZE(16)
EXCHANGE_SIZE(32)
EXCHANGE_SIZE(64)

/* ---- CMPXCHG: the accumulator is RAX, so flags leave through another register ---- */

#define COMPARE_FLAGS_OUT                                                                          \
	"\n\tmov %%rax, %[acc]\n\tlahf\n\tseto %%al\n\tmovzwl %%ax, %k[ax]"

/*
 * Whole registers go in and come out (width, letter), so that the host decides what happens to the
 * upper half: an unequal 32-bit destination keeps its own here. AH and its like have no upper half.
 */
#define CMPXCHG_REGISTER(bits, width, letter)                                                      \
	static void cmpxchg_r##bits(struct x86_cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint##width##_t dst = gp_get##width(cpu, insn->dst);                               \
		uint64_t acc = cpu->state.gpr[X86_RAX], ax;                                        \
                                                                                                   \
		__asm__("mov %[acc], %%rax\n\tcmpxchg %[src], %" letter "[dst]" COMPARE_FLAGS_OUT  \
			: [acc] "+&r"(acc), [dst] "+&r"(dst), [ax] "=&r"(ax)                       \
			: [src] "r"(gp_get##bits(cpu, insn->src))                                  \
			: "rax", "cc");                                                            \
		alu_set_flags(cpu, (uint16_t)ax);                                                  \
		cpu->state.gpr[X86_RAX] = acc;                                                     \
		gp_set##width(cpu, insn->dst, dst);                                                \
	}
CMPXCHG_REGISTER(8, 8, "b")
CMPXCHG_REGISTER(16, 16, "w")
CMPXCHG_REGISTER(32, 64, "k")
CMPXCHG_REGISTER(64, 64, "q")

#define CMPXCHG_MEMORY(bits)                                                                       \
	static void cmpxchg_m##bits(struct x86_cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bits / 8, X86_RMW);                \
		uint64_t acc = cpu->state.gpr[X86_RAX], ax;                                        \
		struct x86_rmw rmw;                                                                \
                                                                                                   \
		x86_rmw_begin(cpu, linear, bits / 8, insn->flags & INSN_LOCK, &rmw);               \
		__asm__ volatile("mov %[acc], %%rax\n\tlock cmpxchg %[src], %[m]"                  \
				 COMPARE_FLAGS_OUT                                                 \
				 : [acc] "+&r"(acc), [m] "+m"(*(uint##bits##_t *)rmw.host),        \
				   [ax] "=&r"(ax)                                                  \
				 : [src] "r"(gp_get##bits(cpu, insn->dst))                         \
				 : "rax", "cc", "memory");                                         \
		x86_rmw_end(cpu, &rmw);                                                            \
		alu_set_flags(cpu, (uint16_t)ax);                                                  \
		cpu->state.gpr[X86_RAX] = acc;                                                     \
	}
CMPXCHG_MEMORY(8)
CMPXCHG_MEMORY(16)
CMPXCHG_MEMORY(32)
CMPXCHG_MEMORY(64)

/* ---- CMPXCHG8B, CMPXCHG16B: only ZF changes ---- */

#define COMPARE_PAIR(name, text, bytes)                                                            \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		uint64_t linear = x86_operand_linear(cpu, insn, bytes, X86_RMW);                   \
		uint64_t *gpr = cpu->state.gpr, a = gpr[X86_RAX], d = gpr[X86_RDX];                \
		struct x86_rmw rmw;                                                                \
		uint8_t equal;                                                                     \
                                                                                                   \
		if (bytes == 16 && linear % 16)                                                    \
			x86_general_protection(cpu);                                               \
		x86_rmw_begin(cpu, linear, bytes, insn->flags & INSN_LOCK, &rmw);                  \
		__asm__ volatile("lock " text " (%[host])\n\tsetz %[equal]"                        \
				 : "+a"(a), "+d"(d), [equal] "=&r"(equal)                          \
				 : "b"(gpr[X86_RBX]), "c"(gpr[X86_RCX]), [host] "r"(rmw.host)      \
				 : "cc", "memory");                                                \
		x86_rmw_end(cpu, &rmw);                                                            \
		gpr[X86_RAX] = a;                                                                  \
		gpr[X86_RDX] = d;                                                                  \
		cpu->state.rflags = (cpu->state.rflags & ~X86_ZF) | (equal ? X86_ZF : 0);          \
	}
COMPARE_PAIR(cmpxchg8b, "cmpxchg8b", 8)
COMPARE_PAIR(cmpxchg16b, "cmpxchg16b", 16)

/* ---- selection ---- */

#define SIZES(name) { name##8, name##16, name##32, name##64 }

insn_fn *gp_select_atomic(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const xchg[2][4] = { SIZES(xchg_r), SIZES(xchg_m) };
	static insn_fn *const xadd[2][4] = { SIZES(xadd_r), SIZES(xadd_m) };
	static insn_fn *const cmpxchg[2][4] = { SIZES(cmpxchg_r), SIZES(cmpxchg_m) };
	unsigned memory = insn->flags & INSN_MEM ? 1 : 0;
	unsigned size = gp_size_index(info->op[0].size / 8);

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_XCHG: return xchg[memory][size];
	case ZYDIS_MNEMONIC_XADD: return xadd[memory][size];
	case ZYDIS_MNEMONIC_CMPXCHG: return cmpxchg[memory][size];
	case ZYDIS_MNEMONIC_CMPXCHG8B: return cmpxchg8b;
	case ZYDIS_MNEMONIC_CMPXCHG16B: return cmpxchg16b;
	default: return NULL;
	}
}
