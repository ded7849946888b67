/* SPDX-License-Identifier: MIT */
/* KIND[,OPTION]...: a network as its user describes it; see -n in the manual page. Any thread. */
#ifndef RINGLET_NET_OPTIONS_H
#define RINGLET_NET_OPTIONS_H

#include <stdbool.h>

#include "base/options.h"
#include "net/net.h"
#include "net/user.h"

struct error;

enum net_kind { NET_NONE, NET_USER, NET_TAP, NET_VDE };

enum net_vhost { NET_VHOST_AUTO, NET_VHOST_ON, NET_VHOST_OFF };

struct net_options {
	enum net_kind kind;
	uint8_t mac[6];
	unsigned mtu; /* 0: what the back end takes for best */
	struct net_user_plan user;
	const char *ifname, *script; /* tap; NULL: any, none */
	unsigned fd;                 /* tap: one that is open already; 0: none */
	unsigned queues;             /* tap; 0: what fits the machine */
	enum net_vhost vhost;        /* tap */
	const char *url;             /* vde; NULL: its default */
	char *text; /* where the strings are, for net_options_release */
};

/*
 * index: which of the machine's networks it is, from 0; what is not said differs from one to the
 * next. 0, -EINVAL, -ENOMEM.
 */
int net_options_parse(struct net_options *options, const char *text, unsigned index,
		      struct error *err);
void net_options_release(struct net_options *options);

/* Opens what options name, which may be released afterwards. -ENOTSUP: not in this build. */
int net_open(const struct net_options *options, struct net **net, struct error *err);

/* Whether this build has them. */
bool net_has_user(void);
bool net_has_vde(void);

/* Libraries that could be in this build and are not: the index-th, or NULL. */
const char *net_missing_library(unsigned index);

#endif
