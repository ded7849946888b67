/* SPDX-License-Identifier: MIT */
/* The back ends by their kinds. */
#include "net/net.h"

#include <errno.h>

#include "base/error.h"
#include "net/options.h"
#include "net/tap.h"
#include "net/user.h"
#include "net/vde.h"

int net_open(const struct net_options *options, struct net **net, struct error *err)
{
	switch (options->kind) {
	case NET_USER:
		return net_user_open(&options->user, net, err);
	case NET_TAP:
		return net_tap_open(options, net, err);
	case NET_VDE:
		return net_vde_open(options, net, err);
	case NET_NONE:
		break;
	}
	return error_set(err, EINVAL, "no network is no network to open");
}

bool net_has_user(void)
{
	return HAVE_SLIRP;
}

bool net_has_vde(void)
{
	return HAVE_VDEPLUG;
}

const char *net_missing_library(unsigned index)
{
	static const struct {
		const char *name;
		bool here;
	} libraries[] = { { "libslirp", HAVE_SLIRP }, { "libvdeplug", HAVE_VDEPLUG } };

	for (unsigned i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
		if (!libraries[i].here && !index--)
			return libraries[i].name;
	return NULL;
}
