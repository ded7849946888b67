/* SPDX-License-Identifier: MIT */
#include "ui/hub.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "ui/chardev.h"

#define RECENT_BYTES 4096u

struct hub {
	struct chardev chardev; /* the device is its front */
	struct chardev *back;
	struct hub_tap *taps;
	size_t total; /* bytes that the guest wrote */
	uint8_t recent[RECENT_BYTES]; /* the last of them, each at its number modulo the size */
};

/* ---- from the guest ---- */

static void remember(struct hub *hub, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hub->recent[hub->total++ % RECENT_BYTES] = data[i];
}

static size_t hub_write(void *opaque, const uint8_t *data, size_t len)
{
	struct hub *hub = opaque;
	size_t taken = chardev_write(hub->back, data, len);

	remember(hub, data, taken);
	for (const struct hub_tap *tap = hub->taps; tap; tap = tap->next)
		tap->output(tap->opaque, data, taken);
	return taken;
}

static void hub_input_room(void *opaque)
{
	struct hub *hub = opaque;

	chardev_input_room(hub->back);
	for (const struct hub_tap *tap = hub->taps; tap; tap = tap->next)
		tap->input_room(tap->opaque);
}

/* ---- from the back end ---- */

static size_t can_receive(void *opaque)
{
	return hub_room(opaque);
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	hub_input(opaque, data, len);
}

static void writable(void *opaque)
{
	const struct hub *hub = opaque;

	chardev_writable(&hub->chardev);
}

static void receive_break(void *opaque)
{
	hub_break(opaque);
}

/* ---- taps ---- */

void hub_tap(struct hub *hub, struct hub_tap *tap)
{
	size_t end = hub->total % RECENT_BYTES;

	if (hub->total > RECENT_BYTES)
		tap->output(tap->opaque, hub->recent + end, RECENT_BYTES - end);
	tap->output(tap->opaque, hub->recent, end);
	tap->next = hub->taps;
	hub->taps = tap;
}

void hub_untap(struct hub *hub, const struct hub_tap *tap)
{
	for (struct hub_tap **at = &hub->taps; *at; at = &(*at)->next) {
		if (*at == tap) {
			*at = tap->next;
			return;
		}
	}
}

size_t hub_room(const struct hub *hub)
{
	return chardev_can_receive(&hub->chardev);
}

void hub_input(struct hub *hub, const uint8_t *data, size_t len)
{
	chardev_receive(&hub->chardev, data, len);
}

void hub_break(struct hub *hub)
{
	chardev_receive_break(&hub->chardev);
}

/* ---- life ---- */

int hub_create(struct chardev *back, struct hub **out, struct error *err)
{
	static const struct chardev_ops ops = {
		.write = hub_write,
		.input_room = hub_input_room,
	};
	const struct chardev_front front = {
		.can_receive = can_receive, .receive = receive, .writable = writable,
		.receive_break = receive_break,
	};
	struct hub *hub = calloc(1, sizeof(*hub));

	if (!hub)
		return error_set(err, ENOMEM, "no memory for the console");
	hub->chardev = (struct chardev){ .ops = &ops, .opaque = hub };
	hub->back = back;
	hub->back->front = front;
	hub->back->front.opaque = hub;
	*out = hub;
	return 0;
}

void hub_destroy(struct hub *hub)
{
	if (!hub)
		return;
	chardev_detach(hub->back);
	free(hub);
}

struct chardev *hub_chardev(struct hub *hub)
{
	return &hub->chardev;
}
