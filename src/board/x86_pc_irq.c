/* SPDX-License-Identifier: MIT */
/*
 * The PC's interrupt wiring: ISA interrupts go to the PIC pair and to the I/O APIC (IRQ 0 to its pin 2),
 * the PIC's INTR to LINT0 of the local APICs, the NMI button to their LINT1, PCI's wires to pins 16 … 23.
 */
#include "board/x86_pc_parts.h"
#include "cpu/irqchip.h"
#include "host/loop.h"
#include "irqchip/apic.h"
#include "irqchip/ioapic.h"
#include "irqchip/pic.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/x86.h"
#include "legacy/rtc.h"
#include "vm/config.h"

#define IOAPIC_PIN_OF_IRQ0 2
#define FPU_IRQ 13

static uint64_t tsc_now(void *opaque, unsigned index)
{
	struct pc *pc = opaque;

	return __builtin_ia32_rdtsc() + x86_cpu(pc->vm->threads[index].cpu)->state.tsc_offset;
}

static void apic_eoi(void *opaque, uint8_t vector)
{
	struct pc *pc = opaque;

	ioapic_eoi(pc->ioapic, vector);
}

static int extint_acknowledge(void *opaque)
{
	struct pc *pc = opaque;

	return pic_acknowledge(pc->pic);
}

static void ioapic_deliver(void *opaque, const struct apic_message *message)
{
	struct pc *pc = opaque;

	apic_deliver(pc->apics, message);
}

/* Local APICs in the kernel report the end of just these interrupts. */
static void level_changed(void *opaque, unsigned pin, const struct apic_message *message)
{
	struct pc *pc = opaque;
	uint32_t address = 0, data = 0;

	if (!pc->backend)
		return;
	if (message)
		apic_message_as_msi(message, &address, &data);
	pc->backend->route(pc->backend->opaque, pin, address, data);
}

void pc_connect_irqchip(struct pc *pc, const struct irqchip_backend *backend)
{
	pc->backend = backend;
	apic_set_backend(pc->apics, backend);
	ioapic_announce(pc->ioapic);
}

static void isa_irq_set(void *opaque, unsigned irq, bool level)
{
	struct pc *pc = opaque;
	struct irq_line pic = pic_line(pc->pic, irq);
	struct irq_line ioapic = ioapic_line(pc->ioapic, irq ? irq : IOAPIC_PIN_OF_IRQ0);

	irq_set(&pic, level);
	irq_set(&ioapic, level);
}

/* The error stays asserted until the guest's handler clears the exception; an edge is all it needs. */
static void fpu_error_posted(void *opaque)
{
	struct pc *pc = opaque;

	irq_set(&pc->isa_irq[FPU_IRQ], true);
	irq_set(&pc->isa_irq[FPU_IRQ], false);
}

void pc_fpu_error(void *opaque)
{
	struct vm *vm = opaque;

	loop_post(vm->env.loop, fpu_error_posted, vm->board_state);
}

bool pc_pulse_nmi(struct pc *pc)
{
	struct irq_line lint1 = apic_lint1_line(pc->apics);

	if (rtc_nmi_masked(pc->rtc))
		return false;
	irq_set(&lint1, true);
	irq_set(&lint1, false);
	return true;
}

int pc_add_interrupts(struct pc *pc, struct error *err)
{
	struct vm *vm = pc->vm;
	uint64_t tsc_hz = x86_host_tsc_hz();
	struct apic_config apic = {
		.cpus = vm->config->cpus,
		.tsc_hz = tsc_hz,
		.timer_hz = vm->traits.apic_timer_hz ? vm->traits.apic_timer_hz : x86_crystal_hz(tsc_hz),
		.tsc_now = tsc_now,
		.eoi = apic_eoi,
		.extint_acknowledge = extint_acknowledge,
		.opaque = pc,
	};
	struct ioapic_config ioapic = { .base = IOAPIC_DEFAULT_BASE, .id = PC_IOAPIC_ID, .deliver = ioapic_deliver,
					.level_changed = level_changed, .opaque = pc };
	struct pic_config pic = { 0 };
	int ret = apic_set_create(&vm->env, &apic, &pc->apics, err);

	if (!ret)
		ret = vm_add_device(vm, pc->apics, err);
	if (!ret)
		ret = ioapic_create(&vm->env, &ioapic, &pc->ioapic, err);
	if (!ret)
		ret = vm_add_device(vm, pc->ioapic, err);
	if (ret)
		return ret;
	pic.intr = apic_lint0_line(pc->apics);
	ret = pic_create(&vm->env, &pic, &pc->pic, err);
	if (!ret)
		ret = vm_add_device(vm, pc->pic, err);
	for (unsigned i = 0; i < PC_ISA_IRQS; i++)
		pc->isa_irq[i] = (struct irq_line){ .set = isa_irq_set, .opaque = pc, .input = i };
	return ret;
}
