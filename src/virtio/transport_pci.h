/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI (virtio 1.2, 4.1), modern only: the registers in one BAR, MSI-X with a vector a
 * queue and one for configuration changes in another, INTA while MSI-X is off. Machine lock held.
 *
 * Each queue's notification has an address of its own, and nothing but the address tells which: so an
 * accelerator can turn such a write into an event without leaving the kernel (struct bus_doorbell).
 */
#ifndef RINGLET_VIRTIO_TRANSPORT_PCI_H
#define RINGLET_VIRTIO_TRANSPORT_PCI_H

#include "dev/device.h"

struct pci_bus;
struct virtio_device;

struct virtio_pci_config {
	struct pci_bus *bus;
	uint8_t devfn;
};

/* Takes over virtio, and destroys it when it fails. */
int virtio_pci_create(const struct virtio_pci_config *config, struct virtio_device *virtio,
		      struct device **dev, struct error *err);

#endif
