/* SPDX-License-Identifier: MIT */
#include "x86_machine.h"

#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "base/log.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "dev/bus.h"
#include "host/loop.h"
#include "mem/mem.h"

#define SLICE_INSTRUCTIONS 1000
#define ROM_BYTES 0x10000u
#define PAGE 0x1000u
#define CODE_BYTES (1u << 20)
#define ALARM_US 4000
#define BLOCK_BYTES (256u << 10) /* so small that it is emptied now and then */

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_AD 0x60ull
#define PTE_LARGE 0x80ull
#define PTE_GLOBAL 0x100ull
#define PTE_NX (1ull << 63)
#define PTE_ALL (PTE_P | PTE_W | PTE_U | PTE_AD)

enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_CODE3 = 0x18, SEL_DATA3 = 0x20, SEL_TSS = 0x28,
       SEL_LDT = 0x38, SEL_SMALL = 0x48, SEL_SMALL3 = 0x50, SEL_CALL = 0x58, SEL_TSS2 = 0x68 };

/* The machines stay, and what they have in their caches: no leaks, but a search for each input. */
int __lsan_is_turned_off(void)
{
	return 1;
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- what the CPU is lent ---- */

static uint64_t read_device(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque;
	(void)cpu;
	return offset * 0x0101010101010101ull + size;
}

static void write_device(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct x86_machine *machine = opaque;

	(void)size;
	(void)cpu;
	/* Some registers start a transfer into RAM, over code as well. */
	if ((offset & 0xf0) == 0x40)
		x86_machine_write(machine, value & (MACHINE_RAM / 2 - 8), &value, 8);
}

static bool pending(void *opaque)
{
	const struct x86_machine *machine = opaque;

	return machine->vector & 1;
}

static int acknowledge(void *opaque)
{
	const struct x86_machine *machine = opaque;

	return machine->vector;
}

static uint64_t cr8_read(void *opaque)
{
	(void)opaque;
	return 5;
}

static void cr8_write(void *opaque, uint64_t value)
{
	(void)opaque;
	must(value < 16);
}

static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	(void)opaque;
	*value = index;
	return index & 1;
}

static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	(void)opaque;
	(void)value;
	return index & 1;
}

static void init(void *opaque)
{
	(void)opaque;
}

static void shut_down(void *opaque, struct cpu *cpu)
{
	struct x86_machine *machine = opaque;

	machine->shut_down = true;
	cpu_request(cpu, CPU_REQ_STOP);
}

static void fpu_error(void *opaque)
{
	(void)opaque;
}

static void release_block(struct block *block)
{
	free(block);
}

/* ---- creation ---- */

/* Whoever runs past the end of guest memory shall not find other memory there. */
static void guard(uint8_t *start, size_t size)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	mmap(start - PAGE, PAGE, PROT_NONE, flags, -1, 0);
	mmap(start + size, PAGE, PROT_NONE, flags, -1, 0);
}

static void create_env(struct x86_machine *machine)
{
	struct cpu_env *env = &machine->env;
	struct bus_range device = { .size = 0x400, .name = "device", .opaque = machine,
				    .read = read_device, .write = write_device };

	machine->intc = (struct cpu_intc){
		.opaque = machine, .pending = pending, .acknowledge = acknowledge,
		.cr8_read = cr8_read, .cr8_write = cr8_write, .msr_read = msr_read,
		.msr_write = msr_write, .init = init,
	};
	*env = (struct cpu_env){ .intc = &machine->intc, .shutdown = shut_down,
				 .fpu_error = fpu_error, .opaque = machine };
	must(!loop_create(&env->loop, NULL));
	must(!mem_create(&env->mem, NULL));
	must(!mem_add(env->mem, 0, MACHINE_RAM, false, "ram", NULL));
	must(!mem_add(env->mem, MACHINE_ROM, ROM_BYTES, true, "rom", NULL));
	must(!bus_create(&env->pio, "pio", env->loop, NULL));
	must(!bus_create(&env->mmio, "mmio", env->loop, NULL));
	must(!bus_add(env->pio, &device, NULL));
	device.base = MACHINE_MMIO;
	must(!bus_add(env->mmio, &device, NULL));
	must(!exclusive_create(&env->exclusive, NULL));
	must(!blocks_create(&env->blocks, env->mem, BLOCK_BYTES, release_block, NULL));
	machine->ram = mem_ptr(env->mem, 0, MACHINE_RAM);
	machine->rom = mem_ptr(env->mem, MACHINE_ROM, ROM_BYTES);
	guard(machine->ram, MACHINE_RAM);
	guard(machine->rom, ROM_BYTES);
}

/*
 * A string instruction may repeat for ever, and translated code that goes round in itself has no
 * budget. Both heed requests, so the alarm clock ends them.
 */
static struct cpu *_Atomic alarmed;
static volatile bool rang;

static void ring(int signal)
{
	struct cpu *cpu = alarmed;

	(void)signal;
	if (!cpu)
		return;
	rang = true;
	cpu_request(cpu, CPU_REQ_STOP);
}

static void set_alarm(void)
{
	static const struct itimerval period = { { 0, ALARM_US }, { 0, ALARM_US } };
	struct sigaction action = { .sa_handler = ring, .sa_flags = SA_RESTART };

	sigaction(SIGVTALRM, &action, NULL);
	setitimer(ITIMER_VIRTUAL, &period, NULL);
}

void x86_machine_create(struct x86_machine *machine, bool translate)
{
	const struct translator_config config = { .code_bytes = CODE_BYTES };

	log_set_level(LOG_LEVEL_ERROR);
	create_env(machine);
	if (translate)
		must(!isa_x86.translator_create(&machine->env.translator, machine->env.blocks,
						&config, NULL));
	set_alarm();
	must(!isa_x86.cpu_create(&machine->env, 0, 1, NULL, &machine->cpu, NULL));
	must(!exclusive_add(machine->env.exclusive, machine->cpu, NULL));
	exclusive_enter(machine->cpu);
}

/* ---- tables ---- */

static void put(struct x86_machine *machine, uint64_t gpa, uint64_t value, unsigned size)
{
	memcpy(machine->ram + gpa, &value, size);
}

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(attr >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

static void make_gdt(struct x86_machine *machine, bool long_mode)
{
	uint32_t size = long_mode ? X86_SEG_L : X86_SEG_DB, small = long_mode ? X86_SEG_DB : 0;
	const struct {
		unsigned selector;
		uint64_t value;
	} entries[] = {
		{ SEL_CODE, descriptor(0, 0xfffff, X86_SEG_G | size | 0x9b) },
		{ SEL_DATA, descriptor(0, 0xfffff, X86_SEG_G | X86_SEG_DB | 0x93) },
		{ SEL_CODE3, descriptor(0, 0xfffff, X86_SEG_G | size | 0xfb) },
		{ SEL_DATA3, descriptor(0, 0xfffff, X86_SEG_G | X86_SEG_DB | 0xf3) },
		{ SEL_TSS, descriptor(MACHINE_TSS, 0x3ff, 0x8b) },
		{ SEL_LDT, descriptor(MACHINE_LDT, 0xff, 0x82) },
		{ SEL_SMALL, descriptor(0, 0xfffff, X86_SEG_G | small | 0x9b) },
		{ SEL_SMALL3, descriptor(0, 0xfffff, X86_SEG_G | small | 0xfb) },
		/* A call gate for everybody, to the start of the code. */
		{ SEL_CALL, (uint64_t)SEL_CODE << 16 | 0xecull << 40 | 1ull << 48 },
		{ SEL_TSS2, descriptor(MACHINE_TSS + 0x400, 0x67, 0xe9) },
	};

	for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		put(machine, MACHINE_GDT + entries[i].selector, entries[i].value, 8);
}

/* Each vector's handler is somewhere in the code, at every privilege; the last ones are odd. */
static void make_idt(struct x86_machine *machine)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t to = MACHINE_CODE + i * 24;
		uint64_t type = i & 1 ? 0xef : 0xee;
		uint64_t gate = (to & 0xffff) | (uint64_t)SEL_CODE << 16 | type << 40 |
				to >> 16 << 48;

		put(machine, MACHINE_IDT + i * 16, gate | (uint64_t)(i % 8 == 7) << 32, 8);
		/* A task gate here and there. */
		if (i % 16 == 9)
			gate = (uint64_t)SEL_TSS2 << 16 | 0xe5ull << 40;
		put(machine, MACHINE_IDT32 + i * 8, gate, 8);
		/* Real mode's, at 0. */
		put(machine, i * 4ull, (MACHINE_CODE >> 4) << 16 | (i * 24), 4);
	}
}

static void make_tss(struct x86_machine *machine)
{
	/* RSP0, and ESP0 with SS0; IST1; the I/O map, half of it open. */
	put(machine, MACHINE_TSS + 4, MACHINE_STACK - 0x400, 8);
	put(machine, MACHINE_TSS + 8, SEL_DATA, 2);
	put(machine, MACHINE_TSS + 36, MACHINE_STACK - 0x800, 8);
	put(machine, MACHINE_TSS + 0x66, 0x88, 2);
	memset(machine->ram + MACHINE_TSS + 0x98, 0xff, 0x20);
}

/* What is special about the odd pages: flags, and where they lie if not where they seem to. */
static void make_odd_pages(struct x86_machine *machine)
{
	static const struct {
		uint64_t flags, gpa;
	} odd[] = {
		{ PTE_P | PTE_U | PTE_AD, 0 },
		{ PTE_P | PTE_W | PTE_AD, 0 },
		{ PTE_ALL | PTE_NX, 0 },
		{ 0, 0 },
		{ PTE_ALL, MACHINE_MMIO },
		{ PTE_ALL, MACHINE_ROM },
		{ PTE_P | PTE_W | PTE_U | PTE_GLOBAL, 0 },
		{ PTE_ALL, 0xd0000000 },  /* nothing is there */
		{ PTE_ALL, 1ull << 51 },  /* nor can be */
		{ PTE_ALL, MACHINE_CODE },
	};

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		put(machine, MACHINE_PT + ((MACHINE_ODD_PAGES >> 12) + i) * 8,
		    odd[i].flags | (odd[i].gpa ? odd[i].gpa : MACHINE_ODD_PAGES + i * PAGE), 8);
}

/* The first 2 MiB in small pages, in each format; above that some large ones. */
static void make_pages(struct x86_machine *machine)
{
	for (unsigned i = 0; i < 512; i++)
		put(machine, MACHINE_PT + i * 8, i * PAGE | PTE_ALL, 8);
	make_odd_pages(machine);
	for (unsigned i = 0; i < 1024; i++)
		memcpy(machine->ram + MACHINE_PT32 + i * 4,
		       machine->ram + MACHINE_PT + i % 512 * 8, 4);
	put(machine, MACHINE_PML4, MACHINE_PDPT | PTE_ALL, 8);
	put(machine, MACHINE_PML4 + 511 * 8, MACHINE_PDPT | PTE_ALL, 8);
	put(machine, MACHINE_PDPT, MACHINE_PD | PTE_ALL, 8);
	put(machine, MACHINE_PDPT + 8, PTE_ALL | PTE_LARGE, 8);
	put(machine, MACHINE_PD, MACHINE_PT | PTE_ALL, 8);
	put(machine, MACHINE_PD + 8, PTE_ALL | PTE_LARGE | MACHINE_MMIO, 8);
	put(machine, MACHINE_PAE, MACHINE_PAE_PD | PTE_P, 8);
	put(machine, MACHINE_PAE + 24, MACHINE_PAE_PD | PTE_P, 8);
	put(machine, MACHINE_PAE_PD, MACHINE_PT | PTE_ALL, 8);
	put(machine, MACHINE_PAE_PD + 8, PTE_ALL | PTE_LARGE, 8);
	put(machine, MACHINE_PD32, MACHINE_PT32 | PTE_ALL, 4);
	put(machine, MACHINE_PD32 + 4, PTE_ALL | PTE_LARGE, 4);
	put(machine, MACHINE_PD32 + 0x380 * 4, MACHINE_MMIO | PTE_ALL | PTE_LARGE, 4);
}

/* ---- an input ---- */

void x86_machine_write(struct x86_machine *machine, uint64_t gpa, const void *data, size_t size)
{
	must(!mem_write(machine->env.mem, gpa, data, size));
	blocks_wrote(machine->env.blocks, gpa, size);
}

struct x86_state *x86_machine_reset(struct x86_machine *machine)
{
	memset(machine->ram, 0, MACHINE_RAM);
	make_idt(machine);
	make_tss(machine);
	make_pages(machine);
	blocks_wrote(machine->env.blocks, 0, MACHINE_RAM);
	cpu_request_clear(machine->cpu, ~0u);
	machine->shut_down = false;
	isa_x86.cpu_reset(machine->cpu);
	return isa_x86.state(machine->cpu);
}

static void set_flat(struct x86_state *state, bool long_mode, bool small, unsigned cpl)
{
	uint32_t common = X86_SEG_S | X86_SEG_P | X86_SEG_G | cpl << X86_SEG_DPL_SHIFT;
	uint32_t size = long_mode ? (small ? X86_SEG_DB : X86_SEG_L) : small ? 0 : X86_SEG_DB;

	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){
			.limit = ~0u, .selector = (uint16_t)((cpl ? SEL_DATA3 : SEL_DATA) | cpl),
			.attr = common | X86_SEG_DB | X86_SEG_WRITABLE | X86_SEG_ACCESSED,
		};
	state->seg[X86_CS].attr = common | size | X86_SEG_CODE | X86_SEG_READABLE |
				  X86_SEG_ACCESSED;
	state->seg[X86_CS].selector = (uint16_t)(small ? (cpl ? SEL_SMALL3 : SEL_SMALL) :
						 cpl ? SEL_CODE3 : SEL_CODE) | (uint16_t)cpl;
	state->rip += MACHINE_CODE;
}

/* Real and virtual-8086 mode: the code's own segment, and stacks at its end. */
static void set_real(struct x86_state *state, bool v86)
{
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){
			.base = MACHINE_CODE, .limit = 0xffff, .selector = MACHINE_CODE >> 4,
			.attr = v86 ? 0xf3 : 0x93,
		};
}

void x86_machine_segments(struct x86_machine *machine, bool long_mode, bool small, bool user)
{
	struct x86_state *state = isa_x86.state(machine->cpu);
	bool v86 = state->rflags & X86_VM;

	make_gdt(machine, long_mode);
	state->gdtr = (struct x86_table){ MACHINE_GDT, 0x7f };
	state->idtr = (struct x86_table){ long_mode ? MACHINE_IDT : MACHINE_IDT32,
					  long_mode ? 0xfff : 0x7ff };
	state->ldtr = (struct x86_seg){ MACHINE_LDT, 0xff, 0x82, SEL_LDT };
	state->tr = (struct x86_seg){ MACHINE_TSS, 0x3ff, 0x8b, SEL_TSS };
	if (v86 || !(state->cr0 & X86_CR0_PE))
		set_real(state, v86);
	else
		set_flat(state, long_mode, small, user ? 3 : 0);
	if (!(state->cr0 & X86_CR0_PE))
		state->idtr = (struct x86_table){ 0, 0x3ff };
}

void x86_machine_code(struct x86_machine *machine, const uint8_t *code, size_t size)
{
	if (!size)
		return;
	for (size_t at = 0; at < 2 * PAGE; at += size)
		x86_machine_write(machine, MACHINE_CODE + at, code,
				  size < 2 * PAGE - at ? size : 2 * PAGE - at);
}

/* ---- running it ---- */

/* What a processor makes sure of itself (Intel SDM vol. 3, 2.5, 4.1.1, 5.8). */
static void check_state(const struct x86_machine *machine)
{
	const struct x86_state *state = isa_x86.state(machine->cpu);
	bool pe = state->cr0 & X86_CR0_PE, pg = state->cr0 & X86_CR0_PG;
	bool lma = state->efer & X86_EFER_LMA;
	const struct x86_seg *cs = &state->seg[X86_CS];

	must(pe || !pg);
	must(lma == (pg && state->efer & X86_EFER_LME));
	must(!lma || state->cr4 & X86_CR4_PAE);
	must(pe || !(state->rflags & X86_VM));
	must(!lma || !(state->rflags & X86_VM));
	must(state->rflags & X86_F1 && !(state->rflags & ~0x3f7fd7ull));
	must(!(lma && cs->attr & X86_SEG_L && cs->attr & X86_SEG_DB));
	must(lma && cs->attr & X86_SEG_L ? true : !(state->rip >> 32));
}

static void check_rom(const struct x86_machine *machine)
{
	for (unsigned i = 0; i < ROM_BYTES; i += 8) {
		uint64_t word;

		memcpy(&word, machine->rom + i, 8);
		must(!word);
	}
}

void x86_machine_run(struct x86_machine *machine)
{
	struct cpu *cpu = machine->cpu;
	char text[4096];

	rang = false;
	isa_x86.state_changed(cpu);
	for (unsigned i = 0; i < machine->slices && !machine->shut_down && !rang; i++) {
		uint64_t before = isa_x86.instructions(cpu);

		if (i)
			cpu_request(cpu, machine->requests[i - 1]);
		alarmed = cpu;
		if (isa_x86.poll(cpu) == ISA_RUN)
			isa_x86.run(cpu, SLICE_INSTRUCTIONS);
		alarmed = NULL;
		must(isa_x86.instructions(cpu) - before <= SLICE_INSTRUCTIONS + 64);
		cpu_request_clear(cpu, CPU_REQ_STOP);
		check_state(machine);
	}
	isa_x86.describe(cpu, text, sizeof(text));
	check_rom(machine);
}
