/* SPDX-License-Identifier: MIT */
/* The south bridge's PCI functions: see piix.h. Machine lock held throughout. */
#include "legacy/piix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "base/error.h"

#define PIIX_PIRQ_ROUTE 0x60 /* four bytes: 7 disabled, 3:0 ISA interrupt */
#define PIRQ_DISABLED 0x80
#define PIIX4_PMBASE 0x40
#define PIIX4_DEVACTB 0x58 /* bit 25: writing port 0xb2 raises SMI */
#define DEVACTB_APMC_EN (1u << 25)
#define PIIX4_PMREGMISC 0x80 /* bit 0: PMBASE decodes */
#define PIIX4_SMBHSTBASE 0x90
#define PIIX4_SMBHSTCFG 0xd2

struct piix {
	struct device dev;
	struct piix_config config;
	struct pci_function isa, pm;
	uint8_t pirq_level;  /* a bit each */
	uint16_t irq_level;  /* what we drive now */
};

/* Interrupts that may be routed to: 3-7, 9-12, 14, 15 (290550, 4.1.10). */
static bool routable(unsigned irq)
{
	return (0xdef8u >> irq) & 1;
}

/* Drives the 8259 inputs that changed, after a PIRQ or its route did. */
static void update_irqs(struct piix *piix)
{
	uint16_t level = 0, changed;

	for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++) {
		uint8_t route = piix->isa.config[PIIX_PIRQ_ROUTE + pirq];

		if ((piix->pirq_level >> pirq & 1) && !(route & PIRQ_DISABLED) &&
		    routable(route & 0xf))
			level |= (uint16_t)(1u << (route & 0xf));
	}
	changed = level ^ piix->irq_level;
	piix->irq_level = level;
	for (unsigned irq = 0; irq < PIIX_ISA_IRQS; irq++)
		if (changed >> irq & 1)
			irq_set(&piix->config.irq[irq], level >> irq & 1);
}

static void set_pirq(void *opaque, unsigned pirq, bool level)
{
	struct piix *piix = opaque;

	piix->pirq_level &= (uint8_t)~(1u << pirq);
	if (level)
		piix->pirq_level |= (uint8_t)(1u << pirq);
	update_irqs(piix);
}

static void isa_config_written(void *opaque, unsigned offset, unsigned size)
{
	if (offset < PIIX_PIRQ_ROUTE + PCI_PIRQS && offset + size > PIIX_PIRQ_ROUTE)
		update_irqs(opaque);
}

static int add_isa_bridge(struct piix *piix, struct error *err)
{
	const struct pci_identity identity = {
		.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100,
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100, .multifunction = true,
	};
	int rc = pci_add(piix->config.bus, PCI_DEVFN(1, 0), &identity, &piix->isa, err);

	if (rc)
		return rc;
	/* I/O, memory and bus mastering cannot be turned off; medium DEVSEL. */
	pci_set_initial(&piix->isa, PCI_COMMAND, 2, 7, 0);
	pci_set_initial(&piix->isa, PCI_STATUS, 2, PCI_STATUS_DEVSEL_MEDIUM, 0);
	for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++)
		pci_set_initial(&piix->isa, PIIX_PIRQ_ROUTE + pirq, 1,
				piix->config.preset_pirq ? pci_pirq_irq(pirq) : PIRQ_DISABLED,
				0x8f);
	piix->isa.config_written = isa_config_written;
	piix->isa.opaque = piix;
	return 0;
}

static int add_power_management(struct piix *piix, struct error *err)
{
	const struct pci_identity identity = {
		.vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000,
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100, .interrupt_pin = 1,
	};
	int rc = pci_add(piix->config.bus, PCI_DEVFN(1, 3), &identity, &piix->pm, err);

	if (rc)
		return rc;
	pci_set_initial(&piix->pm, PCI_STATUS, 2, PCI_STATUS_DEVSEL_MEDIUM | PCI_STATUS_FAST_BACK,
			0);
	pci_set_initial(&piix->pm, PCI_INTERRUPT_LINE, 1, piix->config.sci_irq, 0xff);
	pci_set_initial(&piix->pm, PIIX4_PMBASE, 4, piix->config.pm_base | 1u, 0);
	/* Firmware takes this for "SMM is set up already": there is none to set up. */
	pci_set_initial(&piix->pm, PIIX4_DEVACTB, 4, DEVACTB_APMC_EN, 0);
	pci_set_initial(&piix->pm, PIIX4_PMREGMISC, 1, 1, 0);
	pci_set_initial(&piix->pm, PIIX4_SMBHSTBASE, 4, 1, 0xfff0);
	pci_set_initial(&piix->pm, PIIX4_SMBHSTCFG, 1, 0, 0x0f);
	return 0;
}

static void piix_reset(struct device *dev)
{
	struct piix *piix = (struct piix *)dev;

	pci_reset(&piix->isa);
	pci_reset(&piix->pm);
	update_irqs(piix);
}

static void piix_destroy(struct device *dev)
{
	struct piix *piix = (struct piix *)dev;

	pci_remove(&piix->pm);
	pci_remove(&piix->isa);
	free(piix);
}

static const struct state_field piix_fields[] = {
	STATE_FIELD(struct piix, isa.config),
	STATE_FIELD(struct piix, pm.config),
	STATE_FIELD(struct piix, pirq_level),
	STATE_FIELD(struct piix, irq_level),
	STATE_FIELDS_END,
};

static const struct device_class piix_class = {
	.name = "piix",
	.reset = piix_reset,
	.destroy = piix_destroy,
	.fields = piix_fields,
};

int piix_create(const struct device_env *env, const struct piix_config *config, struct device **dev,
		struct error *err)
{
	struct piix *piix = calloc(1, sizeof(*piix));
	int rc;

	(void)env;
	if (!piix)
		return error_set(err, ENOMEM, "no memory for the south bridge");
	piix->dev.class = &piix_class;
	piix->config = *config;
	rc = add_isa_bridge(piix, err);
	if (!rc) {
		rc = add_power_management(piix, err);
		if (rc)
			pci_remove(&piix->isa);
	}
	if (rc) {
		free(piix);
		return rc;
	}
	*dev = &piix->dev;
	return 0;
}

struct irq_line piix_pirq_line(struct device *dev, unsigned pirq)
{
	return (struct irq_line){ .set = set_pirq, .opaque = dev, .input = pirq };
}
