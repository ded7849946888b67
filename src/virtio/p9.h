/* SPDX-License-Identifier: MIT */
/*
 * The 9P transport (Linux' device 9, virtio 1.2 leaves it unspecified: a mount tag as configuration,
 * one queue of requests): a directory tree of the host, by the server of fs/p9.h. Guests mount it by its
 * tag: mount -t 9p -o trans=virtio,version=9p2000.L TAG DIR.
 */
#ifndef RINGLET_VIRTIO_P9_H
#define RINGLET_VIRTIO_P9_H

#include "fs/tree.h"
#include "virtio/virtio.h"

#define VIRTIO_P9_TAG_BYTES 255u

struct virtio_p9_config_host {
	const char *tag; /* at most VIRTIO_P9_TAG_BYTES */
	struct tree_config tree;
};

/* -EINVAL: the tag; and the errors of p9_create. */
int virtio_p9_create(const struct device_env *env, const struct virtio_p9_config_host *config,
		     struct virtio_device **dev, struct error *err);

#endif
