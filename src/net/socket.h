/* SPDX-License-Identifier: MIT */
/*
 * A network whose other side is a process, or a test, at the other end of a socket that keeps
 * messages apart (SOCK_SEQPACKET): each is a header and a frame.
 */
#ifndef RINGLET_NET_SOCKET_H
#define RINGLET_NET_SOCKET_H

#include "net/net.h"

struct error;

/* Two ends that are connected, with room for some of the longest frames. 0 or -errno. */
int net_socket_pair(int ends[2], struct error *err);

/* Takes over fd, also when it fails. kind: as in struct net. 0 or -ENOMEM. */
int net_socket_open(const char *kind, int fd, const struct net_info *info, struct net **net,
		    struct error *err);

#endif
