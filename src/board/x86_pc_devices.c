/* SPDX-License-Identifier: MIT */
/* The PC's devices, as a parts list. */
#include "base/error.h"
#include "boot/e820.h"
#include "board/x86_pc_parts.h"
#include "irqchip/apic.h"
#include "irqchip/ioapic.h"
#include "irqchip/pic.h"
#include "legacy/acpi_pm.h"
#include "legacy/debug_exit.h"
#include "legacy/debug_port.h"
#include "legacy/fw_cfg.h"
#include "legacy/hpet.h"
#include "legacy/i8042.h"
#include "legacy/pci_host.h"
#include "legacy/piix.h"
#include "legacy/pit.h"
#include "legacy/reset.h"
#include "legacy/rtc.h"
#include "legacy/uart.h"
#include "tables/tables.h"
#include "ui/keep.h"
#include "vm/config.h"

/* The VM takes over what a constructor just made. */
static int keep(struct pc *pc, int ret, struct device **dev, struct error *err)
{
	return ret ? ret : vm_add_device(pc->vm, *dev, err);
}

/* ---- how the guest ends or restarts the machine ---- */

static void guest_resets(void *opaque)
{
	struct pc *pc = opaque;

	vm_end(pc->vm, VM_END_RESET, 0);
}

static void guest_powers_off(void *opaque)
{
	struct pc *pc = opaque;

	vm_end(pc->vm, VM_END_POWEROFF, 0);
}

static void guest_exits(void *opaque, uint32_t value)
{
	struct pc *pc = opaque;

	vm_end(pc->vm, VM_END_DEBUG_EXIT, value);
}

/* ---- the parts ---- */

static int add_reset(struct pc *pc, struct error *err)
{
	struct reset_config config = { .reset = guest_resets, .opaque = pc };
	int ret = reset_create(&pc->vm->env, &config, &pc->reset, err);

	return keep(pc, ret, &pc->reset, err);
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct pc *pc = opaque;

	apic_msi(pc->apics, address, data);
}

static int add_pci(struct pc *pc, struct error *err)
{
	struct pci_host_config host = {
		.reset_control_read = reset_control_read,
		.reset_control_write = reset_control_write,
		.opaque = pc->reset,
		.msi = send_msi,
		.msi_opaque = pc,
	};
	struct piix_config piix = { .pm_base = ACPI_PM_DEFAULT_PORT, .sci_irq = PC_SCI_IRQ,
				    .preset_pirq = !pc->vm->config->firmware };
	struct device *dev = NULL;
	int ret;

	for (unsigned i = 0; i < PCI_INTX_GSIS; i++) {
		pc->gsi_irq[i].out = ioapic_line(pc->ioapic, PCI_INTX_GSI_FIRST + i);
		host.gsi[i] = irq_share_line(&pc->gsi_irq[i], GSI_PCI);
	}
	ret = keep(pc, pci_host_create(&pc->vm->env, &host, &pc->pci_host, err), &pc->pci_host, err);
	if (ret)
		return ret;
	piix.bus = pci_host_bus(pc->pci_host);
	for (unsigned i = 0; i < PIIX_ISA_IRQS; i++)
		piix.irq[i] = pic_line(pc->pic, i);
	ret = keep(pc, piix_create(&pc->vm->env, &piix, &dev, err), &dev, err);
	for (unsigned i = 0; i < PCI_PIRQS && !ret; i++)
		pci_host_connect_pirq(pc->pci_host, i, piix_pirq_line(dev, i));
	return ret;
}

/* The HPET sits between PIT, RTC and their interrupts. */
static int add_timers(struct pc *pc, struct error *err)
{
	const struct vm_config *machine = pc->vm->config;
	const struct device_env *env = &pc->vm->env;
	struct hpet_config hpet = { .irq0 = pc->isa_irq[0], .irq8 = pc->isa_irq[8],
				    .msi = send_msi, .opaque = pc };
	struct rtc_config rtc = { .cpus = machine->cpus };
	struct pit_config pit = { 0 };
	struct device *dev = NULL;
	int ret;

	for (unsigned i = PCI_INTX_GSI_FIRST; i < HPET_PINS; i++)
		hpet.pin[i] = irq_share_line(&pc->gsi_irq[i - PCI_INTX_GSI_FIRST], GSI_HPET);
	ret = keep(pc, hpet_create(env, &hpet, &dev, err), &dev, err);
	if (ret)
		return ret;
	pit.irq = hpet_pit_line(dev);
	rtc.irq = hpet_rtc_line(dev);
	rtc.mem_low_bytes = pc_low_ram(machine->mem_bytes);
	rtc.mem_high_bytes = machine->mem_bytes - rtc.mem_low_bytes;
	ret = keep(pc, pit_create(env, &pit, &dev, err), &dev, err);
	if (!ret)
		ret = keep(pc, rtc_create(env, &rtc, &pc->rtc, err), &pc->rtc, err);
	return ret;
}

static int add_power(struct pc *pc, struct error *err)
{
	struct acpi_pm_config config = {
		.slp_typ_s5 = PC_SLP_TYP_S5, .sci = pc->isa_irq[PC_SCI_IRQ],
		.poweroff = guest_powers_off, .opaque = pc,
	};

	return keep(pc, acpi_pm_create(&pc->vm->env, &config, &pc->pm, err), &pc->pm, err);
}

static int add_keyboard(struct pc *pc, struct error *err)
{
	struct i8042_config config = {
		.keyboard_irq = pc->isa_irq[1], .mouse_irq = pc->isa_irq[12],
		.reset = guest_resets, .opaque = pc,
	};
	struct device *dev = NULL;

	return keep(pc, i8042_create(&pc->vm->env, &config, &dev, err), &dev, err);
}

/* Whom the first serial port talks to. */
static struct chardev *first_serial(const struct pc *pc)
{
	if (pc->vm->kernel_log)
		return keep_chardev(pc->vm->kernel_log);
	return pc->vm->config->console == VM_CONSOLE_SERIAL ? pc->vm->console : NULL;
}

static int add_uarts(struct pc *pc, struct error *err)
{
	static const struct {
		uint16_t port;
		uint8_t irq;
	} coms[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
	int ret = 0;

	for (unsigned i = 0; i < sizeof(coms) / sizeof(coms[0]) && !ret; i++) {
		struct uart_config config = {
			.port = coms[i].port,
			.irq = irq_share_line(&pc->com_irq[i % 2], i),
			.chardev = i ? NULL : first_serial(pc),
		};
		struct device *dev = NULL;

		pc->com_irq[i % 2].out = pc->isa_irq[coms[i].irq];
		ret = keep(pc, uart_create(&pc->vm->env, &config, &dev, err), &dev, err);
	}
	return ret;
}

static int add_debug(struct pc *pc, struct error *err)
{
	struct debug_port_config port = { 0 };
	struct debug_exit_config debug_exit = { .port = VM_DEBUG_EXIT_PORT, .exit = guest_exits,
						.opaque = pc };
	struct device *dev = NULL;
	int ret = keep(pc, debug_port_create(&pc->vm->env, &port, &dev, err), &dev, err);

	if (!ret && pc->vm->config->debug_exit)
		ret = keep(pc, debug_exit_create(&pc->vm->env, &debug_exit, &dev, err), &dev, err);
	return ret;
}

static int add_fw_cfg_tables(struct pc *pc, struct device *dev, struct error *err)
{
	struct tables_blobs blobs;
	int ret = pc_tables(pc->vm, &blobs, err);
	const struct {
		const char *name;
		const struct blob *blob;
	} files[] = {
		{ TABLES_FILE_ACPI, &blobs.acpi },
		{ TABLES_FILE_RSDP, &blobs.rsdp },
		{ TABLES_FILE_SCRIPT, &blobs.script },
		{ TABLES_FILE_SMBIOS, &blobs.smbios },
		{ TABLES_FILE_SMBIOS_ANCHOR, &blobs.smbios21 },
	};

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]) && !ret; i++)
		ret = fw_cfg_add_file(dev, files[i].name, files[i].blob->data,
				      files[i].blob->size_bytes, err);
	tables_free(&blobs);
	return ret;
}

static int add_fw_cfg(struct pc *pc, struct error *err)
{
	const struct vm_config *machine = pc->vm->config;
	struct e820_map map = { 0 };
	struct fw_cfg_config config = {
		.cpus = machine->cpus, .console_port = 0x3f8, .low_ram_bytes = pc_low_ram(machine->mem_bytes),
		.e820 = &map,
	};
	struct device *dev = NULL;
	int ret = pc_memory_map(pc->vm, &map, err);

	if (!ret)
		ret = keep(pc, fw_cfg_create(&pc->vm->env, &config, &dev, err), &dev, err);
	if (!ret)
		ret = add_fw_cfg_tables(pc, dev, err);
	if (!ret && machine->firmware && machine->kernel)
		ret = fw_cfg_add_linux(dev, machine->kernel, machine->initrd, machine->params, err);
	return ret;
}

int pc_add_devices(struct pc *pc, struct error *err)
{
	int ret = add_reset(pc, err);

	if (!ret)
		ret = add_pci(pc, err);
	if (!ret)
		ret = add_timers(pc, err);
	if (!ret)
		ret = add_power(pc, err);
	if (!ret)
		ret = add_keyboard(pc, err);
	if (!ret)
		ret = add_uarts(pc, err);
	if (!ret)
		ret = add_debug(pc, err);
	if (!ret)
		ret = pc_add_virtio(pc, err);
	/* Its tables describe all that is there. */
	if (!ret)
		ret = add_fw_cfg(pc, err);
	return ret;
}
