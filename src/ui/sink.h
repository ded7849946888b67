/* SPDX-License-Identifier: MIT */
/*
 * A file descriptor that takes a character device's output at once, as fast as its reader reads.
 * When nobody reads any more, the device is told (chardev_front.hangup). Machine lock held.
 */
#ifndef RINGLET_UI_SINK_H
#define RINGLET_UI_SINK_H

#include <stdbool.h>

struct chardev;
struct error;
struct loop;
struct sink;

/* fd stays the caller's. */
int sink_create(struct loop *loop, int fd, struct sink **sink, struct error *err);
void sink_destroy(struct sink *sink);
/* NULL for NULL. */
struct chardev *sink_chardev(struct sink *sink);
/* Could something not be written, though its reader had not gone? False for NULL. */
bool sink_lost(const struct sink *sink);

#endif
