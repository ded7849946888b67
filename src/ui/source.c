/* SPDX-License-Identifier: MIT */
/* See source.h. The descriptor is watched only while the device has room; what cannot be watched is
 * read whenever there is some. */
#include "ui/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "host/loop.h"
#include "ui/chardev.h"
#include "ui/stream.h"

#define PIECE_BYTES 65536u

struct source {
	struct chardev chardev;
	struct loop *loop;
	struct stream stream;
	struct loop_watch *watch;
	bool posted; /* pump will run */
	bool ended;
	uint8_t piece[PIECE_BYTES];
};

static void unwatch(struct source *source)
{
	loop_watch_remove(source->watch);
	source->watch = NULL;
}

static void end(struct source *source)
{
	source->ended = true;
	unwatch(source);
	chardev_hangup(&source->chardev);
}

static void on_readable(void *opaque, uint32_t events);

static void pump(struct source *source)
{
	size_t room;

	while (!source->ended && (room = chardev_can_receive(&source->chardev))) {
		ssize_t got = stream_read(&source->stream, source->piece,
					  room < PIECE_BYTES ? room : PIECE_BYTES);

		if (got > 0) {
			chardev_receive(&source->chardev, source->piece, (size_t)got);
		} else if (got == -EAGAIN) {
			if (!source->watch)
				loop_watch_add(source->loop, source->stream.fd, EPOLLIN,
					       on_readable, source, &source->watch);
			return;
		} else if (got != -EINTR) {
			end(source);
		}
	}
	unwatch(source);
}

static void on_readable(void *opaque, uint32_t events)
{
	(void)events;
	pump(opaque);
}

static void posted(void *opaque)
{
	struct source *source = opaque;

	source->posted = false;
	pump(source);
}

/* Not here: the device is in the middle of something. */
static void input_room(void *opaque)
{
	struct source *source = opaque;

	if (source->ended || source->watch || source->posted)
		return;
	source->posted = !loop_post(source->loop, posted, source);
}

static size_t no_output(void *opaque, const uint8_t *data, size_t len)
{
	(void)opaque;
	(void)data;
	return len;
}

static const struct chardev_ops source_ops = { .write = no_output, .input_room = input_room };

int source_create(struct loop *loop, int fd, struct source **out, struct error *err)
{
	struct source *source = calloc(1, sizeof(*source));

	if (!source)
		return error_set(err, ENOMEM, "no memory for standard input");
	source->loop = loop;
	source->chardev = (struct chardev){ .ops = &source_ops, .opaque = source };
	stream_open(&source->stream, fd, O_RDONLY);
	*out = source;
	return 0;
}

void source_destroy(struct source *source)
{
	if (!source)
		return;
	unwatch(source);
	stream_close(&source->stream);
	free(source);
}

struct chardev *source_chardev(struct source *source)
{
	return source ? &source->chardev : NULL;
}
