/* SPDX-License-Identifier: MIT */
/*
 * PROTOCOL:[ADDRESS:]PORT-[ADDRESS]:PORT, a port of the host and where its connections go in the
 * guest. PROTOCOL is tcp or udp, an IPv6 address stands in brackets. Any thread.
 */
#ifndef RINGLET_NET_FORWARD_H
#define RINGLET_NET_FORWARD_H

#include "net/user.h"

/*
 * guest: where it goes when text names no address. Without an address of the host, only the host
 * itself can connect. 0 or -EINVAL.
 */
int net_forward_parse(const char *text, struct in_addr guest, struct net_user_forward *forward,
		      struct error *err);

#endif
