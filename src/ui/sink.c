/* SPDX-License-Identifier: MIT */
/* See sink.h. What the reader has no room for stays with the device: nothing is kept here. */
#include "ui/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "host/loop.h"
#include "ui/chardev.h"
#include "ui/stream.h"

struct sink {
	struct chardev chardev;
	struct loop *loop;
	struct stream stream;
	struct loop_watch *watch; /* while the reader has no room */
	bool failed, lost;
};

static void unwatch(struct sink *sink)
{
	loop_watch_remove(sink->watch);
	sink->watch = NULL;
}

static void on_writable(void *opaque, uint32_t events)
{
	struct sink *sink = opaque;

	(void)events;
	unwatch(sink);
	chardev_writable(&sink->chardev);
}

static void fail(void *opaque)
{
	struct sink *sink = opaque;

	chardev_hangup(&sink->chardev);
}

static size_t sink_write(void *opaque, const uint8_t *data, size_t len)
{
	struct sink *sink = opaque;
	size_t done = 0;

	while (done < len && !sink->failed) {
		ssize_t put = stream_write(&sink->stream, data + done, len - done);

		if (put > 0) {
			done += (size_t)put;
		} else if (put == -EAGAIN || !put) {
			if (!sink->watch)
				loop_watch_add(sink->loop, sink->stream.fd, EPOLLOUT, on_writable,
					       sink, &sink->watch);
			return done;
		} else if (put != -EINTR) {
			/* A reader who has gone knows it. */
			sink->lost = put != -EPIPE;
			if (sink->lost)
				log_error("cannot write %s: %s", sink->stream.fd == STDERR_FILENO ?
					  "standard error" : "standard output", strerror((int)-put));
			sink->failed = true;
			loop_post(sink->loop, fail, sink);
		}
	}
	return len;
}

static const struct chardev_ops sink_ops = { .write = sink_write };

int sink_create(struct loop *loop, int fd, struct sink **out, struct error *err)
{
	struct sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return error_set(err, ENOMEM, "no memory for standard output");
	sink->loop = loop;
	sink->chardev = (struct chardev){ .ops = &sink_ops, .opaque = sink };
	stream_open(&sink->stream, fd, O_WRONLY);
	*out = sink;
	return 0;
}

void sink_destroy(struct sink *sink)
{
	if (!sink)
		return;
	unwatch(sink);
	stream_close(&sink->stream);
	free(sink);
}

struct chardev *sink_chardev(struct sink *sink)
{
	return sink ? &sink->chardev : NULL;
}

bool sink_lost(const struct sink *sink)
{
	return sink && sink->lost;
}
