/* SPDX-License-Identifier: MIT */
#include "ui/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What a blocking descriptor that poll calls writable takes at once: a pipe has PIPE_BUF bytes of
 * room then, a terminal's queue at least 256 (Linux: WAKEUP_CHARS).
 */
#define PIPE_PIECE ((size_t)PIPE_BUF)
#define TERMINAL_PIECE ((size_t)256)

void stream_open(struct stream *stream, int fd, int access)
{
	char path[32];
	struct stat st;

	*stream = (struct stream){ .fd = fd };
	if (fstat(fd, &st))
		return;
	stream->socket = S_ISSOCK(st.st_mode);
	/* A second opening would have a file offset of its own. */
	stream->immediate = S_ISREG(st.st_mode);
	if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		stream->fd = fd;
		stream->owned = true;
	}
}

void stream_close(struct stream *stream)
{
	if (stream->owned)
		close(stream->fd);
	*stream = (struct stream){ .fd = -1 };
}

static bool ready(const struct stream *stream, short events, int milliseconds)
{
	struct pollfd poll_fd = { .fd = stream->fd, .events = events };

	return poll(&poll_fd, 1, milliseconds) > 0;
}

bool stream_wait_writable(const struct stream *stream, int milliseconds)
{
	return ready(stream, POLLOUT, milliseconds);
}

static bool may_block(const struct stream *stream)
{
	return !stream->owned && !stream->socket && !stream->immediate;
}

ssize_t stream_read(const struct stream *stream, void *data, size_t len)
{
	ssize_t got;

	if (may_block(stream) && !ready(stream, POLLIN, 0))
		return -EAGAIN;
	if (stream->socket)
		got = recv(stream->fd, data, len, MSG_DONTWAIT);
	else
		got = read(stream->fd, data, len);
	return got < 0 ? -errno : got;
}

ssize_t stream_write(const struct stream *stream, const void *data, size_t len)
{
	ssize_t put;

	if (may_block(stream)) {
		size_t piece = isatty(stream->fd) ? TERMINAL_PIECE : PIPE_PIECE;

		if (!ready(stream, POLLOUT, 0))
			return -EAGAIN;
		if (len > piece)
			len = piece;
	}
	if (stream->socket)
		put = send(stream->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		put = write(stream->fd, data, len);
	return put < 0 ? -errno : put;
}
