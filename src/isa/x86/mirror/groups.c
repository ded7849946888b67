/* SPDX-License-Identifier: MIT */
/*
 * Groups: the accesses of a member that use one base register, or that register moved by constants (as
 * PUSH, POP, ADD and SUB do), lie close together, mostly in one page. The first one's check is made for
 * the bytes of all. Behind it, they need none: their linear address plus what R11 holds, or
 * mirror.delta where R11 was used for something else meanwhile, is their host address.
 *
 * Where the check fails (the range runs across a page's end, a page may not be written, or is not known)
 * or where something was done in between that may have changed what is mapped (a cold path came back),
 * the member goes on in its twin, out of line: the same instructions, each access with its own check. A
 * member's twin may be entered at any of its instructions whose label was asked for, with the flags that
 * are wanted in memory and all else as the guest has it.
 */
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define STACK_BYTES 8
#define GROUP_BYTES_MAX 1024 /* more of them would cross a page often */
#define USES_MIN 2

static void note_access(struct operand_note *note, int base, int32_t disp, unsigned size, bool write)
{
	note->base = (int8_t)base;
	note->disp = disp;
	note->size_bytes = (uint8_t)size;
	note->write = write;
}

static void note_move(struct operand_note *note, int gpr, int64_t by)
{
	if (by != (int32_t)by)
		return;
	note->moved = (int8_t)gpr;
	note->moved_by = (int32_t)by;
	note->written &= (uint16_t)~(1u << gpr);
}

static void note_written(struct operand_note *note, const struct insn_info *info)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		bool high;
		int gpr;

		if (info->op[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !(info->op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		gpr = mirror_gpr(info->op[i].reg.value, &high);
		if (gpr >= 0)
			note->written |= (uint16_t)(1u << gpr);
	}
}

/* The explicit memory operand, if it is one that needs no more than a base. */
static void note_operand(struct operand_note *note, const struct insn *insn,
			 const struct insn_info *info)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];
		bool high;
		int base;

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
		    op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
			continue;
		base = mirror_gpr(op->mem.base, &high);
		if (base < 0 || op->mem.index != ZYDIS_REGISTER_NONE || insn->addrsize != 8 ||
		    !(insn->flags & INSN_SEG_FLAT) || op->size / 8 > X86_MEMO_BYTES)
			continue;
		note_access(note, base, (int32_t)op->mem.disp.value, op->size / 8,
			    op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
	}
}

static bool adds_constant(const struct insn_info *info)
{
	return info->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && info->op[0].size == 64 &&
	       info->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* Instructions that move a register by a constant, or the stack pointer beside their own operands. */
static void note_moves(struct operand_note *note, const struct insn *insn,
		       const struct insn_info *info)
{
	bool high;
	int gpr = info->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER ?
			  mirror_gpr(info->op[0].reg.value, &high) : -1;

	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		if (insn->opsize != STACK_BYTES || (insn->flags & INSN_MEM))
			break;
		note_access(note, X86_RSP, -STACK_BYTES, STACK_BYTES, true);
		note_move(note, X86_RSP, -STACK_BYTES);
		break;
	case ZYDIS_MNEMONIC_POP:
		if (insn->opsize != STACK_BYTES || gpr < 0 || gpr == X86_RSP)
			break;
		note_access(note, X86_RSP, 0, STACK_BYTES, false);
		note_move(note, X86_RSP, STACK_BYTES);
		break;
	case ZYDIS_MNEMONIC_CALL:
		if (insn->opsize == STACK_BYTES && !(insn->flags & INSN_MEM))
			note_access(note, X86_RSP, -STACK_BYTES, STACK_BYTES, true);
		break;
	case ZYDIS_MNEMONIC_RET:
		if (insn->opsize == STACK_BYTES)
			note_access(note, X86_RSP, 0, STACK_BYTES, false);
		break;
	case ZYDIS_MNEMONIC_ADD:
		if (adds_constant(info))
			note_move(note, gpr, insn->imm);
		break;
	case ZYDIS_MNEMONIC_SUB:
		if (adds_constant(info))
			note_move(note, gpr, -insn->imm);
		break;
	case ZYDIS_MNEMONIC_LEA:
		if (gpr >= 0 && info->op[0].size == 64 && insn->addrsize == 8 &&
		    info->op[1].mem.index == ZYDIS_REGISTER_NONE &&
		    info->op[1].mem.base == info->op[0].reg.value)
			note_move(note, gpr, info->op[1].mem.disp.value);
		break;
	/* What may be accessed changes. */
	case ZYDIS_MNEMONIC_STAC:
	case ZYDIS_MNEMONIC_CLAC:
		note->written = 0xffff;
		break;
	default:
		break;
	}
}

/* Adds a constant, of whatever width. */
static bool steps(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_DEC:
		return true;
	case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_SUB:
		return info->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	default:
		return false;
	}
}

void mirror_note_operands(struct operand_note *note, const struct insn *insn,
			  const struct insn_info *info)
{
	*note = (struct operand_note){ .base = -1, .moved = -1 };
	if (!info) {
		note->written = note->wild = 0xffff;
		return;
	}
	note_written(note, info);
	if (info->z.mnemonic != ZYDIS_MNEMONIC_LEA)
		note_operand(note, insn, info);
	note_moves(note, insn, info);
	note->wild = steps(info) ? 0 : note->written;
}

/* ---- planning ---- */

struct group {
	int64_t low, high; /* bytes, from the base as it is now */
	unsigned uses;
	bool write;
};

static bool widen(struct group *group, int64_t low, unsigned size, bool write)
{
	int64_t high = low + size;

	if (group->low < low)
		low = group->low;
	if (group->high > high)
		high = group->high;
	if (high - low > GROUP_BYTES_MAX || low != (int32_t)low)
		return false;
	group->low = low;
	group->high = high;
	group->uses++;
	group->write |= write;
	return true;
}

/* The accesses from the current instruction on that one check could be made for. */
static struct group find_group(const struct emit *e, int base, int32_t disp, unsigned size, bool write)
{
	struct group group = { .low = disp, .high = disp + (int64_t)size, .uses = 1, .write = write };
	const struct operand_note *note = e->notes + e->insn->position;
	int64_t moved = 0;

	for (unsigned i = e->insn->position; i < e->member->count; i++, note++) {
		if (i != e->insn->position && note->base == base &&
		    !widen(&group, moved + note->disp, note->size_bytes, note->write))
			break;
		if (note->written & 1u << base)
			break;
		if (note->moved == base)
			moved += note->moved_by;
	}
	return group;
}

/* ---- what is known ---- */

static bool covers(const struct known_range *known, int32_t disp, unsigned size, bool write)
{
	int64_t low = known->moved + disp;

	return known->uses && low >= known->low && low + size <= known->high &&
	       (known->write || !write);
}

bool mirror_access_known(const struct emit *e, const struct mirror_address *address,
			 unsigned size_bytes, bool write)
{
	return !e->in_twin && mirror_address_direct(address) &&
	       covers(&e->known[address->base], address->disp, size_bytes, write);
}

bool mirror_group_writes(const struct emit *e, const struct mirror_address *address, unsigned size_bytes)
{
	struct group group;

	if (e->in_twin || e->no_groups || e->user_access || !mirror_address_direct(address))
		return false;
	group = find_group(e, address->base, address->disp, size_bytes, false);
	return group.uses >= USES_MIN && group.write;
}

struct masm_place mirror_emit_known(struct emit *e, const struct mirror_address *address)
{
	struct known_range *known = &e->known[address->base];

	known->uses--;
	if (e->delta_in_r11 != address->base || e->m->scratch_touched)
		masm_load(e->m, H_SCRATCH, H_CPU,
			  CPU_FIELD(mirror.delta[0]) + 8 * (size_t)address->base);
	e->delta_in_r11 = (int8_t)address->base;
	e->map_in_r11 = -1;
	e->m->scratch_touched = false;
	return (struct masm_place){ .base = mirror_reg((unsigned)address->base),
				    .index = H_SCRATCH, .disp = address->disp };
}

bool mirror_begin_group(struct emit *e, const struct mirror_address *address, unsigned size_bytes,
			bool write, struct mirror_span *span)
{
	struct group group;

	if (e->in_twin || e->no_groups || e->user_access || !mirror_address_direct(address))
		return false;
	group = find_group(e, address->base, address->disp, size_bytes, write);
	if (group.uses < USES_MIN)
		return false;
	*span = (struct mirror_span){
		.low = (int32_t)group.low, .size_bytes = (unsigned)(group.high - group.low),
		.write = group.write, .otherwise = mirror_twin_label(e, e->insn->position),
	};
	e->known[address->base] = (struct known_range){
		.low = group.low, .high = group.high, .write = group.write, .uses = group.uses,
	};
	return true;
}

void mirror_group_checked(struct emit *e, int base)
{
	masm_store(e->m, CPU_FIELD(mirror.delta[0]) + 8 * (size_t)base, H_CPU, H_SCRATCH);
	e->delta_in_r11 = (int8_t)base;
	e->map_in_r11 = -1;
	e->m->scratch_touched = false;
}

void mirror_forget_known(struct emit *e)
{
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		e->known[gpr].uses = 0;
	e->delta_in_r11 = e->map_in_r11 = -1;
}

bool mirror_knows_any(const struct emit *e)
{
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		if (e->known[gpr].uses)
			return true;
	return false;
}

void mirror_after_operands(struct emit *e)
{
	const struct operand_note *note = e->notes + e->insn->position;

	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		if (note->written >> gpr & 1)
			e->known[gpr].uses = 0;
	if (note->moved >= 0)
		e->known[note->moved].moved += note->moved_by;
	if (e->map_in_r11 >= 0 && (note->written >> e->map_in_r11 & 1 || note->moved == e->map_in_r11))
		e->map_in_r11 = -1;
}

/* ---- the twin ---- */

struct masm_label *mirror_twin_label(struct emit *e, unsigned position)
{
	struct member *member = e->member;
	struct twin_entry *entry = e->twin + member->first + member->position + position;

	if (!member->twin) {
		member->twin = true;
		member->twin_from = position;
		member->twin_x87 = e->x87_last;
	}
	if (!entry->wanted)
		entry->label = (struct masm_label)MASM_LABEL_INIT;
	entry->wanted = true;
	return &entry->label;
}

void mirror_enter_twin(struct emit *e, unsigned position)
{
	struct twin_entry *entry = e->twin + e->member->first + e->member->position + position;

	if (!entry->wanted)
		return;
	if (e->live[position])
		mirror_save_flags(e);
	e->flags_in_host = false;
	e->flags_in_memory = true;
	e->map_in_r11 = -1;
	masm_bind(e->m, &entry->label);
}
