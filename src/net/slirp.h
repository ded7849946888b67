/* SPDX-License-Identifier: MIT */
/* libslirp between a socket of frames (net/socket.h) and the host's network. One thread. */
#ifndef RINGLET_NET_SLIRP_H
#define RINGLET_NET_SLIRP_H

#include "net/user.h"

struct error;
struct slirp;

/* 0 or -errno: a port that cannot be forwarded. socket stays the caller's. */
int slirp_open(const struct net_user_plan *plan, int socket, struct slirp **slirp,
	       struct error *err);
/* Until the socket's other end is closed. */
void slirp_run(struct slirp *slirp);
void slirp_close(struct slirp *slirp);

#endif
