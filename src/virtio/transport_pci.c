/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI: see transport_pci.h. BAR 4, in pages:
 *   0x0000 common configuration   0x1000 ISR status   0x2000 device configuration
 *   0x3000 notifications, 4 bytes a queue
 * BAR 1 is MSI-X's. A capability (VIRTIO_PCI_CAP_PCI_CFG) lets firmware reach BAR 4 through
 * configuration space.
 */
#include "virtio/transport_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "dev/msix.h"
#include "dev/pci.h"
#include "virtio/transport_pci_common.h"

#define VENDOR 0x1af4
#define DEVICE_BASE 0x1040 /* plus the virtio device ID */
#define SUBSYSTEM 0x1100

#define BAR_MSIX 1
#define BAR_WINDOW 2 /* would be */
#define BAR_REGISTERS 4
#define BAR_BYTES 0x4000u
#define PAGE_BYTES 0x1000u
#define NOTIFY_MULTIPLIER 4u

enum page { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };

#define ISR_QUEUE 1u
#define ISR_CONFIG 2u

/* ---- interrupts ---- */

static void interrupt(struct virtio_pci *pci, unsigned vector, uint8_t isr)
{
	if (msix_enabled(&pci->msix)) {
		msix_fire(&pci->msix, vector);
		return;
	}
	pci->isr |= isr;
	pci_set_intx(&pci->function, true);
}

static void queue_interrupt(void *opaque, unsigned queue)
{
	struct virtio_pci *pci = opaque;

	interrupt(pci, pci->queue_vector[queue], ISR_QUEUE);
}

static void config_interrupt(void *opaque)
{
	struct virtio_pci *pci = opaque;

	interrupt(pci, pci->config_vector, ISR_CONFIG);
}

static void reset_now(void *opaque)
{
	virtio_pci_registers_reset(opaque);
}

static bool is_master(void *opaque)
{
	struct virtio_pci *pci = opaque;

	return pci_is_master(&pci->function);
}

static const struct virtio_transport transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = reset_now,
	.is_master = is_master,
	.queue_doorbell = virtio_pci_bell,
};

static uint8_t read_isr(struct virtio_pci *pci)
{
	uint8_t isr = pci->isr;

	pci->isr = 0;
	pci_set_intx(&pci->function, false);
	return isr;
}

/* ---- the BAR ---- */

/* size: 1, 2, 4. */
static uint32_t registers_read(struct virtio_pci *pci, uint64_t offset, unsigned size)
{
	uint64_t at = offset % PAGE_BYTES;

	switch ((enum page)(offset / PAGE_BYTES)) {
	case PAGE_COMMON:
		return virtio_pci_common_read(pci, (unsigned)at, size);
	case PAGE_ISR:
		return at ? 0 : read_isr(pci);
	case PAGE_DEVICE:
		return virtio_config_read(pci->virtio, at, size);
	case PAGE_NOTIFY:
		break;
	}
	return 0;
}

static void registers_write(struct virtio_pci *pci, uint64_t offset, unsigned size, uint32_t value)
{
	uint64_t at = offset % PAGE_BYTES;

	switch ((enum page)(offset / PAGE_BYTES)) {
	case PAGE_COMMON:
		virtio_pci_common_write(pci, (unsigned)at, size, value);
		break;
	case PAGE_DEVICE:
		virtio_config_write(pci->virtio, at, size, value);
		break;
	case PAGE_NOTIFY:
		virtio_kick(pci->virtio, (unsigned)at / NOTIFY_MULTIPLIER);
		break;
	case PAGE_ISR:
		break;
	}
}

/* 64-bit fields are two of 32 bits, in either order. */
static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)cpu;
	if (size == 8)
		return registers_read(opaque, offset, 4) |
		       (uint64_t)registers_read(opaque, offset + 4, 4) << 32;
	return registers_read(opaque, offset, size);
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)cpu;
	registers_write(opaque, offset, size < 4 ? size : 4, (uint32_t)value);
	if (size == 8)
		registers_write(opaque, offset + 4, 4, (uint32_t)(value >> 32));
}

/* ---- the BAR by way of configuration space ---- */

/* Where the window leads; false: it is not set up in a way that leads anywhere. */
static bool window(const struct virtio_pci *pci, uint32_t *offset, uint32_t *length)
{
	const uint8_t *cap = pci->function.config + pci->window;

	memcpy(offset, cap + VIRTIO_PCI_CAP_OFFSET, sizeof(*offset));
	memcpy(length, cap + VIRTIO_PCI_CAP_LENGTH, sizeof(*length));
	return cap[VIRTIO_PCI_CAP_BAR] == BAR_REGISTERS &&
	       (*length == 1 || *length == 2 || *length == 4) && *offset % *length == 0 &&
	       *offset < BAR_BYTES;
}

static bool touches_window(const struct virtio_pci *pci, unsigned offset, unsigned size)
{
	unsigned data = pci->window + sizeof(struct virtio_pci_cap);

	return offset < data + 4 && offset + size > data;
}

static void config_reading(void *opaque, unsigned offset, unsigned size)
{
	struct virtio_pci *pci = opaque;
	uint32_t at, length, value;

	if (!touches_window(pci, offset, size) || !window(pci, &at, &length))
		return;
	value = registers_read(pci, at, length);
	memcpy(pci->function.config + pci->window + sizeof(struct virtio_pci_cap), &value,
	       length);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
	struct virtio_pci *pci = opaque;
	uint32_t at, length, value = 0;
	bool master = pci_is_master(&pci->function);

	msix_config_written(&pci->msix, offset, size);
	if (touches_window(pci, offset, size) && window(pci, &at, &length)) {
		memcpy(&value, pci->function.config + pci->window + sizeof(struct virtio_pci_cap),
		       length);
		registers_write(pci, at, length, value);
	}
	if (master != pci->was_master)
		virtio_settle(pci->virtio);
	if (master && !pci->was_master)
		virtio_kick_all(pci->virtio);
	pci->was_master = master;
}

/* ---- capabilities ---- */

static unsigned add_capability(struct virtio_pci *pci, uint8_t type, enum page page,
			       uint32_t length, unsigned extra_bytes)
{
	struct virtio_pci_cap cap = {
		.cap_len = (uint8_t)(sizeof(cap) + extra_bytes), .cfg_type = type,
		.bar = BAR_REGISTERS, .offset = page * PAGE_BYTES, .length = length,
	};
	unsigned offset = pci_add_capability(&pci->function, PCI_CAP_ID_VNDR, cap.cap_len);

	for (unsigned i = VIRTIO_PCI_CAP_LEN; i < sizeof(cap); i++)
		pci_set_initial(&pci->function, offset + i, 1, ((uint8_t *)&cap)[i], 0);
	return offset;
}

/*
 * Shared memory stays at its place, whatever the guest would like: so it is no BAR but what Enhanced
 * Allocation (PCI 3.0's ECN) has instead of one.
 */
static void add_window(struct virtio_pci *pci)
{
	const struct virtio_window *window = &pci->virtio->window;
	const uint64_t max_offset = window->bytes - 1;
	const uint32_t entry[] = {
		1, /* how many there are */
		PCI_EA_ENABLE | PCI_EA_P_MEM_PREFETCH << 16 | PCI_EA_P_MEM_PREFETCH << 8 |
			BAR_WINDOW << 4 | 4 /* words that follow */,
		(uint32_t)window->gpa | PCI_EA_IS_64,
		((uint32_t)max_offset & PCI_EA_FIELD_MASK) | PCI_EA_IS_64,
		(uint32_t)(window->gpa >> 32), (uint32_t)(max_offset >> 32),
	};
	unsigned offset = pci_add_capability(&pci->function, PCI_CAP_ID_EA, sizeof(entry));

	pci_set_initial(&pci->function, offset + PCI_EA_NUM_ENT, 2, entry[0], 0);
	for (unsigned i = 1; i < sizeof(entry) / sizeof(entry[0]); i++)
		pci_set_initial(&pci->function, offset + 4 * i, 4, entry[i], 0);
	offset = add_capability(pci, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, 0, (uint32_t)window->bytes,
				sizeof(struct virtio_pci_cap64) - sizeof(struct virtio_pci_cap));
	pci_set_initial(&pci->function, offset + VIRTIO_PCI_CAP_BAR, 1, BAR_WINDOW, 0);
	pci_set_initial(&pci->function, offset + offsetof(struct virtio_pci_cap64, length_hi), 4,
			(uint32_t)(window->bytes >> 32), 0);
}

static void add_capabilities(struct virtio_pci *pci)
{
	uint32_t config_bytes = ((uint32_t)pci->virtio->config_bytes + 3) & ~3u;
	unsigned offset;

	add_capability(pci, VIRTIO_PCI_CAP_COMMON_CFG, PAGE_COMMON, VIRTIO_PCI_COMMON_Q_RESET + 2,
		       0);
	add_capability(pci, VIRTIO_PCI_CAP_ISR_CFG, PAGE_ISR, 1, 0);
	if (config_bytes)
		add_capability(pci, VIRTIO_PCI_CAP_DEVICE_CFG, PAGE_DEVICE, config_bytes, 0);
	offset = add_capability(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, PAGE_NOTIFY,
				pci->virtio->queue_count * NOTIFY_MULTIPLIER, 4);
	pci_set_initial(&pci->function, offset + VIRTIO_PCI_NOTIFY_CAP_MULT, 4, NOTIFY_MULTIPLIER,
			0);
	pci->window = add_capability(pci, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
	pci_set_initial(&pci->function, pci->window + VIRTIO_PCI_CAP_BAR, 1, 0, 0xff);
	pci_set_initial(&pci->function, pci->window + VIRTIO_PCI_CAP_OFFSET, 4, 0, ~0u);
	pci_set_initial(&pci->function, pci->window + VIRTIO_PCI_CAP_LENGTH, 4, 0, ~0u);
	pci_set_initial(&pci->function, pci->window + sizeof(struct virtio_pci_cap), 4, 0, ~0u);
	if (pci->virtio->window.bytes)
		add_window(pci);
}

/* ---- life ---- */

static void pci_device_reset(struct device *dev)
{
	struct virtio_pci *pci = (struct virtio_pci *)dev;

	virtio_pci_registers_reset(pci);
	msix_reset(&pci->msix);
	pci_reset(&pci->function);
	pci->was_master = false;
}

static void pci_device_destroy(struct device *dev)
{
	struct virtio_pci *pci = (struct virtio_pci *)dev;

	virtio_pci_registers_reset(pci);
	pci_remove(&pci->function);
	msix_release(&pci->msix);
	virtio_pci_bells_destroy(pci);
	pci->virtio->class->destroy(pci->virtio);
	free(pci);
}

static void pci_device_settle(struct device *dev)
{
	virtio_settle(((struct virtio_pci *)dev)->virtio);
}

static void pci_device_describe(const struct device *dev, struct json *json)
{
	const struct virtio_pci *pci = (const struct virtio_pci *)dev;
	char address[8];

	snprintf(address, sizeof(address), "%02x.%u", pci->function.devfn >> 3,
		 pci->function.devfn & 7);
	json_string(json, "virtio", pci->virtio->class->name);
	json_string(json, "pci", address);
	json_uint(json, "queues", pci->virtio->queue_count);
	if (pci->virtio->class->describe)
		pci->virtio->class->describe(pci->virtio, json);
}

static void pci_device_count(const struct device *dev, struct json *json)
{
	virtio_device_count(((const struct virtio_pci *)dev)->virtio, json);
}

static int add_function(struct virtio_pci *pci, const struct virtio_pci_config *config,
			struct error *err)
{
	const struct virtio_class *class = pci->virtio->class;
	const struct pci_identity identity = {
		.vendor = VENDOR, .device = (uint16_t)(DEVICE_BASE + class->id),
		.subsystem_vendor = VENDOR, .subsystem = SUBSYSTEM, .revision = 1,
		.class_code = class->pci_class, .interrupt_pin = 1,
	};
	const struct bus_range range = {
		.size = BAR_BYTES, .name = class->name, .opaque = pci, .read = bar_read,
		.write = bar_write,
		.doorbells = pci->doorbells, .doorbell_count = pci->doorbell_count,
	};
	int ret = pci_add(config->bus, config->devfn, &identity, &pci->function, err);

	if (ret)
		return ret;
	ret = msix_create(&pci->msix, &pci->function, pci->virtio->queue_count + 1, BAR_MSIX, err);
	if (ret) {
		pci_remove(&pci->function);
		return ret;
	}
	pci_add_bar(&pci->function, BAR_REGISTERS, PCI_BAR_MEM64, &range);
	add_capabilities(pci);
	pci->function.config_reading = config_reading;
	pci->function.config_written = config_written;
	pci->function.opaque = pci;
	return 0;
}

static const struct device_class virtio_pci_class = {
	.name = "virtio-pci",
	.reset = pci_device_reset,
	.destroy = pci_device_destroy,
	.settle = pci_device_settle,
	.describe = pci_device_describe,
	.count = pci_device_count,
};

int virtio_pci_create(const struct virtio_pci_config *config, struct virtio_device *virtio,
		      struct device **dev, struct error *err)
{
	struct virtio_pci *pci = calloc(1, sizeof(*pci));
	int ret;

	if (!pci) {
		ret = error_set(err, ENOMEM, "no memory for %s", virtio->class->name);
		virtio->class->destroy(virtio);
		return ret;
	}
	pci->virtio = virtio;
	pci->dev.class = &virtio_pci_class;
	virtio_attach(virtio, &transport, pci);
	ret = virtio_pci_bells_create(pci, PAGE_NOTIFY * PAGE_BYTES, NOTIFY_MULTIPLIER, err);
	if (!ret)
		ret = add_function(pci, config, err);
	if (ret) {
		virtio_pci_bells_destroy(pci);
		virtio->class->destroy(virtio);
		free(pci);
		return ret;
	}
	virtio_pci_registers_reset(pci);
	*dev = &pci->dev;
	return 0;
}
