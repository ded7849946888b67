/* SPDX-License-Identifier: MIT */
/*
 * Operands that hit. An address is chosen first, in the pages or at an edge of them; then the
 * registers that form it get values that give it: their initial ones where no instruction before
 * has used them, else a MOV in front.
 */
#include <string.h>

#include "generate.h"

uint64_t operand_value(uint64_t *seed)
{
	uint64_t r = random_next(seed);

	switch (random_below(seed, 10)) {
	case 0: return r & 1 ? ~0ull : 0;
	case 1: return r & 0x7f;
	case 2: return (uint64_t)(int64_t)(int8_t)r;
	case 3: return 1ull << (r & 63);
	case 4: return (1ull << (r & 63)) - 1;
	case 5: return (uint32_t)r;
	case 6: return (uint64_t)(int64_t)(int32_t)r;
	case 7: return DATA_BASE + (r & 0x3fff);
	default: return r;
	}
}

static uint64_t choose_target(struct builder *b, unsigned size)
{
	uint64_t *seed = &b->seed, end = DATA_BASE + DATA_WRITABLE * PAGE_BYTES, address;
	unsigned page = PAGE_BYTES * (1 + random_below(seed, 2));

	switch (random_below(seed, 32)) {
	case 0: case 1: case 2:
		return DATA_BASE + page - 1 - random_below(seed, size);
	case 3: case 4:
		return end - random_below(seed, size + 1);
	case 5:
		return end + random_below(seed, PAGE_BYTES);
	case 6:
		return DATA_BASE + DATA_PAGES * PAGE_BYTES - random_below(seed, size + 1);
	case 7:
		return DATA_BASE - random_below(seed, size + 1);
	case 8:
		return STACK_BASE + random_below(seed, STACK_PAGES * PAGE_BYTES);
	case 9:
		return operand_value(seed);
	default:
		break;
	}
	address = DATA_BASE + random_below(seed, DATA_WRITABLE * PAGE_BYTES - size);
	return one_in(seed, 3) ? address : address & ~63ull;
}

/* Number of a general-purpose register, or -1. */
static int gpr_of(const struct builder *b, ZydisRegister reg)
{
	ZydisMachineMode mode = b->forms->decoder.machine_mode;

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		reg = ZydisRegisterGetLargestEnclosing(mode, reg);
		return ZydisRegisterGetId(reg);
	case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetId(reg);
	default:
		return -1;
	}
}

/* The register holds value from here on. */
static void set_register(struct builder *b, int reg, uint64_t value)
{
	uint8_t bytes[10];
	unsigned size = 0;

	if (!(b->touched >> reg & 1)) {
		b->c->gpr[reg] = value;
		b->touched |= (uint16_t)(1u << reg);
		return;
	}
	if (b->c->bits == 64)
		bytes[size++] = (uint8_t)(0x48 | reg >> 3);
	bytes[size++] = (uint8_t)(0xb8 | (reg & 7));
	memcpy(bytes + size, &value, b->c->bits == 64 ? 8 : 4);
	size += b->c->bits == 64 ? 8 : 4;
	if (builder_has_room(b, size + 15))
		builder_append(b, bytes, size, -1);
}

static uint64_t segment_base(const struct builder *b, ZydisRegister segment)
{
	return segment == ZYDIS_REGISTER_FS ? b->c->fs_base :
	       segment == ZYDIS_REGISTER_GS ? b->c->gs_base : 0;
}

/* What index × scale adds; settles the index register. */
static uint64_t settle_index(struct builder *b, const ZydisDecodedOperand *op)
{
	int index = gpr_of(b, op->mem.index);

	if (index < 0)
		return 0;
	if (b->written >> index & 1)
		set_register(b, index, operand_value(&b->seed));
	b->touched |= (uint16_t)(1u << index);
	if (b->written >> index & 1)
		return 0;
	if (ZydisRegisterGetClass(op->mem.index) == ZYDIS_REGCLASS_GPR8)
		return b->c->gpr[index] & 0xff;
	return b->c->gpr[index] * op->mem.scale;
}

/* Neither base nor index: the displacement is the address. The RIP counts from the end. */
static void settle_displacement(const struct builder *b, const struct decoded *d,
				const ZydisDecodedOperand *op, uint8_t *bytes, uint64_t want)
{
	if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
		want -= builder_address(b, b->c->code_size) + d->z.length;
	if (d->z.raw.disp.size >= 32)
		memcpy(bytes + d->z.raw.disp.offset, &want, d->z.raw.disp.size / 8);
}

/* Makes op point to want (an offset); true when it does for certain. */
static bool settle_address(struct builder *b, const struct decoded *d,
			   const ZydisDecodedOperand *op, uint8_t *bytes, uint64_t want)
{
	int base = gpr_of(b, op->mem.base);
	uint64_t disp = (uint64_t)op->mem.disp.value, indexed;

	if (base >= 0 && op->mem.base == op->mem.index) {
		if (!(b->touched >> base & 1))
			set_register(b, base, (want - disp) / (op->mem.scale + 1u));
		return false;
	}
	indexed = settle_index(b, op);
	if (base < 0) {
		if (op->mem.index == ZYDIS_REGISTER_NONE)
			settle_displacement(b, d, op, bytes, want);
		return op->mem.index == ZYDIS_REGISTER_NONE;
	}
	/* The stack pointer of pushes and pops already points somewhere useful. */
	if (base == X86_RSP && op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
	    !(b->written >> base & 1))
		return false;
	set_register(b, base, want - indexed - disp);
	return true;
}

/* A transfer through memory goes on behind itself, if the slot can be had. */
static void patch_target(struct builder *b, const struct decoded *d, uint64_t slot)
{
	struct oracle_case *c = b->c;
	unsigned offset;

	if (c->patches == CASE_PATCHES || image_page_of(slot, &offset) < 0)
		return;
	c->patch[c->patches++] = (struct patch){
		slot, builder_address(b, c->code_size) + d->z.length,
	};
}

static bool is_indirect(const struct decoded *d)
{
	return (d->z.meta.category == ZYDIS_CATEGORY_CALL ||
		d->z.meta.category == ZYDIS_CATEGORY_UNCOND_BR) && !d->z.raw.imm[0].is_relative;
}

static bool is_tile(const struct decoded *d)
{
	return d->z.meta.category == ZYDIS_CATEGORY_AMX_TILE;
}

/* What LDTILECFG finds. */
static void patch_config(struct builder *b, uint64_t target)
{
	uint64_t config[8];
	unsigned offset;

	image_tile_config(&b->seed, (uint8_t *)config);
	if (one_in(&b->seed, 8)) /* perhaps one that cannot */
		((uint8_t *)config)[random_below(&b->seed, 64)] ^= (uint8_t)random_next(&b->seed);
	for (unsigned i = 0; i < 8; i++) {
		if (b->c->patches < CASE_PATCHES && image_page_of(target + 8 * i, &offset) >= 0)
			b->c->patch[b->c->patches++] = (struct patch){ target + 8 * i, config[i] };
	}
}

static void prepare_memory(struct builder *b, const struct decoded *d,
			   const ZydisDecodedOperand *op, uint8_t *bytes)
{
	unsigned size = op->size / 8 ? op->size / 8 : is_tile(d) ? 64 : 1;
	uint64_t target = choose_target(b, size < 512 ? size : 512);

	if (d->z.mnemonic == ZYDIS_MNEMONIC_LDTILECFG)
		patch_config(b, target);

	if (settle_address(b, d, op, bytes, target - segment_base(b, op->mem.segment)) &&
	    is_indirect(d) && !one_in(&b->seed, 4))
		patch_target(b, d, target);
}

/* A count for REP that ends within the pages, mostly. */
static void prepare_count(struct builder *b)
{
	uint64_t count;

	switch (random_below(&b->seed, 8)) {
	case 0: count = random_below(&b->seed, 3); break;
	case 1: count = random_below(&b->seed, 5000); break;
	case 2: count = random_below(&b->seed, 600); break;
	default: count = random_below(&b->seed, 70); break;
	}
	if (one_in(&b->seed, 40))
		count = random_next(&b->seed);
	if (!(b->touched >> X86_RCX & 1) || (b->written >> X86_RCX & 1))
		set_register(b, X86_RCX, count);
}

static void set_if_free(struct builder *b, int reg, uint64_t value)
{
	if (reg >= 0 && !(b->touched >> reg & 1))
		set_register(b, reg, value);
}

/* From one row to the next: forwards or back, up to a page. */
static uint64_t draw_stride(uint64_t *seed)
{
	uint64_t stride = one_in(seed, 3) ? 64 : random_below(seed, one_in(seed, 4) ? 4096 : 128);

	return one_in(seed, 4) ? -stride : stride;
}

/* Registers that are neither numbers nor parts of an address. */
static void prepare_special(struct builder *b, const struct decoded *d)
{
	uint64_t *seed = &b->seed;

	switch (d->z.mnemonic) {
	case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		if (d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER && !one_in(seed, 4))
			set_if_free(b, gpr_of(b, d->op[1].reg.value),
				    (uint64_t)(int64_t)(int16_t)random_next(seed) ^
					    (one_in(seed, 2) ? random_next(seed) << 32 : 0));
		break;
	case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
		if (one_in(seed, 2))
			set_if_free(b, X86_RDX, random_below(seed, 4));
		break;
	case ZYDIS_MNEMONIC_MOVDIR64B:
		set_if_free(b, gpr_of(b, d->op[0].reg.value), choose_target(b, 64) & ~63ull);
		break;
	case ZYDIS_MNEMONIC_RET:
		if (!(b->written >> X86_RSP & 1) && !one_in(seed, 4))
			patch_target(b, d, b->c->gpr[X86_RSP]);
		break;
	case ZYDIS_MNEMONIC_TILELOADD: case ZYDIS_MNEMONIC_TILELOADDT1:
	case ZYDIS_MNEMONIC_TILESTORED:
		for (unsigned i = 0; i < d->z.operand_count; i++) {
			if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !one_in(seed, 8))
				set_if_free(b, gpr_of(b, d->op[i].mem.index), draw_stride(seed));
		}
		break;
	default:
		break;
	}
	if (is_tile(d) && !b->c->tile_seed && !one_in(seed, 8))
		b->c->tile_seed = random_next(seed) >> 32;
	if (is_indirect(d) && d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && !one_in(seed, 4))
		set_if_free(b, gpr_of(b, d->op[0].reg.value),
			    builder_address(b, b->c->code_size) + d->z.length);
}

void operand_prepare(struct builder *b, const struct decoded *d, uint8_t *bytes)
{
	if (d->z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
			       ZYDIS_ATTRIB_HAS_REPNE))
		prepare_count(b);
	prepare_special(b, d);
	for (unsigned i = 0; i < d->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			prepare_memory(b, d, op, bytes);
	}
}

void operand_note(struct builder *b, const struct decoded *d)
{
	for (unsigned i = 0; i < d->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->op[i];
		int reg = -1, index = -1;

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			reg = gpr_of(b, op->reg.value);
		} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			reg = gpr_of(b, op->mem.base);
			index = gpr_of(b, op->mem.index);
		}
		if (reg >= 0)
			b->touched |= (uint16_t)(1u << reg);
		if (index >= 0)
			b->touched |= (uint16_t)(1u << index);
		if (reg >= 0 && op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			b->written |= (uint16_t)(1u << reg);
	}
}
