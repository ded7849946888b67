/* SPDX-License-Identifier: MIT */
/*
 * Which status flags are still wanted, and where they are. Liveness runs backwards over the region until
 * nothing changes; where it is left, what follows is looked at, too, as far as it is in the same page
 * (those bytes are then watched: a write to them invalidates the region). Everything unknown wants all
 * flags.
 *
 * A fault or interrupt thus may show a handler flags that were dead: the next writer of them would
 * have replaced them before anybody else could read them.
 */
#include "isa/x86/mirror/translate.h"

#define LOOK_AHEAD_INSNS 12
#define LOOK_AHEAD_DEPTH 2
#define PAGE_BYTES 4096u

struct flag_use mirror_flag_use(const struct insn_info *info)
{
	const ZydisAccessedFlags *z = info->z.cpu_flags;
	struct flag_use use = { 0 };
	bool by_cl = false;

	if (!z)
		return use;
	use.reads = (uint16_t)(z->tested & FLAGS_ALL);
	/* These show the flags as they were, in R11 or on a stack. */
	if (info->z.meta.category == ZYDIS_CATEGORY_SYSCALL ||
	    info->z.meta.category == ZYDIS_CATEGORY_INTERRUPT)
		use.reads = FLAGS_ALL;
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
	case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS: case ZYDIS_MNEMONIC_AAM:
	case ZYDIS_MNEMONIC_AAD: case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS:
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
		use = mirror_flag_use(&info);
		wanted |= use.reads & (uint16_t)~dead;
		dead |= use.kills;
		if (dead == FLAGS_ALL)
			return wanted;
		if (info.z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
			uint16_t both;

			if (!info.op[0].imm.is_relative ||
			    (info.mode != X86_MODE_64 && info.z.operand_width == 16))
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

static uint16_t wanted_outside(struct emit *e, int64_t offset)
{
	const struct block *block = &e->members[0].block->block;
	const uint8_t *page = mem_ptr(e->cpu->cpu.env.mem, block->phys & ~0xfffull, PAGE_BYTES);

	if (mirror_member_at(e, offset))
		return 0;
	return page ? wanted_at(e, page, offset, LOOK_AHEAD_DEPTH) : FLAGS_ALL;
}

/* What the instructions of a member do, and what is wanted where it leads out of the region. */
static void describe_member(struct emit *e, struct member *member)
{
	struct flag_use *use = e->all_use + member->first;

	for (unsigned i = 0; i < member->count; i++) {
		const struct insn *insn = &member->block->insn[i];
		struct insn_info *info = &e->all_info[member->first + i];
		bool known = mirror_describe(e->cpu, insn->bytes, insn->length, info);

		e->all_described[member->first + i] = known;
		use[i] = known ? mirror_flag_use(info) : (struct flag_use){ .reads = FLAGS_ALL };
		mirror_note_operands(&e->all_notes[member->first + i], insn, known ? info : NULL);
	}
	member->wanted_target = member->wanted_next = 0;
	switch (member->ending.kind) {
	case ENDING_CONDITION:
		member->wanted_next = wanted_outside(e, member->ending.next);
		member->wanted_target = wanted_outside(e, member->ending.target);
		break;
	case ENDING_FALL:
		member->wanted_next = wanted_outside(e, member->ending.next);
		break;
	case ENDING_JUMP:
	case ENDING_CALL:
		member->wanted_target = wanted_outside(e, member->ending.target);
		break;
	default:
		member->wanted_target = FLAGS_ALL;
	}
}

static uint16_t *live_of(struct emit *e, const struct member *member)
{
	return e->all_live + member->first + member->position;
}

uint16_t mirror_live_at(const struct emit *e, const struct member *member)
{
	return e->all_live[member->first + member->position];
}

/* Flags wanted behind a member, as far as is known yet. */
static uint16_t wanted_after(struct emit *e, const struct member *member)
{
	uint16_t wanted = member->wanted_next | member->wanted_target;
	const struct member *to;

	if (member->ending.kind == ENDING_FALL || member->ending.kind == ENDING_CONDITION) {
		to = mirror_member_at(e, member->ending.next);
		wanted |= to ? mirror_live_at(e, to) : 0;
	}
	if (member->ending.kind != ENDING_FALL && member->ending.kind != ENDING_UNKNOWN &&
	    member->ending.kind != ENDING_CALL_INDIRECT) {
		to = mirror_member_at(e, member->ending.target);
		wanted |= to ? mirror_live_at(e, to) : 0;
	}
	return wanted;
}

/* True: more flags are wanted before the member than was known. */
static bool update_member(struct emit *e, const struct member *member)
{
	const struct flag_use *use = e->all_use + member->first;
	uint16_t *live = live_of(e, member), before = live[0];

	live[member->count] = wanted_after(e, member);
	for (unsigned i = member->count; i-- > 0;)
		live[i] = use[i].reads | (live[i + 1] & (uint16_t)~use[i].kills);
	return live[0] != before;
}

/* Of what reads flags: it does so in memory. */
static bool reads_in_memory(const struct emit *e, unsigned number)
{
	const struct insn_info *info = &e->all_info[number];

	return !e->all_described[number] || info->z.meta.category == ZYDIS_CATEGORY_PUSH ||
	       info->z.meta.category == ZYDIS_CATEGORY_SYSCALL ||
	       info->z.meta.category == ZYDIS_CATEGORY_INTERRUPT;
}

/* Does an instruction of the member itself read, in the host's, flags from before it? */
static bool reads_flags(const struct emit *e, const struct member *member)
{
	uint16_t dead = 0;

	for (unsigned i = 0; i < member->count && dead != FLAGS_ALL; i++) {
		const struct flag_use *use = e->all_use + member->first + i;

		if (use->reads & ~dead)
			return !reads_in_memory(e, member->first + i);
		dead |= use->kills;
	}
	return false;
}

/*
 * Where the flags are at the start of a member. If it hands them on only, to code that may or may not read
 * them, they stay in memory, where its first check of an address would bring them.
 */
static void choose_place(const struct emit *e, struct member *member)
{
	member->flags_in_memory = member->loop_head || !reads_flags(e, member);
}

void mirror_find_live_flags(struct emit *e)
{
	bool changed;

	e->watch_start = PAGE_BYTES;
	e->watch_end = 0;
	for (unsigned i = 0; i < e->member_count; i++)
		describe_member(e, &e->members[i]);
	do {
		changed = false;
		for (unsigned i = e->member_count; i-- > 0;)
			changed |= update_member(e, &e->members[i]);
	} while (changed);
	for (unsigned i = 0; i < e->member_count; i++)
		choose_place(e, &e->members[i]);
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
