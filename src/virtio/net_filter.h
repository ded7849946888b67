/* SPDX-License-Identifier: MIT */
/*
 * Which frames a network card hands to its guest (virtio 1.2, 5.1.6.5.1-3): those for its address,
 * for groups it is in, of its VLANs. What was not asked for may come, too, so a table that is full
 * lets all of its kind pass. Machine lock held.
 */
#ifndef RINGLET_VIRTIO_NET_FILTER_H
#define RINGLET_VIRTIO_NET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_FILTER_ADDRESSES 64u /* of each kind */
#define NET_FILTER_VLANS 4096u

struct net_filter_table {
	unsigned count;
	bool overflow; /* there were more */
	uint8_t address[NET_FILTER_ADDRESSES][6];
};

struct net_filter {
	uint8_t mac[6];
	bool promiscuous, all_unicast, all_multicast, no_unicast, no_multicast, no_broadcast;
	struct net_filter_table unicast, multicast;
	bool vlans_count; /* else every VLAN is let pass */
	uint8_t vlans[NET_FILTER_VLANS / 8];
};

/* As the driver finds it; by_vlan: it will say which VLANs it wants. */
void net_filter_reset(struct net_filter *filter, const uint8_t *mac, bool by_vlan);

/* frame: at least NET_FRAME_MIN bytes. */
bool net_filter_passes(const struct net_filter *filter, const uint8_t *frame, size_t len);

#endif
