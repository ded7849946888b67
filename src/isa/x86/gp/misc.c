/* SPDX-License-Identifier: MIT */
/*
 * What computes nothing: NOP and hints, fences, cache-line flushes, UD0 UD1 UD2; BOUND; RDRAND and
 * RDSEED, which are the host's own. Intel SDM vol. 2.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

static void nop(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
}

static void undefined(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_undefined(cpu);
}

static void pause(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	__builtin_ia32_pause();
}

/* Guest memory is host memory: the host's fence is the guest's. */
static void fence(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	__asm__ volatile("mfence" : : : "memory");
}

/* Modified code is noticed at block ends: go there. */
static void serialize(struct x86_cpu *cpu, const struct insn *insn)
{
	fence(cpu, insn);
	cpu->block_stop = true;
}

/* Flushes behave as loads of one byte; there is no cache to flush. */
static void flush_line(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_probe(cpu, x86_operand_linear(cpu, insn, 1, X86_READ), 1, X86_READ);
}

static void bound(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize, shift = 64 - 8 * size;
	uint64_t linear = x86_operand_linear(cpu, insn, 2 * size, X86_READ);
	int64_t index = (int64_t)(insn_read_reg(cpu, insn->dst, size) << shift);

	/* An index below the lower bound is told before the upper bound is read. */
	if (index < (int64_t)(x86_load(cpu, linear, size) << shift) ||
	    index > (int64_t)(x86_load(cpu, linear + size, size) << shift))
		x86_raise(cpu, X86_BR);
}

#define RANDOM(op)                                                                                 \
	static void op(struct x86_cpu *cpu, const struct insn *insn)                               \
	{                                                                                          \
		uint64_t value;                                                                    \
		uint16_t ax;                                                                       \
                                                                                                   \
		__asm__ volatile(#op " %[v]" ALU_FLAGS_OUT                                         \
				 : [v] "=&r"(value), "=&a"(ax)                                     \
				 :                                                                 \
				 : "cc");                                                          \
		alu_set_flags(cpu, ax);                                                            \
		insn_write_reg(cpu, insn->dst, insn->opsize, value);                               \
	}
RANDOM(rdrand)
RANDOM(rdseed)

insn_fn *gp_select_misc(const struct insn_info *info, struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_ENDBR32: case ZYDIS_MNEMONIC_ENDBR64:
	case ZYDIS_MNEMONIC_CLDEMOTE:
	case ZYDIS_MNEMONIC_PREFETCH: case ZYDIS_MNEMONIC_PREFETCHW:
	case ZYDIS_MNEMONIC_PREFETCHWT1: case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0: case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
		return nop;
	case ZYDIS_MNEMONIC_PAUSE:
		return pause;
	case ZYDIS_MNEMONIC_LFENCE: case ZYDIS_MNEMONIC_SFENCE: case ZYDIS_MNEMONIC_MFENCE:
		return fence;
	case ZYDIS_MNEMONIC_SERIALIZE:
		return serialize;
	case ZYDIS_MNEMONIC_CLFLUSH: case ZYDIS_MNEMONIC_CLFLUSHOPT:
	case ZYDIS_MNEMONIC_CLWB:
		return flush_line;
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
		return undefined;
	case ZYDIS_MNEMONIC_BOUND:
		return bound;
	case ZYDIS_MNEMONIC_RDRAND:
	case ZYDIS_MNEMONIC_RDSEED:
		insn->opsize = (uint8_t)(info->op[0].size / 8);
		return info->z.mnemonic == ZYDIS_MNEMONIC_RDRAND ? rdrand : rdseed;
	default:
		return NULL;
	}
}
