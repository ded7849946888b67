/* SPDX-License-Identifier: MIT */
/*
 * The socket device (virtio 1.2, 5.10): connections of bytes or of messages between guest and host,
 * without a network and without privileges. On the host they are Unix sockets: docs/VSOCK.md says how
 * a client reaches a port of the guest through the socket at path, and where a server waits for the
 * guest.
 */
#ifndef RINGLET_VIRTIO_VSOCK_H
#define RINGLET_VIRTIO_VSOCK_H

#include "virtio/virtio.h"

#define VIRTIO_VSOCK_CID_MIN 3u /* below are the hypervisor, the guest itself and the host */
#define VIRTIO_VSOCK_CID_MAX 0xfffffffeu

struct virtio_vsock_options {
	uint32_t cid;     /* the guest's address: VIRTIO_VSOCK_CID_MIN … _MAX */
	/* Of the socket that is made; path_seqpacket is that for messages, path_PORT are the ports'. NULL:
	 * the host has no part in it. */
	const char *path;
};

/*
 * -EINVAL: the address, or a path that is too long for a socket; -EADDRINUSE: somebody listens there.
 * The sockets have mode 0600 and are removed with the device.
 */
int virtio_vsock_create(const struct device_env *env, const struct virtio_vsock_options *options,
			struct virtio_device **dev, struct error *err);

#endif
