/* SPDX-License-Identifier: MIT */
/*
 * The file system device (virtio 1.2, 5.11): a directory tree of the host, by the FUSE server of
 * fs/fuse.h. Guests mount it by its tag: mount -t virtiofs TAG DIR.
 */
#ifndef RINGLET_VIRTIO_FS_H
#define RINGLET_VIRTIO_FS_H

#include "fs/fuse.h"
#include "virtio/virtio.h"

#define VIRTIO_FS_TAG_BYTES 36u

struct virtio_fs_config_host {
	const char *tag; /* at most VIRTIO_FS_TAG_BYTES */
	struct fuse_config fuse;        /* but its window */
	struct virtio_window window;    /* to see files in */
};

/* -EINVAL: the tag; and the errors of fuse_create. */
int virtio_fs_create(const struct device_env *env, const struct virtio_fs_config_host *config,
		     struct virtio_device **dev, struct error *err);

#endif
