/* SPDX-License-Identifier: MIT */
/*
 * How the PC starts: with firmware, at the reset vector; without, the board does what firmware
 * would have done (tables, memory map, interrupt wiring), loads the kernel and enters it.
 */
#include <string.h>

#include "base/error.h"
#include "boot/boot.h"
#include "board/x86_pc_parts.h"
#include "cpu/isa.h"
#include "cpu/x86_state.h"
#include "irqchip/apic.h"
#include "mem/mem.h"
#include "vm/config.h"

#define CODE_ATTR (X86_SEG_P | X86_SEG_S | X86_SEG_CODE | X86_SEG_READABLE | X86_SEG_ACCESSED | X86_SEG_G)
#define DATA_ATTR (X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_ACCESSED | X86_SEG_G | X86_SEG_DB)
#define TSS_BUSY_ATTR (X86_SEG_P | 0xb)
#define EBDA_START 0x9fc00ull
#define ROM_AREA_START 0xf0000ull
#define ROM_AREA_SIZE 0x10000ull

static void enter_flat(struct x86_state *state, const struct boot_entry *entry)
{
	bool long_mode = entry->mode == BOOT_LONG64;
	struct x86_seg data = { .limit = ~0u, .attr = DATA_ATTR, .selector = entry->ds };

	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = data;
	state->seg[X86_CS] = (struct x86_seg){
		.limit = ~0u, .selector = entry->cs,
		.attr = CODE_ATTR | (long_mode ? X86_SEG_L : X86_SEG_DB),
	};
	state->tr = (struct x86_seg){ .limit = 0xffff, .attr = TSS_BUSY_ATTR };
	state->gdtr = (struct x86_table){ .base = entry->gdt_gpa, .limit = entry->gdt_limit };
	state->idtr = (struct x86_table){ 0 };
	state->cr0 = X86_CR0_PE | X86_CR0_ET;
	if (long_mode) {
		state->cr0 |= X86_CR0_PG;
		state->cr3 = entry->cr3;
		state->cr4 = X86_CR4_PAE;
		state->efer = X86_EFER_LME | X86_EFER_LMA;
	}
	state->rip = entry->rip;
	state->rflags = X86_F1;
	state->gpr[X86_RSP] = entry->rsp;
	state->gpr[X86_RAX] = entry->rax;
	state->gpr[X86_RBX] = entry->rbx;
	state->gpr[X86_RSI] = entry->rsi;
	state->gpr[X86_RDI] = entry->rdi;
}

/* The RAM as firmware would report it, less what firmware keeps for itself. */
static int map_memory(const struct vm *vm, struct e820_map *map)
{
	int ret = 0;

	for (unsigned i = 0; i < mem_region_count(vm->env.mem) && !ret; i++) {
		const struct mem_region *region = mem_region_at(vm->env.mem, i);

		ret = e820_set(map, region->gpa, region->size_bytes,
			       region->readonly ? E820_RESERVED : E820_RAM);
	}
	if (!ret)
		ret = e820_set(map, EBDA_START, 0xa0000 - EBDA_START, E820_RESERVED);
	if (!ret)
		ret = e820_set(map, ROM_AREA_START, ROM_AREA_SIZE, E820_RESERVED);
	return ret;
}

int pc_boot(struct pc *pc, struct error *err)
{
	struct vm *vm = pc->vm;
	struct cpu *cpu = vm->threads[0].cpu;
	struct e820_map map = { 0 };
	struct boot_config config = {
		.kernel = vm->config->kernel,
		.initrd = vm->config->initrd,
		.cmdline = vm->config->params,
		.e820 = &map,
	};
	struct boot_entry entry = { 0 };
	int ret = map_memory(vm, &map);

	if (ret)
		return error_set(err, -ret, "the memory map has no room");
	ret = boot_load(vm->env.mem, &config, &entry, err);
	if (ret)
		return ret;
	apic_virtual_wire(pc->apics);
	enter_flat(cpu->isa->state(cpu), &entry);
	cpu->isa->state_changed(cpu);
	return 0;
}
