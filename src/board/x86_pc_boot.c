/* SPDX-License-Identifier: MIT */
/*
 * How the PC starts: with firmware, at the reset vector; without, the board does what firmware
 * would have done (tables, memory map, interrupt wiring), loads the kernel and enters it.
 */
#include "base/error.h"
#include "base/version.h"
#include "boot/boot.h"
#include "board/x86_pc_parts.h"
#include "cpu/isa.h"
#include "cpu/x86_state.h"
#include "irqchip/apic.h"
#include "legacy/acpi_pm.h"
#include "legacy/hpet.h"
#include "legacy/pci_host.h"
#include "mem/mem.h"
#include "tables/tables.h"
#include "vm/config.h"

#define CODE_ATTR (X86_SEG_P | X86_SEG_S | X86_SEG_CODE | X86_SEG_READABLE | X86_SEG_ACCESSED | X86_SEG_G)
#define DATA_ATTR (X86_SEG_P | X86_SEG_S | X86_SEG_WRITABLE | X86_SEG_ACCESSED | X86_SEG_G | X86_SEG_DB)
#define TSS_BUSY_ATTR (X86_SEG_P | 0xb)
#define EBDA_START 0x9fc00ull
#define VGA_START 0xa0000ull

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
int pc_memory_map(const struct vm *vm, struct e820_map *map, struct error *err)
{
	int ret = 0;

	for (unsigned i = 0; i < mem_region_count(vm->env.mem) && !ret; i++) {
		const struct mem_region *region = mem_region_at(vm->env.mem, i);

		/* Where PCI devices are, there is no RAM. */
		if (region->is_window)
			continue;
		ret = e820_set(map, region->gpa, region->size_bytes,
			       region->readonly ? E820_RESERVED : E820_RAM);
	}
	if (!ret)
		ret = e820_set(map, EBDA_START, VGA_START - EBDA_START, E820_RESERVED);
	if (!ret)
		ret = e820_set(map, TABLES_AREA_START, TABLES_AREA_END - TABLES_AREA_START,
			       E820_RESERVED);
	if (!ret)
		ret = e820_set(map, PCI_HOST_ECAM_BASE, PCI_HOST_ECAM_SIZE, E820_RESERVED);
	return ret ? error_set(err, -ret, "the memory map has no room") : 0;
}

int pc_tables(const struct vm *vm, struct tables_blobs *blobs, struct error *err)
{
	const struct machine_tables_config config = {
		.cpus = vm->config->cpus,
		.ioapic_id = PC_IOAPIC_ID,
		.pm_port = ACPI_PM_DEFAULT_PORT,
		.slp_typ_s5 = PC_SLP_TYP_S5,
		.ram_low_bytes = pc_low_ram(vm->config->mem_bytes),
		.ram_high_bytes = vm->config->mem_bytes - pc_low_ram(vm->config->mem_bytes),
		.mmio32_start = PC_MMIO32_START,
		.mmio32_end = PC_MMIO32_END,
		.mmio64_start = PC_MMIO64_START,
		.mmio64_size = PC_MMIO64_SIZE,
		.ecam_start = PCI_HOST_ECAM_BASE,
		.hpet_start = HPET_DEFAULT_BASE,
		.com_ports = 0xf,
		.virtio_start = PC_VIRTIO_START,
		.virtio_gsi = PCI_INTX_GSI_FIRST,
		.virtio_count = ((const struct pc *)vm->board_state)->virtio_mmio_count,
		.version = RINGLET_VERSION,
	};

	return tables_build(&config, blobs, err);
}

/* What firmware would have done before it starts a kernel. */
static int boot_kernel(struct pc *pc, struct error *err)
{
	struct vm *vm = pc->vm;
	struct cpu *cpu = vm->threads[0].cpu;
	struct e820_map map = { 0 };
	struct boot_config config = {
		.kernel = vm->config->kernel,
		.initrd = vm->config->initrd,
		.cmdline = vm->config->params,
		.self_unpack = vm->config->kaslr,
		.unpack_cache = vm->config->unpack_cache,
		.e820 = &map,
	};
	struct boot_entry entry = { 0 };
	struct tables_blobs blobs;
	int ret = pc_memory_map(vm, &map, err);

	if (ret)
		return ret;
	ret = pc_tables(vm, &blobs, err);
	if (!ret)
		ret = tables_place(vm->env.mem, &blobs, &config.rsdp_gpa, err);
	tables_free(&blobs);
	if (!ret)
		ret = boot_load(vm->env.mem, &config, &entry, err);
	if (ret)
		return ret;
	apic_virtual_wire(pc->apics);
	enter_flat(cpu->isa->state(cpu), &entry);
	cpu->isa->state_changed(cpu);
	return 0;
}

/* The processor's reset state is all that firmware wants; a reset finds its shadow overwritten. */
static int boot_with_firmware(struct pc *pc, struct error *err)
{
	struct boot_entry entry;

	if (pc->firmware_loaded)
		return boot_firmware_shadow(pc->vm->env.mem);
	pc->firmware_loaded = true;
	return boot_firmware(pc->vm->env.mem, pc->vm->config->firmware, &entry, err);
}

int pc_boot(struct pc *pc, struct error *err)
{
	return pc->vm->config->firmware ? boot_with_firmware(pc, err) : boot_kernel(pc, err);
}
