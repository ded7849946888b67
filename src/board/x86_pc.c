/* SPDX-License-Identifier: MIT */
/*
 * The PC: what is on the board, where, and how it is wired. RAM below the PCI hole and above 4 GiB,
 * the classic ISA devices, local APICs and one I/O APIC, a PCI bus, ACPI power management.
 *
 *   0 … 0x9ffff           RAM             0xb0000000 … 0xbfffffff   PCI configuration (ECAM)
 *   0xa0000 … 0xbffff     VGA hole        0xc0000000 … 0xfebfffff   PCI memory
 *   0xc0000 … low end     RAM             0xfec00000, 0xfed00000, 0xfee00000   IOAPIC, HPET, APIC
 *                                         … 0xffffffff              firmware
 */
#include "board/x86_pc.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "board/x86_pc_parts.h"
#include "irqchip/apic.h"
#include "legacy/acpi_pm.h"
#include "mem/mem.h"
#include "vm/config.h"

#define LOW_RAM_END 0xb0000000ull
#define HIGH_RAM_START 0x100000000ull
#define VGA_HOLE_START 0xa0000ull
#define VGA_HOLE_END 0xc0000ull

uint64_t pc_low_ram(uint64_t mem_bytes)
{
	return mem_bytes < LOW_RAM_END ? mem_bytes : LOW_RAM_END;
}

static int add_memory(struct vm *vm, struct error *err)
{
	uint64_t bytes = vm->config->mem_bytes;
	uint64_t low = pc_low_ram(bytes);
	int ret = mem_add(vm->env.mem, 0, low < VGA_HOLE_START ? low : VGA_HOLE_START, false,
			  "low RAM", err);

	if (!ret && low > VGA_HOLE_END)
		ret = mem_add(vm->env.mem, VGA_HOLE_END, low - VGA_HOLE_END, false, "RAM", err);
	if (!ret && bytes > low)
		ret = mem_add(vm->env.mem, HIGH_RAM_START, bytes - low, false, "high RAM", err);
	return ret;
}

/* A triple fault: the chipset would reset the machine. */
static void cpu_shutdown(void *opaque, struct cpu *cpu)
{
	(void)cpu;
	vm_end(opaque, VM_END_TRIPLE_FAULT, 0);
}

static void cpu_broken(void *opaque, struct cpu *cpu)
{
	(void)cpu;
	vm_end(opaque, VM_END_DISAGREEMENT, 0);
}

static void cpu_failed(void *opaque, struct cpu *cpu, const struct error *err)
{
	(void)cpu;
	vm_fail(opaque, err);
}

static int add_cpus(struct vm *vm, struct error *err)
{
	struct pc *pc = vm->board_state;
	struct cpu_env env = { .shutdown = cpu_shutdown, .broken = cpu_broken,
			       .fpu_error = pc_fpu_error, .failed = cpu_failed, .opaque = vm };
	int ret = 0;

	for (unsigned i = 0; i < vm->config->cpus && !ret; i++) {
		struct cpu *cpu;

		env.intc = apic_cpu_intc(pc->apics, i);
		ret = vm_add_cpu(vm, &env, &cpu, err);
		if (!ret)
			apic_attach_cpu(pc->apics, i, cpu);
	}
	return ret;
}

static int build(struct vm *vm, struct error *err)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	int ret;

	if (!pc)
		return error_set(err, ENOMEM, "no memory for the board");
	pc->vm = vm;
	vm->board_state = pc;
	ret = add_memory(vm, err);
	if (!ret)
		ret = pc_add_interrupts(pc, err);
	if (!ret)
		ret = add_cpus(vm, err);
	if (!ret)
		ret = pc_add_devices(pc, err);
	return ret;
}

static int boot(struct vm *vm, struct error *err)
{
	return pc_boot(vm->board_state, err);
}

static void connect_irqchip(struct vm *vm, const struct irqchip_backend *backend)
{
	pc_connect_irqchip(vm->board_state, backend);
}

static void press_power_button(struct vm *vm)
{
	struct pc *pc = vm->board_state;

	acpi_pm_power_button(pc->pm);
}

static bool press_nmi_button(struct vm *vm)
{
	return pc_pulse_nmi(vm->board_state);
}

static void destroy(struct vm *vm)
{
	free(vm->board_state);
}

const struct vm_board board_x86_pc = {
	.name = "pc",
	.summary = "an x86-64 PC with ISA and PCI",
	.build = build,
	.boot = boot,
	.connect_irqchip = connect_irqchip,
	.press_power_button = press_power_button,
	.press_nmi_button = press_nmi_button,
	.destroy = destroy,
};
