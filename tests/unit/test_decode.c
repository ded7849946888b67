/* SPDX-License-Identifier: MIT */
/*
 * Decoding by shapes: what is said of an instruction because another one of its shape was seen is what
 * is said of it when nothing was. Random bytes in all modes; RINGLET_TEST_SEED for other ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "isa/x86/decode.h"
#include "isa/x86/mirror/translate.h"
#include "isa/x86/shapes.h"
#include "isa/x86/vector/hostexec.h"
#include "x86_fixture.h"

#define INSN_BYTES 15
#define SHAPES (4u << 12)
#define VARIANTS 4u

struct bench {
	struct x86_fixture fixture;
	struct x86_decoded *warm;
	uint64_t random;
	uint8_t bytes[INSN_BYTES];
};

static uint64_t next_random(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	const char *seed = getenv("RINGLET_TEST_SEED");

	x86_fixture_create(&b->fixture);
	assert_int_equal(x86_hostexec_create(b->fixture.cpu, NULL), 0);
	assert_int_equal(mirror_describe_create(b->fixture.cpu, NULL), 0);
	b->warm = b->fixture.cpu->decoded;
	b->random = (seed ? strtoull(seed, NULL, 0) : 1) * 0x9e3779b97f4a7c15ull | 1;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	mirror_describe_destroy(b->fixture.cpu);
	x86_hostexec_destroy(b->fixture.cpu);
	x86_fixture_destroy(&b->fixture);
	free(b);
	return 0;
}

/*
 * Shape number: each opcode of one and of two bytes, with each register field, for registers and for
 * memory; then those of three bytes. Prefixes and all else is random. Returns where values may begin.
 */
static unsigned make_bytes(struct bench *b, unsigned number)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x65, 0xf0, 0x48, 0x41, 0x4f };
	unsigned at = 0, map = number >> 12;

	for (unsigned i = 0; i < INSN_BYTES; i++)
		b->bytes[i] = (uint8_t)next_random(b);
	for (unsigned i = next_random(b) % 3; i; i--)
		b->bytes[at++] = prefixes[next_random(b) % sizeof(prefixes)];
	if (map)
		b->bytes[at++] = 0x0f;
	if (map > 1)
		b->bytes[at++] = map == 2 ? 0x38 : 0x3a;
	b->bytes[at++] = (uint8_t)(number >> 4);
	if (!(next_random(b) % 8))
		return at;
	b->bytes[at] = (uint8_t)((b->bytes[at] & 0x47) | (number & 7) << 3 | (number & 8 ? 0xc0 : 0));
	return at + 1;
}

/* The same shape, or one like it: values differ, and meet what may be special. */
static void change_values(struct bench *b, unsigned head)
{
	static const uint8_t edges[] = { 0, 1, 2, 0x1f, 0x20, 0x7f, 0x80, 0xff };

	for (unsigned i = head; i < INSN_BYTES; i++) {
		uint64_t random = next_random(b);

		if (random % 4)
			b->bytes[i] = random % 4 < 3 ? edges[random >> 8 & 7] : (uint8_t)(random >> 8);
	}
}

static unsigned decode(struct bench *b, enum x86_mode mode, unsigned size, struct insn *insn)
{
	memset(insn, 0, sizeof(*insn));
	return x86_decode(b->fixture.cpu, mode, b->bytes, size, insn);
}

/* With nothing kept. */
static unsigned decode_cold(struct bench *b, enum x86_mode mode, unsigned size, struct insn *insn)
{
	struct x86_cpu *cpu = b->fixture.cpu;
	unsigned length;

	assert_int_equal(x86_decode_create(cpu, NULL), 0);
	length = decode(b, mode, size, insn);
	x86_decode_destroy(cpu);
	cpu->decoded = b->warm;
	return length;
}

static void print_bytes(const struct bench *b)
{
	for (unsigned i = 0; i < INSN_BYTES; i++)
		printf("%02x ", b->bytes[i]);
	printf("\n");
}

static bool same_insn(const struct insn *a, const struct insn *b)
{
	return a->fn == b->fn && a->imm == b->imm && a->disp == b->disp && a->base == b->base &&
	       a->index == b->index && a->dst == b->dst && a->src == b->src && a->src2 == b->src2 &&
	       a->scale == b->scale && a->seg == b->seg && a->length == b->length &&
	       a->opsize == b->opsize && a->addrsize == b->addrsize && a->rep == b->rep &&
	       a->flags == b->flags && a->opcode == b->opcode && a->modrm_reg == b->modrm_reg &&
	       !memcmp(a->bytes, b->bytes, sizeof(a->bytes)) && a->mnemonic == b->mnemonic;
}

static void check_decode(struct bench *b, enum x86_mode mode, unsigned size)
{
	struct insn warm, cold;
	unsigned length = decode(b, mode, size, &warm);

	if (decode_cold(b, mode, size, &cold) == length && same_insn(&warm, &cold))
		return;
	print_bytes(b);
	fail_msg("in mode %u, %u bytes", mode, size);
}

static void decode_shapes(struct bench *b, enum x86_mode mode)
{
	/* Of those with three opcode bytes, which are the host's to run, few are kept. */
	for (unsigned i = 0; i < SHAPES / 2; i++) {
		unsigned head = make_bytes(b, i);

		for (unsigned k = 0; k < VARIANTS; k++) {
			check_decode(b, mode, k ? INSN_BYTES : 1 + next_random(b) % INSN_BYTES);
			change_values(b, head);
		}
	}
}

static void test_what_executes_is_the_same(void **state)
{
	struct bench *b = *state;
	struct x86_cpu *cpu = b->fixture.cpu;

	decode_shapes(b, X86_MODE_16);
	x86_fixture_protected(&b->fixture, 0);
	decode_shapes(b, X86_MODE_16);
	cpu->block_key |= X86_KEY_FLAT;
	decode_shapes(b, X86_MODE_32);
	cpu->block_key &= ~(uint32_t)X86_KEY_FLAT;
	decode_shapes(b, X86_MODE_32);
	decode_shapes(b, X86_MODE_64);
}

static bool same_operand(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b)
{
	return a->type == b->type && a->visibility == b->visibility && a->actions == b->actions &&
	       a->encoding == b->encoding && a->size == b->size && !memcmp(&a->mem, &b->mem,
									  sizeof(a->mem));
}

static void check_description(struct bench *b, const ZydisDecoder *decoder, unsigned size)
{
	struct insn_info warm, cold;
	bool described, same;

	memset(&warm, 0, sizeof(warm));
	memset(&cold, 0, sizeof(cold));
	described = mirror_describe(b->fixture.cpu, b->bytes, size, &warm);
	same = described == ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, b->bytes, size, &cold.z,
								cold.op));
	if (described && same) {
		same = !memcmp(&warm.z, &cold.z, sizeof(warm.z));
		for (unsigned i = 0; i < ZYDIS_MAX_OPERAND_COUNT; i++)
			same &= same_operand(&warm.op[i], &cold.op[i]);
	}
	if (same)
		return;
	print_bytes(b);
	fail_msg("%u bytes, machine mode %u", size, decoder->machine_mode);
}

static void describe_shapes(struct bench *b, ZydisMachineMode mode, ZydisStackWidth width)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, mode, width);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, false);
	for (unsigned i = 0; i < SHAPES; i++) {
		unsigned head = make_bytes(b, i);

		for (unsigned k = 0; k < VARIANTS; k++) {
			check_description(b, &decoder, INSN_BYTES);
			check_description(b, &decoder, 1 + next_random(b) % INSN_BYTES);
			change_values(b, head);
		}
	}
}

static void test_what_is_translated_is_the_same(void **state)
{
	struct bench *b = *state;
	struct x86_cpu *cpu = b->fixture.cpu;

	cpu->block_key = (cpu->block_key & ~(uint32_t)X86_KEY_MODE) | X86_MODE_32;
	describe_shapes(b, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	cpu->block_key = (cpu->block_key & ~(uint32_t)X86_KEY_MODE) | X86_MODE_64;
	describe_shapes(b, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

/* Both ways to decode are taken: without the one, the tests above would show nothing. */
static void test_values_do_not_make_a_shape(void **state)
{
	static const uint8_t first[] = { 0x48, 0x81, 0x45, 0x10, 0x78, 0x56, 0x34, 0x12, 0 };
	static const uint8_t second[] = { 0x48, 0x81, 0x45, 0xf0, 0xff, 0xff, 0xff, 0xff, 0 };
	static const uint8_t third[] = { 0x48, 0x81, 0x46, 0x10, 0x78, 0x56, 0x34, 0x12, 0 };
	struct x86_shape a, b, other;
	struct insn_info info;
	ZydisDecoder decoder;

	(void)state;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, first, sizeof(first), &info.z,
							info.op)));
	assert_true(x86_shape_of(&decoder, false, first, sizeof(first), &a));
	assert_true(x86_shape_complete(&a, &info));
	assert_true(x86_shape_of(&decoder, false, second, sizeof(second), &b));
	assert_true(x86_shape_fits(&a, &b, sizeof(second)));
	assert_false(x86_shape_fits(&a, &b, 7));
	assert_true(x86_shape_disp(&a, second) == -16 && x86_shape_imm(&a, second) == -1);
	assert_true(x86_shape_of(&decoder, false, third, sizeof(third), &other));
	assert_false(x86_shape_fits(&a, &other, sizeof(third)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_executes_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_translated_is_the_same, setup, teardown),
		cmocka_unit_test(test_values_do_not_make_a_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
