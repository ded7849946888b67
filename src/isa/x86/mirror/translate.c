/* SPDX-License-Identifier: MIT */
/*
 * From a decoded block to host code: a head that looks for events, each instruction as itself or as a
 * call to the interpreter, and behind all that the cold paths.
 */
#include "isa/x86/mirror/translate.h"

#include <stdlib.h>

#include "isa/x86/hostexec.h"
#include "isa/x86/hoststub.h"
#include "isa/x86/mirror/mirror.h"

bool mirror_describe(struct x86_cpu *cpu, const uint8_t *bytes, unsigned size,
		     struct insn_info *info)
{
	ZydisDecoder decoder;

	info->cpu = cpu;
	info->mode = X86_MODE_64;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, false);
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, size, &info->z, info->op));
}

struct cold_path *mirror_cold(struct emit *e)
{
	struct cold_path *last = e->cold_paths ? &e->cold[e->cold_paths - 1] : NULL;

	if (last && last->insn == e->insn)
		return last;
	last = &e->cold[e->cold_paths++];
	*last = (struct cold_path){
		.enter = MASM_LABEL_INIT, .back = MASM_LABEL_INIT, .insn = e->insn,
		.leaves = e->insn->flags & INSN_ENDS_BLOCK, .x87_last = e->x87_last,
	};
	return last;
}

void mirror_site_here(struct emit *e)
{
	struct cold_path *cold = mirror_cold(e);

	cold->site = e->m->size;
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

/* Events first; flags are in memory here, so comparing costs nothing. */
static void emit_head(struct emit *e, struct masm_label *event)
{
	struct masm_label live = MASM_LABEL_INIT;
	struct masm *m = e->m;

	masm_rm(m, false, 0x83, 7, H_CPU, (int32_t)CPU_FIELD(cpu.requests));
	masm_byte(m, 0);
	masm_jcc(m, COND_NE, event);
	if (!e->block->uses_vec)
		return;
	masm_cmp_byte(m, H_CPU, e->block->uses_x87 ? CPU_FIELD(x87_live) : CPU_FIELD(vec_live), 0);
	masm_jcc(m, COND_NE, &live);
	masm_call_to(m, e->at, e->translator->thunks.vec);
	if (e->block->uses_x87) {
		masm_cmp_byte(m, H_CPU, CPU_FIELD(x87_live), 0);
		masm_jcc(m, COND_E, event);
	}
	masm_bind(m, &live);
}

static void emit_instruction(struct emit *e)
{
	unsigned before = e->cold_paths;
	bool done;

	if (e->insn->flags & INSN_ENDS_BLOCK)
		mirror_settle_x87(e);
	/* The decoder may have seen another instruction in these bytes: it knows the CPU's model. */
	if (!mirror_describe(e->cpu, e->insn->bytes, e->insn->length, &e->info) ||
	    e->info.z.mnemonic != e->insn->mnemonic)
		done = false;
	else if (!(e->insn->flags & INSN_ENDS_BLOCK))
		done = mirror_emit_stack(e) || mirror_emit_copy(e) || mirror_emit_system(e) ||
		       mirror_emit_special(e) || mirror_emit_x87(e) || mirror_emit_vector(e);
	else
		done = mirror_emit_flow(e);
	if (!done) {
		emit_interpreted(e);
		return;
	}
	if (e->cold_paths != before) {
		struct cold_path *cold = &e->cold[e->cold_paths - 1];

		cold->restores_flags = e->flags_in_host;
		masm_bind(e->m, &cold->back);
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
		if (cold->restores_flags) {
			e->flags_in_host = false;
			mirror_restore_flags(e);
		}
		masm_jmp(e->m, &cold->back);
	}
}

static void emit_block(struct emit *e)
{
	struct masm_label event = MASM_LABEL_INIT;
	const struct insn *last = &e->block->insn[e->block->count - 1];

	emit_head(e, &event);
	e->flags_in_memory = true;
	e->flags_in_host = false;
	for (unsigned i = 0; i < e->block->count; i++) {
		e->insn = &e->block->insn[i];
		emit_instruction(e);
	}
	if (!(last->flags & INSN_ENDS_BLOCK)) {
		mirror_settle_x87(e);
		if (e->live[e->block->count])
			mirror_save_flags(e);
		mirror_emit_exit(e, 0, last->page_offset + last->length);
	}
	mirror_emit_second_ways(e);
	emit_cold_paths(e);
	masm_bind(e->m, &event);
	masm_imm64(e->m, H_SCRATCH, (uint64_t)(uintptr_t)&e->block->block);
	masm_jmp_to(e->m, e->at, e->translator->thunks.dead);
}

static void find_vector_uses(const struct emit *e)
{
	for (unsigned i = 0; i < e->block->count; i++) {
		const struct host_stub *stub = e->block->insn[i].stub;

		if (!stub || !(e->cpu->block_key & X86_KEY_VECTOR))
			continue;
		e->block->uses_vec = true;
		if (stub->flags & HOST_X87)
			e->block->uses_x87 = true;
	}
}

/* A block's sites are in the order of its code, and blocks follow each other. */
static void add_sites(struct emit *e, uint32_t start)
{
	struct translator *t = e->translator;
	size_t count = atomic_load(&t->site_count);

	for (unsigned i = 0; i < e->cold_paths; i++)
		if (e->cold[i].site)
			t->sites[count++] = (struct mirror_site){
				.code = start + e->cold[i].site,
				.cold = start + e->cold[i].enter.position,
				.flags = e->cold[i].site_flags,
			};
	atomic_store(&t->site_count, count);
}

static void translate_locked(struct emit *e)
{
	struct translator *t = e->translator;
	struct block *block = &e->block->block;
	uint32_t generation = blocks_generation(e->cpu->cpu.env.blocks, block->phys);
	const void *code;

	for (unsigned i = 0; i < BLOCK_EXITS; i++) {
		block->exit[i] = (struct block_exit){ .owner = block };
		atomic_store(&block->exit[i].target, t->thunks.exit);
	}
	find_vector_uses(e);
	t->masm.size = 0;
	t->masm.overflow = false;
	mirror_find_live_flags(e);
	e->at = t->code.rx + t->code.used_bytes;
	emit_block(e);
	if (t->masm.overflow)
		return;
	code = codebuf_add(&t->code, t->masm.code, t->masm.size);
	if (!code)
		return;
	mirror_tell(e, code);
	add_sites(e, (uint32_t)((const uint8_t *)code - t->code.rx));
	blocks_set_code(e->cpu->cpu.env.blocks, block, code, e->watch_start, e->watch_end,
			generation);
}

void mirror_translate(struct x86_cpu *cpu, struct x86_block *block)
{
	struct translator *t = cpu->cpu.env.translator;
	struct emit *e;

	if ((block->block.key & 3) != X86_MODE_64 || block->block.phys2 != ~0ull)
		return;
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	e->cpu = cpu;
	e->translator = t;
	e->m = &t->masm;
	e->block = block;
	pthread_mutex_lock(&t->mutex);
	/* Another CPU may have been here first: its code is running, its exits are chained. */
	if (!atomic_load(&block->block.code))
		translate_locked(e);
	pthread_mutex_unlock(&t->mutex);
	free(e);
}
