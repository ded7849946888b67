/* SPDX-License-Identifier: MIT */
/*
 * Networks: the seam between network cards that a guest sees and what carries their frames on the
 * host. A back end (socket.c, tap.c, …) is a const class and a function that opens it as a struct
 * net; devices use net_send and net_receive and know no back end.
 *
 * A frame is an Ethernet frame without its check sequence, behind a struct virtio_net_hdr_v1
 * (virtio 1.2, 5.1.6) of NET_HEADER_BYTES that says what is left to be done with it. A back end
 * that can do nothing of it has no offloads, and the header is all zeros in both directions.
 *
 * Back-pressure. Nothing blocks. Who is refused by send waits until the queue's descriptor is
 * writable; frames that nobody receives stay where they are until the back end has no more room for
 * them, which is the sender's affair.
 *
 * Threads. One at a time: callers hold the machine lock.
 */
#ifndef RINGLET_NET_NET_H
#define RINGLET_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct net;

#define NET_HEADER_BYTES 12u
#define NET_QUEUES_MAX 8u
#define NET_MTU_MIN 68u
#define NET_MTU_MAX 65535u
/* An Ethernet header with a VLAN tag, and the longest of payloads. */
#define NET_FRAME_MAX (18u + NET_MTU_MAX)
#define NET_FRAME_MIN 14u

/* What may be left to be done with a frame. */
enum {
	NET_CSUM = 1, /* a checksum is to be computed; or was seen to be right */
	NET_TSO4 = 2, /* it is a segment longer than the MTU, to be cut: TCP over IPv4, … */
	NET_TSO6 = 4,
	NET_ECN = 8,  /* … with congestion notification, too */
	NET_UFO = 16, /* a UDP datagram to be cut */
};

struct net_class {
	/*
	 * Sends the header and the frame that the pieces make up. 0; -EAGAIN: not now, and nothing was
	 * sent; another -errno: the frame is lost.
	 */
	int (*send)(struct net *net, unsigned queue, const struct iovec *iov, unsigned count);
	/*
	 * The next frame with its header: how many bytes. -EAGAIN: there is none; -EPIPE: nor will
	 * there be; another -errno: one was lost. What is longer than size is cut.
	 */
	ssize_t (*receive)(struct net *net, unsigned queue, void *frame, size_t size);
	/* Which of info.to_guest frames may have from now on. NULL: there are none. */
	void (*set_offloads)(struct net *net, unsigned offloads);
	/* How many queues are in use from now on: the first ones. NULL: there is one. */
	void (*set_queues)(struct net *net, unsigned queues);
	void (*close)(struct net *net);
};

/* Filled in by the back end when it opens. */
struct net_info {
	unsigned queues;     /* pairs: 1 … NET_QUEUES_MAX */
	unsigned from_guest; /* NET_…: what it sees to */
	unsigned to_guest;   /* NET_…: what the guest may have to see to */
	unsigned mtu;
	bool vhost;          /* the host's kernel can serve them by itself: net/vhost.h */
};

/* What a back end's own struct begins with. */
struct net {
	const struct net_class *class;
	const char *kind; /* for log lines: "user", "tap" … */
	struct net_info info;
	int fd[NET_QUEUES_MAX]; /* to be watched: readable and writable as said above */
	int vhost[NET_QUEUES_MAX]; /* if info.vhost */
};

static inline int net_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	return net->class->send(net, queue, iov, count);
}

static inline ssize_t net_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	return net->class->receive(net, queue, frame, size);
}

static inline void net_close(struct net *net)
{
	net->class->close(net);
}

#endif
