/* SPDX-License-Identifier: MIT */
/* Inside the console device: one port's data. Machine lock held. */
#ifndef RINGLET_VIRTIO_CONSOLE_PORT_H
#define RINGLET_VIRTIO_CONSOLE_PORT_H

#include "ui/chardev.h"
#include "virtio/console.h"

struct console_port {
	struct virtio_console_port setup;
	struct virtio_queue *rx, *tx; /* from the host, to the host */
	bool open;                    /* the guest reads it */
	bool ready;                   /* the driver knows it */
	bool hung_up;                 /* the host's end is closed */
	void (*on_hangup)(void *opaque, struct console_port *port);
	void *opaque;                 /* its */
	struct virtio_chain *filling; /* what the host's next bytes go to */
	struct virtio_chain *sending; /* what the host had no room for … */
	size_t sent;                  /* … from here on */
	unsigned to_say;              /* control messages that the driver has still to get */
};

void console_port_attach(struct console_port *port);
void console_port_detach(struct console_port *port);

/* The driver gave buffers to fill, or opened the port. */
void console_port_input_room(struct console_port *port);
/* The driver has something to send. */
void console_port_send(struct console_port *port);

/* Closed, and nothing of the guest's kept. */
void console_port_stop(struct console_port *port);

#endif
