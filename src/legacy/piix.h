/* SPDX-License-Identifier: MIT */
/*
 * The south bridge as PCI sees it: the ISA bridge 00:01.0 (Intel 82371SB, PIIX3; datasheet 290550),
 * whose PIRQ registers route PCI interrupts to the 8259s, and power management 00:01.3 (82371AB,
 * PIIX4; datasheet 290562), whose base register tells where the ACPI ports are. Those
 * are fixed (see the ACPI tables), so PMBASE reads as that address whatever is written.
 */
#ifndef RINGLET_LEGACY_PIIX_H
#define RINGLET_LEGACY_PIIX_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"
#include "dev/pci.h"

#define PIIX_ISA_IRQS 16

struct piix_config {
	struct pci_bus *bus;
	uint16_t pm_base; /* 0x600 */
	uint8_t sci_irq;  /* 9 */
	bool preset_pirq; /* no firmware: PIRQs start out routed as pci_pirq_irq says */
	struct irq_line irq[PIIX_ISA_IRQS]; /* 8259 inputs */
};

int piix_create(const struct device_env *env, const struct piix_config *config, struct device **dev,
		struct error *err);

/* The input of PIRQ 0 … 3, for pci_host_connect_pirq. */
struct irq_line piix_pirq_line(struct device *dev, unsigned pirq);

#endif
