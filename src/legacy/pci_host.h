/* SPDX-License-Identifier: MIT */
/*
 * The host bridge: PCI bus 0, configuration mechanism #1 (ports 0xcf8-0xcff, PCI 3.0 section
 * 3.2.2.3) and the memory-mapped one (ECAM, PCI Express 7.2.2), interrupt pins to wires, and
 * function 00:00.0, which looks like Intel's 82441FX (datasheet 290549) so that PC firmware knows
 * it. RAM below 1 MiB is always readable and writable: the shadow control registers only remember.
 *
 * Port 0xcf9 (reset control) lies among the ports of mechanism #1, and is handed on.
 */
#ifndef RINGLET_LEGACY_PCI_HOST_H
#define RINGLET_LEGACY_PCI_HOST_H

#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"
#include "dev/pci.h"

#define PCI_HOST_ECAM_BASE 0xb0000000ull
#define PCI_HOST_ECAM_SIZE 0x10000000ull /* 256 buses */

struct pci_host_config {
	struct irq_line gsi[PCI_INTX_GSIS]; /* I/O APIC inputs from PCI_INTX_GSI_FIRST */
	/* A function's interrupt message. NULL: nothing listens. */
	void (*msi)(void *opaque, uint64_t address, uint32_t data);
	void *msi_opaque;
	/* Byte accesses to port 0xcf9; NULL: nothing there. */
	uint8_t (*reset_control_read)(void *opaque);
	void (*reset_control_write)(void *opaque, uint8_t value);
	void *opaque;
};

int pci_host_create(const struct device_env *env, const struct pci_host_config *config,
		    struct device **dev, struct error *err);

/* The bus, for other devices; lives as long as the bridge, which must be destroyed last. */
struct pci_bus *pci_host_bus(struct device *dev);

/* Connects a PIRQ (the ISA bridge's, see piix.h), before the machine runs. */
void pci_host_connect_pirq(struct device *dev, unsigned pirq, struct irq_line line);

#endif
