/* SPDX-License-Identifier: MIT */
/*
 * The walk over the opcode maps: each point of prefix × map × opcode × W × length × ModRM × EVEX
 * bits is put into bytes and decoded. What decodes, and what the model has, is sorted into forms.
 */
#include "forms.h"

#include <stdlib.h>
#include <string.h>

#include "isa/x86/cpuid/cpuid.h"

#define HASH_BITS 17

/* Forms by key while they are collected. */
struct collector {
	struct forms *forms;
	const struct x86_cpu *cpu;
	uint32_t table[1u << HASH_BITS]; /* index + 1 */
	uint64_t *excluded_keys;
	unsigned excluded_count;
	unsigned capacity;
};

/* ---- what is left out ---- */

static const char *excluded_mnemonic(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_RDRAND: case ZYDIS_MNEMONIC_RDSEED:
		return "answers differently each time";
	case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_XGETBV:
		return "tells the machine, not the instruction set";
	case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR: case ZYDIS_MNEMONIC_SMSW:
		return "Linux emulates it in user mode (UMIP)";
	case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
		return "depends on the host's descriptor tables";
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64:
		return "tells which components the processor takes for used; may load PKRU";
	case ZYDIS_MNEMONIC_WRPKRU:
		return "locks the native side's signal handler out";
	default:
		return NULL;
	}
}

const char *form_exclusion(const struct decoded *d)
{
	const char *reason = excluded_mnemonic(d->z.mnemonic);

	if (reason)
		return reason;
	switch (d->z.meta.category) {
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
		return "enters or leaves the system";
	default:
		break;
	}
	if (d->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
	    d->z.mnemonic == ZYDIS_MNEMONIC_IRET || d->z.mnemonic == ZYDIS_MNEMONIC_IRETD ||
	    d->z.mnemonic == ZYDIS_MNEMONIC_IRETQ)
		return "far transfer: depends on the host's descriptor tables";
	for (unsigned i = 0; i < d->z.operand_count; i++) {
		if (d->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (d->op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
		    ZydisRegisterGetClass(d->op[i].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			return "loads a segment register: depends on the host's descriptor tables";
	}
	return NULL;
}

/* ---- keys ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x100000001b3ull;
	return hash ^ hash >> 29;
}

static uint64_t operand_key(uint64_t key, const ZydisDecodedOperand *op)
{
	key = mix(key, (uint64_t)op->type << 32 | op->encoding);
	key = mix(key, (uint64_t)op->visibility << 32 | op->size);
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return mix(key, op->mem.type);
	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return key;
	key = mix(key, ZydisRegisterGetClass(op->reg.value));
	/* Implied registers are part of what the form is; those that are encoded are not. */
	if (op->encoding == ZYDIS_OPERAND_ENCODING_NONE)
		key = mix(key, op->reg.value);
	return key;
}

uint64_t form_key(const struct decoded *d)
{
	const ZydisDecodedInstruction *z = &d->z;
	uint64_t key = mix(0xcbf29ce484222325, z->mnemonic);

	key = mix(key, (uint64_t)z->encoding << 32 | (uint64_t)z->opcode_map << 16 | z->opcode);
	key = mix(key, (uint64_t)z->operand_width << 32 | z->operand_count);
	for (unsigned i = 0; i < z->operand_count; i++) {
		/* IP-relative and absolute operands are ways to say where, not other forms. */
		key = operand_key(key, &d->op[i]);
	}
	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return key;
	key = mix(key, (uint64_t)z->avx.vector_length << 32 | z->avx.mask.mode);
	key = mix(key, (uint64_t)z->avx.broadcast.mode << 32 | z->avx.rounding.mode);
	return mix(key, (uint64_t)z->avx.has_sae << 32 | (z->avx.mask.reg > ZYDIS_REGISTER_K0));
}

/* ---- collecting ---- */

bool forms_decode(const struct forms *forms, const uint8_t *bytes, unsigned size,
		  struct decoded *d)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&forms->decoder, bytes, size, &d->z, d->op));
}

static struct excluded *find_reason(struct forms *forms, const char *reason)
{
	unsigned i = 0;

	while (i < forms->reasons && strcmp(forms->excluded[i].reason, reason))
		i++;
	if (i == forms->reasons)
		forms->excluded[forms->reasons++].reason = reason;
	return &forms->excluded[i];
}

static void note_excluded(struct collector *all, const struct decoded *d, uint64_t key,
			  const char *reason)
{
	struct excluded *excluded;

	for (unsigned i = 0; i < all->excluded_count; i++) {
		if (all->excluded_keys[i] == key)
			return;
	}
	all->excluded_keys = realloc(all->excluded_keys, (all->excluded_count + 1) * sizeof(key));
	if (!all->excluded_keys)
		abort();
	all->excluded_keys[all->excluded_count++] = key;
	excluded = find_reason(all->forms, reason);
	excluded->forms++;
	for (unsigned i = 0; i < excluded->mnemonics; i++) {
		if (excluded->mnemonic[i] == d->z.mnemonic)
			return;
	}
	if (excluded->mnemonics < sizeof(excluded->mnemonic) / sizeof(excluded->mnemonic[0]))
		excluded->mnemonic[excluded->mnemonics++] = (uint16_t)d->z.mnemonic;
}

static struct form *add_form(struct collector *all)
{
	struct forms *forms = all->forms;

	if (forms->count == all->capacity) {
		all->capacity = all->capacity ? 2 * all->capacity : 4096;
		forms->form = realloc(forms->form, all->capacity * sizeof(*forms->form));
		if (!forms->form || all->capacity >= 1u << HASH_BITS)
			abort();
	}
	return &forms->form[forms->count++];
}

static void collect(struct collector *all, const struct template *t, const uint8_t *bytes,
		    unsigned size)
{
	struct decoded d;
	const char *reason;
	struct form *form;
	uint64_t key;
	uint32_t slot;

	if (!forms_decode(all->forms, bytes, size, &d) ||
	    !x86_isa_allowed(all->cpu, d.z.meta.isa_set, d.z.meta.isa_ext))
		return;
	key = form_key(&d);
	reason = form_exclusion(&d);
	if (reason) {
		note_excluded(all, &d, key, reason);
		return;
	}
	slot = (uint32_t)(key >> (64 - HASH_BITS));
	for (; all->table[slot]; slot = (slot + 1) & ((1u << HASH_BITS) - 1)) {
		if (all->forms->form[all->table[slot] - 1].key == key)
			return;
	}
	form = add_form(all);
	*form = (struct form){ .key = key, .template = *t, .mnemonic = (uint16_t)d.z.mnemonic };
	form->accepts_lock = d.z.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK;
	form->is_branch = d.z.raw.imm[0].is_relative;
	all->table[slot] = all->forms->count;
}

/* ---- walking ---- */

/* A register or memory, each ModRM.reg; all of them where ModRM is a part of the opcode. */
static unsigned next_modrm(unsigned modrm, bool all)
{
	if (all || modrm < 0xc0 || modrm >= 0x100 - 8)
		return modrm < 0xc0 ? (modrm < 0x38 ? modrm + 8 : 0xc0) : modrm + 1;
	return modrm + 8;
}

static void walk_legacy_opcode(struct collector *all, struct template *t)
{
	/* x87 and the groups whose register forms are instructions of their own. */
	bool dense = t->map == 0 ? t->opcode >= 0xd8 && t->opcode <= 0xdf :
				   t->map == 1 && (t->opcode == 0x01 || t->opcode == 0xae ||
						   t->opcode == 0xc7 || t->opcode == 0x1e);

	for (unsigned modrm = 0; modrm < 0x100; modrm = next_modrm(modrm, dense)) {
		uint8_t bytes[24] = { 0 };
		unsigned size = 0;

		t->modrm = (uint8_t)modrm;
		if (t->prefixes & PREFIX_66)
			bytes[size++] = 0x66;
		if (t->prefixes & PREFIX_F2)
			bytes[size++] = 0xf2;
		if (t->prefixes & PREFIX_F3)
			bytes[size++] = 0xf3;
		if (t->w)
			bytes[size++] = 0x48;
		if (t->map)
			bytes[size++] = 0x0f;
		if (t->map > 1)
			bytes[size++] = t->map == 2 ? 0x38 : 0x3a;
		bytes[size++] = t->opcode;
		bytes[size] = t->modrm;
		collect(all, t, bytes, 15);
	}
}

static bool is_legacy_prefix(const struct template *t, unsigned bits)
{
	switch (t->opcode) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
	case 0xf0: case 0xf2: case 0xf3: case 0x0f:
		return t->map == 0;
	default:
		return t->map == 0 && bits == 64 && (t->opcode & 0xf0) == 0x40;
	}
}

static void walk_legacy(struct collector *all)
{
	static const uint8_t prefixes[] = {
		0, PREFIX_66, PREFIX_F2, PREFIX_F3, PREFIX_66 | PREFIX_F2, PREFIX_66 | PREFIX_F3,
	};

	for (unsigned i = 0; i < 4 * 256 * 12; i++) {
		struct template t = {
			.encoding = ENCODING_LEGACY,
			.map = (uint8_t)(i / (256 * 12)),
			.opcode = (uint8_t)(i / 12),
			.w = i % 12 >= 6,
			.prefixes = prefixes[i % 6],
		};

		if (!is_legacy_prefix(&t, all->forms->bits) && (!t.w || all->forms->bits == 64))
			walk_legacy_opcode(all, &t);
	}
}

static void walk_vex(struct collector *all)
{
	for (unsigned i = 0; i < 3 * 256 * 16; i++) {
		struct template t = {
			.encoding = ENCODING_VEX,
			.map = (uint8_t)(1 + i / (256 * 16)),
			.opcode = (uint8_t)(i / 16),
			.prefixes = i & 3, .w = i >> 2 & 1, .length = i >> 3 & 1,
		};

		for (unsigned modrm = 0; modrm < 0x100; modrm = next_modrm(modrm, false)) {
			/* vvvv names no register in most; SIB base RAX, index XMM1 for the rest. */
			for (unsigned variant = 0; variant < 4; variant++) {
				unsigned vvvv = variant & 1 ? 2 : 0, sib = variant >> 1;
				uint8_t bytes[24] = {
					0xc4, (uint8_t)(0xe0 | t.map),
					(uint8_t)(t.w << 7 | (~vvvv & 15) << 3 | t.length << 2 |
						  t.prefixes),
					t.opcode, (uint8_t)(modrm | (sib ? 4 : 0)), 0x08,
				};

				if (sib && modrm >= 0xc0)
					break;
				t.modrm = bytes[4];
				collect(all, &t, bytes, 15);
			}
		}
	}
}

static void walk_evex_opcode(struct collector *all, struct template *t)
{
	for (unsigned modrm = 0; modrm < 0x100; modrm = next_modrm(modrm, false)) {
		for (unsigned variant = 0; variant < 4; variant++) {
			unsigned vvvv = variant & 1 ? 2 : 0, sib = variant >> 1;
			uint8_t bytes[24] = {
				0x62, (uint8_t)(0xf0 | t->map),
				(uint8_t)(t->w << 7 | (~vvvv & 15) << 3 | 4 | t->prefixes),
				(uint8_t)(t->z << 7 | t->length << 5 | t->b << 4 | 8 | t->aaa),
				t->opcode, (uint8_t)(modrm | (sib ? 4 : 0)), 0x08,
			};

			if (sib && modrm >= 0xc0)
				break;
			t->modrm = bytes[5];
			collect(all, t, bytes, 15);
		}
	}
}

static void walk_evex(struct collector *all)
{
	static const uint8_t maps[] = { 1, 2, 3, 5, 6 };

	for (unsigned i = 0; i < 5 * 256 * 8; i++) {
		for (unsigned j = 0; j < 3 * 2 * 4; j++) {
			unsigned masking = j % 3;
			struct template t = {
				.encoding = ENCODING_EVEX,
				.map = maps[i / (256 * 8)],
				.opcode = (uint8_t)(i / 8),
				.prefixes = i & 3, .w = i >> 2 & 1,
				.aaa = masking ? 1 : 0, .z = masking == 2,
				.b = j / 3 & 1, .length = (uint8_t)(j / 6),
			};

			walk_evex_opcode(all, &t);
		}
	}
}

static void find_x87(struct forms *forms)
{
	forms->x87 = calloc(forms->count, sizeof(*forms->x87));
	if (!forms->x87)
		abort();
	for (unsigned i = 0; i < forms->count; i++) {
		const struct template *t = &forms->form[i].template;

		if (t->encoding == ENCODING_LEGACY && t->map == 0 && t->opcode >> 3 == 0xd8 >> 3)
			forms->x87[forms->x87_count++] = i;
	}
}

void forms_create(struct forms *forms, const struct x86_cpu *cpu, unsigned bits)
{
	struct collector *all = calloc(1, sizeof(*all));

	if (!all)
		abort();
	*forms = (struct forms){ .bits = bits };
	ZydisDecoderInit(&forms->decoder,
			 bits == 64 ? ZYDIS_MACHINE_MODE_LONG_64 :
				      ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
			 bits == 64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	ZydisDecoderEnableMode(&forms->decoder, ZYDIS_DECODER_MODE_MPX, false);
	all->forms = forms;
	all->cpu = cpu;
	walk_legacy(all);
	walk_vex(all);
	walk_evex(all);
	find_x87(forms);
	free(all->excluded_keys);
	free(all);
}

void forms_destroy(struct forms *forms)
{
	free(forms->x87);
	free(forms->form);
}
