/* SPDX-License-Identifier: MIT */
/* Inside virtio's PCI transport: its state, and the common configuration's registers. */
#ifndef RINGLET_VIRTIO_TRANSPORT_PCI_COMMON_H
#define RINGLET_VIRTIO_TRANSPORT_PCI_COMMON_H

#include "dev/device.h"
#include "dev/msix.h"
#include "dev/pci.h"
#include "virtio/transport.h"

struct virtio_pci {
	struct device dev; /* must be first */
	struct pci_function function;
	struct msix msix;
	struct virtio_device *virtio;
	struct virtio_pci_bell *bells; /* one a queue, or none at all */
	struct bus_doorbell *doorbells;
	unsigned doorbell_count;
	unsigned window; /* offset of the capability that leads to the BAR */
	bool was_master;
	uint8_t isr;

	/* Of the common configuration. */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector, queue_vector[64];
};

/* ---- transport_pci_bells.c: queue i's doorbell is at first + i * distance of a BAR ---- */

int virtio_pci_bells_create(struct virtio_pci *pci, uint32_t first, uint32_t distance,
			    struct error *err);
void virtio_pci_bells_destroy(struct virtio_pci *pci);
/* For struct virtio_transport. */
int virtio_pci_bell(void *opaque, unsigned queue, bool ours);

/* ---- transport_pci_common.c ---- */

/* offset within the structure; size 1, 2 or 4. What is not a field's size does nothing. */
uint32_t virtio_pci_common_read(struct virtio_pci *pci, unsigned offset, unsigned size);
void virtio_pci_common_write(struct virtio_pci *pci, unsigned offset, unsigned size,
			     uint32_t value);

/* The device's reset, and that of the registers around it. */
void virtio_pci_registers_reset(struct virtio_pci *pci);

#endif
