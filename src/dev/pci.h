/* SPDX-License-Identifier: MIT */
/*
 * Conventional PCI (PCI Local Bus 3.0): one bus, its functions' configuration space, and the
 * mapping of their BARs onto the machine's buses. A device embeds a struct pci_function, sets it up
 * with pci_add and pci_add_bar, and drives its interrupt with pci_set_intx.
 *
 * All calls with the machine lock held, or before the machine runs.
 */
#ifndef RINGLET_DEV_PCI_H
#define RINGLET_DEV_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "dev/bus.h"

struct error;
struct pci_bus;

#define PCI_CONFIG_BYTES 256
#define PCI_BARS 6
#define PCI_DEVFN(slot, function) ((uint8_t)((slot) << 3 | (function)))

/* Interrupt pins INTA … INTD are 0 … 3 here. How slots and pins meet the machine's wires: */
#define PCI_INTX_GSI_FIRST 16
#define PCI_INTX_GSIS 8
#define PCI_PIRQS 4

/* The I/O APIC input of a slot's pin, counted from PCI_INTX_GSI_FIRST. */
static inline unsigned pci_intx_gsi(unsigned slot, unsigned pin)
{
	return (slot + pin) % PCI_INTX_GSIS;
}

/* The PIRQ link (0 … 3) of a slot's pin, for 8259 routing; as PC firmware has it for the 440FX. */
static inline unsigned pci_intx_pirq(unsigned slot, unsigned pin)
{
	return (slot + pin + PCI_PIRQS - 1) % PCI_PIRQS;
}

/* The ISA interrupt of a PIRQ when no firmware chose another; firmware's own choice, too. */
static inline unsigned pci_pirq_irq(unsigned pirq)
{
	return pirq < 2 ? 10 : 11;
}

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_UPPER };

struct pci_bar {
	enum pci_bar_kind kind;
	bool mapped;
	struct bus_range range; /* base: where it is mapped now */
};

struct pci_function {
	struct pci_bus *bus;
	uint8_t devfn;
	bool intx_level; /* what the device asks for; the command register may hold it back */
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t initial[PCI_CONFIG_BYTES];  /* power-on values */
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits that the guest may change */
	unsigned capabilities_bytes; /* taken by capabilities, from PCI_STD_HEADER_SIZEOF */
	struct pci_bar bar[PCI_BARS];
	/* Before the guest reads config, after it wrote it; may be NULL. */
	void (*config_reading)(void *opaque, unsigned offset, unsigned size);
	void (*config_written)(void *opaque, unsigned offset, unsigned size);
	void *opaque;
	struct log_limit log_limit;
};

/* What a function is; goes into its configuration header. */
struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
	bool multifunction;
	uint8_t interrupt_pin; /* 0: none, 1 … 4: INTA … INTD */
};

struct pci_bus_config {
	struct bus *pio;
	struct bus *mmio;
	/* A function's pin changed level. Functions may share a wire: the listener counts. */
	void (*intx)(void *opaque, unsigned slot, unsigned pin, bool level);
	/* A function signals an interrupt by a write to memory. NULL: nothing listens. */
	void (*msi)(void *opaque, uint64_t address, uint32_t data);
	void *opaque;
};

int pci_bus_create(const struct pci_bus_config *config, struct pci_bus **bus, struct error *err);
/* The functions must have been removed. */
void pci_bus_destroy(struct pci_bus *bus);

/* Puts function (zeroed memory that the device owns) on the bus; -EEXIST: the place is taken. */
int pci_add(struct pci_bus *bus, uint8_t devfn, const struct pci_identity *identity,
	    struct pci_function *function, struct error *err);
/* Unmaps its BARs, lowers its pin, takes it off the bus. */
void pci_remove(struct pci_function *function);
/* Power-on configuration: BARs unmapped, pin low. Keeps what pci_set_initial stored. */
void pci_reset(struct pci_function *function);

/* Power-on value and guest-writable bits of size (1, 2, 4) bytes at offset. */
void pci_set_initial(struct pci_function *function, unsigned offset, unsigned size, uint32_t value,
		     uint32_t writable);

/*
 * Gives the function a BAR (MEM64 takes index and index + 1). range: size (a power of two: at least
 * 4 for I/O, 16 for memory) and handlers; the core adds and removes it as the guest programs it.
 */
void pci_add_bar(struct pci_function *function, unsigned index, enum pci_bar_kind kind,
		 const struct bus_range *range);

/*
 * Appends a capability of size_bytes (its header included) to the function's list and returns its
 * offset; its registers are zero and read-only until pci_set_initial says more.
 */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size_bytes);

/* The guest lets the function access memory, which includes signalling interrupts by messages. */
bool pci_is_master(const struct pci_function *function);

/* Sends an interrupt message, if the function is a bus master. */
void pci_send_msi(const struct pci_function *function, uint64_t address, uint32_t data);

/* Drives the function's interrupt pin. */
void pci_set_intx(struct pci_function *function, bool level);

/*
 * Configuration cycles. offset is within the function's 4 KiB; size 1, 2 or 4. What is not there
 * reads as ones and swallows writes.
 */
uint32_t pci_config_read(struct pci_bus *bus, unsigned bus_number, uint8_t devfn, unsigned offset,
			 unsigned size);
void pci_config_write(struct pci_bus *bus, unsigned bus_number, uint8_t devfn, unsigned offset,
		      unsigned size, uint32_t value);

#endif
