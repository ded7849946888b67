/* SPDX-License-Identifier: MIT */
/*
 * The local APICs of a machine: one device, one APIC a CPU (Intel SDM volume 3, chapter "Advanced
 * Programmable Interrupt Controller"). xAPIC registers in memory, x2APIC registers as MSRs.
 *
 * Locks: each APIC has its own, a leaf: nothing is called with it held but loop_timer_*, the TSC
 * callback and cpu_request. Registers and messages may therefore be used by any thread with or
 * without the machine lock. The machine lock is taken (with no APIC's held) for an EOI that goes to
 * the I/O APIC, for acknowledging the PIC and when an APIC page moves; so struct cpu_intc must be
 * called without the machine lock.
 *
 * What the CPU must do: CPU_REQ_INTERRUPT is set each time an interrupt is or remains deliverable.
 * A CPU that cannot take it (RFLAGS.IF clear) asks pending() again when it can.
 */
#ifndef RINGLET_IRQCHIP_APIC_H
#define RINGLET_IRQCHIP_APIC_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "dev/device.h"
#include "dev/irq.h"

struct irqchip_backend;

#define APIC_CPUS_MAX 255u /* ID 0xff is the broadcast */
#define APIC_DEFAULT_BASE 0xfee00000ull
#define APIC_DEFAULT_TIMER_HZ 1000000000ull
#define APIC_VERSION 0x14u

/* Delivery modes, as encoded in the ICR, LVT, I/O APIC entries and MSI data. */
enum apic_mode {
	APIC_MODE_FIXED = 0,
	APIC_MODE_LOWEST = 1,
	APIC_MODE_SMI = 2,
	APIC_MODE_NMI = 4,
	APIC_MODE_INIT = 5,
	APIC_MODE_SIPI = 6,
	APIC_MODE_EXTINT = 7,
};

/* What travels on the APIC bus. */
struct apic_message {
	uint32_t destination; /* an ID, or a logical destination when logical is set */
	bool logical;
	bool broadcast;       /* everybody, whatever the destination says */
	uint8_t mode;         /* enum apic_mode */
	uint8_t vector;
	bool level;           /* level-triggered: its EOI goes to the I/O APIC */
};

struct apic_config {
	unsigned cpus;        /* 1 … APIC_CPUS_MAX; the APIC ID is the index */
	uint64_t timer_hz;    /* the timer's input clock; 0: APIC_DEFAULT_TIMER_HZ */
	uint64_t tsc_hz;      /* 0: no TSC-deadline mode */
	unsigned phys_bits;   /* width of the base MSR's address; 0: 52 */

	/* CPU's guest TSC now, from any thread. An APIC's lock is held. */
	uint64_t (*tsc_now)(void *opaque, unsigned cpu);
	/* A level-triggered interrupt is done. Machine lock held. May be NULL. */
	void (*eoi)(void *opaque, uint8_t vector);
	/* Acknowledges the PIC and returns its vector. Machine lock held. May be NULL: no PIC. */
	int (*extint_acknowledge)(void *opaque);
	void *opaque;
};

int apic_set_create(const struct device_env *env, const struct apic_config *config,
		    struct device **dev, struct error *err);

/* CPU index's side of its APIC; lives as long as dev. Usable before the CPU is attached. */
const struct cpu_intc *apic_cpu_intc(struct device *dev, unsigned index);
void apic_attach_cpu(struct device *dev, unsigned index, struct cpu *cpu);

/* What a PC's firmware leaves behind, for kernels that are started without one: the boot CPU's APIC
 * enabled, LINT0 wired to the PIC, LINT1 to NMI. Before the CPUs run, after each reset. */
void apic_virtual_wire(struct device *dev);

/* Sends a message to whom it may concern. Returns to how many it went. Any thread. */
unsigned apic_deliver(struct device *dev, const struct apic_message *message);

/* An MSI: a 32-bit write of data to address 0xfeexxxxx. Any thread. */
unsigned apic_msi(struct device *dev, uint64_t address, uint32_t data);

/* How a message is written as an MSI. */
void apic_message_as_msi(const struct apic_message *message, uint32_t *address, uint32_t *data);

/*
 * From now on the local APICs are backend's: messages go there, what the PIC wants is for CPU 0 alone, and
 * only struct cpu_intc's save and restore touch the registers here. NULL: they are here again. No CPU
 * runs.
 */
void apic_set_backend(struct device *dev, const struct irqchip_backend *backend);

/* The PIC's INTR wire, to LINT0 of all CPUs. Driven with the machine lock held. */
struct irq_line apic_lint0_line(struct device *dev);
/* The NMI wire, to LINT1 of all CPUs: acts on the rising edge. */
struct irq_line apic_lint1_line(struct device *dev);

#endif
