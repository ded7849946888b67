/* SPDX-License-Identifier: MIT */
/*
 * FNSTENV, FLDENV, FNSAVE, FRSTOR: the host makes and takes its own 28-byte environment, here it
 * becomes one of the guest's four, with the guest's instruction and operand addresses. Intel SDM
 * vol. 1, figures 8-9 to 8-12:
 *
 *	protected, 32 bit: FCW FSW FTW FIP FOP:FCS FDP FDS, four bytes each
 *	protected, 16 bit: FCW FSW FTW FIP FCS FDP FDS, two bytes each
 *	real, 32 bit:      FCW FSW FTW IP[15:0] IP[31:16]<<12|FOP DP[15:0] DP[31:16]<<12
 *	real, 16 bit:      FCW FSW FTW IP[15:0] IP[19:16]<<12|FOP DP[15:0] DP[19:16]<<12
 *
 * The real-mode forms hold linear addresses. FCS and FDS of the protected forms are zero, as on
 * processors that have given them up (CPUID.7.0:EBX bit 13).
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/vector/fields.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

#define ENV_LARGE 28u
#define ENV_SMALL 14u
#define STACK_BYTES 80u
#define REGISTER_BYTES 10u /* in two fields */
#define FOP_MASK 0x7ffu

static uint32_t get(const uint8_t *env, unsigned index, bool large)
{
	return large ? *(const uint32_t *)(env + 4 * index) : *(const uint16_t *)(env + 2 * index);
}

static void put(uint8_t *env, unsigned index, bool large, uint32_t value)
{
	if (large)
		*(uint32_t *)(env + 4 * index) = value;
	else
		*(uint16_t *)(env + 2 * index) = (uint16_t)value;
}

static bool is_large(const struct insn *insn)
{
	return insn->stub->memory_bytes == ENV_LARGE ||
	       insn->stub->memory_bytes == ENV_LARGE + STACK_BYTES;
}

static void put_real_pointers(const struct x86_state *state, uint8_t *env, bool large)
{
	uint32_t ip = (uint32_t)state->fpu_ip + ((uint32_t)state->fpu_cs << 4);
	uint32_t dp = (uint32_t)state->fpu_dp + ((uint32_t)state->fpu_ds << 4);

	put(env, 3, large, ip & 0xffff);
	put(env, 4, large, ip >> 16 << 12 | (state->fpu_opcode & FOP_MASK));
	put(env, 5, large, dp & 0xffff);
	put(env, 6, large, dp >> 16 << 12);
}

/* The host's environment to the guest's; returns its size. */
static unsigned export_environment(struct x86_cpu *cpu, const uint8_t *host, uint8_t *env,
				   bool large)
{
	const struct x86_state *state = &cpu->state;

	/* The upper halves of the 32-bit forms' control words are reserved: as the host has
	 * them. */
	for (unsigned i = 0; i < 3; i++)
		put(env, i, large, get(host, i, true));
	if (!cpu->protected_mode) {
		put_real_pointers(state, env, large);
	} else {
		put(env, 3, large, (uint32_t)state->fpu_ip);
		put(env, 4, large, large ? (state->fpu_opcode & FOP_MASK) << 16 : 0);
		put(env, 5, large, (uint32_t)state->fpu_dp);
		put(env, 6, large, large ? 0xffff0000u : 0);
	}
	return large ? ENV_LARGE : ENV_SMALL;
}

static void import_pointers(struct x86_cpu *cpu, const uint8_t *env, bool large)
{
	struct x86_state *state = &cpu->state;
	uint32_t fourth = get(env, 4, large), sixth = get(env, 6, large);

	state->fpu_ip = get(env, 3, large);
	state->fpu_dp = get(env, 5, large);
	state->fpu_cs = state->fpu_ds = 0;
	if (!cpu->protected_mode) {
		state->fpu_ip |= (fourth >> 12 & 0xffff) << 16;
		state->fpu_dp |= (sixth >> 12 & 0xffff) << 16;
		state->fpu_opcode = fourth & FOP_MASK;
	} else {
		state->fpu_opcode = large ? fourth >> 16 & FOP_MASK : 0;
	}
}

/* The guest's environment to the host's; the addresses are kept on our side. */
static unsigned import_environment(const uint8_t *env, uint8_t *host, bool large)
{
	for (unsigned i = 0; i < 7; i++)
		put(host, i, true, i < 3 ? get(env, i, large) : 0);
	return large ? ENV_LARGE : ENV_SMALL;
}

/* In a page fault processors name a byte of the image's first word, or its last byte. */
static struct fields open_image(struct x86_cpu *cpu, const struct insn *insn,
				enum x86_access access)
{
	struct fields image = fields_open(cpu, insn, insn->stub->memory_bytes, access);
	unsigned word = is_large(insn) ? 4 : 2;

	x86_check_alignment(cpu, image.linear, word);
	fields_probe(cpu, &image, 0, word, word);
	fields_probe(cpu, &image, insn->stub->memory_bytes - 1, 1, 1);
	return image;
}

/* The field at a byte of an image: words of the environment, then registers. */
static unsigned field_bytes(const struct insn *insn, unsigned at)
{
	unsigned environment = is_large(insn) ? ENV_LARGE : ENV_SMALL;

	if (at < environment)
		return is_large(insn) ? 4 : 2;
	return (at - environment) % REGISTER_BYTES ? 2 : 8;
}

static void write_image(struct x86_cpu *cpu, const struct insn *insn, const struct fields *image,
			const uint8_t *from)
{
	unsigned size = insn->stub->memory_bytes, field;

	if (likely(size <= image->room)) {
		fields_store(cpu, image, 0, from, size, 1);
		return;
	}
	for (unsigned at = 0; at < size; at += field) {
		field = field_bytes(insn, at);
		fields_store(cpu, image, at, from + at, field, field);
	}
}

static void read_image(struct x86_cpu *cpu, const struct insn *insn, const struct fields *image,
		       uint8_t *to)
{
	unsigned size = insn->stub->memory_bytes, field;

	if (likely(size <= image->room)) {
		fields_load(cpu, image, 0, to, size, 1);
		return;
	}
	for (unsigned at = 0; at < size; at += field) {
		field = field_bytes(insn, at);
		fields_load(cpu, image, at, to + at, field, field);
	}
}

static void store_image(struct x86_cpu *cpu, const struct insn *insn, unsigned stack)
{
	struct hostexec *he = cpu->hostexec;
	struct fields image;
	unsigned at;

	host_check(cpu, insn->stub);
	image = open_image(cpu, insn, X86_WRITE);
	if (!host_call(cpu, insn, he->bounce))
		return;
	vec_note_control(cpu);
	at = export_environment(cpu, he->bounce, he->bounce2, is_large(insn));
	for (unsigned i = 0; i < stack; i++)
		he->bounce2[at + i] = he->bounce[ENV_LARGE + i];
	write_image(cpu, insn, &image, he->bounce2);
}

static void load_image(struct x86_cpu *cpu, const struct insn *insn, unsigned stack)
{
	struct hostexec *he = cpu->hostexec;
	struct fields image;
	unsigned at;

	host_check(cpu, insn->stub);
	if (!host_begin(cpu, insn))
		return;
	image = open_image(cpu, insn, X86_READ);
	read_image(cpu, insn, &image, he->bounce2);
	at = import_environment(he->bounce2, he->bounce, is_large(insn));
	for (unsigned i = 0; i < stack; i++)
		he->bounce[ENV_LARGE + i] = he->bounce2[at + i];
	if (!host_call(cpu, insn, he->bounce))
		return;
	vec_note_control(cpu);
	import_pointers(cpu, he->bounce2, is_large(insn));
}

void host_run_fnstenv(struct x86_cpu *cpu, const struct insn *insn)
{
	store_image(cpu, insn, 0);
}

void host_run_fldenv(struct x86_cpu *cpu, const struct insn *insn)
{
	load_image(cpu, insn, 0);
}

/* FNSAVE initialises afterwards, the addresses included. */
void host_run_fnsave(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;

	store_image(cpu, insn, STACK_BYTES);
	state->fpu_ip = state->fpu_dp = 0;
	state->fpu_cs = state->fpu_ds = state->fpu_opcode = 0;
}

void host_run_frstor(struct x86_cpu *cpu, const struct insn *insn)
{
	load_image(cpu, insn, STACK_BYTES);
}
