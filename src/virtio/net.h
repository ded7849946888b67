/* SPDX-License-Identifier: MIT */
/*
 * The network card (virtio 1.2, 5.1): mergeable receive buffers, filters, several pairs of queues,
 * and whatever of checksums and segmentation its back end (net/net.h) sees to.
 */
#ifndef RINGLET_VIRTIO_NET_H
#define RINGLET_VIRTIO_NET_H

#include "net/net.h"
#include "virtio/virtio.h"

#define VIRTIO_NET_MAC_BYTES 6

struct virtio_net_options {
	struct net *net; /* the device closes it, also when it cannot be created */
	uint8_t mac[VIRTIO_NET_MAC_BYTES];
};

int virtio_net_create(const struct device_env *env, const struct virtio_net_options *options,
		      struct virtio_device **dev, struct error *err);

#endif
