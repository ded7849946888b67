/* SPDX-License-Identifier: MIT */
/*
 * BMI1, BMI2 and ADX: ANDN BEXTR BLSI BLSMSK BLSR BZHI PDEP PEXT RORX SARX SHLX SHRX MULX ADCX
 * ADOX, each carried out by the host's own. Intel SDM vol. 2.
 *
 * Zydis orders operands as the manual prints them; the register operands of insn are those in that
 * order, so the one after a memory operand moves up.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

/* dst = op(first, second): first is the operand that stands before the last in Intel's syntax. */
#define THREE_SIZE(op, bits)                                                                       \
	static inline void op##_do##bits(struct x86_cpu *cpu, uint16_t dst, uint##bits##_t first,  \
					 uint##bits##_t second)                                    \
	{                                                                                          \
		uint16_t ax = alu_flags(cpu);                                                      \
		uint##bits##_t a;                                                                  \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %[second], %[first], %[a]" ALU_FLAGS_OUT                \
			: [a] "=&r"(a), "+&a"(ax)                                                  \
			: [first] "r"(first), [second] "r"(second)                                 \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		gp_set##bits(cpu, dst, a);                                                         \
	}

/* op r, r, r/m */
#define LAST_IN_MEMORY_SIZE(op, bits)                                                              \
	THREE_SIZE(op, bits)                                                                       \
	static void op##bits(struct x86_cpu *cpu, const struct insn *insn)                         \
	{                                                                                          \
		uint##bits##_t second = gp_read##bits(cpu, insn, insn->src2);                      \
                                                                                                   \
		op##_do##bits(cpu, insn->dst, gp_get##bits(cpu, insn->src), second);               \
	}
#define LAST_IN_MEMORY(op) LAST_IN_MEMORY_SIZE(op, 32) LAST_IN_MEMORY_SIZE(op, 64)
LAST_IN_MEMORY(andn)
LAST_IN_MEMORY(pdep)
LAST_IN_MEMORY(pext)

/* op r, r/m, r */
#define MIDDLE_IN_MEMORY_SIZE(op, bits)                                                            \
	THREE_SIZE(op, bits)                                                                       \
	static void op##bits(struct x86_cpu *cpu, const struct insn *insn)                         \
	{                                                                                          \
		uint16_t last = insn->flags & INSN_MEM ? insn->src : insn->src2;                   \
		uint##bits##_t first = gp_read##bits(cpu, insn, insn->src);                        \
                                                                                                   \
		op##_do##bits(cpu, insn->dst, first, gp_get##bits(cpu, last));                     \
	}
#define MIDDLE_IN_MEMORY(op) MIDDLE_IN_MEMORY_SIZE(op, 32) MIDDLE_IN_MEMORY_SIZE(op, 64)
MIDDLE_IN_MEMORY(bextr)
MIDDLE_IN_MEMORY(bzhi)
MIDDLE_IN_MEMORY(sarx)
MIDDLE_IN_MEMORY(shlx)
MIDDLE_IN_MEMORY(shrx)

/* op r, r/m */
#define TWO_SIZE(op, bits)                                                                         \
	static void op##bits(struct x86_cpu *cpu, const struct insn *insn)                         \
	{                                                                                          \
		uint##bits##_t b = gp_read##bits(cpu, insn, insn->src);                            \
		uint##bits##_t a = gp_get##bits(cpu, insn->dst);                                   \
		uint16_t ax = alu_flags(cpu);                                                      \
                                                                                                   \
		__asm__(ALU_FLAGS_IN #op " %[b], %[a]" ALU_FLAGS_OUT                               \
			: [a] "+&r"(a), "+&a"(ax)                                                  \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		alu_set_flags(cpu, ax);                                                            \
		gp_set##bits(cpu, insn->dst, a);                                                   \
	}
#define TWO(op) TWO_SIZE(op, 32) TWO_SIZE(op, 64)
TWO(blsi)
TWO(blsmsk)
TWO(blsr)
TWO(adcx)
TWO(adox)

#define RORX_SIZE(bits)                                                                            \
	static void rorx##bits(struct x86_cpu *cpu, const struct insn *insn)                       \
	{                                                                                          \
		uint##bits##_t a = gp_read##bits(cpu, insn, insn->src);                            \
		unsigned count = (unsigned)insn->imm & (bits - 1);                                 \
                                                                                                   \
		gp_set##bits(cpu, insn->dst, a >> count | a << (-count & (bits - 1)));             \
	}
RORX_SIZE(32)
RORX_SIZE(64)

/* The first destination gets the upper half, and wins when both are the same register. */
static void mulx32(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t a = gp_read32(cpu, insn, insn->src2);
	uint64_t product = a * gp_get32(cpu, GP_OFFSET(X86_RDX));

	gp_set32(cpu, insn->src, (uint32_t)product);
	gp_set32(cpu, insn->dst, (uint32_t)(product >> 32));
}

static void mulx64(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned __int128 a = gp_read64(cpu, insn, insn->src2);
	unsigned __int128 product = a * cpu->state.gpr[X86_RDX];

	gp_set64(cpu, insn->src, (uint64_t)product);
	gp_set64(cpu, insn->dst, (uint64_t)(product >> 64));
}

#define PICK(name) (wide ? name##64 : name##32)

insn_fn *gp_select_bmi(const struct insn_info *info, struct insn *insn)
{
	bool wide = info->op[0].size == 64;

	(void)insn;
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_ANDN: return PICK(andn);
	case ZYDIS_MNEMONIC_PDEP: return PICK(pdep);
	case ZYDIS_MNEMONIC_PEXT: return PICK(pext);
	case ZYDIS_MNEMONIC_BEXTR:
		/* AMD's TBM form has an immediate. */
		return info->op[2].type == ZYDIS_OPERAND_TYPE_REGISTER ? PICK(bextr) : NULL;
	case ZYDIS_MNEMONIC_BZHI: return PICK(bzhi);
	case ZYDIS_MNEMONIC_SARX: return PICK(sarx);
	case ZYDIS_MNEMONIC_SHLX: return PICK(shlx);
	case ZYDIS_MNEMONIC_SHRX: return PICK(shrx);
	case ZYDIS_MNEMONIC_BLSI: return PICK(blsi);
	case ZYDIS_MNEMONIC_BLSMSK: return PICK(blsmsk);
	case ZYDIS_MNEMONIC_BLSR: return PICK(blsr);
	case ZYDIS_MNEMONIC_RORX: return PICK(rorx);
	case ZYDIS_MNEMONIC_MULX: return PICK(mulx);
	case ZYDIS_MNEMONIC_ADCX: return PICK(adcx);
	case ZYDIS_MNEMONIC_ADOX: return PICK(adox);
	default: return NULL;
	}
}
