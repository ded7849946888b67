/* SPDX-License-Identifier: MIT */
/*
 * A client at the guest's console: once "console" is answered, the bytes on the connection are the
 * console's, both ways. What the client does not read in time is left out for him.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "control/session.h"
#include "vm/machine.h"

#define SCREEN_BYTES 65536u

/* The device is in the middle of an access: the loop sees to the rest. */
static void on_output(void *opaque, const uint8_t *data, size_t len)
{
	struct session *session = opaque;
	bool was_empty = !session->screen.used;

	fifo_put(&session->screen, data, len);
	if (was_empty)
		session_watch(session);
}

static void on_input_room(void *opaque)
{
	session_watch(opaque);
}

int console_run(struct session *session, const struct json_value *arguments, struct json *result,
		struct error *err)
{
	struct hub *hub = session->control->vm->hub;

	(void)arguments;
	(void)result;
	if (!hub)
		return error_set(err, ENODEV, "this machine has no console: it runs a command as in a "
				 "pipeline");
	if (fifo_init(&session->screen, SCREEN_BYTES))
		return error_set(err, ENOMEM, "no memory");
	session->attached = true;
	session->tap = (struct hub_tap){ .output = on_output, .input_room = on_input_room,
					 .opaque = session };
	hub_tap(hub, &session->tap);
	return 0;
}

void console_detach(struct session *session)
{
	if (!session->attached)
		return;
	hub_untap(session->control->vm->hub, &session->tap);
	fifo_release(&session->screen);
	session->attached = false;
}

size_t console_room(const struct session *session)
{
	return hub_room(session->control->vm->hub);
}

void console_read(struct session *session)
{
	uint8_t data[512];
	size_t room = console_room(session);
	ssize_t got;

	if (!room)
		return;
	got = recv(session->fd, data, room < sizeof(data) ? room : sizeof(data), MSG_DONTWAIT);
	if (got > 0)
		hub_input(session->control->vm->hub, data, (size_t)got);
	else if (!got || (errno != EAGAIN && errno != EINTR))
		session->broken = true;
}

void console_write(struct session *session)
{
	const uint8_t *data;
	size_t len;

	while ((len = fifo_peek(&session->screen, &data))) {
		ssize_t sent = send(session->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0) {
			session->broken |= errno != EAGAIN && errno != EINTR;
			return;
		}
		fifo_drop(&session->screen, (size_t)sent);
	}
}
