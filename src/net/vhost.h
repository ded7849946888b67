/* SPDX-License-Identifier: MIT */
/*
 * vhost-net: the host's kernel serves a pair of queues by itself, between guest memory and a tap.
 * It reads the rings, writes to guest memory without telling anybody, waits for and sends events. A
 * descriptor of /dev/vhost-net is one pair. <linux/vhost.h>; machine lock held.
 */
#ifndef RINGLET_NET_VHOST_H
#define RINGLET_NET_VHOST_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdint.h>

struct error;

#define VHOST_DEVICE "/dev/vhost-net"
#define VHOST_REGIONS_MAX 64u /* the kernel's own limit, if nobody changed it */

/* Split rings alone, and frames behind the whole of a virtio header. */
#define VHOST_FEATURES                                                                             \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                        \
	 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_NET_F_MRG_RXBUF)

enum { VHOST_RX, VHOST_TX, VHOST_RINGS };

struct vhost_region {
	uint64_t gpa, bytes;
	void *host;
};

struct vhost_ring {
	unsigned size;
	uint16_t position; /* of the first available chain that is his */
	void *desc, *driver, *device;
	int kick, call, fault; /* eventfds */
};

struct vhost_plan {
	uint64_t features; /* that the driver has taken; those that are not VHOST_FEATURES do not count */
	const struct vhost_region *regions;
	unsigned region_count; /* 1 … VHOST_REGIONS_MAX */
	struct vhost_ring ring[VHOST_RINGS];
	int tap;
};

/* The descriptor; -errno: there is none to be had, or it cannot do what VHOST_FEATURES are. */
int vhost_open(struct error *err);

/* From now on the kernel serves the pair. 0; -errno: it does not. */
int vhost_begin(int fd, const struct vhost_plan *plan, struct error *err);

/*
 * On return it touches neither rings nor memory nor frames any more, all that it took has been
 * given back, and position says how far it came. -errno: that is not known.
 */
int vhost_end(int fd, uint16_t position[VHOST_RINGS]);

#endif
