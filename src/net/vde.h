/* SPDX-License-Identifier: MIT */
/* A port of a virtual switch (Virtual Distributed Ethernet), or of whatever else libvdeplug knows. */
#ifndef RINGLET_NET_VDE_H
#define RINGLET_NET_VDE_H

#include "net/net.h"

struct error;
struct net_options;

int net_vde_open(const struct net_options *options, struct net **net, struct error *err);

#endif
