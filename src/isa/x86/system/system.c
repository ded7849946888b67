/* SPDX-License-Identifier: MIT */
/* Which system instruction is which: see decode.h. */
#include "isa/x86/system/system.h"

#include "isa/x86/decode.h"

static void undefined(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_undefined(cpu);
}

static void no_operation(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)cpu, (void)insn;
}

static uint16_t gpr_offset(unsigned index)
{
	return (uint16_t)(offsetof(struct x86_cpu, state.gpr) + index * sizeof(uint64_t));
}

/* MOV to and from control and debug registers: 0F 20 … 23, always register forms. */
static insn_fn *select_mov(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *const moves[] = {
		x86_mov_from_cr, x86_mov_from_dr, x86_mov_to_cr, x86_mov_to_dr,
	};

	if (info->z.opcode_map != ZYDIS_OPCODE_MAP_0F || (info->z.opcode & 0xfc) != 0x20)
		return NULL;
	insn->dst = gpr_offset(info->z.raw.modrm.rm | info->z.raw.rex.B << 3);
	insn->flags &= (uint8_t)~INSN_MEM;
	if (info->z.opcode >= 0x22)
		insn->flags |= INSN_ENDS_BLOCK;
	return moves[info->z.opcode & 3];
}

static insn_fn *select_io(const struct insn_info *info, struct insn *insn)
{
	bool dx = info->z.opcode & 8;

	insn->flags |= INSN_ENDS_BLOCK;
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_IN:
		insn->opsize = (uint8_t)(info->op[0].size / 8);
		return dx ? x86_in_dx : x86_in_imm;
	case ZYDIS_MNEMONIC_OUT:
		insn->opsize = (uint8_t)(info->op[1].size / 8);
		return dx ? x86_out_dx : x86_out_imm;
	case ZYDIS_MNEMONIC_INSB: insn->opsize = 1; return x86_ins;
	case ZYDIS_MNEMONIC_INSW: insn->opsize = 2; return x86_ins;
	case ZYDIS_MNEMONIC_INSD: insn->opsize = 4; return x86_ins;
	case ZYDIS_MNEMONIC_OUTSB: insn->opsize = 1; return x86_outs;
	case ZYDIS_MNEMONIC_OUTSW: insn->opsize = 2; return x86_outs;
	default: insn->opsize = 4; return x86_outs;
	}
}

/* After these comes another mode, another ring or other memory. */
static insn_fn *select_ending(const struct insn_info *info, struct insn *insn)
{
	bool wide = info->z.raw.rex.W;

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL: return x86_syscall;
	case ZYDIS_MNEMONIC_SYSENTER: return x86_sysenter;
	case ZYDIS_MNEMONIC_SYSRET: insn->imm = wide; return x86_sysret;
	case ZYDIS_MNEMONIC_SYSEXIT: insn->imm = wide; return x86_sysexit;
	case ZYDIS_MNEMONIC_LMSW: return x86_lmsw;
	case ZYDIS_MNEMONIC_CLTS: return x86_clts;
	case ZYDIS_MNEMONIC_INVLPG: return x86_invlpg;
	case ZYDIS_MNEMONIC_INVPCID: return x86_invpcid;
	case ZYDIS_MNEMONIC_WRMSR: return x86_wrmsr;
	case ZYDIS_MNEMONIC_XSETBV: return x86_xsetbv;
	case ZYDIS_MNEMONIC_WRPKRU: return x86_wrpkru;
	case ZYDIS_MNEMONIC_HLT: return x86_hlt;
	default: return NULL;
	}
}

static insn_fn *select_plain(const struct insn_info *info, struct insn *insn)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_SMSW: return x86_smsw;
	case ZYDIS_MNEMONIC_LGDT: return x86_lgdt;
	case ZYDIS_MNEMONIC_LIDT: return x86_lidt;
	case ZYDIS_MNEMONIC_SGDT: return x86_sgdt;
	case ZYDIS_MNEMONIC_SIDT: return x86_sidt;
	case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD: return x86_cache_control;
	case ZYDIS_MNEMONIC_SWAPGS: return x86_swapgs;
	case ZYDIS_MNEMONIC_CPUID: return x86_cpuid_insn;
	case ZYDIS_MNEMONIC_RDTSC: return x86_rdtsc;
	case ZYDIS_MNEMONIC_RDTSCP: return x86_rdtscp;
	case ZYDIS_MNEMONIC_RDPID:
		insn->opsize = info->mode == X86_MODE_64 ? 8 : 4;
		return x86_rdpid;
	case ZYDIS_MNEMONIC_RDPMC: return x86_rdpmc;
	case ZYDIS_MNEMONIC_RDMSR: return x86_rdmsr;
	case ZYDIS_MNEMONIC_XGETBV: return x86_xgetbv;
	case ZYDIS_MNEMONIC_RDPKRU: return x86_rdpkru;
	case ZYDIS_MNEMONIC_RDFSBASE: return x86_rdfsbase;
	case ZYDIS_MNEMONIC_RDGSBASE: return x86_rdgsbase;
	case ZYDIS_MNEMONIC_WRFSBASE: return x86_wrfsbase;
	case ZYDIS_MNEMONIC_WRGSBASE: return x86_wrgsbase;
	/* Shadow stacks are not offered: reading their pointer does nothing. */
	case ZYDIS_MNEMONIC_RDSSPD:
	case ZYDIS_MNEMONIC_RDSSPQ: return no_operation;
	default: return NULL;
	}
}

/* What no model offers must not reach the host. */
static bool is_absent(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_RSM:
	case ZYDIS_MNEMONIC_GETSEC:
	case ZYDIS_MNEMONIC_MONITOR:
	case ZYDIS_MNEMONIC_MWAIT:
		return true;
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_ENDBR64:
		return false;
	default:
		return info->z.meta.isa_set == ZYDIS_ISA_SET_CET ||
		       info->z.meta.category == ZYDIS_CATEGORY_SYSCALL ||
		       info->z.meta.category == ZYDIS_CATEGORY_SYSRET ||
		       info->z.meta.category == ZYDIS_CATEGORY_SYSTEM ||
		       info->z.meta.category == ZYDIS_CATEGORY_VTX;
	}
}

insn_fn *x86_select_system(const struct insn_info *info, struct insn *insn)
{
	insn_fn *fn;

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return select_mov(info, insn);
	case ZYDIS_MNEMONIC_IN: case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB: case ZYDIS_MNEMONIC_INSW: case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB: case ZYDIS_MNEMONIC_OUTSW: case ZYDIS_MNEMONIC_OUTSD:
		return select_io(info, insn);
	default:
		break;
	}
	fn = select_ending(info, insn);
	if (fn) {
		insn->flags |= INSN_ENDS_BLOCK;
		return fn;
	}
	fn = select_plain(info, insn);
	if (!fn && is_absent(info))
		fn = undefined;
	return fn;
}
