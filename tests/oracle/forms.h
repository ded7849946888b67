/* SPDX-License-Identifier: MIT */
/*
 * Instruction forms: every encoding that the decoder knows and the CPU model has, grouped by what
 * is the same instruction with the same kinds of operands. Found by walking the opcode maps;
 * immutable then.
 */
#ifndef RINGLET_TESTS_ORACLE_FORMS_H
#define RINGLET_TESTS_ORACLE_FORMS_H

#include <stdbool.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

struct x86_cpu;

enum encoding { ENCODING_LEGACY, ENCODING_VEX, ENCODING_EVEX };
enum { PREFIX_66 = 1, PREFIX_F2 = 2, PREFIX_F3 = 4 };

/* One way to encode a form: what generation starts from. */
struct template {
	uint8_t encoding; /* enum encoding */
	uint8_t prefixes; /* PREFIX_…; the pp field for VEX and EVEX */
	uint8_t map;      /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A, 5, 6 */
	uint8_t opcode;
	uint8_t modrm;
	bool w;
	uint8_t length;   /* VEX.L, EVEX.L'L */
	bool b, z;
	uint8_t aaa;
};

struct form {
	uint64_t key;
	uint16_t mnemonic;
	struct template template;
	bool accepts_lock;
	bool is_branch;  /* near, relative */
};

struct excluded {
	const char *reason;
	unsigned forms;
	uint16_t mnemonic[64]; /* the first of them, without repetition */
	unsigned mnemonics;
};

struct forms {
	unsigned bits; /* 64 or 32 */
	ZydisDecoder decoder;
	struct form *form;
	unsigned count;
	unsigned *x87;   /* which of them are x87 instructions */
	unsigned x87_count;
	struct excluded excluded[16];
	unsigned reasons;
};

void forms_create(struct forms *forms, const struct x86_cpu *cpu, unsigned bits);
void forms_destroy(struct forms *forms);

struct decoded {
	ZydisDecodedInstruction z;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

bool forms_decode(const struct forms *forms, const uint8_t *bytes, unsigned size,
		  struct decoded *d);
/* What is equal for two encodings of one form. */
uint64_t form_key(const struct decoded *d);
/* Why this instruction is not tested, or NULL. */
const char *form_exclusion(const struct decoded *d);

#endif
