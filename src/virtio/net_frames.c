/* SPDX-License-Identifier: MIT */
/*
 * Frames between a pair's queues and its back end. To the guest a frame goes by way of pair->frame,
 * because its length is not known before it is there, and it may take several of the guest's
 * buffers. From the guest it goes where it is, behind a copy of its header.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/iov.h"
#include "host/loop.h"
#include "virtio/net_parts.h"

#define BUDGET 256u /* frames at a time: others want the machine lock, too */
#define MERGE_MAX 64u /* buffers a frame may take */
#define DISCARD_MAX 4096u /* frames: others go on sending */

/* ---- watching ---- */

static void update_watch(struct nic_pair *pair)
{
	uint32_t wanted = pair->lent ? 0 : (pair->starved ? 0 : EPOLLIN) |
						(pair->blocked ? EPOLLOUT : 0);

	if (!pair->watch || pair->watched == wanted)
		return;
	pair->watched = wanted;
	loop_watch_change(pair->watch, wanted);
}

static void receive(struct nic_pair *pair);

static void ready(void *opaque, uint32_t events)
{
	struct nic_pair *pair = opaque;

	if (events & EPOLLOUT && !pair->lent)
		nic_pair_send(pair);
	/* Nobody asked, and it will be said again and again. */
	if (events & (EPOLLHUP | EPOLLERR) && (pair->starved || pair->lent))
		nic_gone(pair->nic);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(pair);
}

void nic_pair_start(struct nic_pair *pair)
{
	struct nic *nic = pair->nic;

	if (pair->watch || nic->gone)
		return;
	pair->watched = EPOLLIN;
	if (loop_watch_add(nic->virtio.env->loop, nic->net->fd[pair->index], EPOLLIN, ready, pair,
			   &pair->watch))
		nic_gone(nic);
}

void nic_pair_stop(struct nic_pair *pair)
{
	loop_watch_remove(pair->watch);
	pair->watch = NULL;
	pair->starved = pair->blocked = false;
	pair->frame_bytes = 0;
}

void nic_pair_handed_over(struct nic_pair *pair)
{
	pair->starved = pair->blocked = false;
	pair->frame_bytes = 0;
	update_watch(pair);
}

void nic_pair_discard(struct nic_pair *pair)
{
	const struct nic *nic = pair->nic;

	for (unsigned i = 0; i < DISCARD_MAX; i++)
		if (net_receive(nic->net, pair->index, pair->frame, NET_HEADER_BYTES + NET_FRAME_MAX) < 0)
			break;
}

/* ---- headers ---- */

static unsigned gso_offload(unsigned gso_type)
{
	switch (gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return NET_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return NET_TSO6;
	case VIRTIO_NET_HDR_GSO_UDP:
		return NET_UFO;
	default:
		return 0;
	}
}

/* ---- to the guest ---- */

/* Enough chains for bytes, or none: those that were taken are back, *count is 0. False: never enough. */
static bool take_chains(struct nic_pair *pair, size_t bytes, struct virtio_chain **chains,
			unsigned *count)
{
	unsigned max = virtio_has(&pair->nic->virtio, VIRTIO_NET_F_MRG_RXBUF) ? MERGE_MAX : 1;
	size_t room = 0;

	*count = 0;
	while (room < bytes && *count < max) {
		struct virtio_chain *chain = virtio_queue_pop(pair->rx);

		if (!chain)
			break;
		chains[(*count)++] = chain;
		room += chain->in_bytes;
	}
	if (room >= bytes)
		return true;
	max -= *count;
	while (*count)
		virtio_queue_unpop(pair->rx, chains[--*count]);
	return max;
}

static void fill(struct nic_pair *pair, struct virtio_chain *const *chains, unsigned count)
{
	struct virtio_net_hdr_v1 *header = (struct virtio_net_hdr_v1 *)pair->frame;
	size_t written[MERGE_MAX], done = 0;

	header->num_buffers = (uint16_t)count;
	for (unsigned i = 0; i < count; i++) {
		written[i] = virtio_chain_write(chains[i], 0, pair->frame + done,
						pair->frame_bytes - done);
		done += written[i];
	}
	virtio_queue_push_all(pair->rx, chains, written, count);
}

/* What waits in pair->frame; false: it goes on waiting. */
static bool deliver(struct nic_pair *pair)
{
	struct virtio_chain *chains[MERGE_MAX];
	unsigned count;
	bool fits = take_chains(pair, pair->frame_bytes, chains, &count);

	if (fits && !count)
		return false;
	/* Into buffers that are too small for it no such frame will ever fit. */
	if (fits)
		fill(pair, chains, count);
	pair->frame_bytes = 0;
	return true;
}

/*
 * Whether the guest sees to what the header leaves to be done: a frame that was made for the driver
 * before it may come late. That its checksum is right is not said to who did not want to know.
 */
static bool settle_header(const struct nic *nic, struct virtio_net_hdr_v1 *header)
{
	bool segment = header->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	unsigned needed = segment ? gso_offload(header->gso_type) : 0;

	if (segment && !needed)
		return false;
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		needed |= NET_CSUM;
	if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		needed |= NET_ECN;
	if (!(nic->to_guest & NET_CSUM))
		header->flags = 0;
	return !(needed & ~nic->to_guest);
}

/* 1: it is in pair->frame; 0: it was none for the guest; -errno: there is none now. */
static int fetch(struct nic_pair *pair)
{
	struct nic *nic = pair->nic;
	ssize_t got = net_receive(nic->net, pair->index, pair->frame,
				  NET_HEADER_BYTES + NET_FRAME_MAX);

	if (got == -EPIPE)
		nic_gone(nic);
	if (got < 0)
		return (int)got;
	if (got < (ssize_t)(NET_HEADER_BYTES + NET_FRAME_MIN) ||
	    !settle_header(nic, (struct virtio_net_hdr_v1 *)pair->frame) ||
	    !net_filter_passes(&nic->filter, pair->frame + NET_HEADER_BYTES,
			       (size_t)got - NET_HEADER_BYTES))
		return 0;
	pair->frame_bytes = (size_t)got;
	return 1;
}

static void receive(struct nic_pair *pair)
{
	for (unsigned i = 0; i < BUDGET && !pair->starved; i++) {
		int got = fetch(pair);

		if (got < 0)
			break;
		pair->starved = got && !deliver(pair);
	}
	virtio_queue_notify(pair->rx);
	update_watch(pair);
}

void nic_pair_refill(struct nic_pair *pair)
{
	if (!pair->starved || !deliver(pair))
		return;
	pair->starved = false;
	virtio_queue_notify(pair->rx);
	update_watch(pair);
}

/* ---- from the guest ---- */

/* Whether header asks for what was negotiated, of a frame of len bytes. What is not asked for is zero. */
static bool check_header(const struct nic *nic, struct virtio_net_hdr_v1 *header, size_t len)
{
	bool csum = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	header->flags = csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	header->num_buffers = 0;
	if (!csum)
		header->csum_start = header->csum_offset = 0;
	else if (!(nic->from_guest & NET_CSUM) ||
		 (size_t)header->csum_start + header->csum_offset + 2 > len)
		return false;
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		header->gso_size = header->hdr_len = 0;
		return true;
	}
	if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN && !(nic->from_guest & NET_ECN))
		return false;
	return csum && header->gso_size && header->hdr_len <= len &&
	       nic->from_guest & gso_offload(header->gso_type);
}

static int send_chain(struct nic_pair *pair, const struct virtio_chain *chain)
{
	struct nic *nic = pair->nic;
	size_t len = chain->out_bytes - NET_HEADER_BYTES;
	struct virtio_net_hdr_v1 header;
	struct iovec iov[VIRTIO_CHAIN_MAX + 1];
	unsigned count;

	if (chain->out_bytes < NET_HEADER_BYTES + NET_FRAME_MIN || len > NET_FRAME_MAX ||
	    chain->out_count > VIRTIO_CHAIN_MAX)
		return -EINVAL;
	virtio_chain_read(chain, 0, &header, sizeof(header));
	if (!check_header(nic, &header, len))
		return -EINVAL;
	iov[0] = (struct iovec){ &header, sizeof(header) };
	count = iov_slice(chain->out, chain->out_count, NET_HEADER_BYTES, len, iov + 1);
	return net_send(nic->net, pair->index, iov, count + 1);
}

void nic_pair_send(struct nic_pair *pair)
{
	struct nic *nic = pair->nic;
	struct virtio_chain *chain;
	unsigned left = BUDGET;

	pair->blocked = false;
	while (!pair->blocked && (chain = virtio_queue_pop(pair->tx))) {
		int ret = nic->gone ? -EPIPE : send_chain(pair, chain);

		if (ret == -EAGAIN) {
			virtio_queue_unpop(pair->tx, chain);
			pair->blocked = true;
			break;
		}
		if (ret == -EINVAL)
			log_guest(&nic->virtio.log_limit,
				  "virtio-net: a frame of %zu bytes that cannot be sent",
				  chain->out_bytes);
		virtio_queue_push(pair->tx, chain, 0);
		/* The rest goes when the loop comes by. */
		pair->blocked = !--left;
	}
	virtio_queue_notify(pair->tx);
	update_watch(pair);
}
