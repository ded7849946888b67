/* SPDX-License-Identifier: MIT */
/*
 * libslirp, loaded by the process that needs it: what it brings along (GLib) would cost every start of
 * ringlet a millisecond and a MiB. Its functions by their names without the prefix.
 */
#ifndef RINGLET_NET_SLIRP_LIBRARY_H
#define RINGLET_NET_SLIRP_LIBRARY_H

#include <slirp/libslirp.h>

struct error;

#define SLIRP_FUNCTIONS(X)                                                                         \
	X(new) X(cleanup) X(input) X(pollfds_fill) X(pollfds_poll) X(handle_timer) X(add_hostxfwd)

struct slirp_library {
#define X(name) __typeof__(slirp_##name) *name;
	SLIRP_FUNCTIONS(X)
#undef X
};

/* Stays loaded. -ENOENT: it is not installed. */
int slirp_library_load(struct slirp_library *library, struct error *err);

#endif
