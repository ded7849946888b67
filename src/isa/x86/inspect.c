/* SPDX-License-Identifier: MIT */
#include "isa/x86/inspect.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <Zydis/Zydis.h>

#include "isa/x86/memory/paging.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

/* ---- registers ---- */

static int describe_bytes(struct x86_cpu *cpu, char *text, size_t size)
{
	uint64_t linear = cpu->state.rip, phys;
	int used = snprintf(text, size, "code");

	if (cpu->mode != X86_MODE_64)
		linear = (uint32_t)(linear + cpu->state.seg[X86_CS].base);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t byte;

		if (!x86_walk_debug(cpu, linear + i, &phys) ||
		    mem_read(cpu->cpu.env.mem, phys, &byte, 1))
			break;
		used += snprintf(text + used, size - (size_t)used, " %02x", byte);
	}
	return used + snprintf(text + used, size - (size_t)used, "\n");
}

void x86_describe(struct cpu *generic, char *text, size_t size)
{
	static const char *const gpr_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
						 "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15" };
	static const char *const seg_names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	struct x86_cpu *cpu = x86_cpu(generic);
	const struct x86_state *s = &cpu->state;
	char line[2048];
	int used = 0;

	for (unsigned i = 0; i < X86_GPRS; i++)
		used += snprintf(line + used, sizeof(line) - (size_t)used, "%s %016lx%s", gpr_names[i],
				 s->gpr[i], i % 4 == 3 ? "\n" : "  ");
	used += snprintf(line + used, sizeof(line) - (size_t)used,
			 "rip %016lx  rflags %08lx  cpl %u%s\n", s->rip, s->rflags, cpu->cpl,
			 s->halted ? "  halted" : "");
	for (unsigned i = 0; i < X86_SEGS; i++)
		used += snprintf(line + used, sizeof(line) - (size_t)used,
				 "%s %04x base %016lx limit %08x attr %05x\n", seg_names[i],
				 s->seg[i].selector, s->seg[i].base, s->seg[i].limit, s->seg[i].attr);
	used += snprintf(line + used, sizeof(line) - (size_t)used,
			 "gdt %016lx/%04x idt %016lx/%04x tr %04x\n"
			 "cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx efer %04lx\n",
			 s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit, s->tr.selector,
			 s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
	describe_bytes(cpu, line + used, sizeof(line) - (size_t)used);
	snprintf(text, size, "%s", line);
}

/* ---- code ---- */

#define BYTES_BEFORE 32u
#define BYTES_AFTER 64u
#define LINES_BEFORE 6u
#define LINES_AFTER 10u
#define LENGTH_MAX 15u

/* Bytes around RIP, as far as they are mapped. */
struct window {
	uint8_t bytes[BYTES_BEFORE + BYTES_AFTER];
	uint64_t start;  /* RIP of the first */
	unsigned first, count; /* those that could be read, of them all */
};

static bool read_byte(struct x86_cpu *cpu, uint64_t rip, uint8_t *byte)
{
	uint64_t linear = rip, phys;

	if (cpu->mode != X86_MODE_64)
		linear = (uint32_t)(rip + cpu->state.seg[X86_CS].base);
	return x86_walk_debug(cpu, linear, &phys) && !mem_read(cpu->cpu.env.mem, phys, byte, 1);
}

static void read_window(struct x86_cpu *cpu, struct window *window)
{
	unsigned first = BYTES_BEFORE, end = BYTES_BEFORE;

	window->start = cpu->state.rip - BYTES_BEFORE;
	while (first && read_byte(cpu, window->start + first - 1, &window->bytes[first - 1]))
		first--;
	while (end < sizeof(window->bytes) &&
	       read_byte(cpu, window->start + end, &window->bytes[end]))
		end++;
	window->first = first;
	window->count = end;
}

static void init_decoder(const struct x86_cpu *cpu, ZydisDecoder *decoder)
{
	if (cpu->mode == X86_MODE_64)
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (cpu->state.seg[X86_CS].attr & X86_SEG_DB)
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	else
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
}

struct listing {
	const struct window *window;
	ZydisDecoder decoder;
	ZydisFormatter formatter;
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static bool decode_at(struct listing *listing, unsigned at)
{
	const struct window *window = listing->window;

	return at < window->count &&
	       ZYAN_SUCCESS(ZydisDecoderDecodeFull(&listing->decoder, window->bytes + at,
						   window->count - at, &listing->instruction,
						   listing->operands));
}

/* Instructions from at to RIP, if that is how they fall; else 0. */
static unsigned count_to_rip(struct listing *listing, unsigned at)
{
	unsigned count = 0;

	while (at < BYTES_BEFORE && decode_at(listing, at)) {
		at += listing->instruction.length;
		count++;
	}
	return at == BYTES_BEFORE ? count : 0;
}

/* Code cannot be read backwards. Most starts that reach RIP agree after a few instructions. */
static unsigned find_start(struct listing *listing)
{
	for (unsigned at = listing->window->first; at < BYTES_BEFORE; at++) {
		unsigned count = count_to_rip(listing, at);

		while (count > LINES_BEFORE) {
			decode_at(listing, at);
			at += listing->instruction.length;
			count--;
		}
		if (count)
			return at;
	}
	return BYTES_BEFORE;
}

static int describe_line(struct listing *listing, unsigned at, char *text, size_t size)
{
	uint64_t rip = listing->window->start + at;
	char line[128], bytes[2 * LENGTH_MAX + 1] = "";

	for (unsigned i = 0; i < listing->instruction.length; i++)
		snprintf(bytes + 2 * i, 3, "%02x", listing->window->bytes[at + i]);
	ZydisFormatterFormatInstruction(&listing->formatter, &listing->instruction,
					listing->operands,
					listing->instruction.operand_count_visible, line,
					sizeof(line), rip, NULL);
	return snprintf(text, size, "%s %016lx  %-22s %s\n", at == BYTES_BEFORE ? "=>" : "  ", rip,
			bytes, line);
}

void x86_describe_code(struct cpu *generic, char *text, size_t size)
{
	struct window window;
	struct listing listing = { .window = &window };
	size_t used = 0;
	unsigned at, after = 0;

	read_window(x86_cpu(generic), &window);
	init_decoder(x86_cpu(generic), &listing.decoder);
	ZydisFormatterInit(&listing.formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	*text = 0;
	for (at = find_start(&listing); after < LINES_AFTER && decode_at(&listing, at);
	     at += listing.instruction.length) {
		after += at >= BYTES_BEFORE;
		used += (size_t)describe_line(&listing, at, text + used, size - used);
		if (used >= size)
			return;
	}
	if (!after)
		snprintf(text + used, size - used, "=> %016lx  %s\n", window.start + BYTES_BEFORE,
			 window.count > BYTES_BEFORE ? "(undefined)" : "(not mapped)");
}

/* ---- how an address is mapped ---- */

static const char *level_name(unsigned shift)
{
	switch (shift) {
	case 39: return "PML4E";
	case 30: return "PDPTE";
	case 21: case 22: return "PDE";
	default: return "PTE";
	}
}

/* Present, writable, user, accessed, dirty, global, not executable. */
static const char *rights_of(uint64_t entry, char text[8])
{
	snprintf(text, 8, "%c%c%c%c%c%c%c", entry & 1 ? 'P' : '-', entry & 2 ? 'W' : '-',
		 entry & 4 ? 'U' : '-', entry & 1 << 5 ? 'A' : '-', entry & 1 << 6 ? 'D' : '-',
		 entry & 1 << 8 ? 'G' : '-', entry >> 63 ? 'N' : '-');
	return text;
}

void x86_describe_address(struct cpu *generic, uint64_t linear, char *text, size_t size)
{
	struct x86_walk_trace trace;
	size_t used = 0;
	char rights[8];

	x86_walk_trace(x86_cpu(generic), linear, &trace);
	*text = 0;
	for (unsigned i = 0; i < trace.steps && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%-5s at %012lx: %016lx %s\n",
					 level_name(trace.step[i].shift),
					 trace.step[i].gpa, trace.step[i].entry,
					 rights_of(trace.step[i].entry, rights));
	if (used >= size)
		return;
	if (!trace.mapped)
		snprintf(text + used, size - used, "%016lx is not mapped\n", linear);
	else
		snprintf(text + used, size - used, "%016lx is at physical %lx%s\n", linear, trace.phys,
			 trace.in_memory ? "" : ", outside of memory");
}
