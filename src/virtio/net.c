/* SPDX-License-Identifier: MIT */
/*
 * The network card: see net.h. Queues: receive and transmit of each pair, then control, which comes
 * right behind the first pair for a driver that knows no others. Machine lock held.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "virtio/net_parts.h"

#define QUEUE_SIZE 256

/* What the back end may have left to be done, as features: by us, by the guest. */
static const struct {
	unsigned offload;
	unsigned host_bit, guest_bit;
} offloads[] = {
	{ NET_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ NET_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ NET_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ NET_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ NET_UFO, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO },
};

#define OFFLOADS (sizeof(offloads) / sizeof(offloads[0]))

static uint64_t features_of(const struct net_info *info)
{
	uint64_t features = 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS |
			    1ull << VIRTIO_NET_F_MTU | 1ull << VIRTIO_NET_F_MRG_RXBUF |
			    1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_CTRL_RX |
			    1ull << VIRTIO_NET_F_CTRL_RX_EXTRA | 1ull << VIRTIO_NET_F_CTRL_VLAN |
			    1ull << VIRTIO_NET_F_CTRL_MAC_ADDR;

	/* Whom the kernel serves gets all that comes. */
	if (info->vhost)
		features &= ~(1ull << VIRTIO_NET_F_CTRL_RX | 1ull << VIRTIO_NET_F_CTRL_RX_EXTRA |
			      1ull << VIRTIO_NET_F_CTRL_VLAN);
	if (info->queues > 1)
		features |= 1ull << VIRTIO_NET_F_MQ;
	if (info->to_guest)
		features |= 1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
	for (unsigned i = 0; i < OFFLOADS; i++) {
		if (info->from_guest & offloads[i].offload)
			features |= 1ull << offloads[i].host_bit;
		if (info->to_guest & offloads[i].offload)
			features |= 1ull << offloads[i].guest_bit;
	}
	return features;
}

void nic_set_guest_offloads(struct nic *nic, uint64_t features)
{
	nic->to_guest = 0;
	for (unsigned i = 0; i < OFFLOADS; i++)
		if (features >> offloads[i].guest_bit & 1)
			nic->to_guest |= offloads[i].offload;
	if (nic->net->class->set_offloads)
		nic->net->class->set_offloads(nic->net, nic->to_guest);
	nic_settle(nic);
}

void nic_use_pairs(struct nic *nic, unsigned count)
{
	nic->pairs_used = nic->pairs_used < count ? nic->pairs_used : count;
	nic_settle(nic);
	if (nic->net->class->set_queues)
		nic->net->class->set_queues(nic->net, count);
	nic->pairs_used = count;
	for (unsigned i = 0; i < nic->net->info.queues; i++) {
		if (i < count)
			nic_pair_start(&nic->pair[i]);
		else
			nic_pair_stop(&nic->pair[i]);
	}
	nic_settle(nic);
}

void nic_gone(struct nic *nic)
{
	nic_take_back(nic);
	for (unsigned i = 0; i < nic->net->info.queues; i++)
		nic_pair_stop(&nic->pair[i]);
	if (nic->gone)
		return;
	nic->gone = true;
	log_error("the guest's network (%s) is gone", nic->net->kind);
	nic->config.status = 0;
	virtio_config_changed(&nic->virtio);
}

/* ---- the device ---- */

static void net_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct nic *nic = (struct nic *)dev;
	unsigned index = virtio_queue_index(queue);

	if (index == (virtio_has(dev, VIRTIO_NET_F_MQ) ? 2 * nic->net->info.queues : 2))
		nic_control(nic, queue);
	else if (index / 2 >= nic->pairs_used)
		return;
	else if (index % 2)
		nic_pair_send(&nic->pair[index / 2]);
	else
		nic_pair_refill(&nic->pair[index / 2]);
}

static void net_start(struct virtio_device *dev)
{
	struct nic *nic = (struct nic *)dev;
	unsigned before = nic->net->info.vhost ? nic->to_guest : 0;

	nic->from_guest = 0;
	for (unsigned i = 0; i < OFFLOADS; i++)
		if (virtio_has(dev, offloads[i].host_bit))
			nic->from_guest |= offloads[i].offload;
	nic->vhost_failed = false;
	nic_set_guest_offloads(nic, dev->driver_features);
	/* Frames that were made for the driver before, which took more: the kernel does not look. */
	if (before & ~nic->to_guest)
		for (unsigned i = 0; i < nic->net->info.queues; i++)
			nic_pair_discard(&nic->pair[i]);
	net_filter_reset(&nic->filter, nic->mac, virtio_has(dev, VIRTIO_NET_F_CTRL_VLAN));
	nic_use_pairs(nic, 1);
}

static void net_stop(struct virtio_device *dev)
{
	struct nic *nic = (struct nic *)dev;

	nic_take_back(nic);
	for (unsigned i = 0; i < nic->net->info.queues; i++)
		nic_pair_stop(&nic->pair[i]);
	nic->pairs_used = 0;
	memcpy(nic->config.mac, nic->mac, sizeof(nic->mac));
}

static void net_settle(struct virtio_device *dev)
{
	nic_settle((struct nic *)dev);
}

static void net_fault(struct virtio_device *dev, struct virtio_queue *queue)
{
	nic_fault((struct nic *)dev, virtio_queue_index(queue));
}

static void net_describe(const struct virtio_device *dev, struct json *json)
{
	const struct nic *nic = (const struct nic *)dev;
	const uint8_t *mac = nic->mac;
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	json_string(json, "network", nic->net->kind);
	json_string(json, "mac", text);
	json_uint(json, "mtu", nic->net->info.mtu);
	json_uint(json, "queues", nic->net->info.queues);
	json_bool(json, "vhost", nic->net->info.vhost);
}

static void net_destroy(struct virtio_device *dev)
{
	struct nic *nic = (struct nic *)dev;

	for (unsigned i = 0; i < nic->net->info.queues; i++)
		free(nic->pair[i].frame);
	net_close(nic->net);
	virtio_device_release(dev);
	free(nic);
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.handle = net_handle,
	.start = net_start,
	.stop = net_stop,
	.settle = net_settle,
	.fault = net_fault,
	.describe = net_describe,
	.destroy = net_destroy,
};

static bool create_pairs(struct nic *nic)
{
	for (unsigned i = 0; i < nic->net->info.queues; i++) {
		nic->pair[i] = (struct nic_pair){
			.nic = nic, .index = i, .rx = virtio_queue(&nic->virtio, 2 * i),
			.tx = virtio_queue(&nic->virtio, 2 * i + 1),
			.frame = malloc(NET_HEADER_BYTES + NET_FRAME_MAX),
		};
		if (!nic->pair[i].frame)
			return false;
	}
	return true;
}

int virtio_net_create(const struct device_env *env, const struct virtio_net_options *options,
		      struct virtio_device **dev, struct error *err)
{
	struct nic *nic = calloc(1, sizeof(*nic));
	const struct net_info *info = &options->net->info;
	struct virtio_setup setup = {
		.class = &net_class, .env = env, .queue_count = 2 * info->queues + 1,
		.queue_size = QUEUE_SIZE, .features = features_of(info),
		.config_bytes = offsetof(struct virtio_net_config, speed),
	};
	int ret;

	if (!nic) {
		net_close(options->net);
		return error_set(err, ENOMEM, "no memory for a network card");
	}
	nic->net = options->net;
	memcpy(nic->mac, options->mac, sizeof(nic->mac));
	memcpy(nic->config.mac, options->mac, sizeof(nic->mac));
	nic->config.status = VIRTIO_NET_S_LINK_UP;
	nic->config.max_virtqueue_pairs = (uint16_t)info->queues;
	nic->config.mtu = (uint16_t)info->mtu;
	setup.config = &nic->config;
	ret = virtio_device_init(&nic->virtio, &setup, err);
	if (info->vhost)
		nic->virtio.features &= ~(1ull << VIRTIO_F_RING_PACKED);
	if (!ret && !create_pairs(nic))
		ret = error_set(err, ENOMEM, "no memory for a network card");
	if (ret) {
		net_destroy(&nic->virtio);
		return ret;
	}
	*dev = &nic->virtio;
	return 0;
}
