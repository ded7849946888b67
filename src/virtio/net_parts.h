/* SPDX-License-Identifier: MIT */
/*
 * The network card from the inside: net.c (features and life), net_frames.c (frames), net_control.c
 * (the control queue), net_vhost.c (pairs that the host's kernel serves). Machine lock held.
 *
 * A pair of queues is idle until its queues are enabled and it is in use. Its descriptor is watched
 * for what the pair waits for, and only for that: frames, while the guest has buffers; room, after
 * the back end refused a frame; neither, while the pair is lent to the host's kernel.
 */
#ifndef RINGLET_VIRTIO_NET_PARTS_H
#define RINGLET_VIRTIO_NET_PARTS_H

#include <linux/virtio_net.h>

#include "virtio/net.h"
#include "virtio/net_filter.h"

struct loop_watch;
struct nic;

_Static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER_BYTES, "as the seam has it");

struct nic_pair {
	struct nic *nic;
	unsigned index;
	struct virtio_queue *rx, *tx;
	struct loop_watch *watch;
	uint32_t watched; /* EPOLL… */
	bool starved;     /* a frame came for which the guest has no buffers yet */
	bool blocked;     /* the back end refused a frame */
	bool lent;        /* the host's kernel serves it */
	size_t frame_bytes; /* of what is in frame and has to go to the guest; 0: nothing */
	uint8_t *frame;   /* NET_HEADER_BYTES + NET_FRAME_MAX */
};

struct nic {
	struct virtio_device virtio; /* must be first */
	struct virtio_net_config config;
	uint8_t mac[VIRTIO_NET_MAC_BYTES]; /* that it came with */
	struct net *net;
	struct net_filter filter;
	unsigned pairs_used;
	unsigned from_guest, to_guest; /* NET_…: offloads that were negotiated */
	bool gone; /* the back end's other side is */
	bool vhost_failed; /* since the driver started the card */
	struct nic_pair pair[NET_QUEUES_MAX];
};

/* ---- net_frames.c ---- */

/* What the guest has offered, as far as the back end takes it. */
void nic_pair_send(struct nic_pair *pair);
/* The guest has new buffers. */
void nic_pair_refill(struct nic_pair *pair);
/* Begins or ends to look after the pair. */
void nic_pair_start(struct nic_pair *pair);
void nic_pair_stop(struct nic_pair *pair);
/* It was lent, or is not any more: all that waited here is forgotten. */
void nic_pair_handed_over(struct nic_pair *pair);
/* Frames that wait in the back end are thrown away. */
void nic_pair_discard(struct nic_pair *pair);

/* ---- net_control.c ---- */

void nic_control(struct nic *nic, struct virtio_queue *queue);

/* ---- net_vhost.c ---- */

/* Lends the pairs that may be lent now, and takes all others back. */
void nic_settle(struct nic *nic);
/* Takes all back, whatever may be. */
void nic_take_back(struct nic *nic);
/* The kernel cannot go on with a queue. */
void nic_fault(struct nic *nic, unsigned queue);

/* ---- net.c ---- */

/* The first count pairs are in use from now on. */
void nic_use_pairs(struct nic *nic, unsigned count);
/* The guest sees to offloads (those of VIRTIO_NET_F_GUEST_…, as bits) from now on. */
void nic_set_guest_offloads(struct nic *nic, uint64_t features);
/* The back end has no other side any more: the cable is out. */
void nic_gone(struct nic *nic);

#endif
