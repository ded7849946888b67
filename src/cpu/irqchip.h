/* SPDX-License-Identifier: MIT */
/*
 * Interrupt controllers that live outside of this process, in the kernel: what the ones in here hand
 * over to them and take back, and how messages reach them in between. Formats are the manual's
 * (Intel SDM vol. 3, "Advanced Programmable Interrupt Controller").
 */
#ifndef RINGLET_CPU_IRQCHIP_H
#define RINGLET_CPU_IRQCHIP_H

#include <stdint.h>

#define X86_LAPIC_REGS 64u

struct x86_lapic {
	uint64_t base;         /* IA32_APIC_BASE */
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0: disarmed */
	/* In their places: offset in the page / 16, x2APIC MSR - 0x800. The ID is at bits 31:24 in
	 * xAPIC mode, whole in x2APIC mode; so is the ICR's destination. */
	uint32_t reg[X86_LAPIC_REGS];
};

/*
 * Local APICs outside; I/O APIC and PICs stay here. Calls come from any thread. The pins of the I/O
 * APIC that ask for level-triggered interrupts are told, for their EOIs are wanted back (struct
 * cpu_intc, eoi).
 */
struct irqchip_backend {
	void *opaque;
	/* A message signalled interrupt (SDM vol. 3, "Message Signalled Interrupts"). */
	void (*msi)(void *opaque, uint32_t address, uint32_t data);
	/* What pin would send, if it is unmasked and level-triggered; else address is 0. */
	void (*route)(void *opaque, unsigned pin, uint32_t address, uint32_t data);
};

#endif
