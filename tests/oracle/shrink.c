/* SPDX-License-Identifier: MIT */
/*
 * Shrinking: each step takes something away; what still differs, in whatever way, stays. Steps that
 * take much come first. Repeated until none helps.
 */
#include "oracle.h"

#include <string.h>

struct shrinking {
	struct native *native;
	struct engine *engine;
	struct oracle_case *c;
	bool progress;
};

bool case_check(struct native *native, struct engine *engine, const struct oracle_case *c,
		struct outcome *on_native, struct outcome *on_engine)
{
	static struct outcome ours;
	const struct outcome *theirs;

	native_begin(native, c, 1);
	theirs = native_finish(native);
	engine_run(engine, c, theirs->kind == OUTCOME_STOPPED, &ours);
	if (on_native)
		*on_native = *theirs;
	if (on_engine)
		*on_engine = ours;
	return outcome_equal(theirs, &ours, NULL, 0);
}

static bool try(struct shrinking *s, const struct oracle_case *smaller)
{
	if (!memcmp(smaller, s->c, sizeof(*smaller)) ||
	    case_check(s->native, s->engine, smaller, NULL, NULL))
		return false;
	*s->c = *smaller;
	s->progress = true;
	return true;
}

static void drop_insn(struct shrinking *s, unsigned which)
{
	struct oracle_case c = *s->c;
	unsigned at = c.insn_at[which], size = c.insn_at[which + 1] - at;

	memmove(c.code + at, c.code + at + size, (size_t)c.code_size - at - size);
	c.code_size = (uint8_t)(c.code_size - size);
	for (unsigned i = which; i < c.insns; i++) {
		c.insn_at[i] = (uint8_t)(c.insn_at[i + 1] - size);
		c.form[i] = i + 1u < c.insns ? c.form[i + 1] : -1;
	}
	c.insns--;
	try(s, &c);
}

static void try_value64(struct shrinking *s, size_t offset, uint64_t value)
{
	struct oracle_case c = *s->c;
	uint64_t *number = (uint64_t *)((char *)&c + offset);

	if (value >= *number)
		return;
	*number = value;
	try(s, &c);
}

static void shrink_numbers(struct shrinking *s)
{
	static const size_t offsets[] = {
		offsetof(struct oracle_case, rflags), offsetof(struct oracle_case, fs_base),
		offsetof(struct oracle_case, gs_base), offsetof(struct oracle_case, x87_seed),
		offsetof(struct oracle_case, vector_seed), offsetof(struct oracle_case, mask_seed),
		offsetof(struct oracle_case, tile_seed),
	};

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		try_value64(s, offsets[i], 0);
	for (unsigned i = 0; i < X86_GPRS; i++) {
		uint64_t value = s->c->gpr[i];
		size_t offset = offsetof(struct oracle_case, gpr) + 8 * i;

		try_value64(s, offset, 0);
		try_value64(s, offset, value & 0xff);
		try_value64(s, offset, value & 0xffffffff);
	}
	for (unsigned i = 0; i < 64; i++)
		try_value64(s, offsetof(struct oracle_case, rflags), s->c->rflags & ~(1ull << i));
}

static void shrink_rest(struct shrinking *s)
{
	struct oracle_case c = *s->c;

	c.mxcsr = 0x1f80;
	try(s, &c);
	c = *s->c;
	c.code_offset = 0;
	try(s, &c);
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		c = *s->c;
		c.page_seed[i] = 0;
		try(s, &c);
	}
	for (unsigned i = s->c->patches; i--;) {
		c = *s->c;
		c.patch[i] = c.patch[--c.patches];
		try(s, &c);
	}
}

void case_shrink(struct native *native, struct engine *engine, struct oracle_case *c)
{
	struct shrinking s = { native, engine, c, true };

	while (s.progress) {
		s.progress = false;
		for (unsigned i = c->insns; i-- && c->insns > 1;)
			drop_insn(&s, i);
		shrink_rest(&s);
		shrink_numbers(&s);
	}
}
