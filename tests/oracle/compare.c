/* SPDX-License-Identifier: MIT */
/*
 * Outcomes side by side. What is left out, because no two sides can agree on it: the present bit in
 * the error code of page faults in the kernel's half (Linux hides it), bytes of the XSAVE image
 * that belong to no register, and which components are in their initial configuration (how, not
 * what). A translator may leave status flags behind at a fault that the faulting instruction would
 * have replaced.
 */
#include <string.h>

#include "oracle.h"

#define USER_END 0x7ffffffff000ull

/* One number of the state, in both. */
struct field {
	const char *name;
	int index; /* -1: none */
	uint64_t native, engine;
};

typedef bool visit_fn(void *opaque, const struct field *field);

/* ---- the vector state ---- */

struct part {
	const char *name;
	unsigned component, at, stride, bytes, count;
};

static const struct part parts[] = {
	{ "fcw", 0, 0, 2, 2, 1 },     { "fsw", 0, 2, 2, 2, 1 },	   { "ftw", 0, 4, 2, 1, 1 },
	{ "fop", 0, 6, 2, 2, 1 },     { "fip", 0, 8, 8, 8, 1 },	   { "fdp", 0, 16, 8, 8, 1 },
	{ "mxcsr", 99, 24, 4, 4, 1 }, { "st", 0, 32, 16, 10, 8 },   { "xmm", 1, 160, 16, 16, 16 },
	{ "ymm_high", 2, 576, 16, 16, 16 }, { "k", 5, 1088, 8, 8, 8 },
	{ "tilecfg", 17, XSAVE_TILECFG, 8, 8, 8 }, { "tile_row", 18, XSAVE_TILES, 64, 64, 128 },
	{ "zmm_high", 6, 1152, 32, 32, 16 }, { "zmm", 7, 1664, 64, 64, 16 },
};

static uint64_t part_word(const uint8_t *xsave, const struct part *part, unsigned at,
			  unsigned bytes)
{
	uint64_t present, value = 0;

	memcpy(&present, xsave + 512, 8);
	if (part->component < 64 && !(present >> part->component & 1))
		return strcmp(part->name, "fcw") ? 0 : 0x37f;
	memcpy(&value, xsave + at, bytes);
	return value;
}

static bool visit_vectors(const struct outcome *native, const struct outcome *engine,
			  visit_fn *visit, void *opaque)
{
	for (unsigned p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		const struct part *part = &parts[p];

		for (unsigned i = 0; i < part->count * part->bytes; i += 8) {
			unsigned left = part->bytes - i % part->bytes, bytes = left < 8 ? left : 8;
			unsigned at = part->at + i / part->bytes * part->stride + i % part->bytes;
			struct field field = { part->name, (int)(i / part->bytes),
					       part_word(native->xsave, part, at, bytes),
					       part_word(engine->xsave, part, at, bytes) };

			if (field.native != field.engine && !visit(opaque, &field))
				return false;
			if (left < 8)
				i += left - 8;
		}
	}
	return true;
}

/* ---- everything ---- */

static bool is_fault_with_error(uint32_t vector)
{
	return vector >= X86_TS && vector <= X86_PF_FAULT;
}

static uint32_t visible_error(const struct outcome *outcome)
{
	if (!is_fault_with_error(outcome->vector))
		return 0;
	if (outcome->vector == X86_PF_FAULT && outcome->fault_address >= USER_END)
		return outcome->error & ~1u;
	return outcome->error;
}

static uint64_t visible_address(const struct outcome *outcome)
{
	return outcome->vector == X86_PF_FAULT ? outcome->fault_address : 0;
}

static bool visit_registers(const struct outcome *n, const struct outcome *e, visit_fn *visit,
			    void *opaque)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	static const char *const segments[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	uint64_t flags = FLAGS_SEEN & ~n->vague_flags & ~e->vague_flags;
	struct field fields[] = {
		{ "kind", -1, n->kind, e->kind }, { "vector", -1, n->vector, e->vector },
		{ "error", -1, visible_error(n), visible_error(e) },
		{ "address", -1, visible_address(n), visible_address(e) },
		{ "rip", -1, n->rip, e->rip },
		{ "rflags", -1, n->rflags & flags, e->rflags & flags },
		{ "fs_base", -1, n->fs_base, e->fs_base },
		{ "gs_base", -1, n->gs_base, e->gs_base },
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].native != fields[i].engine && !visit(opaque, &fields[i]))
			return false;
	}
	for (unsigned i = 0; i < X86_GPRS; i++) {
		struct field field = { names[i], -1, n->gpr[i], e->gpr[i] };

		if (field.native != field.engine && !visit(opaque, &field))
			return false;
	}
	for (unsigned i = 0; i < X86_SEGS; i++) {
		struct field field = { segments[i], -1, n->selector[i], e->selector[i] };

		if (field.native != field.engine && !visit(opaque, &field))
			return false;
	}
	return true;
}

static bool visit_memory(const struct outcome *n, const struct outcome *e, visit_fn *visit,
			 void *opaque)
{
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		if (!memcmp(n->page[i], e->page[i], PAGE_BYTES))
			continue;
		for (unsigned at = 0; at < PAGE_BYTES; at += 8) {
			struct field field = { "memory", (int)(image_page_address(i) + at), 0, 0 };

			memcpy(&field.native, n->page[i] + at, 8);
			memcpy(&field.engine, e->page[i] + at, 8);
			if (field.native != field.engine && !visit(opaque, &field))
				return false;
		}
	}
	return true;
}

/* A case that got nowhere natively says nothing. */
static bool is_comparable(const struct outcome *native)
{
	return native->kind == OUTCOME_STOPPED || native->kind == OUTCOME_DIED;
}

static bool visit_all(const struct outcome *native, const struct outcome *engine, visit_fn *visit,
		      void *opaque)
{
	return !is_comparable(native) ||
	       (visit_registers(native, engine, visit, opaque) &&
		visit_vectors(native, engine, visit, opaque) &&
		visit_memory(native, engine, visit, opaque));
}

struct first {
	char *text;
	size_t size;
};

static void name_field(const struct field *field, char *text, size_t size)
{
	if (field->index < 0)
		snprintf(text, size, "%s", field->name);
	else
		snprintf(text, size, "%s[%#x]", field->name, (unsigned)field->index);
}

static bool keep_first(void *opaque, const struct field *field)
{
	struct first *first = opaque;

	if (first->text)
		name_field(field, first->text, first->size);
	return false;
}

bool outcome_equal(const struct outcome *native, const struct outcome *engine, char *text,
		   size_t size)
{
	struct first first = { text, size };

	return visit_all(native, engine, keep_first, &first);
}

struct printer {
	FILE *stream;
	unsigned left;
};

static bool print_field(void *opaque, const struct field *field)
{
	struct printer *printer = opaque;
	char name[64];

	name_field(field, name, sizeof(name));
	fprintf(printer->stream, "  %-20s native %016lx  engine %016lx\n", name, field->native,
		field->engine);
	return --printer->left;
}

void outcome_print(FILE *stream, const struct outcome *native, const struct outcome *engine)
{
	struct printer printer = { stream, 40 };

	fprintf(stream, "native: kind %u vector %u error %#x address %#lx rip %#lx\n", native->kind,
		native->vector, native->error, native->fault_address, native->rip);
	fprintf(stream, "engine: kind %u vector %u error %#x address %#lx rip %#lx\n", engine->kind,
		engine->vector, engine->error, engine->fault_address, engine->rip);
	visit_all(native, engine, print_field, &printer);
}
