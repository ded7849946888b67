/* SPDX-License-Identifier: MIT */
/*
 * A port's data: see console_port.h. One chain each way is taken out of the ring; the others wait
 * there until the host has bytes, or room.
 */
#include "virtio/console_port.h"

/* ---- from the guest ---- */

/* Sends of the chain in hand what the host takes; true when that was all. */
static bool send_chain(struct console_port *port)
{
	const struct virtio_chain *chain = port->sending;
	size_t skip = port->sent;

	for (unsigned i = 0; i < chain->out_count; i++) {
		const uint8_t *data = chain->out[i].iov_base;
		size_t len = chain->out[i].iov_len, taken;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		taken = chardev_write(port->setup.chardev, data + skip, len - skip);
		port->sent += taken;
		if (taken < len - skip)
			return false;
		skip = 0;
	}
	return true;
}

void console_port_send(struct console_port *port)
{
	while (port->sending || (port->sending = virtio_queue_pop(port->tx))) {
		if (!send_chain(port))
			break;
		virtio_queue_push(port->tx, port->sending, 0);
		port->sending = NULL;
		port->sent = 0;
	}
	virtio_queue_notify(port->tx);
}

static void writable(void *opaque)
{
	struct console_port *port = opaque;

	/* While the device is stopped there is neither chain nor queue. */
	console_port_send(port);
}

/* ---- to the guest ---- */

static bool has_room(struct console_port *port)
{
	while (port->open && !port->filling) {
		port->filling = virtio_queue_pop(port->rx);
		if (!port->filling)
			return false;
		if (port->filling->in_bytes)
			break;
		virtio_queue_push(port->rx, port->filling, 0);
		port->filling = NULL;
	}
	return port->open;
}

static size_t can_receive(void *opaque)
{
	struct console_port *port = opaque;

	return has_room(port) ? port->filling->in_bytes : 0;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	struct console_port *port = opaque;

	if (!has_room(port))
		return;
	virtio_queue_push(port->rx, port->filling, virtio_chain_write(port->filling, 0, data, len));
	port->filling = NULL;
	virtio_queue_notify(port->rx);
}

void console_port_input_room(struct console_port *port)
{
	if (has_room(port))
		chardev_input_room(port->setup.chardev);
}

/* ---- life ---- */

static void hangup(void *opaque)
{
	struct console_port *port = opaque;

	port->hung_up = true;
	port->on_hangup(port->opaque, port);
}

void console_port_attach(struct console_port *port)
{
	const struct chardev_front front = {
		.can_receive = can_receive, .receive = receive, .writable = writable,
		.hangup = hangup, .opaque = port,
	};

	chardev_attach(port->setup.chardev, &front);
}

void console_port_detach(struct console_port *port)
{
	chardev_detach(port->setup.chardev);
}

void console_port_stop(struct console_port *port)
{
	if (port->filling)
		virtio_chain_drop(port->rx, port->filling);
	if (port->sending)
		virtio_chain_drop(port->tx, port->sending);
	port->filling = port->sending = NULL;
	port->sent = 0;
	port->open = port->ready = false;
	port->to_say = 0;
}
