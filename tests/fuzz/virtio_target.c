/* SPDX-License-Identifier: MIT */
#include "virtio_target.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#include "dev/bus.h"
#include "dev/pci.h"
#include "mem/mem.h"
#include "virtio/transport_pci.h"

#define CARD PCI_DEVFN(2, 0)
#define MSIX_BAR 0xc0000000u
#define BAR 0xc0100000u
#define NOTIFY (BAR + 0x3000)
#define QUEUES 4u /* that the driver uses */
#define SIZE 8u
#define RING(queue) (0x1000u * ((queue) + 1)) /* desc; driver and device in its second half */
#define CHAIN_MAX 6u

/* The bus as a device, so that it goes last; and the driver's positions. */
static struct virtio_target {
	struct device dev; /* must be first */
	struct pci_bus *pci;
	struct mem *mem;
	bool packed, wrap[QUEUES];
	uint16_t next[QUEUES];
	unsigned requests;
	void (*more)(struct device_target *target, struct fuzz_input *input);
} one;

static void bus_reset(struct device *dev)
{
	(void)dev;
}

static void bus_free(struct device *dev)
{
	(void)dev;
	pci_bus_destroy(one.pci);
}

static const struct device_class bus_class = {
	.name = "pci-bus", .reset = bus_reset, .destroy = bus_free,
};

/* ---- the driver ---- */

static void config_out(unsigned offset, unsigned size, uint32_t value)
{
	pci_config_write(one.pci, 0, CARD, offset, size, value);
}

/* The machine lock is held, which the bus would take: so by way of configuration space. */
static unsigned window;

static void find_window(void)
{
	window = pci_config_read(one.pci, 0, CARD, PCI_CAPABILITY_LIST, 1);
	while (pci_config_read(one.pci, 0, CARD, window, 1) != PCI_CAP_ID_VNDR ||
	       pci_config_read(one.pci, 0, CARD, window + VIRTIO_PCI_CAP_CFG_TYPE, 1) !=
		       VIRTIO_PCI_CAP_PCI_CFG)
		window = pci_config_read(one.pci, 0, CARD, window + PCI_CAP_LIST_NEXT, 1);
}

static void out(unsigned offset, unsigned size, uint32_t value)
{
	config_out(window + VIRTIO_PCI_CAP_BAR, 1, 4);
	config_out(window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	config_out(window + VIRTIO_PCI_CAP_LENGTH, 4, size);
	config_out(window + sizeof(struct virtio_pci_cap), size, value);
}

static void enable_queue(unsigned queue)
{
	static const uint8_t zeros[0x1000];

	mem_write(one.mem, RING(queue), zeros, sizeof(zeros));
	out(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	out(VIRTIO_PCI_COMMON_Q_SIZE, 2, SIZE);
	out(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue);
	out(VIRTIO_PCI_COMMON_Q_DESCLO, 4, RING(queue));
	out(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, RING(queue) + 0x800);
	out(VIRTIO_PCI_COMMON_Q_USEDLO, 4, RING(queue) + 0xc00);
	out(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	one.next[queue] = 0;
	one.wrap[queue] = true;
}

static void negotiate(struct fuzz_input *input)
{
	uint32_t low = fuzz_u32(input), high = fuzz_u8(input) & 1 ? 5 : 1;

	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_out(PCI_BASE_ADDRESS_1, 4, MSIX_BAR);
	config_out(PCI_BASE_ADDRESS_4, 4, BAR);
	out(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	/* What is not offered would end it here. */
	out(VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	config_out(window + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_DF);
	low &= pci_config_read(one.pci, 0, CARD, window + sizeof(struct virtio_pci_cap), 4);
	out(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	out(VIRTIO_PCI_COMMON_GF, 4, low);
	out(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	out(VIRTIO_PCI_COMMON_GF, 4, high);
	one.packed = high & 4;
	out(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned queue = 0; queue < QUEUES; queue++)
		enable_queue(queue);
	out(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* A buffer's place and kind are one byte each, so that most are in memory. */
static struct vring_desc take_desc(struct fuzz_input *input)
{
	struct vring_desc desc = { .addr = 0x10000 + 0x400 * (uint64_t)fuzz_u8(input) };
	uint8_t kind = fuzz_u8(input);

	desc.len = kind & 0x80 ? fuzz_u32(input) : (kind >> 2) * 4u;
	desc.flags = kind & 3 ? kind & VRING_DESC_F_WRITE : 0;
	if ((kind & 0xfd) == 0xfd)
		desc.flags = VRING_DESC_F_INDIRECT;
	return desc;
}

/* A chain of count descriptors; their flags say alone what kind they are. */
static void put_chain(unsigned queue, struct vring_desc *chain, unsigned count)
{
	uint16_t first = one.next[queue] % SIZE;

	for (unsigned i = 0; i < count; i++) {
		unsigned slot = (first + i) % SIZE;
		struct vring_desc *desc = &chain[i];
		uint16_t flags = desc->flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0);

		if (one.packed) {
			desc->flags = first;
			desc->next = flags | (uint16_t)(1u << (one.wrap[queue] ? 7 : 15));
			one.wrap[queue] ^= slot == SIZE - 1;
		} else {
			desc->flags = flags;
			desc->next = (uint16_t)((slot + 1) % SIZE);
		}
		mem_write(one.mem, RING(queue) + 16 * slot, desc, sizeof(*desc));
	}
	if (one.packed) {
		one.next[queue] = (uint16_t)((first + count) % SIZE);
		return;
	}
	mem_write(one.mem, RING(queue) + 0x800 + 4 + 2 * first, &first, 2);
	one.next[queue]++;
	mem_write(one.mem, RING(queue) + 0x800 + 2, &one.next[queue], 2);
}

static void kick(unsigned queue)
{
	out(NOTIFY - BAR + 4 * queue, 2, queue);
}

static void offer(unsigned queue, struct fuzz_input *input)
{
	unsigned count = 1 + fuzz_u8(input) % CHAIN_MAX;
	struct vring_desc chain[CHAIN_MAX];

	for (unsigned i = 0; i < count; i++)
		chain[i] = take_desc(input);
	put_chain(queue, chain, count);
}

/* Behind the other buffers, in turn, so that requests that are being answered stay as they are. */
void virtio_target_ask(unsigned queue, const void *request, uint32_t size, uint32_t room,
		       uint32_t cut)
{
	const uint64_t at = 0x60000 + one.requests++ % 8 * 0x4000, answer = at + 0x2000;
	struct vring_desc chain[4] = {
		{ .addr = at, .len = cut },
		{ .addr = at + cut, .len = size - cut },
		{ .addr = answer, .len = cut, .flags = VRING_DESC_F_WRITE },
		{ .addr = answer + cut, .len = room, .flags = VRING_DESC_F_WRITE },
	};

	mem_write(one.mem, at, request, size);
	put_chain(queue, chain, 4);
	kick(queue);
}

/* Bytes of the input at a multiple of 1024, where buffers are. */
static void put_data(struct fuzz_input *input)
{
	uint8_t data[64];
	uint64_t gpa = 0x10000 + 0x400 * (uint64_t)fuzz_u8(input);

	fuzz_take(input, data, sizeof(data));
	mem_write(one.mem, gpa, data, sizeof(data));
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);
	unsigned queue = what >> 4 & (QUEUES - 1);

	switch (what & 7) {
	case 0:
		negotiate(input);
		break;
	case 1: case 2: case 3:
		offer(queue, input);
		kick(queue);
		break;
	case 4:
		offer(queue, input);
		break;
	case 5: case 6:
		put_data(input);
		break;
	default:
		if (one.more)
			one.more(target, input);
	}
}

/* ---- setting up ---- */

void virtio_target_open(struct device_target *target,
			void (*more)(struct device_target *target, struct fuzz_input *input))
{
	const struct pci_bus_config config = { .pio = target->env.pio, .mmio = target->env.mmio };

	one = (struct virtio_target){ .dev = { &bus_class },
				      .mem = target->env.mem, .more = more };
	target->device[target->devices] = &one.dev;
	device_target_keep(target, pci_bus_create(&config, &one.pci, NULL));
	target->event = event;
}

void virtio_target_plug(struct device_target *target, struct virtio_device *virtio)
{
	const struct virtio_pci_config config = { .bus = one.pci, .devfn = CARD };

	device_target_keep(target, virtio_pci_create(&config, virtio,
						     &target->device[target->devices], NULL));
	find_window();
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_out(PCI_BASE_ADDRESS_1, 4, MSIX_BAR);
	config_out(PCI_BASE_ADDRESS_4, 4, BAR);
}
