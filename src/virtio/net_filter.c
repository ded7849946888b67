/* SPDX-License-Identifier: MIT */
#include "virtio/net_filter.h"

#include <string.h>

#define TYPE_OFFSET 12
#define TYPE_VLAN 0x8100u
#define TAG_OFFSET 14

void net_filter_reset(struct net_filter *filter, const uint8_t *mac, bool by_vlan)
{
	/* A driver that sets no mode gets everything that a card without filters would. */
	*filter = (struct net_filter){ .promiscuous = true, .vlans_count = by_vlan };
	memcpy(filter->mac, mac, sizeof(filter->mac));
}

static bool has(const struct net_filter_table *table, const uint8_t *address)
{
	for (unsigned i = 0; i < table->count; i++)
		if (!memcmp(table->address[i], address, sizeof(table->address[i])))
			return true;
	return table->overflow;
}

static bool passes_vlan(const struct net_filter *filter, const uint8_t *frame, size_t len)
{
	unsigned vlan;

	if (!filter->vlans_count || len < TAG_OFFSET + 2 ||
	    (frame[TYPE_OFFSET] << 8 | frame[TYPE_OFFSET + 1]) != TYPE_VLAN)
		return true;
	vlan = (frame[TAG_OFFSET] << 8 | frame[TAG_OFFSET + 1]) & (NET_FILTER_VLANS - 1);
	return filter->vlans[vlan / 8] >> vlan % 8 & 1;
}

static bool passes_address(const struct net_filter *filter, const uint8_t *to)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (filter->promiscuous)
		return true;
	if (!memcmp(to, broadcast, sizeof(broadcast)))
		return !filter->no_broadcast;
	if (to[0] & 1)
		return !filter->no_multicast &&
		       (filter->all_multicast || has(&filter->multicast, to));
	return !filter->no_unicast && (filter->all_unicast ||
				       !memcmp(to, filter->mac, sizeof(filter->mac)) ||
				       has(&filter->unicast, to));
}

bool net_filter_passes(const struct net_filter *filter, const uint8_t *frame, size_t len)
{
	return passes_vlan(filter, frame, len) && passes_address(filter, frame);
}
