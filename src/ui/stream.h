/* SPDX-License-Identifier: MIT */
/*
 * A file descriptor that was given to us and is shared with other processes (standard input and
 * output), read and written without blocking. O_NONBLOCK belongs to the open file, which the shell
 * and others share, so it must not be set there: where the kernel allows, the same file is opened
 * anew; where not, each access asks poll first. One thread at a time.
 */
#ifndef RINGLET_UI_STREAM_H
#define RINGLET_UI_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
	int fd;
	bool owned;       /* opened anew: ours to close, and non-blocking */
	bool socket;
	bool immediate;   /* a regular file: never blocks, cannot be polled */
};

/* access: O_RDONLY or O_WRONLY. fd stays the caller's and must outlive the stream. */
void stream_open(struct stream *stream, int fd, int access);
void stream_close(struct stream *stream);

/* As read and write, with -errno for errors; -EAGAIN: not now. */
ssize_t stream_read(const struct stream *stream, void *data, size_t len);
ssize_t stream_write(const struct stream *stream, const void *data, size_t len);

/* Waits until it can be written, or milliseconds have passed. False: it cannot. */
bool stream_wait_writable(const struct stream *stream, int milliseconds);

#endif
