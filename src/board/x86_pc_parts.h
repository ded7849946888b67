/* SPDX-License-Identifier: MIT */
/* The PC's parts that know each other, and the steps in which the board is put together. */
#ifndef RINGLET_BOARD_X86_PC_PARTS_H
#define RINGLET_BOARD_X86_PC_PARTS_H

#include <stdbool.h>

#include "dev/irq.h"
#include "dev/irq_share.h"
#include "vm/machine.h"

#define PC_ISA_IRQS 16

struct pc {
	struct vm *vm;
	struct device *apics, *ioapic, *pic; /* the VM owns them */
	struct device *pci_host, *pm, *fw_cfg;
	struct irq_line isa_irq[PC_ISA_IRQS]; /* to the PIC and the I/O APIC */
	struct irq_share com_irq[2];          /* COM1 and 3, COM2 and 4 */
	bool firmware_loaded;
};

/* x86_pc_irq.c: APICs, I/O APIC, PIC and the wires between them. */
int pc_add_interrupts(struct pc *pc, struct error *err);
/* FERR#: IRQ 13. Any CPU thread, no lock held. opaque: struct vm. */
void pc_fpu_error(void *opaque);

/* x86_pc_devices.c: everything that hangs on them. */
int pc_add_devices(struct pc *pc, struct error *err);

/* x86_pc_boot.c: tables, loader, entry state. */
int pc_boot(struct pc *pc, struct error *err);

#endif
