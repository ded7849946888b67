/* SPDX-License-Identifier: MIT */
/*
 * The comparison of translator and interpreter. A loop of 64-bit code is run until it is hot, with
 * the translator as it is and with bugs put into it: the linker has what copies instructions go
 * through __wrap_mirror_recode below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <Zydis/Mnemonic.h>
#include <cmocka.h>

#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "dev/bus.h"
#include "host/loop.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/mirror/mirror.h"
#include "isa/x86/mirror/recode.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define RAM_BYTES (2u << 20)
#define PML4_AT 0x1000u
#define PDPT_AT 0x2000u
#define DIRECTORY_AT 0x3000u
#define CODE_AT 0x8000u
#define DATA_AT 0x9000u
#define TABLE_BITS 3u  /* present, writable */
#define LARGE_BITS 0x83u
#define ROUNDS 200
#define STEP 0x1234
#define BUDGET 100000

static const uint8_t program[] = {
	0xb9, ROUNDS, 0, 0, 0,                   /* mov ecx, ROUNDS */
	0x81, 0xc0, STEP & 0xff, STEP >> 8, 0, 0, /* 1: add eax, STEP */
	0x89, 0x04, 0x25, 0, 0x90, 0, 0,         /* mov [DATA_AT], eax */
	0x66, 0x0f, 0xfe, 0xc1,                  /* paddd xmm0, xmm1 */
	0xff, 0xc9,                              /* dec ecx */
	0x75, 0xeb,                              /* jnz 1b */
	0xf4,                                    /* hlt */
};

enum bug { BUG_NONE, BUG_SUM, BUG_STORE, BUG_VECTOR };

static enum bug bug;

bool __real_mirror_recode(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
			  const uint8_t host_of[X86_GPRS]);
bool __wrap_mirror_recode(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
			  const uint8_t host_of[X86_GPRS]);

static void replace(struct masm *m, uint32_t from, uint8_t was, uint8_t is)
{
	uint8_t *at = memchr(m->code + from, was, m->size - from);

	assert_non_null(at);
	*at = is;
}

bool __wrap_mirror_recode(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
			  const uint8_t host_of[X86_GPRS])
{
	uint32_t start = m->size;
	bool done = __real_mirror_recode(m, info, bytes, host_of);

	if (bug == BUG_SUM && info->z.mnemonic == ZYDIS_MNEMONIC_ADD)
		replace(m, start, STEP & 0xff, (STEP & 0xff) + 1);
	if (bug == BUG_STORE && info->z.mnemonic == ZYDIS_MNEMONIC_MOV &&
	    info->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
		replace(m, start, 0x89, 0x88); /* one byte instead of four */
	if (bug == BUG_VECTOR && info->z.mnemonic == ZYDIS_MNEMONIC_PADDD)
		replace(m, start, 0xfe, 0xfa); /* psubd */
	return done;
}

struct machine {
	struct cpu_env env;
	struct cpu *cpu;
	unsigned broken;
	char report[65536];
};

static void count_broken(void *opaque, struct cpu *cpu)
{
	struct machine *machine = opaque;

	machine->broken++;
	cpu_request(cpu, CPU_REQ_STOP);
}

static void release_block(struct block *block)
{
	free(block);
}

static void put(struct machine *machine, uint64_t gpa, uint64_t value)
{
	assert_int_equal(mem_write(machine->env.mem, gpa, &value, 8), 0);
}

static uint32_t stored(const struct machine *machine)
{
	uint32_t value;

	assert_int_equal(mem_read(machine->env.mem, DATA_AT, &value, 4), 0);
	return value;
}

/* 64-bit code at CPL 0, everything mapped to itself, vector instructions allowed. */
static void start(struct machine *machine)
{
	struct x86_state *state = machine->cpu->isa->state(machine->cpu);

	put(machine, PML4_AT, PDPT_AT | TABLE_BITS);
	put(machine, PDPT_AT, DIRECTORY_AT | TABLE_BITS);
	put(machine, DIRECTORY_AT, LARGE_BITS);
	assert_int_equal(mem_write(machine->env.mem, CODE_AT, program, sizeof(program)), 0);
	state->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_ET | X86_CR0_NE;
	state->cr3 = PML4_AT;
	state->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	state->efer = X86_EFER_LME | X86_EFER_LMA;
	state->xcr0 = x86_xcr0_mask((struct x86_cpu *)machine->cpu);
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){ .limit = ~0u, .selector = 8, .attr = 0xc093 };
	state->seg[X86_CS].attr = 0xa09b;
	state->rip = CODE_AT;
	state->rflags = X86_F1;
	machine->cpu->isa->state_changed(machine->cpu);
}

static struct machine *machine_create(void)
{
	static const struct translator_config config = { .code_bytes = 1 << 20, .lockstep = true };
	struct machine *machine = calloc(1, sizeof(*machine));
	struct cpu_env *env = &machine->env;

	assert_non_null(machine);
	assert_int_equal(loop_create(&env->loop, NULL), 0);
	assert_int_equal(mem_create(&env->mem, NULL), 0);
	assert_int_equal(mem_add(env->mem, 0, RAM_BYTES, false, "ram", NULL), 0);
	assert_int_equal(bus_create(&env->pio, "pio", env->loop, NULL), 0);
	assert_int_equal(bus_create(&env->mmio, "mmio", env->loop, NULL), 0);
	assert_int_equal(blocks_create(&env->blocks, env->mem, 1 << 20, release_block, NULL), 0);
	assert_int_equal(exclusive_create(&env->exclusive, NULL), 0);
	assert_int_equal(isa_x86.translator_create(&env->translator, env->blocks, &config, NULL),
			 0);
	env->broken = count_broken;
	env->opaque = machine;
	assert_int_equal(isa_x86.cpu_create(env, 0, 1, NULL, &machine->cpu, NULL), 0);
	assert_int_equal(exclusive_add(env->exclusive, machine->cpu, NULL), 0);
	start(machine);
	return machine;
}

static void machine_destroy(struct machine *machine)
{
	struct cpu_env *env = &machine->env;

	blocks_destroy(env->blocks);
	isa_x86.translator_destroy(env->translator);
	isa_x86.cpu_destroy(machine->cpu);
	exclusive_destroy(env->exclusive);
	bus_destroy(env->mmio);
	bus_destroy(env->pio);
	mem_destroy(env->mem);
	loop_destroy(env->loop);
	free(machine);
}

/* Until the guest halts or is stopped; what stderr was told goes to machine->report. */
static void run(struct machine *machine)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t size;

	assert_non_null(file);
	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	exclusive_enter(machine->cpu);
	machine->cpu->isa->run(machine->cpu, BUDGET);
	exclusive_leave(machine->cpu);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	size = fread(machine->report, 1, sizeof(machine->report) - 1, file);
	machine->report[size] = 0;
	fclose(file);
}

static struct machine *run_with(enum bug which)
{
	struct machine *machine = machine_create();

	bug = which;
	run(machine);
	bug = BUG_NONE;
	return machine;
}

static void assert_told(const struct machine *machine, const char *text)
{
	if (!strstr(machine->report, text))
		fail_msg("no '%s' in:\n%s", text, machine->report);
}

static void agrees(void **state)
{
	struct machine *machine = run_with(BUG_NONE);
	unsigned long stretches = 0, instructions = 0;
	char text[4096];
	const char *at;

	(void)state;
	assert_int_equal(machine->broken, 0);
	assert_string_equal(machine->report, "");
	assert_int_equal(stored(machine), ROUNDS * STEP);
	isa_x86.describe_stats(machine->cpu, text, sizeof(text));
	at = strstr(text, "lockstep: ");
	assert_non_null(at);
	sscanf(at, "lockstep: %lu stretches of translated code compared, %lu", &stretches,
	       &instructions);
	assert_true(stretches > 0);
	assert_true(instructions > ROUNDS / 2 * 5);
	machine_destroy(machine);
}

/* What else the translator counts: each mnemonic is told, also beside one with the same count. */
static void tells_equal_counts(void **state)
{
	struct machine *machine = run_with(BUG_NONE);
	uint32_t *counts = x86_cpu(machine->cpu)->mirror.stats.by_mnemonic;
	char text[4096];

	(void)state;
	memset(counts, 0, (ZYDIS_MNEMONIC_MAX_VALUE + 1) * sizeof(*counts));
	counts[ZYDIS_MNEMONIC_CPUID] = counts[ZYDIS_MNEMONIC_LGDT] = counts[ZYDIS_MNEMONIC_OUT] = 7;
	counts[ZYDIS_MNEMONIC_AAA] = 1;
	counts[ZYDIS_MNEMONIC_WRMSR] = 9;
	mirror_describe_stats(x86_cpu(machine->cpu), text, sizeof(text));
	assert_non_null(strstr(text, "\n  wrmsr        9\n  cpuid        7\n  lgdt         7\n"
				     "  out          7\n  aaa          1\n"));
	machine_destroy(machine);
}

static void finds_a_register(void **state)
{
	struct machine *machine = run_with(BUG_SUM);

	(void)state;
	assert_int_equal(machine->broken, 1);
	assert_told(machine, "the first block that differs");
	assert_told(machine, "rax            translated");
	assert_told(machine, "add eax, 0x1234");
	assert_told(machine, "add eax, 0x1235");
	machine_destroy(machine);
}

static void finds_memory(void **state)
{
	struct machine *machine = run_with(BUG_STORE);

	(void)state;
	assert_int_equal(machine->broken, 1);
	assert_told(machine, "the first block that differs");
	assert_told(machine, "memory 9000: before");
	assert_null(strstr(machine->report, "rax            translated"));
	machine_destroy(machine);
}

static void finds_a_vector_register(void **state)
{
	struct machine *machine = machine_create();
	struct x86_cpu *cpu = (struct x86_cpu *)machine->cpu;

	(void)state;
	x86_vec_park(cpu);
	cpu->state.xsave[512] |= 2;   /* XSTATE_BV: SSE is there */
	cpu->state.xsave[160 + 16] = 1; /* xmm1 */
	bug = BUG_VECTOR;
	run(machine);
	bug = BUG_NONE;
	assert_int_equal(machine->broken, 1);
	assert_told(machine, "xmm, component 1, byte 0: translated");
	machine_destroy(machine);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees),
		cmocka_unit_test(tells_equal_counts),
		cmocka_unit_test(finds_a_register),
		cmocka_unit_test(finds_memory),
		cmocka_unit_test(finds_a_vector_register),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
