/* SPDX-License-Identifier: MIT */
/*
 * The socket device (virtio 1.2, 5.10): stream connections between guest and host, without a network
 * and without privileges. On the host they are Unix sockets: docs/VSOCK.md says how a client reaches
 * a port of the guest through the socket at path, and where a server waits for the guest.
 */
#ifndef RINGLET_VIRTIO_VSOCK_H
#define RINGLET_VIRTIO_VSOCK_H

#include "virtio/virtio.h"

#define VIRTIO_VSOCK_CID_MIN 3u /* below are the hypervisor, the guest itself and the host */
#define VIRTIO_VSOCK_CID_MAX 0xfffffffeu

struct virtio_vsock_options {
	uint32_t cid;     /* the guest's address: VIRTIO_VSOCK_CID_MIN … _MAX */
	/* Of the socket that is made; the ports' are path_PORT. NULL: the host has no part in it. */
	const char *path;
};

/*
 * -EINVAL: the address, or a path that is too long for a socket; -EADDRINUSE: somebody listens there.
 * The socket has mode 0600 and is removed with the device.
 */
int virtio_vsock_create(const struct device_env *env, const struct virtio_vsock_options *options,
			struct virtio_device **dev, struct error *err);

#endif
