/* SPDX-License-Identifier: MIT */
/*
 * The control queue (virtio 1.2, 5.1.6.5): a command is class, number and data, answered by one
 * byte. Each is copied whole before it is judged; one that is refused changes nothing.
 */
#include <string.h>

#include "virtio/net_parts.h"

#define HEADER_BYTES sizeof(struct virtio_net_ctrl_hdr)

/* A command's data, as much as there is of it. */
struct command {
	const struct virtio_chain *chain;
	size_t offset;
};

static bool take(struct command *command, void *data, size_t len)
{
	size_t got = virtio_chain_read(command->chain, command->offset, data, len);

	command->offset += got;
	return got == len;
}

static bool at_end(const struct command *command)
{
	return command->offset == command->chain->out_bytes;
}

/* ---- what is received ---- */

static bool set_mode(struct nic *nic, uint8_t number, struct command *command)
{
	struct net_filter *filter = &nic->filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &filter->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &filter->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &filter->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &filter->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &filter->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &filter->no_broadcast,
	};
	unsigned count = virtio_has(&nic->virtio, VIRTIO_NET_F_CTRL_RX_EXTRA) ?
				 VIRTIO_NET_CTRL_RX_NOBCAST + 1 : VIRTIO_NET_CTRL_RX_ALLMULTI + 1;
	uint8_t on;

	if (number >= count || !take(command, &on, 1) || !at_end(command))
		return false;
	*modes[number] = on;
	return true;
}

static bool take_table(struct command *command, struct net_filter_table *table)
{
	uint32_t entries;

	if (!take(command, &entries, sizeof(entries)) ||
	    entries > (command->chain->out_bytes - command->offset) / sizeof(table->address[0]))
		return false;
	table->overflow = entries > NET_FILTER_ADDRESSES;
	table->count = table->overflow ? NET_FILTER_ADDRESSES : entries;
	if (!take(command, table->address, table->count * sizeof(table->address[0])))
		return false;
	command->offset += (entries - table->count) * sizeof(table->address[0]);
	return true;
}

static bool set_addresses(struct nic *nic, struct command *command)
{
	struct net_filter_table unicast, multicast;

	if (!take_table(command, &unicast) || !take_table(command, &multicast) || !at_end(command))
		return false;
	nic->filter.unicast = unicast;
	nic->filter.multicast = multicast;
	return true;
}

static bool set_mac(struct nic *nic, struct command *command)
{
	uint8_t mac[VIRTIO_NET_MAC_BYTES];

	if (!take(command, mac, sizeof(mac)) || !at_end(command))
		return false;
	memcpy(nic->filter.mac, mac, sizeof(mac));
	memcpy(nic->config.mac, mac, sizeof(mac));
	return true;
}

static bool set_vlan(struct nic *nic, uint8_t number, struct command *command)
{
	uint16_t vlan;
	uint8_t bit;

	if (number > VIRTIO_NET_CTRL_VLAN_DEL || !take(command, &vlan, sizeof(vlan)) ||
	    !at_end(command) || vlan >= NET_FILTER_VLANS)
		return false;
	bit = (uint8_t)(1u << vlan % 8);
	if (number == VIRTIO_NET_CTRL_VLAN_ADD)
		nic->filter.vlans[vlan / 8] |= bit;
	else
		nic->filter.vlans[vlan / 8] &= (uint8_t)~bit;
	return true;
}

/* ---- queues and offloads ---- */

static bool set_pairs(struct nic *nic, struct command *command)
{
	uint16_t pairs;

	if (!take(command, &pairs, sizeof(pairs)) || !at_end(command) || !pairs ||
	    pairs > nic->net->info.queues)
		return false;
	nic_use_pairs(nic, pairs);
	return true;
}

static bool set_offloads(struct nic *nic, struct command *command)
{
	uint64_t features;

	if (!take(command, &features, sizeof(features)) || !at_end(command) ||
	    features & ~nic->virtio.driver_features)
		return false;
	nic_set_guest_offloads(nic, features);
	return true;
}

static bool obey(struct nic *nic, const struct virtio_net_ctrl_hdr *header, struct command *command)
{
	const struct virtio_device *dev = &nic->virtio;
	uint8_t number = header->cmd;

	switch (header->class) {
	case VIRTIO_NET_CTRL_RX:
		return virtio_has(dev, VIRTIO_NET_F_CTRL_RX) && set_mode(nic, number, command);
	case VIRTIO_NET_CTRL_MAC:
		if (number == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return virtio_has(dev, VIRTIO_NET_F_CTRL_RX) && set_addresses(nic, command);
		return number == VIRTIO_NET_CTRL_MAC_ADDR_SET &&
		       virtio_has(dev, VIRTIO_NET_F_CTRL_MAC_ADDR) && set_mac(nic, command);
	case VIRTIO_NET_CTRL_VLAN:
		return virtio_has(dev, VIRTIO_NET_F_CTRL_VLAN) && set_vlan(nic, number, command);
	case VIRTIO_NET_CTRL_MQ:
		return virtio_has(dev, VIRTIO_NET_F_MQ) &&
		       number == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(nic, command);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return virtio_has(dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
		       number == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && set_offloads(nic, command);
	default:
		return false;
	}
}

void nic_control(struct nic *nic, struct virtio_queue *queue)
{
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		struct command command = { .chain = chain };
		struct virtio_net_ctrl_hdr header;
		uint8_t ack;

		if (!chain->in_bytes || !take(&command, &header, HEADER_BYTES)) {
			virtio_chain_drop(queue, chain);
			virtio_break(&nic->virtio, "a command without a header or an answer");
			break;
		}
		ack = obey(nic, &header, &command) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		virtio_queue_push(queue, chain, virtio_chain_write(chain, 0, &ack, 1));
	}
	virtio_queue_notify(queue);
}
