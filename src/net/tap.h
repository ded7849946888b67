/* SPDX-License-Identifier: MIT */
/*
 * A network interface of the host's kernel (tun(4), tap mode): the kernel sees to checksums and
 * segmentation, several queues are several descriptors.
 */
#ifndef RINGLET_NET_TAP_H
#define RINGLET_NET_TAP_H

#include "net/net.h"

struct error;
struct net_options;

int net_tap_open(const struct net_options *options, struct net **net, struct error *err);

#endif
