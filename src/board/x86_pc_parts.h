/* SPDX-License-Identifier: MIT */
/* The PC's parts that know each other, and the steps in which the board is put together. */
#ifndef RINGLET_BOARD_X86_PC_PARTS_H
#define RINGLET_BOARD_X86_PC_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/irq.h"
#include "dev/irq_share.h"
#include "dev/pci.h"
#include "vm/machine.h"

#define PC_ISA_IRQS 16
#define PC_SCI_IRQ 9
#define PC_SLP_TYP_S5 5
#define PC_IOAPIC_ID 15
#define PC_MMIO32_START 0xc0000000u
#define PC_MMIO32_END 0xfec00000u
#define PC_VIRTIO_START 0xfed80000u /* with --virtio-mmio, a page a device */
#define PC_VIRTIO_MAX PCI_INTX_GSIS
#define PC_MMIO64_START (1ull << 38) /* above the largest RAM */
#define PC_MMIO64_SIZE (1ull << 38)
#define PC_WINDOW_BYTES (256ull << 20) /* of a share; from the end of these addresses down */

struct e820_map;
struct irqchip_backend;
struct tables_blobs;

/* Who drives the upper pins of the I/O APIC. */
enum pc_gsi_input { GSI_PCI, GSI_HPET, GSI_VIRTIO };

struct pc {
	struct vm *vm;
	struct device *apics, *ioapic, *pic; /* the VM owns them */
	struct device *reset, *pci_host, *pm, *rtc;
	struct irq_line isa_irq[PC_ISA_IRQS]; /* to the PIC and the I/O APIC */
	const struct irqchip_backend *backend; /* local APICs that are not ours; NULL: they are */
	bool firmware_loaded;
	unsigned next_slot; /* of the PCI bus, for devices in the order they come */
	unsigned windows; /* shares have */
	unsigned virtio_mmio_count; /* devices that are not on it */
	struct irq_share com_irq[2];          /* COM1 and 3, COM2 and 4 */
	struct irq_share gsi_irq[PCI_INTX_GSIS]; /* I/O APIC pins from PCI_INTX_GSI_FIRST */
};

/* x86_pc.c: bytes of RAM below 4 GiB, of mem_bytes in all. */
uint64_t pc_low_ram(uint64_t mem_bytes);

/* x86_pc_irq.c: APICs, I/O APIC, PIC and the wires between them. */
int pc_add_interrupts(struct pc *pc, struct error *err);
/* Where the local APICs are from now on: backend, or NULL for here. No CPU runs. */
void pc_connect_irqchip(struct pc *pc, const struct irqchip_backend *backend);
/* FERR#: IRQ 13. Any CPU thread, no lock held. opaque: struct vm. */
void pc_fpu_error(void *opaque);
/* An NMI by its wire, which goes through port 0x70's gate to the local APICs. False: it is shut. */
bool pc_pulse_nmi(struct pc *pc);

/* x86_pc_devices.c: everything that hangs on them. */
int pc_add_devices(struct pc *pc, struct error *err);

/* x86_pc_virtio.c: the virtio devices that the configuration asks for, a PCI slot each. */
int pc_add_virtio(struct pc *pc, struct error *err);

/* x86_pc_boot.c: tables, loader, entry state. */
int pc_memory_map(const struct vm *vm, struct e820_map *map, struct error *err);
int pc_tables(const struct vm *vm, struct tables_blobs *blobs, struct error *err);
int pc_boot(struct pc *pc, struct error *err);

#endif
