/* SPDX-License-Identifier: MIT */
/*
 * A guest instruction as host code. Opcode, immediates, vector registers stay as they are; what
 * changes:
 *
 *   - the memory operand becomes [RSI], whatever it was;
 *   - general-purpose registers become RAX, RCX, RDX or R8, so that any of the guest's, RSP too,
 *     can be loaded and stored around the instruction; implied ones stay what they are;
 *   - prefixes that select segments and address sizes go, mandatory ones stay;
 *   - 16- and 32-bit code becomes 64-bit code: bits that are ignored or fixed there get the value
 *     that means the same here. Where VEX.W or the operand-size prefix mean different things in the
 *     two, the other value is tried.
 *
 * The result is decoded again and must describe the same operation on the same operands, or it is
 * not used. Intel SDM vol. 2, chapter 2.
 */
#include <string.h>

#include "gen/emit.h"
#include "isa/x86/vector/hoststub.h"

#define MEMORY_RM EMIT_RSI /* [RSI] is mod 0, rm 6 */
#define PREFIX_OPERAND_SIZE 0x66

/* What a recoding may try where the modes differ. */
enum { TRY_FLIP_66 = 1, TRY_CLEAR_W = 2, TRIES = 4 };

/* The fields of an instruction that get new values; -1: none. */
struct fields {
	int reg, rm, vvvv; /* general-purpose registers */
	bool memory;
	unsigned attempt;
};

bool host_gpr_offset(ZydisRegister reg, uint16_t *offset, bool *high)
{
	int number;

	*high = false;
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		if (reg >= ZYDIS_REGISTER_SPL)
			number = reg - ZYDIS_REGISTER_SPL + X86_RSP;
		else
			number = (reg - ZYDIS_REGISTER_AL) & 3;
		*high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
		break;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		number = ZydisRegisterGetId(reg);
		break;
	default:
		return false;
	}
	*offset = (uint16_t)(offsetof(struct x86_cpu, state.gpr) + 8 * (unsigned)number + *high);
	return true;
}

static struct host_gpr *find_gpr(struct host_plan *plan, uint16_t offset)
{
	for (unsigned i = 0; i < plan->gprs; i++) {
		if (plan->gpr[i].offset == offset)
			return &plan->gpr[i];
	}
	return NULL;
}

static bool host_taken(const struct host_plan *plan, uint8_t host)
{
	for (unsigned i = 0; i < plan->gprs; i++) {
		if (plan->gpr[i].host == host)
			return true;
	}
	return false;
}

static int free_host(const struct host_plan *plan)
{
	static const uint8_t hosts[] = { EMIT_RAX, EMIT_RCX, EMIT_RDX, EMIT_R8 };

	for (unsigned i = 0; i < sizeof(hosts); i++) {
		if (!host_taken(plan, hosts[i]))
			return hosts[i];
	}
	return -1;
}

/* Adds the operand's register; host: where it must be, or -1. Returns where it is, or -1. */
static int plan_gpr(struct host_plan *plan, const ZydisDecodedOperand *op, int host)
{
	bool written = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE, high;
	uint8_t size = (uint8_t)(op->size <= 16 ? op->size / 8 : 8);
	struct host_gpr *gpr;
	uint16_t offset;

	if (!host_gpr_offset(op->reg.value, &offset, &high) || (high && written))
		return -1;
	gpr = find_gpr(plan, offset);
	if (!gpr) {
		host = host < 0 ? free_host(plan) : host;
		if (host < 0 || plan->gprs == HOST_GPRS || host_taken(plan, (uint8_t)host))
			return -1;
		gpr = &plan->gpr[plan->gprs++];
		*gpr = (struct host_gpr){ .offset = offset, .host = (uint8_t)host, .high = high };
	}
	if (written && gpr->size_bytes < size)
		gpr->size_bytes = size;
	return gpr->host;
}

static bool is_gpr(const ZydisDecodedOperand *op)
{
	uint16_t offset;
	bool high;

	return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       host_gpr_offset(op->reg.value, &offset, &high);
}

/* Implied registers first, because they cannot move; only those that a stub may clobber. */
static bool plan_implied(const struct insn_info *info, struct host_plan *plan)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];
		int number;

		if (!is_gpr(op) || op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			continue;
		number = ZydisRegisterGetId(op->reg.value);
		if (number > EMIT_RDX || plan_gpr(plan, op, number) < 0)
			return false;
	}
	return true;
}

static bool plan_explicit(const struct insn_info *info, struct host_plan *plan,
			  struct fields *fields)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];
		int *field;

		if (!is_gpr(op) || op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			continue;
		switch (op->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG: field = &fields->reg; break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM: field = &fields->rm; break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD: field = &fields->vvvv; break;
		default: return false;
		}
		*field = plan_gpr(plan, op, -1);
		if (*field < 0)
			return false;
	}
	return true;
}

static bool plan_memory(const struct insn_info *info, struct host_plan *plan, struct fields *fields)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (op->mem.type != ZYDIS_MEMOP_TYPE_MEM || fields->memory || plan->memory_in_rdi)
			return false;
		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			fields->memory = true;
		else
			plan->memory_in_rdi = true;
	}
	return true;
}

static void put(struct host_plan *plan, unsigned byte)
{
	if (plan->size < sizeof(plan->bytes))
		plan->bytes[plan->size++] = (uint8_t)byte;
}

static bool is_prefix(uint8_t byte, bool rex)
{
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
	case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return rex && (byte & 0xf0) == 0x40;
	}
}

static unsigned opcode_at(const struct insn_info *info, const uint8_t *bytes)
{
	unsigned at = 0;

	while (at < info->z.length && is_prefix(bytes[at], info->mode == X86_MODE_64))
		at++;
	return at;
}

static void put_modrm(const struct insn_info *info, struct host_plan *plan,
		      const struct fields *fields)
{
	unsigned mod = info->z.raw.modrm.mod, reg = info->z.raw.modrm.reg;
	unsigned rm = info->z.raw.modrm.rm;

	if (fields->memory) {
		mod = 0;
		rm = MEMORY_RM;
	}
	if (fields->reg >= 0)
		reg = (unsigned)fields->reg & 7;
	if (fields->rm >= 0)
		rm = (unsigned)fields->rm & 7;
	put(plan, mod << 6 | reg << 3 | rm);
}

/* Bit 7 of an immediate that names a register is ignored outside of 64-bit mode. */
static bool names_register(const struct insn_info *info)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		if (info->op[i].encoding == ZYDIS_OPERAND_ENCODING_IS4)
			return true;
	}
	return false;
}

/* ModRM, and what comes after the memory operand's bytes. */
static void put_rest(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan,
		     const struct fields *fields)
{
	unsigned at = info->z.raw.modrm.offset + 1u;

	put_modrm(info, plan, fields);
	if (info->z.attributes & ZYDIS_ATTRIB_HAS_SIB)
		at++;
	at += info->z.raw.disp.size / 8u;
	for (; at < info->z.length; at++)
		put(plan, info->mode != X86_MODE_64 && names_register(info) ? bytes[at] & 0x7fu :
									      bytes[at]);
}

static bool has_prefix(const struct insn_info *info, uint8_t value, ZydisPrefixType type)
{
	for (unsigned i = 0; i < info->z.raw.prefix_count; i++) {
		if (info->z.raw.prefixes[i].value == value &&
		    info->z.raw.prefixes[i].type == type)
			return true;
	}
	return false;
}

static void put_legacy_prefixes(const struct insn_info *info, struct host_plan *plan,
				const struct fields *fields)
{
	static const uint8_t mandatory[] = { PREFIX_OPERAND_SIZE, 0xf2, 0xf3 };
	bool size = has_prefix(info, PREFIX_OPERAND_SIZE, ZYDIS_PREFIX_TYPE_EFFECTIVE) ^
		    !!(fields->attempt & TRY_FLIP_66);

	if (size)
		put(plan, PREFIX_OPERAND_SIZE);
	for (unsigned i = 0; i < sizeof(mandatory); i++) {
		if (has_prefix(info, mandatory[i], ZYDIS_PREFIX_TYPE_MANDATORY))
			put(plan, mandatory[i]);
	}
}

static void put_rex(const struct insn_info *info, struct host_plan *plan,
		    const struct fields *fields)
{
	unsigned w = 0, r = 0, b = 0;

	if (info->z.attributes & ZYDIS_ATTRIB_HAS_REX) {
		w = info->z.raw.rex.W;
		r = info->z.raw.rex.R;
		b = info->z.raw.rex.B;
	}
	if (fields->reg >= 0)
		r = (unsigned)fields->reg >> 3;
	if (fields->rm >= 0)
		b = (unsigned)fields->rm >> 3;
	if (fields->memory)
		b = 0;
	if (w | r | b)
		put(plan, 0x40 | w << 3 | r << 2 | b);
}

static void recode_legacy(const struct insn_info *info, const uint8_t *bytes,
			  struct host_plan *plan, const struct fields *fields)
{
	unsigned at = opcode_at(info, bytes), end = info->z.length;

	put_legacy_prefixes(info, plan, fields);
	put_rex(info, plan, fields);
	if (info->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)
		end = info->z.raw.modrm.offset;
	while (at < end)
		put(plan, bytes[at++]);
	if (info->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)
		put_rest(info, bytes, plan, fields);
}

/*
 * VEX, three-byte form:   R X B mmmmm | W vvvv L pp, R X B and vvvv inverted.
 * Outside of 64-bit mode B and vvvv's top bit are ignored there, R and X are 1 by necessity.
 */
static void recode_vex(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan,
		       const struct fields *fields)
{
	unsigned at = opcode_at(info, bytes);
	bool two = bytes[at] == 0xc5;
	unsigned p1 = two ? (bytes[at + 1] & 0x80u) | 0x61 : bytes[at + 1];
	unsigned p2 = two ? bytes[at + 1] & 0x7fu : bytes[at + 2];

	at += two ? 2 : 3;
	if (info->mode != X86_MODE_64) {
		p1 |= 0xe0;
		p2 |= 0x40;
	}
	if (fields->memory)
		p1 |= 0x60;
	if (fields->reg >= 0)
		p1 = (p1 & ~0x80u) | (fields->reg < 8 ? 0x80 : 0);
	if (fields->rm >= 0)
		p1 = (p1 & ~0x20u) | 0x40 | (fields->rm < 8 ? 0x20 : 0);
	if (fields->vvvv >= 0)
		p2 = (p2 & ~0x78u) | (~(unsigned)fields->vvvv & 15) << 3;
	if (fields->attempt & TRY_CLEAR_W)
		p2 &= ~0x80u;
	put(plan, 0xc4);
	put(plan, p1);
	put(plan, p2);
	put(plan, bytes[at]);
	if (info->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)
		put_rest(info, bytes, plan, fields);
}

/* EVEX:   R X B R' 0 mmm | W vvvv 1 pp | z L'L b V' aaa, register bits inverted. */
static void recode_evex(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan,
			const struct fields *fields)
{
	unsigned at = opcode_at(info, bytes);
	unsigned p0 = bytes[at + 1], p1 = bytes[at + 2], p2 = bytes[at + 3];

	if (info->mode != X86_MODE_64) {
		p0 |= 0xf0;
		p1 |= 0x40;
		p2 |= 0x08;
	}
	if (fields->memory)
		p0 |= 0x60;
	if (fields->reg >= 0)
		p0 = (p0 | 0x90) & ~(fields->reg < 8 ? 0 : 0x80u);
	if (fields->rm >= 0)
		p0 = (p0 | 0x60) & ~(fields->rm < 8 ? 0 : 0x20u);
	if (fields->attempt & TRY_CLEAR_W)
		p1 &= ~0x80u;
	put(plan, 0x62);
	put(plan, p0);
	put(plan, p1);
	put(plan, p2);
	put(plan, bytes[at + 4]);
	put_rest(info, bytes, plan, fields);
}

static bool recode(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan,
		   const struct fields *fields)
{
	plan->size = 0;
	switch (info->z.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY: recode_legacy(info, bytes, plan, fields); break;
	case ZYDIS_INSTRUCTION_ENCODING_VEX: recode_vex(info, bytes, plan, fields); break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: recode_evex(info, bytes, plan, fields); break;
	default: return false;
	}
	return plan->size <= ZYDIS_MAX_INSTRUCTION_LENGTH;
}

static bool same_operand(const struct host_plan *plan, const ZydisDecodedOperand *guest,
			 const ZydisDecodedOperand *host)
{
	uint16_t offset, ignored;
	bool high;

	if (guest->type != host->type)
		return false;
	/* EFLAGS in 32-bit code, RFLAGS here. */
	if (guest->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    ZydisRegisterGetClass(guest->reg.value) == ZYDIS_REGCLASS_FLAGS)
		return ZydisRegisterGetClass(host->reg.value) == ZYDIS_REGCLASS_FLAGS;
	/* Zydis gives no size for what VEX.W alone would widen, where it is ignored. */
	if (guest->size != host->size && (guest->size || host->size != 32))
		return false;
	if (guest->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return guest->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
		       (host->mem.base == ZYDIS_REGISTER_RSI &&
			host->mem.index == ZYDIS_REGISTER_NONE && !host->mem.disp.value);
	if (guest->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return guest->imm.value.u == host->imm.value.u;
	if (guest->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return true;
	if (!host_gpr_offset(guest->reg.value, &offset, &high))
		return guest->reg.value == host->reg.value ||
		       guest->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
	for (unsigned i = 0; i < plan->gprs; i++) {
		if (plan->gpr[i].offset == offset)
			return host_gpr_offset(host->reg.value, &ignored, &high) &&
			       ZydisRegisterGetId(host->reg.value) == plan->gpr[i].host;
	}
	return false;
}

/* Whether 64-bit code in plan means what info does. */
static bool same_meaning(const struct insn_info *info, const struct host_plan *plan)
{
	struct insn_info host;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, false);
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, plan->bytes, plan->size, &host.z,
					       host.op)))
		return false;
	if (host.z.length != plan->size || host.z.mnemonic != info->z.mnemonic ||
	    host.z.operand_count != info->z.operand_count)
		return false;
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		if (!same_operand(plan, &info->op[i], &host.op[i]))
			return false;
	}
	return true;
}

/*
 * In 64-bit mode these two clear registers 8 … 15 as well, outside of it only 0 … 7: VXORPS
 * xmm,xmm,xmm and VMOVAPS xmm,xmm on each of the eight.
 */
static void recode_vzero(const struct insn_info *info, struct host_plan *plan)
{
	bool all = info->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL;

	for (unsigned reg = 0; reg < 8; reg++) {
		put(plan, 0xc5);
		put(plan, all ? 0x80 | (~reg & 15) << 3 : 0xf8);
		put(plan, all ? 0x57 : 0x28);
		put(plan, 0xc0 | reg << 3 | reg);
	}
}

static bool is_vzero(const struct insn_info *info)
{
	return info->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL ||
	       info->z.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER;
}

/* Images of the x87 environment are 28 bytes in the host's form, whatever the guest's is. */
static bool is_environment(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FRSTOR:
		return true;
	default:
		return false;
	}
}

static void plan_flags(const struct insn_info *info, struct host_plan *plan)
{
	const ZydisAccessedFlags *flags = info->z.cpu_flags;

	if (!flags)
		return;
	plan->flags_read = flags->tested & (uint32_t)X86_STATUS_FLAGS;
	plan->flags_written = (flags->modified | flags->set_0 | flags->set_1 | flags->undefined) &
			      (uint32_t)X86_STATUS_FLAGS;
}

/* TILELOADD and TILESTORED: VEX with [RSI + RCX]. */
static void recode_rows(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan)
{
	unsigned at = opcode_at(info, bytes);
	const unsigned sib = EMIT_RCX << 3 | EMIT_RSI;

	plan->rows = true;
	put(plan, 0xc4);
	put(plan, bytes[at + 1] | 0xe0u);
	put(plan, bytes[at + 2]);
	put(plan, bytes[at + 3]);
	put(plan, info->z.raw.modrm.reg << 3 | 4u);
	put(plan, sib);
}

static bool has_rows(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_TILELOADD:
	case ZYDIS_MNEMONIC_TILELOADDT1:
	case ZYDIS_MNEMONIC_TILESTORED:
		return true;
	default:
		return false;
	}
}

bool host_recode(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan)
{
	struct fields fields = { .reg = -1, .rm = -1, .vvvv = -1 };

	memset(plan, 0, sizeof(*plan));
	if (has_rows(info)) {
		recode_rows(info, bytes, plan);
		return true;
	}
	if (!plan_implied(info, plan) || !plan_explicit(info, plan, &fields) ||
	    !plan_memory(info, plan, &fields))
		return false;
	plan_flags(info, plan);
	if (is_vzero(info) && info->mode != X86_MODE_64) {
		recode_vzero(info, plan);
		return true;
	}
	if (is_environment(info)) {
		fields.attempt =
			has_prefix(info, PREFIX_OPERAND_SIZE, ZYDIS_PREFIX_TYPE_EFFECTIVE) ?
				TRY_FLIP_66 : 0;
		return recode(info, bytes, plan, &fields);
	}
	for (unsigned attempt = 0; attempt < TRIES; attempt++) {
		fields.attempt = attempt;
		if (recode(info, bytes, plan, &fields) && same_meaning(info, plan))
			return true;
	}
	return false;
}
