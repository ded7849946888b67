/* SPDX-License-Identifier: MIT */
/*
 * A file descriptor's bytes as input for a character device, to the last one, and then its end
 * (chardev_front.hangup). Machine lock held.
 */
#ifndef RINGLET_UI_SOURCE_H
#define RINGLET_UI_SOURCE_H

struct chardev;
struct error;
struct loop;
struct source;

/* fd stays the caller's. Nothing is read before a device has room. */
int source_create(struct loop *loop, int fd, struct source **source, struct error *err);
void source_destroy(struct source *source);
/* NULL for NULL. */
struct chardev *source_chardev(struct source *source);

#endif
