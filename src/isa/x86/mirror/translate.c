/* SPDX-License-Identifier: MIT */
/*
 * From decoded blocks to host code: each instruction as itself or as a call to the interpreter, behind all
 * that the cold paths, and the places where a region is entered from outside.
 */
#include "isa/x86/mirror/translate.h"

#include <string.h>

#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/mirror.h"

struct cold_path *mirror_cold(struct emit *e)
{
	struct cold_path *last = e->cold_paths ? &e->cold[e->cold_paths - 1] : NULL;

	if (last && last->insn == e->insn && last->in_twin == e->in_twin)
		return last;
	last = &e->cold[e->cold_paths++];
	*last = (struct cold_path){
		.enter = MASM_LABEL_INIT, .back = MASM_LABEL_INIT, .insn = e->insn,
		.in_twin = e->in_twin,
		.leaves = e->insn->flags & INSN_ENDS_BLOCK, .x87_last = e->x87_last,
	};
	return last;
}

void mirror_site_here(struct emit *e)
{
	struct cold_path *cold = mirror_cold(e);

	cold->may_fault = true;
	cold->site = e->m->size;
	cold->mapped = e->mapped;
	cold->site_flags = e->flags_in_host && !e->flags_in_memory;
}

/* Calls the interpreter for the current instruction; after it the flags are in memory. */
static void emit_interpreted(struct emit *e)
{
	const struct mirror_thunks *thunks = &e->translator->thunks;
	bool last = e->insn->flags & INSN_ENDS_BLOCK;

	mirror_settle_x87(e);
	mirror_save_flags(e);
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)e->insn);
	if (last)
		masm_jmp_to(e->m, e->at, thunks->leave);
	else
		masm_call_to(e->m, e->at, thunks->call);
	e->flags_in_host = false;
	e->flags_in_memory = true;
}

/* Does anybody want something? Flags are in memory here, so comparing costs nothing. */
static void emit_poll(struct emit *e, struct member *member)
{
	masm_alu_imm_mem(e->m, false, 7, H_CPU, CPU_FIELD(cpu.requests), 0);
	masm_jcc(e->m, COND_NE, &member->event);
	e->flags_in_host = false;
}

static void emit_vec_check(struct emit *e, struct member *member)
{
	struct masm_label live = MASM_LABEL_INIT;
	struct masm *m = e->m;

	masm_cmp_byte(m, H_CPU, e->uses_x87 ? CPU_FIELD(x87_live) : CPU_FIELD(vec_live), 0);
	masm_jcc(m, COND_NE, &live);
	masm_call_to(m, e->at, e->translator->thunks.vec);
	if (e->uses_x87) {
		masm_cmp_byte(m, H_CPU, CPU_FIELD(x87_live), 0);
		masm_jcc(m, COND_E, &member->event);
	}
	masm_bind(m, &live);
}

/*
 * From outside, with the flags in memory. What follows is the member's start, or a jump to it. Events are
 * looked for where such jumps come from (lookup.c, flow.c), or at a loop's head.
 */
static void emit_entry(struct emit *e, struct member *member)
{
	e->flags_in_memory = true;
	e->flags_in_host = false;
	member->entry = e->m->size;
	if (e->uses_vec)
		emit_vec_check(e, member);
	if (!member->flags_in_memory && mirror_live_at(e, member))
		mirror_restore_flags(e);
}

static bool leads_to(const struct member *from, const struct member *to)
{
	int64_t offset = to->block->insn[0].page_offset;

	switch (from->ending.kind) {
	case ENDING_FALL: return from->ending.next == offset;
	case ENDING_CONDITION: return from->ending.next == offset || from->ending.target == offset;
	case ENDING_JUMP: case ENDING_CALL: return from->ending.target == offset;
	default: return false;
	}
}

/* Where nobody falls into the member, its entry lies before it; else it has to be out of line. */
static bool entry_in_line(const struct member *member)
{
	return !member->position || !leads_to(member - 1, member);
}

static void emit_start(struct emit *e, struct member *member)
{
	if (entry_in_line(member))
		emit_entry(e, member);
	masm_bind(e->m, &member->start);
	if (member->loop_head)
		emit_poll(e, member);
	e->flags_in_host = !member->flags_in_memory && mirror_live_at(e, member);
	e->flags_in_memory = !e->flags_in_host;
}

static void emit_late_entry(struct emit *e, struct member *member)
{
	if (entry_in_line(member))
		return;
	if (!e->uses_vec && (member->flags_in_memory || !mirror_live_at(e, member))) {
		member->entry = member->start.position;
		return;
	}
	emit_entry(e, member);
	masm_jmp(e->m, &member->start);
}

/* An event before the member: leave with rip there. */
static void emit_event(struct emit *e, struct member *member)
{
	if (!member->event.fixups)
		return;
	masm_bind(e->m, &member->event);
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)&member->block->block);
	masm_jmp_to(e->m, e->at, e->translator->thunks.dead);
}

static void emit_instruction(struct emit *e)
{
	unsigned before = e->cold_paths, number = e->member->first + e->insn->position;
	bool done;

	if (e->insn->flags & INSN_ENDS_BLOCK)
		mirror_settle_x87(e);
	/* The decoder may have seen another instruction in these bytes: it knows the CPU's model. */
	e->info = e->all_info[number];
	e->mapped = false;
	if (!e->all_described[number] || e->info.z.mnemonic != e->insn->mnemonic)
		done = false;
	else if (!(e->insn->flags & INSN_ENDS_BLOCK))
		done = mirror_emit_stack(e) || mirror_emit_copy(e) || mirror_emit_system(e) ||
		       mirror_emit_special(e) || mirror_emit_string(e) || mirror_emit_x87(e) ||
		       mirror_emit_vector(e) || mirror_emit_offset_move(e);
	else
		done = mirror_emit_flow(e) || mirror_emit_ring(e);
	if (!done) {
		emit_interpreted(e);
		mirror_forget_known(e);
		return;
	}
	mirror_after_operands(e);
	if (e->m->scratch_touched)
		e->map_in_r11 = -1;
	if (e->cold_paths != before) {
		struct cold_path *cold = &e->cold[e->cold_paths - 1];

		cold->restores_flags = e->flags_in_host;
		cold->map_in_r11 = e->map_in_r11;
		masm_bind(e->m, &cold->back);
		if (!cold->leaves && mirror_knows_any(e))
			cold->resume = mirror_twin_label(e, e->insn->position + 1u);
	}
}

static void emit_cold_paths(struct emit *e)
{
	for (unsigned i = 0; i < e->cold_paths; i++) {
		struct cold_path *cold = &e->cold[i];

		masm_bind(e->m, &cold->enter);
		mirror_note_x87(e, cold->x87_last);
		masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)cold->insn);
		if (cold->leaves) {
			masm_jmp_to(e->m, e->at, e->translator->thunks.leave);
			continue;
		}
		masm_call_to(e->m, e->at, e->translator->thunks.call);
		if (cold->resume) {
			masm_jmp(e->m, cold->resume);
			continue;
		}
		if (cold->restores_flags) {
			e->flags_in_host = false;
			mirror_restore_flags(e);
		}
		if (cold->map_in_r11 >= 0)
			mirror_emit_map(e, mirror_reg((unsigned)cold->map_in_r11));
		masm_jmp(e->m, &cold->back);
	}
}

static void begin_member(struct emit *e, struct member *member)
{
	e->member = member;
	e->use = e->all_use + member->first;
	e->live = e->all_live + member->first + member->position;
	e->notes = e->all_notes + member->first;
	e->user_access = false;
	mirror_forget_known(e);
}

static void end_member(struct emit *e)
{
	if (e->member->ending.kind != ENDING_FALL)
		return;
	mirror_settle_x87(e);
	mirror_emit_fall(e);
}

static void emit_member(struct emit *e, struct member *member)
{
	begin_member(e, member);
	emit_start(e, member);
	for (unsigned i = 0; i < member->count; i++) {
		e->insn = &member->block->insn[i];
		emit_instruction(e);
	}
	end_member(e);
}

/* The member again, out of line, for when what was known in it is known no more: groups.c. */
static void emit_twin(struct emit *e, struct member *member)
{
	if (!member->twin)
		return;
	begin_member(e, member);
	e->in_twin = true;
	e->x87_last = member->twin_x87;
	e->flags_in_host = false;
	e->flags_in_memory = true;
	for (unsigned i = member->twin_from; i < member->count; i++) {
		mirror_enter_twin(e, i);
		e->insn = &member->block->insn[i];
		emit_instruction(e);
	}
	mirror_enter_twin(e, member->count);
	end_member(e);
	e->in_twin = false;
}

static void emit_region(struct emit *e)
{
	for (unsigned i = 0; i < e->member_count; i++)
		emit_member(e, &e->members[i]);
	for (unsigned i = 0; i < e->member_count; i++)
		emit_twin(e, &e->members[i]);
	mirror_emit_detours(e);
	mirror_emit_second_looks(e);
	mirror_emit_side_exits(e);
	mirror_emit_far_misses(e);
	emit_cold_paths(e);
	for (unsigned i = 0; i < e->member_count; i++)
		emit_late_entry(e, &e->members[i]);
	for (unsigned i = 0; i < e->member_count; i++)
		emit_event(e, &e->members[i]);
	mirror_emit_leave(e);
}

static void find_vector_uses(struct emit *e, const struct member *member)
{
	for (unsigned i = 0; i < member->count; i++) {
		const struct insn *insn = &member->block->insn[i];

		if (!mirror_uses_vector(e, insn))
			continue;
		e->uses_vec = true;
		if (insn->stub->flags & HOST_X87)
			e->uses_x87 = true;
	}
}

static bool give_exits(const struct emit *e, struct block *block)
{
	struct block_exit *exits;

	/* Code made before may be running, and keeps its exits. */
	if (block->exit)
		return true;
	exits = calloc(BLOCK_EXITS, sizeof(*exits));
	if (!exits)
		return false;
	for (unsigned k = 0; k < BLOCK_EXITS; k++) {
		exits[k].owner = block;
		atomic_store(&exits[k].target, e->translator->thunks.exit);
	}
	block->exit = exits;
	return true;
}

/* What translated code and its thunks read of the blocks themselves. False: no memory. */
static bool prepare_blocks(struct emit *e)
{
	for (unsigned i = 0; i < e->member_count; i++)
		find_vector_uses(e, &e->members[i]);
	for (unsigned i = 0; i < e->member_count; i++) {
		struct x86_block *block = e->members[i].block;

		block->uses_vec |= e->uses_vec;
		block->uses_x87 |= e->uses_x87;
		if (!give_exits(e, &block->block))
			return false;
	}
	return true;
}

/* A region's sites are in the order of its code, and regions follow each other. */
static void add_sites(struct emit *e, uint32_t start)
{
	struct mirror_sites *sites = &e->translator->sites;

	mirror_sites_begin(sites, start);
	for (unsigned i = 0; i < e->cold_paths; i++) {
		const struct cold_path *cold = &e->cold[i];

		if (cold->may_fault)
			mirror_sites_add(sites, (struct mirror_site){
				.code = start + cold->site, .cold = cold->enter.position - cold->site,
				.flags = cold->site_flags, .mapped = cold->mapped,
			});
	}
}

static void publish(struct emit *e, const uint8_t *code, uint64_t generation)
{
	struct block_entry entries[REGION_BLOCKS];

	for (unsigned i = 0; i < e->member_count; i++)
		entries[i] = (struct block_entry){
			.block = &e->members[i].block->block,
			.code = code + e->members[i].entry,
		};
	blocks_set_code(e->cpu->cpu.env.blocks, entries, e->member_count, e->watch_start,
			e->watch_end, generation);
}

/* False: the code is too long. */
static bool make_code(struct emit *e, struct x86_block *head)
{
	struct translator *t = e->translator;
	uint64_t generation = blocks_generation(e->cpu->cpu.env.blocks, head->block.phys);
	const uint8_t *code;

	mirror_choose_region(e, head);
	if (!prepare_blocks(e))
		return true;
	t->masm.size = 0;
	t->masm.overflow = false;
	mirror_find_live_flags(e);
	mirror_find_steady(e);
	e->at = t->code.rx + t->code.used_bytes;
	emit_region(e);
	if (t->masm.overflow)
		return false;
	code = codebuf_add(&t->code, t->masm.code, t->masm.size);
	if (!code)
		return true;
	mirror_tell(e, code);
	add_sites(e, (uint32_t)(code - t->code.rx));
	publish(e, code, generation);
	return true;
}

/* Groups make up to twice the code: a long region has to do without. */
static void translate_locked(struct x86_cpu *cpu, struct x86_block *head)
{
	bool done = false;

	for (unsigned tries = 0; tries < 2 && !done; tries++) {
		struct emit *e = cpu->cpu.env.translator->emit;

		memset(e, 0, offsetof(struct emit, members));
		e->cpu = cpu;
		e->translator = cpu->cpu.env.translator;
		e->m = &e->translator->masm;
		e->no_groups = tries;
		e->leave = (struct masm_label)MASM_LABEL_INIT;
		done = make_code(e, head);
	}
}

void mirror_translate(struct x86_cpu *cpu, struct x86_block *head)
{
	struct translator *t = cpu->cpu.env.translator;

	bool wide = (head->block.key & X86_KEY_MODE) == X86_MODE_64;

	if (!wide && !(head->block.key & X86_KEY_FLAT))
		return;
	pthread_mutex_lock(&t->mutex);
	/* Another CPU may have been here first: its code is running, its exits are chained. */
	if (!atomic_load(&head->block.code))
		translate_locked(cpu, head);
	pthread_mutex_unlock(&t->mutex);
}

void mirror_translate_again(struct x86_cpu *cpu, struct x86_block *block, uint32_t code)
{
	struct translator *t = cpu->cpu.env.translator;
	struct block *old, *last = NULL;
	uint32_t start, end;

	pthread_mutex_lock(&t->mutex);
	mirror_sites_region(&t->sites, code, &start, &end);
	t->again_start = t->code.rx + start;
	t->again_end = t->code.rx + (end < t->code.used_bytes ? end : t->code.used_bytes);
	while (!mirror_full(t)) {
		old = blocks_with_code(cpu->cpu.env.blocks, &block->block, t->again_start, t->again_end);
		if (!old || old == last)
			break;
		translate_locked(cpu, (struct x86_block *)old);
		last = old;
	}
	t->again_start = t->again_end = NULL;
	/* The old code would miss each time; nobody makes room where no new block is met. */
	if (mirror_full(t))
		x86_blocks_look_up(cpu);
	pthread_mutex_unlock(&t->mutex);
}
