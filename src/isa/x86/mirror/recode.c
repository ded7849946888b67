/* SPDX-License-Identifier: MIT */
/* Formats: Intel SDM vol. 2, sections 2.1 to 2.7. */
#include "isa/x86/mirror/recode.h"

/* One register field of the encoding: four bits, and whether we chose them. */
struct field {
	uint8_t number;
	bool renamed;
};

struct fields {
	struct field reg, rm, vvvv, opcode;
	const struct masm_place *memory; /* where the memory operand is, or NULL */
	bool needs_rex;  /* SPL, BPL, SIL, DIL */
	bool forbids_rex; /* AH … BH */
};

int mirror_gpr(ZydisRegister reg, bool *high)
{
	*high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
	if (*high)
		return reg - ZYDIS_REGISTER_AH;
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		if (reg >= ZYDIS_REGISTER_SPL)
			return reg - ZYDIS_REGISTER_SPL + X86_RSP;
		return reg - ZYDIS_REGISTER_AL;
	case ZYDIS_REGCLASS_GPR16:
		return reg - ZYDIS_REGISTER_AX;
	case ZYDIS_REGCLASS_GPR32:
		return reg - ZYDIS_REGISTER_EAX;
	case ZYDIS_REGCLASS_GPR64:
		return reg - ZYDIS_REGISTER_RAX;
	default:
		return -1;
	}
}

static struct field *field_of(struct fields *f, ZydisOperandEncoding encoding)
{
	switch (encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG: return &f->reg;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM: return &f->rm;
	case ZYDIS_OPERAND_ENCODING_NDSNDD: return &f->vvvv;
	case ZYDIS_OPERAND_ENCODING_OPCODE: return &f->opcode;
	default: return NULL;
	}
}

static void rename_register(struct fields *f, const ZydisDecodedOperand *op,
			    const uint8_t host_of[X86_GPRS])
{
	struct field *field = field_of(f, op->encoding);
	bool high;
	int gpr = mirror_gpr(op->reg.value, &high);

	if (gpr < 0 || !field)
		return;
	field->renamed = true;
	field->number = host_of[gpr];
	if (high) {
		/* Encoded as 4 … 7, and only the first four registers have one. */
		if (field->number > H_RBX)
			f->needs_rex = true;
		field->number += 4;
		f->forbids_rex = true;
	} else if (op->size == 8 && field->number >= H_RSP && field->number < H_R8) {
		f->needs_rex = true;
	}
}

static void find_fields(struct fields *f, const struct insn_info *info,
			const uint8_t host_of[X86_GPRS], const struct masm_place *place)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
			f->memory = place;
			f->rm = (struct field){ .number = place->base, .renamed = true };
		} else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			rename_register(f, op, host_of);
		}
	}
}

static void put_modrm(struct masm *m, const struct insn_info *info, const struct fields *f)
{
	uint8_t reg = f->reg.renamed ? f->reg.number : info->z.raw.modrm.reg;
	uint8_t rm = f->rm.renamed ? f->rm.number : info->z.raw.modrm.rm;

	if (f->memory) /* EVEX scales short displacements */
		masm_modrm(m, reg, f->memory, info->z.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX);
	else
		masm_byte(m, (uint8_t)(3 << 6 | (reg & 7) << 3 | (rm & 7)));
}

static void put_immediates(struct masm *m, const struct insn_info *info, const uint8_t *bytes)
{
	unsigned at = info->z.raw.imm[0].offset;

	if (!info->z.raw.imm[0].size)
		return;
	for (; at < info->z.length; at++)
		masm_byte(m, bytes[at]);
}

/* The bit that extends the index register. */
static uint8_t index_extension(const struct fields *f)
{
	return f->memory && f->memory->index != H_MEMORY ? f->memory->index >> 3 : 0;
}

static bool put_legacy(struct masm *m, const struct insn_info *info,
		       const struct fields *f)
{
	const ZydisDecodedInstruction *z = &info->z;
	uint8_t r = f->reg.renamed ? f->reg.number >> 3 : z->raw.rex.R;
	uint8_t b = f->rm.renamed ? f->rm.number >> 3 :
		    f->opcode.renamed ? f->opcode.number >> 3 : z->raw.rex.B;
	uint8_t rex = (uint8_t)(z->raw.rex.W << 3 | r << 2 | index_extension(f) << 1 | b);
	bool with_rex = rex || f->needs_rex;

	if (with_rex && f->forbids_rex)
		return false;
	for (unsigned i = 0; i < z->raw.prefix_count; i++) {
		uint8_t prefix = z->raw.prefixes[i].value;

		if (prefix == 0x66 || prefix == 0xf0 || prefix == 0xf2 || prefix == 0xf3)
			masm_byte(m, prefix);
	}
	if (with_rex)
		masm_byte(m, 0x40 | rex);
	if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		masm_byte(m, 0x0f);
	if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
		masm_byte(m, 0x38);
	if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
		masm_byte(m, 0x3a);
	if (z->opcode == 0x82 && z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
		masm_byte(m, 0x80); /* of which it is another name in 32-bit code */
	else if (f->opcode.renamed)
		masm_byte(m, (uint8_t)((z->opcode & 0xf8) | (f->opcode.number & 7)));
	else
		masm_byte(m, z->opcode);
	return true;
}

/* Inverted extension bits of ModRM.reg and ModRM.rm, in place in byte 1 of VEX and P0 of EVEX. */
static uint8_t invert_extensions(uint8_t byte, const struct fields *f)
{
	if (f->reg.renamed)
		byte = (uint8_t)((byte & ~0x80) | (f->reg.number & 8 ? 0 : 0x80));
	if (f->rm.renamed)
		byte = (uint8_t)((byte & ~0x60) | (index_extension(f) ? 0 : 0x40) |
				 (f->rm.number & 8 ? 0 : 0x20));
	return byte;
}

static uint8_t rename_vvvv(uint8_t byte, const struct fields *f)
{
	if (!f->vvvv.renamed)
		return byte;
	return (uint8_t)((byte & ~0x78) | (~f->vvvv.number & 15) << 3);
}

static void put_vex(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
		    const struct fields *f)
{
	const uint8_t *vex = bytes + info->z.raw.vex.offset;
	bool two_bytes = vex[0] == 0xc5;
	uint8_t byte1 = two_bytes ? (uint8_t)((vex[1] & 0x80) | 0x60 | 1) : vex[1];
	uint8_t byte2 = two_bytes ? vex[1] & 0x7f : vex[2];

	masm_byte(m, 0xc4);
	masm_byte(m, invert_extensions(byte1, f));
	masm_byte(m, rename_vvvv(byte2, f));
	masm_byte(m, info->z.opcode);
}

static void put_evex(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
		     const struct fields *f)
{
	const uint8_t *evex = bytes + info->z.raw.evex.offset;
	uint8_t p0 = invert_extensions(evex[1], f);

	if (f->reg.renamed)
		p0 |= 0x10; /* R' */
	masm_byte(m, 0x62);
	masm_byte(m, p0);
	masm_byte(m, rename_vvvv(evex[2], f));
	masm_byte(m, evex[3]);
	masm_byte(m, info->z.opcode);
}

/* ---- 32-bit code ---- */

/* INC and DEC by an opcode that is REX in 64-bit code. */
static bool is_short_increment(const struct insn_info *info)
{
	return info->mode != X86_MODE_64 &&
	       info->z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       info->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (info->z.opcode & 0xf0) == 0x40;
}

static void put_short_increment(struct masm *m, const struct insn_info *info,
				const struct fields *f)
{
	bool decrement = info->z.opcode & 8;

	masm_rr(m, false, info->z.operand_width == 16 ? MASM_66 | 0xff : 0xff, decrement,
		f->opcode.number);
}

static bool same_register(ZydisRegister ours, ZydisRegister guests, ZydisOperandEncoding encoding,
			  const uint8_t host_of[X86_GPRS])
{
	bool high, our_high;
	int gpr = mirror_gpr(guests, &high);

	if (gpr < 0 || encoding == ZYDIS_OPERAND_ENCODING_NONE)
		return ours == guests;
	return mirror_gpr(ours, &our_high) == host_of[gpr] && our_high == high &&
	       (high || ZydisRegisterGetClass(ours) == ZydisRegisterGetClass(guests));
}

static bool same_operand(const ZydisDecodedOperand *ours, const ZydisDecodedOperand *guests,
			 const uint8_t host_of[X86_GPRS])
{
	if (ours->type != guests->type || ours->size != guests->size)
		return false;
	switch (ours->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return same_register(ours->reg.value, guests->reg.value, guests->encoding, host_of);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return ours->imm.value.u == guests->imm.value.u;
	default:
		return ours->type == ZYDIS_OPERAND_TYPE_MEMORY;
	}
}

/* Of what is implied only general-purpose registers matter; EFLAGS differs from RFLAGS in name only. */
static bool same_hidden(const ZydisDecodedOperand *ours, const ZydisDecodedOperand *guests)
{
	bool high;

	return ours->type != ZYDIS_OPERAND_TYPE_REGISTER || mirror_gpr(ours->reg.value, &high) < 0 ||
	       ours->reg.value == guests->reg.value;
}

/* Bits that mean nothing in 32-bit code may mean something here: what was made is read again. */
static bool means_the_same(const struct masm *m, uint32_t start, const struct insn_info *info,
			   const uint8_t host_of[X86_GPRS])
{
	struct insn_info ours = { .mode = X86_MODE_64 };
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, false);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, m->code + start, m->size - start, &ours.z,
						 ours.op)) ||
	    start + ours.z.length != m->size || ours.z.mnemonic != info->z.mnemonic ||
	    ours.z.operand_count_visible != info->z.operand_count_visible ||
	    ours.z.operand_count != info->z.operand_count)
		return false;
	for (unsigned i = 0; i < ours.z.operand_count; i++)
		if (i < ours.z.operand_count_visible ?
			    !same_operand(&ours.op[i], &info->op[i], host_of) :
			    !same_hidden(&ours.op[i], &info->op[i]))
			return false;
	return true;
}

static bool put_instruction(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
			    const struct fields *f)
{
	switch (info->z.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
		if (!put_legacy(m, info, f))
			return false;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		put_vex(m, info, bytes, f);
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		put_evex(m, info, bytes, f);
		break;
	default:
		return false;
	}
	if (info->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)
		put_modrm(m, info, f);
	put_immediates(m, info, bytes);
	return true;
}

bool mirror_recode(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
		   const uint8_t host_of[X86_GPRS], const struct masm_place *place)
{
	uint32_t start = m->size;
	struct fields f = { 0 };

	find_fields(&f, info, host_of, place);
	if (is_short_increment(info)) {
		put_short_increment(m, info, &f);
		return true;
	}
	if (!put_instruction(m, info, bytes, &f))
		return false;
	if (info->mode == X86_MODE_64 || m->overflow || means_the_same(m, start, info, host_of))
		return true;
	m->size = start;
	return false;
}
