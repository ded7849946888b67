/* SPDX-License-Identifier: MIT */
/*
 * The console device (virtio 1.2, 5.3): ports, each with a character device behind it on the host.
 * A port is a console for the guest (hvc0 …) or a stream of bytes with a name
 * (/dev/virtio-ports/NAME). A driver without VIRTIO_CONSOLE_F_MULTIPORT has the first one only.
 */
#ifndef RINGLET_VIRTIO_CONSOLE_H
#define RINGLET_VIRTIO_CONSOLE_H

#include "virtio/virtio.h"

struct chardev;

#define VIRTIO_CONSOLE_PORTS_MAX 8u

struct virtio_console_port {
	struct chardev *chardev; /* outlives the device; NULL: output vanishes */
	const char *name;        /* NULL: none; outlives the device */
	bool console;
};

struct virtio_console_options {
	struct virtio_console_port port[VIRTIO_CONSOLE_PORTS_MAX];
	unsigned ports; /* at least 1; the first must be a console */
};

int virtio_console_create(const struct device_env *env,
			  const struct virtio_console_options *options,
			  struct virtio_device **dev, struct error *err);

#endif
