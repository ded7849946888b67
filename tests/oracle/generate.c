/* SPDX-License-Identifier: MIT */
/*
 * Instructions from templates: register numbers, addressing, prefixes and immediates are drawn at
 * random, the result is decoded, and taken if it still is the form it was to be. So nothing here
 * knows which field of which instruction is free.
 */
#include "generate.h"

#include <string.h>

#include "isa/x86/cpuid/cpuid.h"

#define ATTEMPTS 12u
#define MUTATE_ONE_IN 24u
#define X87_ONE_IN 16u

/* ---- one encoding ---- */

struct encoding_buffer {
	uint8_t bytes[48];
	unsigned size;
};

static void put(struct encoding_buffer *e, unsigned byte)
{
	e->bytes[e->size++] = (uint8_t)byte;
}

/* How much is left to chance: less with each attempt that yielded another form. */
static bool is_free(unsigned attempt, unsigned until)
{
	return attempt < until;
}

static void put_segment_and_size(struct builder *b, struct encoding_buffer *e)
{
	static const uint8_t overrides[] = { 0x64, 0x65, 0x64, 0x65, 0x26, 0x2e, 0x36, 0x3e };

	if (one_in(&b->seed, 10))
		put(e, overrides[random_below(&b->seed, 8)]);
	if (one_in(&b->seed, 16))
		put(e, 0x67);
}

static unsigned draw_modrm(struct builder *b, const struct template *t, unsigned attempt)
{
	uint64_t *seed = &b->seed;
	unsigned mod = t->modrm >> 6, reg = t->modrm >> 3 & 7, rm = t->modrm & 7;

	if (mod != 3)
		mod = random_below(seed, 3);
	if (is_free(attempt, 4))
		reg = random_below(seed, 8);
	/* An index in a vector register needs a SIB byte, which the template's ModRM has. */
	if (is_free(attempt, 8) && !(is_free(attempt, 4) == 0 && mod != 3 && rm == 4))
		rm = random_below(seed, 8);
	return mod << 6 | reg << 3 | rm;
}

static void put_displacement(struct builder *b, struct encoding_buffer *e, unsigned bytes)
{
	uint64_t value = one_in(&b->seed, 4) ? random_next(&b->seed) :
					       (uint64_t)(int64_t)(int8_t)random_next(&b->seed);

	for (unsigned i = 0; i < bytes; i++)
		put(e, (unsigned)(value >> 8 * i) & 0xff);
}

static void put_address(struct builder *b, struct encoding_buffer *e, unsigned modrm)
{
	unsigned mod = modrm >> 6, rm = modrm & 7, sib = 0;

	if (mod == 3)
		return;
	if (rm == 4) {
		sib = (unsigned)random_next(&b->seed) & 0xff;
		put(e, sib);
	}
	if (mod == 1)
		put_displacement(b, e, 1);
	else if (mod == 2 || rm == 5 || (rm == 4 && (sib & 7) == 5))
		put_displacement(b, e, 4);
}

static void put_immediate(struct builder *b, struct encoding_buffer *e)
{
	static const uint8_t edges[] = { 0, 1, 0xff, 7, 8, 15, 16, 31, 32, 63, 64, 0x80, 0x7f,
					 3, 4, 2 };
	uint64_t *seed = &b->seed, value = random_next(seed);

	if (one_in(seed, 2))
		value = edges[random_below(seed, 16)];
	if (one_in(seed, 8))
		value |= ~0xffull;
	for (unsigned i = 0; i < 12; i++)
		put(e, (unsigned)(value >> 8 * (i & 7)) & 0xff);
}

static void encode_legacy(struct builder *b, const struct form *form, unsigned attempt,
			  struct encoding_buffer *e)
{
	static const uint8_t values[] = { 0x66, 0xf2, 0xf3 };
	const struct template *t = &form->template;
	unsigned prefixes = t->prefixes, rex = t->w ? 0x48 : 0;
	uint64_t *seed = &b->seed;

	if (is_free(attempt, 6))
		put_segment_and_size(b, e);
	if (is_free(attempt, 4) && one_in(seed, 24))
		prefixes |= 1u << random_below(seed, 3);
	for (unsigned i = 0, first = random_below(seed, 3); i < 3; i++) {
		if (prefixes >> (first + i) % 3 & 1)
			put(e, values[(first + i) % 3]);
	}
	if (is_free(attempt, 6) && form->accepts_lock && one_in(seed, 4))
		put(e, 0xf0);
	/* A REX that is not the last prefix is none. */
	if (is_free(attempt, 4) && b->c->bits == 64 && one_in(seed, 64)) {
		put(e, 0x40 | random_below(seed, 16));
		put(e, 0x3e);
	}
	if (is_free(attempt, 10) && b->c->bits == 64 && one_in(seed, 2))
		rex |= 0x40 | random_below(seed, 8) | (one_in(seed, 8) ? 8 : 0);
	if (rex)
		put(e, rex);
	if (t->map)
		put(e, 0x0f);
	if (t->map > 1)
		put(e, t->map == 2 ? 0x38 : 0x3a);
	put(e, t->opcode);
}

static unsigned draw_vvvv(struct builder *b, unsigned attempt)
{
	unsigned limit = b->c->bits == 64 ? 16 : 8;

	/* Inverted; for many instructions it must name nothing. */
	if (attempt & 1)
		return 15;
	return ~random_below(&b->seed, limit) & 15;
}

static void encode_vex(struct builder *b, const struct form *form, unsigned attempt,
		       struct encoding_buffer *e)
{
	const struct template *t = &form->template;
	unsigned rxb = b->c->bits == 64 ? (unsigned)random_next(&b->seed) & 0xe0 : 0xe0;
	unsigned last = draw_vvvv(b, attempt) << 3 | t->length << 2 | t->prefixes;

	if (is_free(attempt, 6))
		put_segment_and_size(b, e);
	if (!is_free(attempt, 10))
		rxb = 0xe0;
	if (t->map == 1 && !t->w && (rxb & 0x60) == 0x60 && one_in(&b->seed, 2)) {
		put(e, 0xc5);
		put(e, (rxb & 0x80) | last);
	} else {
		put(e, 0xc4);
		put(e, rxb | t->map);
		put(e, (unsigned)t->w << 7 | last);
	}
	put(e, t->opcode);
}

static void encode_evex(struct builder *b, const struct form *form, unsigned attempt,
			struct encoding_buffer *e)
{
	const struct template *t = &form->template;
	bool wide = b->c->bits == 64 && is_free(attempt, 10);
	unsigned vvvv = draw_vvvv(b, attempt), v2 = 8;
	unsigned aaa = t->aaa ? 1 + random_below(&b->seed, 7) : 0;

	if (is_free(attempt, 6))
		put_segment_and_size(b, e);
	if (wide && !(attempt & 1) && one_in(&b->seed, 2))
		v2 = 0;
	put(e, 0x62);
	put(e, (wide ? (unsigned)random_next(&b->seed) & 0xf0 : 0xf0) | t->map);
	put(e, (unsigned)t->w << 7 | vvvv << 3 | 4 | t->prefixes);
	put(e, (unsigned)t->z << 7 | t->length << 5 | (unsigned)t->b << 4 | v2 | aaa);
	put(e, t->opcode);
}

static void encode(struct builder *b, const struct form *form, unsigned attempt,
		   struct encoding_buffer *e)
{
	unsigned modrm = draw_modrm(b, &form->template, attempt);

	e->size = 0;
	switch (form->template.encoding) {
	case ENCODING_LEGACY: encode_legacy(b, form, attempt, e); break;
	case ENCODING_VEX: encode_vex(b, form, attempt, e); break;
	default: encode_evex(b, form, attempt, e); break;
	}
	/* For an opcode without ModRM these are immediate bytes, as good as others. */
	put(e, modrm);
	put_address(b, e, modrm);
	put_immediate(b, e);
}

/* ---- one instruction ---- */

bool builder_has_room(const struct builder *b, unsigned bytes)
{
	return b->c->code_size + bytes <= CASE_CODE_BYTES && b->c->insns < CASE_INSNS;
}

/* The branch before jumps to where the code ends now. */
static void resolve_branch(struct builder *b)
{
	int64_t distance = (int64_t)b->c->code_size - b->branch_end;

	if (b->branch_bytes)
		memcpy(b->c->code + b->branch_at, &distance, b->branch_bytes);
	b->branch_bytes = 0;
}

void builder_append(struct builder *b, const uint8_t *bytes, unsigned size, int form)
{
	struct oracle_case *c = b->c;

	memcpy(c->code + c->code_size, bytes, size);
	c->code_size = (uint8_t)(c->code_size + size);
	c->form[c->insns++] = form;
	c->insn_at[c->insns] = c->code_size;
}

static bool may_run(const struct builder *b, const struct decoded *d)
{
	if (form_exclusion(d) || !x86_isa_allowed(b->cpu, d->z.meta.isa_set, d->z.meta.isa_ext))
		return false;
	return d->z.mnemonic != ZYDIS_MNEMONIC_INT || d->z.raw.imm[0].value.u != 0x80;
}

static bool draw_instruction(struct builder *b, const struct form *form, struct encoding_buffer *e,
			     struct decoded *d)
{
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
		encode(b, form, attempt, e);
		if (forms_decode(b->forms, e->bytes, e->size, d) && form_key(d) == form->key &&
		    may_run(b, d))
			return true;
	}
	return false;
}

/* Flips a bit: another instruction, or one that is undefined here and there alike. */
static bool mutate(struct builder *b, struct encoding_buffer *e, struct decoded *d)
{
	unsigned at = random_below(&b->seed, d->z.length < 6 ? d->z.length : 6);

	e->bytes[at] ^= (uint8_t)(1u << random_below(&b->seed, 8));
	if (one_in(&b->seed, 4)) {
		memmove(e->bytes + 1, e->bytes, 20);
		e->bytes[0] = "\xf0\x66\xf2\xf3\x48"[random_below(&b->seed, 5)];
	}
	if (forms_decode(b->forms, e->bytes, 15, d))
		return may_run(b, d);
	d->z.length = 15;
	d->z.operand_count = 0;
	d->z.mnemonic = ZYDIS_MNEMONIC_INVALID;
	return true;
}

/*
 * Where the code pages end it depends on the processor how much of an undefined instruction is
 * fetched before it is found to be one.
 */
static bool ends_with_page(const struct builder *b)
{
	return (unsigned)b->c->code_offset + CASE_CODE_BYTES > CODE_PAGES * PAGE_BYTES;
}

static void note_branch(struct builder *b, const struct decoded *d, unsigned at)
{
	if (!d->z.raw.imm[0].is_relative || !d->z.raw.imm[0].size || one_in(&b->seed, 8))
		return;
	b->branch_at = at + d->z.raw.imm[0].offset;
	b->branch_bytes = d->z.raw.imm[0].size / 8;
	b->branch_end = at + d->z.length;
}

static void add_instruction(struct builder *b, unsigned index)
{
	const struct form *form = &b->forms->form[index];
	bool pending = b->branch_bytes;
	struct encoding_buffer e;
	struct decoded d;
	unsigned at;

	if (!draw_instruction(b, form, &e, &d))
		return;
	if (one_in(&b->seed, MUTATE_ONE_IN) && !ends_with_page(b)) {
		if (!mutate(b, &e, &d))
			return;
		index = ~0u;
	}
	if (d.z.mnemonic != ZYDIS_MNEMONIC_INVALID) {
		operand_prepare(b, &d, e.bytes);
		operand_note(b, &d);
	}
	at = b->c->code_size;
	builder_append(b, e.bytes, d.z.length, (int)index);
	if (pending)
		resolve_branch(b);
	if (d.z.mnemonic != ZYDIS_MNEMONIC_INVALID)
		note_branch(b, &d, at);
}

/* ---- a case ---- */

static void draw_bases(struct builder *b)
{
	uint64_t *base[] = { &b->c->fs_base, &b->c->gs_base };

	for (unsigned i = 0; i < 2; i++) {
		switch (random_below(&b->seed, 4)) {
		case 0: *base[i] = 0; break;
		case 1: *base[i] = DATA_BASE + random_below(&b->seed, 8192); break;
		case 2: *base[i] = random_below(&b->seed, 1u << 31); break;
		default: *base[i] = (uint64_t)((int64_t)random_next(&b->seed) >> 17); break;
		}
		if (b->c->bits == 32)
			*base[i] = (uint32_t)*base[i];
	}
}

static void draw_code_offset(struct builder *b)
{
	unsigned offset = random_below(&b->seed, 2048);

	switch (random_below(&b->seed, 10)) {
	case 0: offset = PAGE_BYTES - 1 - random_below(&b->seed, 30); break;
	case 1: offset = CODE_PAGES * PAGE_BYTES - 1 - random_below(&b->seed, 40); break;
	default: break;
	}
	b->c->code_offset = (uint16_t)offset;
}

static void draw_stack(struct builder *b)
{
	uint64_t sp = STACK_BASE + PAGE_BYTES - 1024 + 8 * random_below(&b->seed, 384);

	switch (random_below(&b->seed, 16)) {
	case 0: sp = STACK_BASE + random_below(&b->seed, 64); break;
	case 1: sp = STACK_BASE + STACK_PAGES * PAGE_BYTES - random_below(&b->seed, 64); break;
	case 2: sp = STACK_BASE + PAGE_BYTES - random_below(&b->seed, 16); break;
	case 3: sp += random_below(&b->seed, 8); break;
	default: break;
	}
	b->c->gpr[X86_RSP] = sp;
	b->touched |= 1u << X86_RSP;
}

static uint32_t draw_mxcsr(struct builder *b)
{
	uint32_t mxcsr = 0x1f80;

	if (one_in(&b->seed, 2))
		return mxcsr;
	mxcsr |= random_below(&b->seed, 4) << 13 | random_below(&b->seed, 64);
	if (one_in(&b->seed, 4))
		mxcsr |= random_below(&b->seed, 2) << 15 | random_below(&b->seed, 2) << 6;
	if (one_in(&b->seed, 5))
		mxcsr &= ~(1u << (7 + random_below(&b->seed, 6)));
	return mxcsr;
}

static void draw_state(struct builder *b)
{
	struct oracle_case *c = b->c;
	uint64_t *seed = &b->seed;

	for (unsigned i = 0; i < X86_GPRS; i++)
		c->gpr[i] = operand_value(seed);
	c->rflags = random_next(seed) & X86_STATUS_FLAGS;
	c->rflags |= one_in(seed, 4) ? X86_DF : 0;
	c->rflags |= one_in(seed, 32) ? X86_AC : 0;
	c->mxcsr = draw_mxcsr(b);
	c->x87_seed = one_in(seed, 8) ? 0 : random_next(seed) >> 32;
	c->vector_seed = one_in(seed, 16) ? 0 : random_next(seed) >> 32;
	c->mask_seed = one_in(seed, 16) ? 0 : random_next(seed) >> 32;
	for (unsigned i = 0; i < CASE_PAGES; i++)
		c->page_seed[i] = (uint16_t)random_below(seed, IMAGE_PAGES);
	draw_bases(b);
	draw_code_offset(b);
	draw_stack(b);
}

/* Code that runs over the last page's end ends there, on the way through an instruction perhaps. */
static void cut_code(struct oracle_case *c)
{
	unsigned room = CODE_PAGES * PAGE_BYTES - c->code_offset;

	if (c->code_size <= room)
		return;
	c->code_size = (uint8_t)room;
	while (c->insns > 1 && c->insn_at[c->insns - 1] >= room)
		c->insns--;
	c->insn_at[c->insns] = c->code_size;
}

/* 32-bit code has half the registers, and sigreturn keeps the others as they are. */
static void narrow_registers(struct oracle_case *c)
{
	for (unsigned i = 0; i < X86_GPRS && c->bits == 32; i++)
		c->gpr[i] = (uint32_t)c->gpr[i];
}

void generate_case(const struct forms *forms, const struct x86_cpu *cpu, unsigned first,
		   uint64_t seed, struct oracle_case *c)
{
	struct builder b = { .forms = forms, .cpu = cpu, .c = c, .seed = seed };
	unsigned more;
	bool x87;

	*c = (struct oracle_case){ .bits = (uint8_t)forms->bits };
	random_next(&b.seed);
	draw_state(&b);
	add_instruction(&b, first);
	more = one_in(&b.seed, 2) ? 0 : 1 + random_below(&b.seed, 4);
	x87 = one_in(&b.seed, X87_ONE_IN);
	while (more-- && builder_has_room(&b, 60) && b.c->insns + 5 < CASE_INSNS)
		add_instruction(&b, x87 ? forms->x87[random_below(&b.seed, forms->x87_count)] :
					  random_below(&b.seed, forms->count));
	resolve_branch(&b);
	if (!c->insns)
		builder_append(&b, (const uint8_t[]){ 0x90 }, 1, -1);
	cut_code(c);
	narrow_registers(c);
}
