/* SPDX-License-Identifier: MIT */
/*
 * User-mode networking: a network of its own a card, whose other end (libslirp) turns the guest's
 * connections into the user's own sockets. What the guest sends is hostile and libslirp has a
 * history, so it works in a process of its own: it has a socket to us, and nothing of the machine's.
 *
 * That process is this program again, run by the hidden command NET_USER_COMMAND.
 */
#ifndef RINGLET_NET_USER_H
#define RINGLET_NET_USER_H

#include <netinet/in.h>
#include <stdbool.h>

#include "net/net.h"

struct error;

#define NET_USER_COMMAND "net-user"
#define NET_USER_FORWARDS_MAX 16u
/* Four segments in the largest window that libslirp knows: with fewer, TCP waits for it to open. */
#define NET_USER_MTU 16384u

union net_user_address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* A port of the host whose connections go to one of the guest. */
struct net_user_forward {
	bool udp;
	union net_user_address host, guest; /* of one family */
};

struct net_user_plan {
	struct in_addr network, mask, host, dns, guest;
	struct in6_addr prefix, host6, dns6; /* of 64 bits */
	bool restricted; /* nothing but forwards */
	unsigned mtu;
	unsigned forward_count;
	struct net_user_forward forward[NET_USER_FORWARDS_MAX];
};

/* Starts the process. -EADDRINUSE and others: a port cannot be forwarded. */
int net_user_open(const struct net_user_plan *plan, struct net **net, struct error *err);

/* The process's main: socket is our end of its connection. Returns its exit status. */
int net_user_serve(int socket);

#endif
