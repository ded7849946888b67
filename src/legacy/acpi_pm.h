/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware (ACPI specification 6, chapter 4): PM1a event and control blocks, the power
 * management timer, one general-purpose event block. Sleep state S5 alone is offered. Machine lock.
 *
 * From the base port:  +0 PM1 status (2)  +2 PM1 enable (2)  +4 PM1 control (2)  +8 timer (4)
 *                      +0x20 GPE0 status (2)  +0x22 GPE0 enable (2)
 */
#ifndef RINGLET_LEGACY_ACPI_PM_H
#define RINGLET_LEGACY_ACPI_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

#define ACPI_PM_DEFAULT_PORT 0x600
#define ACPI_PM_PORTS 0x40u
#define ACPI_PM_EVENT_OFFSET 0
#define ACPI_PM_CONTROL_OFFSET 4
#define ACPI_PM_TIMER_OFFSET 8
#define ACPI_PM_GPE0_OFFSET 0x20
#define ACPI_PM_GPE0_BYTES 4u /* status and enable */
#define ACPI_PM_GPES 16u
#define ACPI_PM_TIMER_HZ 3579545u

/* Values for the SMI command port, when there is one (FADT: ACPI_ENABLE, ACPI_DISABLE). */
#define ACPI_PM_SMI_ENABLE 0xf1
#define ACPI_PM_SMI_DISABLE 0xf0

struct acpi_pm_config {
	uint16_t port;             /* base; 0: ACPI_PM_DEFAULT_PORT */
	uint16_t smi_command_port; /* 0: none, SCI_EN is always set */
	uint8_t slp_typ_s5;        /* what \_S5 in the DSDT says */
	bool timer_32bit;          /* FADT: TMR_VAL_EXT */
	struct irq_line sci;       /* level */
	void (*poweroff)(void *opaque);
	void *opaque;
};

int acpi_pm_create(const struct device_env *env, const struct acpi_pm_config *config,
		   struct device **dev, struct error *err);

/* Somebody pressed the power button: the guest is asked to shut down. */
void acpi_pm_power_button(struct device *dev);

/* A general-purpose event, 0 … ACPI_PM_GPES - 1. */
void acpi_pm_gpe(struct device *dev, unsigned event);

#endif
