/* SPDX-License-Identifier: MIT */
/* See decode.h. Formats: Intel SDM vol. 2, chapter 2. */
#include "isa/x86/decode.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/shapes.h"

#define DECODED_BITS 13
#define GPR_OFFSET(n) (offsetof(struct x86_cpu, state.gpr) + 8 * (size_t)(n))
#define RIP_OFFSET offsetof(struct x86_cpu, state.rip)
#define ZERO_OFFSET offsetof(struct x86_cpu, zero)

/* What was decoded before, by shape, in a slot each. */
struct x86_decoded {
	struct {
		struct x86_shape shape;
		struct insn insn;
	} slot[1u << DECODED_BITS];
};

int x86_decode_create(struct x86_cpu *cpu, struct error *err)
{
	cpu->decoded = calloc(1, sizeof(*cpu->decoded));
	if (!cpu->decoded)
		return error_set(err, ENOMEM, "no memory for CPU %u's decoder", cpu->cpu.index);
	return 0;
}

void x86_decode_destroy(struct x86_cpu *cpu)
{
	free(cpu->decoded);
}

static void raise_undefined(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_undefined(cpu);
}

static void raise_too_long(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_general_protection(cpu);
}

/* Byte offset of a general-purpose register into struct x86_cpu; of the zero for any other. */
static uint16_t register_offset(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return (uint16_t)(GPR_OFFSET(reg - ZYDIS_REGISTER_AH) + 1);
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		/* AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B … */
		if (reg >= ZYDIS_REGISTER_SPL)
			return (uint16_t)GPR_OFFSET(reg - ZYDIS_REGISTER_SPL + X86_RSP);
		return (uint16_t)GPR_OFFSET(reg - ZYDIS_REGISTER_AL);
	case ZYDIS_REGCLASS_GPR16:
		return (uint16_t)GPR_OFFSET(reg - ZYDIS_REGISTER_AX);
	case ZYDIS_REGCLASS_GPR32:
		return (uint16_t)GPR_OFFSET(reg - ZYDIS_REGISTER_EAX);
	case ZYDIS_REGCLASS_GPR64:
		return (uint16_t)GPR_OFFSET(reg - ZYDIS_REGISTER_RAX);
	case ZYDIS_REGCLASS_IP:
		return RIP_OFFSET;
	default:
		return ZERO_OFFSET;
	}
}

static uint8_t segment_index(ZydisRegister segment)
{
	switch (segment) {
	case ZYDIS_REGISTER_ES: return X86_ES;
	case ZYDIS_REGISTER_CS: return X86_CS;
	case ZYDIS_REGISTER_SS: return X86_SS;
	case ZYDIS_REGISTER_FS: return X86_FS;
	case ZYDIS_REGISTER_GS: return X86_GS;
	default: return X86_DS;
	}
}

/* In 32-bit code not CS, which is flat but not to be written to. */
static bool is_flat(const struct insn_info *info, uint8_t seg)
{
	if (seg == X86_FS || seg == X86_GS)
		return false;
	return info->mode == X86_MODE_64 ||
	       (info->cpu->block_key & X86_KEY_FLAT && seg != X86_CS);
}

static void set_segment(struct insn *insn, const struct insn_info *info, ZydisRegister segment)
{
	insn->seg = segment_index(segment);
	if (is_flat(info, insn->seg))
		insn->flags |= INSN_SEG_FLAT;
}

/* A SIB without a base, which Zydis 4.0 takes for R13D where addresses have 32 bits. */
static bool has_no_base(const ZydisDecodedInstruction *z)
{
	return z->attributes & ZYDIS_ATTRIB_HAS_SIB && z->raw.modrm.mod == 0 &&
	       z->raw.sib.base == 5;
}

static void fill_memory(struct insn *insn, const struct insn_info *info,
			const ZydisDecodedOperand *op, bool first)
{
	insn->base = register_offset(op->mem.base);
	insn->index = register_offset(op->mem.index);
	insn->disp = op->mem.disp.value;
	if (has_no_base(&info->z)) {
		insn->base = ZERO_OFFSET;
		insn->disp = info->z.raw.disp.value;
	}
	insn->scale = (uint8_t)(op->mem.scale ? __builtin_ctz(op->mem.scale) : 0);
	set_segment(insn, info, op->mem.segment);
	if ((insn->flags & INSN_SEG_FLAT) && insn->addrsize == 8)
		insn->flags |= INSN_PLAIN;
	if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return;
	insn->flags |= INSN_MEM;
	if (first)
		insn->flags |= INSN_MEM_FIRST;
}

/*
 * String instructions, XLAT and their like name a segment although their memory operand is implied.
 */
static void fill_hidden_memory(struct insn *insn, const struct insn_info *info,
			       const ZydisDecodedOperand *op)
{
	if (!(insn->flags & INSN_MEM) && op->mem.segment != ZYDIS_REGISTER_ES)
		set_segment(insn, info, op->mem.segment);
}

static void fill_operands(struct insn *insn, const struct insn_info *info)
{
	uint16_t *const registers[] = { &insn->dst, &insn->src, &insn->src2 };
	unsigned used = 0, immediates = 0;

	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
				fill_memory(insn, info, op, i == 0);
			else
				fill_hidden_memory(insn, info, op);
			continue;
		}
		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		switch (op->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (used < 3)
				*registers[used++] = register_offset(op->reg.value);
			break;
		case ZYDIS_OPERAND_TYPE_POINTER:
			insn->imm = (int64_t)op->ptr.segment << 32 | op->ptr.offset;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			/* ENTER alone has two. */
			if (immediates++)
				insn->imm |= (int64_t)(op->imm.value.u & 0xff) << 16;
			else
				insn->imm = op->imm.value.s;
			break;
		default:
			break;
		}
	}
}

static uint8_t rep_prefix(const ZydisDecodedInstruction *z)
{
	uint8_t rep = INSN_REP_NONE;

	if (z->meta.category != ZYDIS_CATEGORY_STRINGOP &&
	    z->meta.category != ZYDIS_CATEGORY_IOSTRINGOP)
		return rep;
	for (unsigned i = 0; i < z->raw.prefix_count; i++) {
		if (z->raw.prefixes[i].value == 0xf3)
			rep = INSN_REP_E;
		else if (z->raw.prefixes[i].value == 0xf2)
			rep = INSN_REP_NE;
	}
	return rep;
}

static bool ends_block(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_SWAPGS: /* system instructions that change nothing code depends on */
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDMSR:
		return false;
	default:
		break;
	}
	switch (z->meta.category) {
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
		return true;
	default:
		return false;
	}
}

static void fill_common(struct insn *insn, const struct insn_info *info, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *z = &info->z;

	insn->length = z->length;
	insn->opsize = (uint8_t)(z->operand_width / 8);
	insn->addrsize = (uint8_t)(z->address_width / 8);
	insn->rep = rep_prefix(z);
	insn->opcode = z->opcode;
	insn->modrm_reg = (uint8_t)(z->raw.modrm.reg | z->raw.rex.R << 3);
	insn->mnemonic = (uint16_t)z->mnemonic;
	if (z->attributes & ZYDIS_ATTRIB_HAS_LOCK)
		insn->flags |= INSN_LOCK;
	if (ends_block(z))
		insn->flags |= INSN_ENDS_BLOCK;
	for (unsigned i = 0; i < z->length; i++)
		insn->bytes[i] = bytes[i];
	fill_operands(insn, info);
}

static insn_fn *select_semantics(const struct insn_info *info, struct insn *insn)
{
	static insn_fn *(*const groups[])(const struct insn_info *, struct insn *) = {
		x86_select_gp, x86_select_string, x86_select_flow,
		x86_select_far, x86_select_system, x86_select_host,
	};

	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		insn_fn *fn = groups[i](info, insn);

		if (fn)
			return fn;
	}
	return NULL;
}

/* An instruction that raises before anything else is looked at. */
static unsigned fill_faulting(struct insn *insn, insn_fn *fn)
{
	insn->fn = fn;
	insn->length = 1;
	insn->flags = INSN_ENDS_BLOCK;
	return insn->length;
}

static void init_decoder(ZydisDecoder *decoder, const struct x86_cpu *cpu, enum x86_mode mode)
{
	static const ZydisMachineMode machine_modes[] = {
		[X86_MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
		[X86_MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
		[X86_MODE_64] = ZYDIS_MACHINE_MODE_LONG_64,
	};
	static const ZydisStackWidth stack_widths[] = {
		[X86_MODE_16] = ZYDIS_STACK_WIDTH_16,
		[X86_MODE_32] = ZYDIS_STACK_WIDTH_32,
		[X86_MODE_64] = ZYDIS_STACK_WIDTH_64,
	};
	bool real = mode == X86_MODE_16 && !cpu->protected_mode;

	ZydisDecoderInit(decoder, real ? ZYDIS_MACHINE_MODE_REAL_16 : machine_modes[mode],
			 stack_widths[mode]);
	ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_MPX, false);
	ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_LZCNT,
			       x86_isa_allowed(cpu, ZYDIS_ISA_SET_LZCNT, ZYDIS_ISA_EXT_LZCNT));
	ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_TZCNT,
			       x86_isa_allowed(cpu, ZYDIS_ISA_SET_BMI1, ZYDIS_ISA_EXT_BMI1));
}

/* SYSENTER and SYSEXIT, which Zydis does not know in 8086 code: there they exist and check. */
static bool is_protected_only(const uint8_t *bytes, unsigned size)
{
	return size >= 2 && bytes[0] == 0x0f && (bytes[1] == 0x34 || bytes[1] == 0x35);
}

/* Conversions from and to general registers, of which Zydis 4.0 thinks that W must be 0 there. */
static bool ignores_w(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_VCVTSI2SD: case ZYDIS_MNEMONIC_VCVTUSI2SD:
	case ZYDIS_MNEMONIC_VCVTSI2SH: case ZYDIS_MNEMONIC_VCVTUSI2SH:
	case ZYDIS_MNEMONIC_VCVTSH2SI: case ZYDIS_MNEMONIC_VCVTSH2USI:
	case ZYDIS_MNEMONIC_VCVTTSH2SI: case ZYDIS_MNEMONIC_VCVTTSH2USI:
		return true;
	default:
		return false;
	}
}

/* Outside of 64-bit mode EVEX.W is ignored where it would name a 64-bit general register. */
static ZyanStatus decode_without_w(const ZydisDecoder *decoder, uint8_t *bytes, unsigned size,
				   struct insn_info *info)
{
	unsigned at = 0;
	ZyanStatus status;

	while (at < size && bytes[at] != 0x62)
		at++;
	if (at + 2 >= size || !(bytes[at + 2] & 0x80))
		return ZYDIS_STATUS_DECODING_ERROR;
	bytes[at + 2] &= 0x7f;
	status = ZydisDecoderDecodeFull(decoder, bytes, size, &info->z, info->op);
	if (ZYAN_SUCCESS(status) && !ignores_w(info->z.mnemonic))
		return ZYDIS_STATUS_DECODING_ERROR;
	return status;
}

static unsigned decode_anew(struct x86_cpu *cpu, enum x86_mode mode, ZydisDecoder *decoder,
			    const uint8_t *bytes, unsigned size, struct insn *insn,
			    struct insn_info *info)
{
	uint8_t copy[15];
	ZyanStatus status;

	info->mode = (uint8_t)mode;
	info->cpu = cpu;
	*insn = (struct insn){ .base = ZERO_OFFSET, .index = ZERO_OFFSET, .dst = ZERO_OFFSET,
			       .src = ZERO_OFFSET, .src2 = ZERO_OFFSET, .seg = X86_DS };
	status = ZydisDecoderDecodeFull(decoder, bytes, size, &info->z, info->op);
	if (!ZYAN_SUCCESS(status) && is_protected_only(bytes, size)) {
		decoder->machine_mode = ZYDIS_MACHINE_MODE_LEGACY_16;
		status = ZydisDecoderDecodeFull(decoder, bytes, size, &info->z, info->op);
	}
	if (status == ZYDIS_STATUS_DECODING_ERROR && mode != X86_MODE_64) {
		__builtin_memcpy(copy, bytes, size);
		bytes = copy;
		status = decode_without_w(decoder, copy, size, info);
	}
	if (status == ZYDIS_STATUS_NO_MORE_DATA && size < 15)
		return 0;
	if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return fill_faulting(insn, raise_too_long);
	if (!ZYAN_SUCCESS(status) ||
	    !x86_isa_allowed(cpu, info->z.meta.isa_set, info->z.meta.isa_ext))
		return fill_faulting(insn, raise_undefined);
	fill_common(insn, info, bytes);
	insn->fn = select_semantics(info, insn);
	if (!insn->fn)
		return fill_faulting(insn, raise_undefined);
	return insn->length;
}

/* As the instruction of the same shape, but for what the bytes say otherwise. */
static unsigned decode_alike(const struct x86_shape *shape, const struct insn *like,
			     const uint8_t *bytes, struct insn *insn)
{
	*insn = *like;
	if (shape->disp_bits)
		insn->disp = x86_shape_disp(shape, bytes);
	if (shape->imm_bits)
		insn->imm = x86_shape_imm(shape, bytes);
	for (unsigned i = 0; i < shape->length; i++)
		insn->bytes[i] = bytes[i];
	return insn->length;
}

/*
 * What is not chosen by the value of an immediate. A stub on the host has it in it; rotations by one and
 * by more are two functions.
 */
static bool may_be_kept(const struct insn *insn)
{
	return insn->mnemonic != ZYDIS_MNEMONIC_INVALID && !insn->stub &&
	       insn->mnemonic != ZYDIS_MNEMONIC_ROL && insn->mnemonic != ZYDIS_MNEMONIC_ROR;
}

unsigned x86_decode(struct x86_cpu *cpu, enum x86_mode mode, const uint8_t *bytes, unsigned size,
		    struct insn *insn)
{
	typeof(&cpu->decoded->slot[0]) slot = NULL;
	bool flat = cpu->block_key & X86_KEY_FLAT;
	struct x86_shape shape;
	struct insn_info info;
	ZydisDecoder decoder;
	unsigned length;

	init_decoder(&decoder, cpu, mode);
	if (x86_shape_of(&decoder, flat, bytes, size, &shape)) {
		slot = &cpu->decoded->slot[x86_shape_slot(&shape, DECODED_BITS)];
		if (x86_shape_fits(&slot->shape, &shape, size))
			return decode_alike(&slot->shape, &slot->insn, bytes, insn);
	}
	x86_vec_park(cpu);
	length = decode_anew(cpu, mode, &decoder, bytes, size, insn, &info);
	if (slot && may_be_kept(insn) && x86_shape_complete(&shape, &info)) {
		slot->shape = shape;
		slot->insn = *insn;
	}
	return length;
}
