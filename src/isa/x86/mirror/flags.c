/* SPDX-License-Identifier: MIT */
/*
 * Which status flags are still wanted, and where they are. Liveness runs backwards over the block;
 * what lies behind its end is looked at, too, as far as it is in the same page (those bytes are then
 * watched: a write to them invalidates the block). Everything unknown wants all flags.
 *
 * A fault or interrupt thus may show a handler flags that were dead: the next writer of them would
 * have replaced them before anybody else could read them.
 */
#include "isa/x86/mirror/translate.h"

#define LOOK_AHEAD_INSNS 12
#define LOOK_AHEAD_DEPTH 2
#define PAGE_BYTES 4096u

static struct flag_use flag_use_of(const struct insn_info *info)
{
	const ZydisAccessedFlags *z = info->z.cpu_flags;
	struct flag_use use = { 0 };
	bool by_cl = false;

	if (!z)
		return use;
	use.reads = (uint16_t)(z->tested & FLAGS_ALL);
	use.kills = (uint16_t)((z->modified | z->set_0 | z->set_1 | z->undefined) & FLAGS_ALL);
	use.writes = use.kills;
	for (unsigned i = 0; i < info->z.operand_count_visible; i++)
		if (info->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    info->op[i].reg.value == ZYDIS_REGISTER_CL &&
		    info->op[i].encoding == ZYDIS_OPERAND_ENCODING_NONE)
			by_cl = true;
	/*
	 * What the manual leaves undefined is made of the operands alone, measured with both values of
	 * each flag before; but for these, which leave flags as they were.
	 */
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		use.kills = X86_CF;
		break;
	case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
		use.kills &= (uint16_t)~z->undefined;
		break;
	case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
		use.kills = 0;
		break;
	default:
		break;
	}
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD:
		/* A count of zero leaves them alone; so may counts beyond the width. */
		if (by_cl || !(info->op[info->z.operand_count_visible - 1].imm.value.u & 31))
			use.kills = 0;
		break;
	default:
		break;
	}
	return use;
}

/* Flags wanted by the code at offset in the page. */
static uint16_t wanted_at(struct emit *e, const uint8_t *page, int64_t offset, unsigned depth)
{
	uint16_t dead = 0, wanted = 0;

	if (offset < 0 || offset >= PAGE_BYTES || !depth)
		return FLAGS_ALL;
	for (unsigned i = 0; i < LOOK_AHEAD_INSNS && offset < PAGE_BYTES; i++) {
		struct insn_info info;
		struct flag_use use;

		if (!mirror_describe(e->cpu, page + offset, PAGE_BYTES - (unsigned)offset, &info))
			break;
		if ((unsigned)offset < e->watch_start)
			e->watch_start = (unsigned)offset;
		offset += info.z.length;
		if (offset > e->watch_end)
			e->watch_end = (unsigned)offset;
		/* What is not a plain instruction may show the flags to anybody. */
		if (info.z.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE &&
		    (info.z.meta.category == ZYDIS_CATEGORY_SYSCALL ||
		     info.z.meta.category == ZYDIS_CATEGORY_SYSTEM ||
		     info.z.meta.category == ZYDIS_CATEGORY_INTERRUPT ||
		     info.z.meta.category == ZYDIS_CATEGORY_SYSRET))
			break;
		use = flag_use_of(&info);
		wanted |= use.reads & (uint16_t)~dead;
		dead |= use.kills;
		if (dead == FLAGS_ALL)
			return wanted;
		if (info.z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
			uint16_t both;

			if (!info.op[0].imm.is_relative)
				break;
			both = wanted_at(e, page, offset + info.op[0].imm.value.s, depth - 1);
			if (info.z.meta.category == ZYDIS_CATEGORY_COND_BR)
				both |= wanted_at(e, page, offset, depth - 1);
			else if (info.z.meta.category != ZYDIS_CATEGORY_UNCOND_BR)
				both = FLAGS_ALL;
			return wanted | (both & (uint16_t)~dead);
		}
	}
	return wanted | (FLAGS_ALL & (uint16_t)~dead);
}

/* Flags wanted behind the block's last instruction, which info describes. */
static uint16_t wanted_after(struct emit *e, const struct insn_info *info)
{
	const struct insn *last = &e->block->insn[e->block->count - 1];
	const uint8_t *page = mem_ptr(e->cpu->cpu.env.mem, e->block->block.phys & ~0xfffull,
				      PAGE_BYTES);
	int64_t next = last->page_offset + last->length;
	uint16_t wanted;

	if (!page)
		return FLAGS_ALL;
	switch (info->z.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
		wanted = wanted_at(e, page, next, LOOK_AHEAD_DEPTH);
		return wanted | wanted_at(e, page, next + last->imm, LOOK_AHEAD_DEPTH);
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
		if (!info->op[0].imm.is_relative)
			return FLAGS_ALL;
		return wanted_at(e, page, next + last->imm, LOOK_AHEAD_DEPTH);
	default:
		if (last->flags & INSN_ENDS_BLOCK)
			return FLAGS_ALL;
		return wanted_at(e, page, next, LOOK_AHEAD_DEPTH);
	}
}

void mirror_find_live_flags(struct emit *e)
{
	unsigned count = e->block->count;

	e->watch_start = PAGE_BYTES;
	e->watch_end = 0;
	for (unsigned i = count; i-- > 0;) {
		const struct insn *insn = &e->block->insn[i];
		struct insn_info info = { .cpu = e->cpu };

		if (!mirror_describe(e->cpu, insn->bytes, insn->length, &info))
			e->use[i] = (struct flag_use){ .reads = FLAGS_ALL };
		else
			e->use[i] = flag_use_of(&info);
		if (i == count - 1)
			e->live[count] = wanted_after(e, &info);
		e->live[i] = e->use[i].reads | (e->live[i + 1] & (uint16_t)~e->use[i].kills);
	}
	if (e->watch_start > e->watch_end)
		e->watch_start = e->watch_end = 0;
}

uint16_t mirror_flags_through(const struct emit *e)
{
	unsigned i = e->insn->position;

	return e->live[i + 1] & (uint16_t)~e->use[i].kills;
}

void mirror_save_flags(struct emit *e)
{
	struct masm *m = e->m;

	if (e->flags_in_memory || !e->flags_in_host)
		return;
	masm_mov(m, H_SCRATCH, H_RAX);
	masm_byte(m, 0x9f);                                             /* lahf */
	masm_rr(m, false, 0x0f90, 0, H_RAX);                            /* seto al */
	masm_rm(m, false, MASM_66 | 0x89, H_RAX, H_CPU, (int32_t)CPU_FIELD(mirror.flags));
	masm_mov(m, H_RAX, H_SCRATCH);
	e->flags_in_memory = true;
}

void mirror_restore_flags(struct emit *e)
{
	struct masm *m = e->m;

	if (e->flags_in_host)
		return;
	masm_mov(m, H_SCRATCH, H_RAX);
	masm_rm(m, false, 0x0fb7, H_RAX, H_CPU, (int32_t)CPU_FIELD(mirror.flags));
	masm_byte(m, 0x04);                                             /* add al, 0x7f: OF if al is 1 */
	masm_byte(m, 0x7f);
	masm_byte(m, 0x9e);                                             /* sahf */
	masm_mov(m, H_RAX, H_SCRATCH);
	e->flags_in_host = true;
}
