/* SPDX-License-Identifier: MIT */
/* The common configuration structure (virtio 1.2, 4.1.4.3). Machine lock held. */
#include "virtio/transport_pci_common.h"

#include <linux/virtio_pci.h>

#define NO_VECTOR VIRTIO_MSI_NO_VECTOR

void virtio_pci_registers_reset(struct virtio_pci *pci)
{
	virtio_reset(pci->virtio);
	pci->device_feature_select = pci->driver_feature_select = 0;
	pci->queue_select = 0;
	pci->isr = 0;
	pci_set_intx(&pci->function, false);
	pci->config_vector = NO_VECTOR;
	for (unsigned i = 0; i < pci->virtio->queue_count; i++)
		pci->queue_vector[i] = NO_VECTOR;
}

/* ---- 64-bit addresses, as two halves ---- */

static bool is_area(unsigned offset, enum virtio_queue_area *area, unsigned *shift)
{
	if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || offset > VIRTIO_PCI_COMMON_Q_USEDHI)
		return false;
	*area = (offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8;
	*shift = (offset - VIRTIO_PCI_COMMON_Q_DESCLO) % 8 * 8;
	return *shift == 0 || *shift == 32;
}

/* ---- by width ---- */

static uint32_t read32(struct virtio_pci *pci, unsigned offset)
{
	enum virtio_queue_area area;
	unsigned shift;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return pci->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return virtio_features_read(pci->virtio, pci->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return pci->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return virtio_driver_features_read(pci->virtio, pci->driver_feature_select);
	}
	if (!is_area(offset, &area, &shift))
		return 0;
	return (uint32_t)(virtio_queue_area_read(pci->virtio, pci->queue_select, area) >> shift);
}

static uint32_t read16(struct virtio_pci *pci, unsigned offset)
{
	bool there = pci->queue_select < pci->virtio->queue_count;

	switch (offset) {
	case VIRTIO_PCI_COMMON_MSIX:
		return pci->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return pci->virtio->queue_count;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return pci->queue_select;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return virtio_queue_size_read(pci->virtio, pci->queue_select);
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return there ? pci->queue_vector[pci->queue_select] : NO_VECTOR;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return virtio_queue_enabled(pci->virtio, pci->queue_select);
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return there ? pci->queue_select : 0;
	}
	return 0;
}

uint32_t virtio_pci_common_read(struct virtio_pci *pci, unsigned offset, unsigned size)
{
	if (size == 4)
		return read32(pci, offset);
	if (size == 2)
		return read16(pci, offset);
	if (offset == VIRTIO_PCI_COMMON_STATUS)
		return pci->virtio->status;
	if (offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		return pci->virtio->config_generation;
	return 0;
}

static void write32(struct virtio_pci *pci, unsigned offset, uint32_t value)
{
	enum virtio_queue_area area;
	unsigned shift;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		pci->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		pci->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_driver_features_write(pci->virtio, pci->driver_feature_select, value);
		break;
	default:
		if (is_area(offset, &area, &shift))
			virtio_queue_area_write(pci->virtio, pci->queue_select, area,
						0xffffffffull << shift, (uint64_t)value << shift);
	}
}

/* A vector that there is not cannot be chosen: the driver reads back that it got none. */
static uint16_t vector(const struct virtio_pci *pci, uint32_t value)
{
	return value < pci->msix.vectors ? (uint16_t)value : NO_VECTOR;
}

static void write16(struct virtio_pci *pci, unsigned offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_MSIX:
		pci->config_vector = vector(pci, value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		pci->queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		virtio_queue_size_write(pci->virtio, pci->queue_select, value);
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		if (pci->queue_select < pci->virtio->queue_count)
			pci->queue_vector[pci->queue_select] = vector(pci, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			virtio_queue_enable(pci->virtio, pci->queue_select);
		break;
	}
}

void virtio_pci_common_write(struct virtio_pci *pci, unsigned offset, unsigned size,
			     uint32_t value)
{
	if (pci->virtio->resetting)
		return; /* the driver has to wait for a status of 0 (4.1.4.3.2) */
	if (size == 4)
		write32(pci, offset, value);
	else if (size == 2)
		write16(pci, offset, value);
	else if (offset == VIRTIO_PCI_COMMON_STATUS && value)
		virtio_status_write(pci->virtio, (uint8_t)value);
	else if (offset == VIRTIO_PCI_COMMON_STATUS && virtio_reset_begin(pci->virtio))
		virtio_pci_registers_reset(pci);
}
