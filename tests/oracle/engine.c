/* SPDX-License-Identifier: MIT */
/*
 * A machine of one CPU whose only program is the case: long mode, CPL 3, the case's pages mapped
 * where the native side has them. The kernel half holds descriptor tables and, for each exception,
 * a handler of one instruction: OUT to a port whose device stops the CPU. What the exception pushed
 * is then read from the ring-0 stack. So delivery is tested, too, and any accelerator will do.
 *
 * Guest-physical layout: tables and handlers in the first MiB, the case's pages from 1 MiB.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "accel/accel.h"
#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "dev/bus.h"
#include "host/loop.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"
#include "oracle.h"

#define RAM_BYTES (2u << 20)
#define BLOCK_BYTES (16u << 20)
#define STOP_PORT 0xf5u

/* Guest-physical, all below 1 MiB; the kernel half maps it at KERNEL_BASE. */
#define KERNEL_BASE 0xffff800000000000ull
#define TABLES_AT 0x1000u
#define TABLES 16u
#define GDT_AT 0x20000u
#define GDT_BYTES 0x80u
#define TSS_AT 0x21000u
#define TSS_LIMIT 0x67u
#define IDT_AT 0x22000u
#define HANDLERS_AT 0x23000u
#define HANDLER_BYTES 16u
#define STACK_TOP 0x30000u
#define PAGES_AT 0x100000u /* the case's: code, then data and stack */
#define PAGE_GPA(i) (PAGES_AT + (CODE_PAGES + (i)) * PAGE_BYTES)

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_AD 0x60ull
#define PTE_NX (1ull << 63)

/* A translator leaves cold code to the interpreter: more often than any waits. */
#define RUNS_UNTIL_HOT 30u
#define CODE_BYTES (16u << 20)
#define COLD_ONE_IN 4u

#define WATCHDOG_US 20000
#define SHORT_PATIENCE_TICKS 3u
#define LONG_PATIENCE_TICKS 400u

static const struct accel *const accels[] = { &accel_interp, &accel_translate };

struct engine {
	const struct accel *accel;
	struct cpu_env env;
	struct cpu_intc intc;
	struct cpu *cpu;
	uint8_t *ram;
	unsigned tables;
	uint32_t pkru;
};

/* Whom the watchdog stops; a signal handler can be told no other way. */
static struct {
	struct cpu *_Atomic cpu;
	unsigned ticks, patience;
	bool fired;
} watchdog;

static void tick(int signal)
{
	struct cpu *cpu = watchdog.cpu;

	(void)signal;
	if (!cpu || ++watchdog.ticks < watchdog.patience)
		return;
	watchdog.fired = true;
	cpu_request(cpu, CPU_REQ_STOP);
}

static void start_watchdog(void)
{
	static const struct itimerval period = { { 0, WATCHDOG_US }, { 0, WATCHDOG_US } };
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };

	sigaction(SIGVTALRM, &action, NULL);
	setitimer(ITIMER_VIRTUAL, &period, NULL);
}

/* ---- what the CPU is lent ---- */

static void release_block(struct block *block)
{
	free(block);
}

static bool no_interrupt(void *opaque)
{
	(void)opaque;
	return false;
}

static int nothing(void *opaque)
{
	(void)opaque;
	return -1;
}

static uint64_t cr8_read(void *opaque)
{
	(void)opaque;
	return 0;
}

static void cr8_write(void *opaque, uint64_t value)
{
	(void)opaque;
	(void)value;
}

static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	(void)opaque;
	(void)index;
	(void)value;
	return false;
}

static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	(void)opaque;
	(void)index;
	(void)value;
	return false;
}

static void init(void *opaque)
{
	(void)opaque;
}

static void stop(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct engine *engine = opaque;

	(void)offset;
	(void)size;
	(void)value;
	(void)cpu;
	cpu_request(engine->cpu, CPU_REQ_STOP);
}

static uint64_t no_value(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque;
	(void)offset;
	(void)size;
	(void)cpu;
	return 0;
}

static void shut_down(void *opaque, struct cpu *cpu)
{
	(void)opaque;
	cpu_request(cpu, CPU_REQ_STOP);
}

/* ---- the guest's tables ---- */

static void put64(struct engine *engine, uint64_t gpa, uint64_t value)
{
	memcpy(engine->ram + gpa, &value, 8);
}

static uint64_t get64(const struct engine *engine, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, engine->ram + gpa, 8);
	return value;
}

static void map_page(struct engine *engine, uint64_t linear, uint64_t gpa, uint64_t flags)
{
	uint64_t table = TABLES_AT;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t at = table + (linear >> shift & 511) * 8;

		if (!get64(engine, at)) {
			if (++engine->tables >= TABLES)
				abort();
			put64(engine, at, (TABLES_AT + engine->tables * PAGE_BYTES) |
						  PTE_P | PTE_W | PTE_U | PTE_AD);
		}
		table = get64(engine, at) & ~(PTE_NX | 0xfffull);
	}
	put64(engine, table + (linear >> 12 & 511) * 8, gpa | flags | PTE_P | PTE_AD);
}

static void make_page_tables(struct engine *engine)
{
	for (unsigned gpa = 0; gpa < 0x40000; gpa += PAGE_BYTES)
		map_page(engine, KERNEL_BASE + gpa, gpa, PTE_W);
	for (unsigned i = 0; i < CODE_PAGES; i++)
		map_page(engine, CODE_BASE + i * PAGE_BYTES, PAGES_AT + i * PAGE_BYTES, PTE_U);
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		bool readonly = i >= DATA_WRITABLE && i < DATA_PAGES;

		map_page(engine, image_page_address(i), PAGE_GPA(i),
			 PTE_U | PTE_NX | (readonly ? 0 : PTE_W));
	}
}

/* Type and flags of the descriptor whose segment registers the case begins with. */
#define ATTR_KERNEL_CODE (X86_SEG_P | X86_SEG_S | X86_SEG_L | X86_SEG_G | 0xb)
#define ATTR_USER_CODE (X86_SEG_P | X86_SEG_S | X86_SEG_DPL | X86_SEG_L | X86_SEG_G | 0xb)
#define ATTR_USER_CODE32 (X86_SEG_P | X86_SEG_S | X86_SEG_DPL | X86_SEG_DB | X86_SEG_G | 0xb)
#define ATTR_USER_DATA (X86_SEG_P | X86_SEG_S | X86_SEG_DPL | X86_SEG_DB | X86_SEG_G | 0x3)

static uint64_t descriptor(uint32_t attr)
{
	return 0xffffull | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(0xf | (attr >> 8 & 0xf0)) << 48;
}

static void make_descriptor_tables(struct engine *engine)
{
	put64(engine, GDT_AT + 0x10, descriptor(ATTR_KERNEL_CODE));
	put64(engine, GDT_AT + (USER_CS32 & ~7), descriptor(ATTR_USER_CODE32));
	put64(engine, GDT_AT + (USER_DS & ~7), descriptor(ATTR_USER_DATA));
	put64(engine, GDT_AT + (USER_CS & ~7), descriptor(ATTR_USER_CODE));
	/* RSP0 is at byte 4. */
	put64(engine, TSS_AT + 4, KERNEL_BASE + STACK_TOP);
	/* Byte 102: no I/O permission map. */
	put64(engine, TSS_AT + 96, (uint64_t)(TSS_LIMIT + 1) << 48);
	for (unsigned i = 0; i < 256; i++) {
		uint64_t to = KERNEL_BASE + HANDLERS_AT + i * HANDLER_BYTES;
		uint64_t dpl = i == X86_BP || i == X86_OF_TRAP ? 3 : 0;

		put64(engine, IDT_AT + 16 * i, (to & 0xffff) | 0x10ull << 16 |
			(0x8eull | dpl << 5) << 40 | (to >> 16 & 0xffff) << 48);
		put64(engine, IDT_AT + 16 * i + 8, to >> 32);
		/* OUT STOP_PORT, AL; HLT */
		memcpy(engine->ram + HANDLERS_AT + i * HANDLER_BYTES, "\xe6\xf5\xf4", 3);
	}
}

/* ---- creation ---- */

static void must(int ret, const struct error *err)
{
	if (!ret)
		return;
	fprintf(stderr, "oracle: %s\n", err->message);
	exit(2);
}

static void create_env(struct engine *engine)
{
	struct cpu_env *env = &engine->env;
	struct bus_range port = { .base = STOP_PORT, .size = 1, .name = "stop", .opaque = engine,
				  .read = no_value, .write = stop };
	struct error err;

	engine->intc = (struct cpu_intc){
		.pending = no_interrupt, .acknowledge = nothing, .cr8_read = cr8_read,
		.cr8_write = cr8_write, .msr_read = msr_read, .msr_write = msr_write, .init = init,
	};
	*env = (struct cpu_env){ .intc = &engine->intc, .shutdown = shut_down, .opaque = engine };
	must(loop_create(&env->loop, &err), &err);
	must(mem_create(&env->mem, &err), &err);
	must(mem_add(env->mem, 0, RAM_BYTES, false, "ram", &err), &err);
	must(bus_create(&env->pio, "pio", env->loop, &err), &err);
	must(bus_create(&env->mmio, "mmio", env->loop, &err), &err);
	must(bus_add(env->pio, &port, &err), &err);
	must(exclusive_create(&env->exclusive, &err), &err);
	must(blocks_create(&env->blocks, env->mem, BLOCK_BYTES, release_block, &err), &err);
	engine->ram = mem_ptr(env->mem, 0, RAM_BYTES);
}

struct engine *engine_create(const char *name, uint32_t pkru)
{
	const struct translator_config config = { .code_bytes = CODE_BYTES };
	struct engine *engine;
	struct error err;

	for (unsigned i = 0;; i++) {
		if (i == sizeof(accels) / sizeof(accels[0])) {
			fprintf(stderr, "oracle: no engine '%s'\n", name);
			return NULL;
		}
		if (strcmp(accels[i]->name, name))
			continue;
		engine = calloc(1, sizeof(*engine));
		if (!engine)
			return NULL;
		engine->accel = accels[i];
		break;
	}
	engine->pkru = pkru;
	create_env(engine);
	if (engine->accel->translates)
		must(isa_x86.translator_create(&engine->env.translator, engine->env.blocks,
					       &config, &err), &err);
	must(isa_x86.cpu_create(&engine->env, 0, 1, NULL, &engine->cpu, &err), &err);
	must(exclusive_add(engine->env.exclusive, engine->cpu, &err), &err);
	make_page_tables(engine);
	make_descriptor_tables(engine);
	memset(engine->ram + PAGES_AT, 0xcc, CODE_PAGES * PAGE_BYTES);
	start_watchdog();
	return engine;
}

void engine_fill_stubs(struct engine *engine)
{
	struct hostexec *he = ((struct x86_cpu *)engine->cpu)->hostexec;

	he->stubs = he->stub_limit;
}

void engine_destroy(struct engine *engine)
{
	struct cpu_env *env = &engine->env;

	watchdog.cpu = NULL;
	isa_x86.cpu_destroy(engine->cpu);
	blocks_destroy(env->blocks);
	if (env->translator)
		isa_x86.translator_destroy(env->translator);
	exclusive_destroy(env->exclusive);
	bus_destroy(env->mmio);
	bus_destroy(env->pio);
	mem_destroy(env->mem);
	loop_destroy(env->loop);
	free(engine);
}

const struct x86_cpu *engine_cpu(const struct engine *engine)
{
	return (const struct x86_cpu *)engine->cpu;
}

/* ---- a case ---- */

static void set_segments(const struct oracle_case *c, struct x86_state *state)
{
	static const struct x86_seg null = { .attr = X86_SEG_UNUSABLE };
	static const struct x86_seg flat = { .limit = 0xffffffff, .attr = ATTR_USER_DATA,
					     .selector = USER_DS };

	/* In 64-bit code null selectors, as Linux starts its processes. */
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = c->bits == 64 && i != X86_SS && i != X86_CS ? null : flat;
	state->seg[X86_CS].selector = c->bits == 64 ? USER_CS : USER_CS32;
	state->seg[X86_CS].attr = c->bits == 64 ? ATTR_USER_CODE : ATTR_USER_CODE32;
	state->seg[X86_FS].base = c->fs_base;
	state->seg[X86_GS].base = c->gs_base;
	state->ldtr = (struct x86_seg){ .attr = X86_SEG_UNUSABLE };
	state->tr = (struct x86_seg){ .base = KERNEL_BASE + TSS_AT, .limit = TSS_LIMIT,
				      .selector = 0x40, .attr = X86_SEG_P | 0xb };
	state->gdtr = (struct x86_table){ .base = KERNEL_BASE + GDT_AT, .limit = GDT_BYTES - 1 };
	state->idtr = (struct x86_table){ .base = KERNEL_BASE + IDT_AT, .limit = 256 * 16 - 1 };
}

static void set_state(struct engine *engine, const struct oracle_case *c)
{
	struct x86_state *state = isa_x86.state(engine->cpu);

	memcpy(state->gpr, c->gpr, sizeof(state->gpr));
	state->rip = CODE_BASE + c->code_offset;
	state->rflags = c->rflags | X86_F1 | X86_IF;
	set_segments(c, state);
	state->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		     X86_CR0_PG;
	state->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |
		     X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE;
	state->cr3 = TABLES_AT;
	state->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	state->xcr0 = 0x2e7 | (XSTATE_COMPARED & x86_xcr0_mask(x86_cpu(engine->cpu)));
	state->pkru = engine->pkru;
	state->halted = false;
	state->dr6 = 0xffff0ff0;
	image_xsave(c, state->xsave);
	state->fpu_ip = state->fpu_dp = 0;
	state->fpu_cs = state->fpu_ds = state->fpu_opcode = 0;
}

static void put_code(struct engine *engine, const struct oracle_case *c, bool present)
{
	uint64_t gpa = PAGES_AT + c->code_offset;

	if (present)
		memcpy(engine->ram + gpa, c->code, c->code_size);
	else
		memset(engine->ram + gpa, 0xcc, c->code_size);
	blocks_wrote(engine->env.blocks, gpa, c->code_size);
}

/* The frame that the exception pushed: its error code, if it has one, RIP, CS, RFLAGS, RSP, SS. */
static void store_frame(const struct engine *engine, const struct x86_state *state,
			struct outcome *out)
{
	uint64_t sp = state->gpr[X86_RSP] - KERNEL_BASE;

	if (state->rip < KERNEL_BASE + HANDLERS_AT ||
	    state->rip >= KERNEL_BASE + HANDLERS_AT + 256 * HANDLER_BYTES || watchdog.fired ||
	    sp >= STACK_TOP) {
		out->kind = OUTCOME_ENDLESS;
		return;
	}
	out->kind = OUTCOME_STOPPED;
	out->vector = (uint32_t)((state->rip - KERNEL_BASE - HANDLERS_AT) / HANDLER_BYTES);
	out->error = 0;
	out->vague_flags = 0;
	if (STACK_TOP - sp == 6 * 8) {
		out->error = (uint32_t)get64(engine, sp);
		sp += 8;
	}
	out->rip = get64(engine, sp);
	out->selector[X86_CS] = (uint16_t)get64(engine, sp + 8);
	out->rflags = get64(engine, sp + 16);
	/* RF tells faults from traps. */
	if (engine->accel->translates && (out->rflags & X86_RF))
		out->vague_flags = X86_STATUS_FLAGS;
	out->gpr[X86_RSP] = get64(engine, sp + 24);
	out->selector[X86_SS] = (uint16_t)get64(engine, sp + 32);
}

/* The x87 pointers are kept apart from the image, which cannot hold a guest's. */
static void store_vectors(const struct x86_state *state, struct outcome *out)
{
	memcpy(out->xsave, state->xsave, XSAVE_BYTES);
	memcpy(out->xsave + 6, &state->fpu_opcode, 2);
	memcpy(out->xsave + 8, &state->fpu_ip, 8);
	memcpy(out->xsave + 16, &state->fpu_dp, 8);
}

static void store_outcome(struct engine *engine, struct outcome *out)
{
	const struct x86_state *state = isa_x86.state(engine->cpu);

	memcpy(out->gpr, state->gpr, sizeof(out->gpr));
	for (unsigned i = 0; i < X86_SEGS; i++)
		out->selector[i] = state->seg[i].selector;
	out->fs_base = state->seg[X86_FS].base;
	out->gs_base = state->seg[X86_GS].base;
	out->fault_address = state->cr2;
	store_frame(engine, state, out);
	store_vectors(state, out);
	memcpy(out->page, engine->ram + PAGE_GPA(0), sizeof(out->page));
}

/* Translations of addresses that a run learned are there in the next one, unless flush is given. */
static void run_once(struct engine *engine, const struct oracle_case *c, bool flush)
{
	struct x86_cpu *cpu = (struct x86_cpu *)engine->cpu;

	image_pages(c, (uint8_t(*)[PAGE_BYTES])(engine->ram + PAGE_GPA(0)));
	/* A case may have jumped into its data. */
	blocks_wrote(engine->env.blocks, PAGE_GPA(0), CASE_PAGES * PAGE_BYTES);
	x86_vec_park(cpu);
	set_state(engine, c);
	if (flush)
		isa_x86.state_changed(engine->cpu);
	else
		x86_update_mode(cpu);
	watchdog.ticks = 0;
	watchdog.cpu = engine->cpu;
	engine->accel->run(engine->cpu);
	watchdog.cpu = NULL;
	cpu_request_clear(engine->cpu, CPU_REQ_STOP);
}

void engine_run(struct engine *engine, const struct oracle_case *c, bool patient,
		struct outcome *out)
{
	unsigned runs = engine->accel->translates ? RUNS_UNTIL_HOT : 1;
	/* Code that finds its pages in the TLB and code that does not: as the case says. */
	bool cold = c->code_offset % COLD_ONE_IN == 0;

	put_code(engine, c, true);
	watchdog.fired = false;
	watchdog.patience = patient ? LONG_PATIENCE_TICKS : SHORT_PATIENCE_TICKS;
	for (unsigned i = 0; i < runs && !watchdog.fired; i++)
		run_once(engine, c, i == 0 || (cold && i == runs - 1));
	store_outcome(engine, out);
	put_code(engine, c, false);
}
