/* SPDX-License-Identifier: MIT */
/*
 * The seam between a character device that the guest sees (a UART, a virtio console port) and what
 * carries its bytes on the host (the terminal, a pty, a file, a socket). The back end owns the
 * struct and outlives the device that is attached to it.
 *
 * Output is never lost: write takes what it has room for and the device keeps the rest until
 * writable is called. A back end gathers bytes and gives them to the host when its buffer is full
 * or a few milliseconds after the first byte, so that a write costs the guest no system call.
 * Input is pulled by room: a back end asks can_receive and delivers at most that many bytes; when
 * it was 0, the device calls input_room as soon as the guest has taken some.
 *
 * All calls, both ways, come with the machine lock held.
 */
#ifndef RINGLET_UI_CHARDEV_H
#define RINGLET_UI_CHARDEV_H

#include <stddef.h>
#include <stdint.h>

/* What a back end implements. */
struct chardev_ops {
	/* Takes up to len bytes and returns how many. Fewer than len: full; front.writable
	 * follows. */
	size_t (*write)(void *opaque, const uint8_t *data, size_t len);
	/* The device can receive again after can_receive was 0. May be NULL. */
	void (*input_room)(void *opaque);
};

/* What a device implements. All zero: nobody is attached, input waits. */
struct chardev_front {
	/* How many bytes the device takes now. */
	size_t (*can_receive)(void *opaque);
	/* len is at most what can_receive just returned. */
	void (*receive)(void *opaque, const uint8_t *data, size_t len);
	/* The back end has room again after a short write. */
	void (*writable)(void *opaque);
	/* The other side sent a break condition. May be NULL. */
	void (*receive_break)(void *opaque);
	/* The other side is gone: no more input will come, nobody reads the output. May be NULL. */
	void (*hangup)(void *opaque);
	void *opaque;
};

struct chardev {
	const struct chardev_ops *ops;
	void *opaque; /* the back end's */
	struct chardev_front front;
};

/* ---- for devices; chardev may be NULL: output vanishes, there is no input ---- */

static inline void chardev_attach(struct chardev *chardev, const struct chardev_front *front)
{
	if (!chardev)
		return;
	chardev->front = *front;
	if (chardev->ops->input_room)
		chardev->ops->input_room(chardev->opaque);
}

static inline void chardev_detach(struct chardev *chardev)
{
	if (chardev)
		chardev->front = (struct chardev_front){ 0 };
}

static inline size_t chardev_write(struct chardev *chardev, const uint8_t *data, size_t len)
{
	return chardev ? chardev->ops->write(chardev->opaque, data, len) : len;
}

static inline void chardev_input_room(struct chardev *chardev)
{
	if (chardev && chardev->ops->input_room)
		chardev->ops->input_room(chardev->opaque);
}

/* ---- for back ends ---- */

static inline size_t chardev_can_receive(const struct chardev *chardev)
{
	const struct chardev_front *front = &chardev->front;

	return front->can_receive ? front->can_receive(front->opaque) : 0;
}

static inline void chardev_receive(const struct chardev *chardev, const uint8_t *data, size_t len)
{
	if (chardev->front.receive)
		chardev->front.receive(chardev->front.opaque, data, len);
}

static inline void chardev_writable(const struct chardev *chardev)
{
	if (chardev->front.writable)
		chardev->front.writable(chardev->front.opaque);
}

static inline void chardev_hangup(const struct chardev *chardev)
{
	if (chardev->front.hangup)
		chardev->front.hangup(chardev->front.opaque);
}

static inline void chardev_receive_break(const struct chardev *chardev)
{
	if (chardev->front.receive_break)
		chardev->front.receive_break(chardev->front.opaque);
}

#endif
