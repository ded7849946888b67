/* SPDX-License-Identifier: MIT */
/*
 * What Zydis says of instructions that are to be translated, kept by their shapes: most are asked for
 * more than once, and those of a shape are alike. A CPU's own.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/mirror/translate.h"
#include "isa/x86/shapes.h"

#define DESCRIBED_BITS 11
#define NO_OPERAND 0xff

struct x86_described {
	struct {
		struct x86_shape shape;
		uint8_t memory, immediate; /* operands with the displacement, with the immediate */
		struct insn_info info;
	} slot[1u << DESCRIBED_BITS];
};

int mirror_describe_create(struct x86_cpu *cpu, struct error *err)
{
	cpu->mirror.described = calloc(1, sizeof(*cpu->mirror.described));
	if (!cpu->mirror.described)
		return error_set(err, ENOMEM, "no memory for CPU %u's translator", cpu->cpu.index);
	return 0;
}

void mirror_describe_destroy(struct x86_cpu *cpu)
{
	free(cpu->mirror.described);
}

static uint8_t find_operand(const struct insn_info *info, ZydisOperandType type)
{
	for (unsigned i = 0; i < info->z.operand_count; i++)
		if (info->op[i].type == type && info->op[i].encoding != ZYDIS_OPERAND_ENCODING_NONE)
			return (uint8_t)i;
	return NO_OPERAND;
}

static void describe_alike(typeof(&((struct x86_described *)0)->slot[0]) slot, const uint8_t *bytes,
			   struct insn_info *info)
{
	ZydisDecodedInstruction *z = &info->z;

	*info = slot->info;
	if (slot->shape.disp_bits) {
		z->raw.disp.value = x86_shape_disp(&slot->shape, bytes);
		info->op[slot->memory].mem.disp.value = z->raw.disp.value;
	}
	if (slot->shape.imm_bits) {
		z->raw.imm[0].value.s = x86_shape_imm(&slot->shape, bytes);
		info->op[slot->immediate].imm.value.s = z->raw.imm[0].value.s;
	}
}

bool mirror_describe(struct x86_cpu *cpu, const uint8_t *bytes, unsigned size,
		     struct insn_info *info)
{
	typeof(&cpu->mirror.described->slot[0]) slot = NULL;
	struct x86_shape shape;
	ZydisDecoder decoder;

	info->cpu = cpu;
	info->mode = cpu->block_key & X86_KEY_MODE;
	if (info->mode == X86_MODE_64)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, false);
	if (x86_shape_of(&decoder, false, bytes, size, &shape)) {
		slot = &cpu->mirror.described->slot[x86_shape_slot(&shape, DESCRIBED_BITS)];
		if (x86_shape_fits(&slot->shape, &shape, size)) {
			describe_alike(slot, bytes, info);
			return true;
		}
	}
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, size, &info->z, info->op)))
		return false;
	if (slot && x86_shape_complete(&shape, info)) {
		slot->shape = shape;
		slot->info = *info;
		slot->memory = find_operand(info, ZYDIS_OPERAND_TYPE_MEMORY);
		slot->immediate = find_operand(info, ZYDIS_OPERAND_TYPE_IMMEDIATE);
	}
	return true;
}
